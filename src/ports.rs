//! Where adapters meet: what each may ask of the rest, and nothing more.
//!
//! gRPC, DNS and the control loop see the quorum through [`Quorum`] and the
//! agents through [`Agents`]; none of them knows the consensus library or
//! another adapter.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::domain::{
    Command, Epoch, Event, GroupName, Incarnation, Instruction, MemberName, Outcome, Region,
    Report, State,
};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Id of a quorum node; a wiped node comes back under a new one.
pub type NodeId = u64;

/// The replicated state machine, as the rest of a node sees it.
pub trait Quorum: Send + Sync + 'static {
    /// Proposes a command and waits until it is applied here or at the leader.
    /// A follower forwards it.
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, ProposeError>>;

    /// Proposes what this node decided as the leader of `term`, a Raft term.
    /// Never forwarded; refused wherever it meets another term.
    fn propose_in(
        &self,
        term: u64,
        command: Command,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>>;

    /// Returns once this node has applied everything that was committed before
    /// the call, as confirmed by a quorum round begun after it.
    fn read_index(&self) -> BoxFuture<'_, Result<u64, NoQuorum>>;

    /// The applied state, replaced as a whole after each batch.
    fn published(&self) -> watch::Receiver<Arc<State>>;

    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// Events of log entries from `revision` on, oldest first, `limit` at most.
    fn history(&self, revision: u64, limit: usize) -> Vec<Event>;

    /// Whether every event from revision `from` to `to` is in the history. A
    /// snapshot brings a newer state without the history that led to it.
    fn has_history(&self, from: u64, to: u64) -> bool {
        let _ = (from, to);
        true
    }

    fn status(&self) -> QuorumStatus;

    /// Hands leadership to `to`; refused when it is not ready for it.
    fn transfer_leader(&self, to: NodeId) -> BoxFuture<'_, Result<(), TransferError>>;
}

/// A command's place in the log and what came of it.
#[derive(Debug, Clone)]
pub struct Applied {
    pub index: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    #[error("no leader is known: the quorum may be lost")]
    NoLeader,
    #[error("the leader, node {leader}, could not be reached")]
    Unreachable { leader: NodeId },
    #[error("this node leads no more")]
    OfficeLost,
    /// It may or may not be in the log.
    #[error("no answer within {}ms: whether it was done is not known", .0.as_millis())]
    Unknown(Duration),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no quorum confirmed a read within {}ms", .0.as_millis())]
pub struct NoQuorum(pub Duration);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    #[error("this node is not the leader; node {0:?} is")]
    NotLeader(Option<NodeId>),
    #[error("node {0} is not a voter")]
    NotAVoter(NodeId),
    #[error("node {to} is {behind} entries behind or cannot be reached")]
    NotReady { to: NodeId, behind: u64 },
    #[error("leadership did not move within {}ms", .0.as_millis())]
    Timeout(Duration),
}

/// Who leads, as this node knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    pub leader: Option<NodeId>,
    pub is_me: bool,
    /// Raft's term, never an epoch.
    pub term: u64,
    /// This node leads and has applied an entry of its own term.
    pub ready: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumStatus {
    pub cluster_id: String,
    pub node_id: NodeId,
    pub leadership: Leadership,
    pub last_log: u64,
    pub applied: u64,
    pub nodes: Vec<NodeStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    pub id: NodeId,
    pub region: Region,
    /// Where the other nodes reach it.
    pub address: String,
    pub voter: bool,
    /// Entries that the leader knows it to miss; known at the leader only.
    pub behind: Option<u64>,
}

/// What this node heard from agents, and its hold on them.
pub trait Agents: Send + Sync + 'static {
    /// The latest report of each member that ever presented itself here.
    fn views(&self) -> Vec<MemberView>;

    /// Signals each time a report came or a stream opened or closed.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// The leader's hold on agents.
pub trait AgentLink: Agents {
    /// Tells a member what it should be; sent when it differs from what was
    /// told last, and again every second.
    fn direct(&self, group: &GroupName, member: &MemberName, directive: Directive);

    /// Acknowledges the renewal that came with report `sequence`.
    fn acknowledge(&self, renewal: &RenewalRequest, ttl: Duration);
}

/// What the leader wants of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    pub term: u64,
    /// Whom it is for; a later incarnation of the member does not obey it.
    pub incarnation: Incarnation,
    pub instruction: Instruction,
    /// Look closely and report at once.
    pub watchful: bool,
    /// Checkpoint now: a planned stop under this epoch is near.
    pub prepare_stop: Option<Epoch>,
}

/// A holder asks for its lease to be renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalRequest {
    pub group: GroupName,
    pub member: MemberName,
    pub incarnation: Incarnation,
    pub epoch: Epoch,
    pub hard: bool,
    pub sequence: u64,
    /// This node's clock when it came.
    pub receipt: Duration,
}

/// A member as this node knows it from its agent.
#[derive(Debug, Clone)]
pub struct MemberView {
    pub group: GroupName,
    pub member: MemberName,
    pub report: Arc<Report>,
    /// The agent's stream to this node is open.
    pub connected: bool,
    /// Time since the latest report.
    pub age: Duration,
    /// A second agent claimed the member while this one spoke.
    pub contested: bool,
}

/// Whom a switchover should make primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchoverTarget {
    Member(MemberName),
    Region(Region),
    /// Whoever is the best placed.
    Any,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailoverRequest {
    pub prefer: Option<MemberName>,
    /// The operator vouches that the primary's host is gone: stands in for a fence.
    pub host_is_dead: bool,
    /// The operator accepts that acknowledged writes may be lost.
    pub accept_data_loss: bool,
}

/// An operation that ended with a sealed epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationDone {
    pub epoch: Epoch,
    pub member: MemberName,
    pub took: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    #[error("{0}")]
    Refused(String),
    #[error("this node does not lead; node {0:?} does")]
    NotLeader(Option<NodeId>),
    #[error("whether it was done is not known: look at `primacy ctl status`")]
    Unknown,
}

/// Switchovers and failovers that operators ask for; the leader runs them.
pub trait Operations: Send + Sync + 'static {
    fn switchover(
        &self,
        group: GroupName,
        to: SwitchoverTarget,
    ) -> BoxFuture<'_, Result<OperationDone, OperationError>>;

    fn failover(
        &self,
        group: GroupName,
        request: FailoverRequest,
    ) -> BoxFuture<'_, Result<OperationDone, OperationError>>;
}
