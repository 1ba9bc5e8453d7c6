//! What may be proposed to the quorum, and what comes of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    Cause, Epoch, Event, GroupName, GroupSpec, Incarnation, Lineage, MemberName, Position, Refusal,
    Revision, SyncConfig,
};

/// A proposal, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Command {
    /// Wall clock of the proposer, milliseconds since 1970. Shown in the
    /// history, never compared.
    pub at_ms: u64,
    pub group: GroupName,
    pub change: Change,
}

/// A change to one group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Creates the group or replaces its specification.
    ApplyGroup {
        spec: GroupSpec,
    },
    /// Forgets the group; its databases are left as they are.
    DeleteGroup,
    /// An agent presented itself with an incarnation not known yet.
    RegisterMember {
        member: MemberName,
        incarnation: Incarnation,
        /// Of its data directory, when there is one.
        system_identifier: Option<u64>,
    },
    /// Gives the first epoch of a group.
    GrantFirst {
        epoch: Epoch,
        holder: Incarnation,
        lineage: Lineage,
    },
    /// Closes `epoch`: no sync change of it is taken any more, and from here
    /// on the only way is a grant of the next.
    BeginFailover {
        epoch: Epoch,
        cause: Cause,
        /// Time since the last evidence of life of the holder, ms, as the proposer measured it.
        silence_ms: u64,
        /// Who should be promoted, if it may.
        prefer: Option<MemberName>,
    },
    /// `member` obeys nothing of `epoch` or before, streams from nobody, and
    /// this is where it stands for good. No position: it was stopped, and
    /// where its log ends is not known yet.
    RecordFence {
        epoch: Epoch,
        incarnation: Incarnation,
        position: Option<Position>,
    },
    /// A renewal was acknowledged whose holder stops at its deadline.
    RecordHardRenewal {
        epoch: Epoch,
    },
    /// The holder let its lease run out.
    ExpireLease {
        epoch: Epoch,
    },
    /// The operator vouches that the holder's host is gone.
    AssertHostDead {
        epoch: Epoch,
    },
    /// The operator accepts that acknowledged writes may be lost.
    AcceptDataLoss {
        epoch: Epoch,
    },
    /// Makes `holder` primary under `epoch`, waiting for `sync`.
    GrantLease {
        epoch: Epoch,
        holder: Incarnation,
        sync: SyncConfig,
    },
    /// The holder is out of recovery on the epoch's timeline.
    RecordPromotion {
        epoch: Epoch,
        incarnation: Incarnation,
        lineage: Lineage,
    },
    /// Puts a further sync configuration on record, to count beside the others.
    ProposeSync {
        epoch: Epoch,
        revision: Revision,
        next: SyncConfig,
    },
    /// The primary works under `revision`: lower ones stop counting.
    ConfirmSync {
        epoch: Epoch,
        revision: Revision,
        barrier: Barrier,
    },
    /// The epoch's barrier is through: older epochs stop counting.
    SealEpoch {
        epoch: Epoch,
        revision: Revision,
        barrier: Barrier,
    },
    /// Stops automatic failover; the group serves on.
    Pause,
    Resume,
    /// Something an operator should know; changes nothing.
    RecordIncident {
        member: Option<MemberName>,
        code: String,
        message: String,
    },
}

/// A synchronous write that went through, and who had it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Barrier {
    pub position: Position,
    /// Members whose own agents reported this position or a later one.
    pub confirmed: BTreeSet<Incarnation>,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Changed the state, or had done so before.
    Applied(Vec<Event>),
    /// Changed nothing, and this is why.
    Refused(Refusal),
}

impl Outcome {
    /// The refusal as an error.
    pub fn into_result(self) -> Result<Vec<Event>, Refusal> {
        match self {
            Self::Applied(events) => Ok(events),
            Self::Refused(refusal) => Err(refusal),
        }
    }
}
