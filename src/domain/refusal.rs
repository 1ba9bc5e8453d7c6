//! Why the state machine did not do as it was told.

use serde::{Deserialize, Serialize};

use super::{Epoch, GroupName, Incarnation, MemberName, Position, Revision, SpecError};

/// A refusal changes nothing. Most are races that were lost, some are
/// attempts that would have been unsafe; each says what it found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    #[error("the leader that decided this had lost its office")]
    OfficeLost,
    #[error("there is no group {0}")]
    UnknownGroup(GroupName),
    #[error("group {0} has no member {1}")]
    UnknownMember(GroupName, MemberName),
    #[error("incarnation {0} is not the current one of any member")]
    UnknownIncarnation(Incarnation),
    #[error("{0}")]
    Spec(SpecError),
    #[error("the group changed from {from} to {to}: delete it and apply it anew")]
    SpecFixed {
        setting: String,
        from: String,
        to: String,
    },
    #[error("member {0} holds the lease and cannot be left out")]
    HolderLeftOut(MemberName),
    #[error("the command is for epoch {asked}, the group is at {current}")]
    EpochMoved { asked: Epoch, current: Epoch },
    #[error("epoch {0} was already granted")]
    AlreadyGranted(Epoch),
    #[error("epoch {0} is being closed by a failover")]
    EpochClosed(Epoch),
    #[error("no failover of epoch {0} has begun")]
    NoFailover(Epoch),
    #[error("the group is paused: resume it, or ask for the failover by hand")]
    Paused,
    #[error("sync revision {asked} does not follow {last}")]
    RevisionOrder { asked: Revision, last: Revision },
    #[error("sync revision {0} is not on record")]
    UnknownRevision(Revision),
    #[error("too many sync changes are pending; one must be confirmed first")]
    TooManyPending,
    #[error("the sync configuration is not well formed, or names the primary")]
    MalformedSync,
    #[error("durability = \"strict\" never acknowledges without a standby")]
    StrictNeedsSync,
    #[error("no renewal of epoch {0} was acknowledged whose holder stops at its deadline")]
    NoHardRenewal(Epoch),
    #[error("{0} was not fenced in this failover, so it may be ahead of the new primary")]
    SyncMemberNotFenced(Incarnation),
    #[error("not exclusive: under {0} commits could still be acknowledged")]
    NotExclusive(String),
    #[error("not complete: commits acknowledged under {0} may be missing")]
    NotComplete(String),
    #[error("{candidate} is at {found:?}, another member is at {required}")]
    BehindFence {
        candidate: Incarnation,
        found: Option<Position>,
        required: Position,
    },
    #[error("member {0} is marked no_failover")]
    NoFailoverMember(MemberName),
    #[error("{0} does not hold the lease")]
    NotHolder(Incarnation),
    #[error("the promotion under epoch {0} is not on record yet")]
    NotPromoted(Epoch),
    #[error("epoch {0} is not sealed yet")]
    NotSealed(Epoch),
    #[error("epoch {epoch} makes timeline {epoch}, the member is on {found}")]
    WrongTimeline { epoch: Epoch, found: u32 },
    #[error("the barrier at {0} was not confirmed by enough members of the set")]
    BarrierNotConfirmed(Position),
    #[error("system identifier {found} is not the group's, {expected}: another cluster's data")]
    WrongSystem { expected: u64, found: u64 },
}
