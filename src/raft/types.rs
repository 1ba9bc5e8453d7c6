//! The types that the consensus library is run with.

use std::fmt;

use openraft::type_config::alias::{
    LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf,
};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::{
    domain::{Command, Outcome, Region},
    ports::NodeId,
};

/// What the members of the quorum know about each of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub region: Region,
    /// Where its Raft service listens, `host:port`.
    pub address: String,
}

/// A command on its way through the log.
///
/// Written as the command with one field more, which may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    #[serde(flatten)]
    pub command: Command,
    /// The term that it was decided in, where a leader decided it: in an entry
    /// of any other it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.command)
    }
}

openraft::declare_raft_types!(
    /// At most one leader per term: agents order instructions by it.
    pub TypeConfig:
        D = Proposal,
        // `None` for entries that carry no command.
        R = Option<Outcome>,
        NodeId = NodeId,
        Node = Node,
        LeaderId = openraft::vote::leader_id_std::LeaderId<u64, NodeId>,
);

pub(crate) type Consensus = openraft::Raft<TypeConfig, Machine>;
pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type Vote = VoteOf<TypeConfig>;
pub(crate) type Membership = StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
/// The bytes are an [`Image`](super::snapshot::Image) in JSON.
pub(crate) type Snapshot = SnapshotOf<TypeConfig, Vec<u8>>;
