//! What an agent says of its member.

use serde::{Deserialize, Serialize};

use super::{Epoch, GroupName, Incarnation, InstructionOrder, Lineage, Lsn, MemberName, Position};

/// One observation of a member by its own agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Report {
    pub group: GroupName,
    pub member: MemberName,
    pub incarnation: Incarnation,
    /// Of the data directory, when there is one.
    pub system_identifier: Option<u64>,
    pub promised: Promised,
    pub postgres: Postgres,
    /// Of the data directory: its timeline and where each ancestor was left.
    pub lineage: Option<Lineage>,
    /// Set while the promise not to obey or follow `epoch` is kept.
    pub fenced: Option<Fenced>,
    /// The latest barrier that went through here as primary.
    pub barrier: Option<BarrierReport>,
    /// Whether the upstream's postmaster answered when last asked; asked only
    /// while the leader wants to know.
    pub upstream_answers: Option<bool>,
    /// A planned stop was prepared: the checkpoint before it is done.
    pub checkpointed: Option<Epoch>,
    /// What an operator should see: a refusal or a failure, in one sentence.
    pub trouble: Option<Trouble>,
}

/// What the agent persisted before it obeyed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Promised {
    /// Obeys nothing of this epoch or before.
    pub fenced: Epoch,
    /// The greatest instruction accepted; lower ones are refused.
    pub accepted: InstructionOrder,
    /// The greatest epoch under which it opened read-write.
    pub opened: Epoch,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Postgres {
    /// There is no data directory.
    Absent,
    /// The directory cannot be used as it is: an interrupted rewind.
    Wreck,
    /// Not running, and no process of it is left.
    Stopped {
        clean: bool,
    },
    /// Something long is under way: a clone, a rewind, a start.
    Busy {
        doing: String,
    },
    Running(Running),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Running {
    pub role: Role,
    /// Primary: flushed. Standby: the greater of received and replayed.
    pub position: Position,
    /// Standby: what queries see.
    pub replayed: Lsn,
    pub receiving: Receiving,
    /// Accepts clients.
    pub open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Primary,
    Standby,
}

/// Whether log arrives at a standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receiving {
    No,
    /// A receiver is connected.
    Streaming,
}

/// A kept promise, and where the member stands for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fenced {
    pub epoch: Epoch,
    /// Unknown for a primary that was stopped without a checkpoint.
    pub position: Option<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BarrierReport {
    /// The configuration it went through under.
    pub order: InstructionOrder,
    pub position: Position,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Trouble {
    /// Stable, for machines: `wrong_system_identifier`.
    pub code: String,
    pub message: String,
}

impl Report {
    #[must_use]
    pub fn running(&self) -> Option<&Running> {
        match &self.postgres {
            Postgres::Running(running) => Some(running),
            _ => None,
        }
    }

    /// Whether it is a running primary.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.running()
            .is_some_and(|running| running.role == Role::Primary)
    }

    /// Whether it is a running standby.
    #[must_use]
    pub fn is_standby(&self) -> bool {
        self.running()
            .is_some_and(|running| running.role == Role::Standby)
    }

    /// Whether it is known to stand at `position` or beyond, on that timeline.
    #[must_use]
    pub fn holds(&self, position: Position) -> bool {
        self.running().is_some_and(|running| {
            running.position.timeline == position.timeline && running.position.lsn >= position.lsn
        })
    }
}
