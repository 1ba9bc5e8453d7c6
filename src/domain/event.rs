//! What happened, for those who read the history.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Epoch, GroupName, Lineage, MemberName, Position, Revision};

/// One line of a group's history.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// Log index of the command; several events may share one.
    pub revision: u64,
    /// Wall clock of the proposer, milliseconds since 1970.
    pub at_ms: u64,
    pub group: GroupName,
    /// The group's epoch after the event.
    pub epoch: Epoch,
    #[serde(flatten)]
    pub kind: EventKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    GroupApplied {
        members: usize,
    },
    GroupDeleted,
    MemberRegistered {
        member: MemberName,
        replaces: bool,
    },
    FailoverBegan {
        holder: MemberName,
        cause: Cause,
        silence_ms: u64,
    },
    MemberFenced {
        member: MemberName,
        position: Option<Position>,
    },
    FenceComplete,
    LeaseExpired {
        holder: MemberName,
    },
    HostAssertedDead {
        holder: MemberName,
    },
    DataLossAccepted {
        holder: MemberName,
    },
    LeaseGranted {
        holder: MemberName,
        sync: String,
    },
    Promoted {
        holder: MemberName,
        lineage: Lineage,
    },
    SyncProposed {
        sync_revision: Revision,
        sync: String,
    },
    SyncConfirmed {
        sync_revision: Revision,
        sync: String,
    },
    /// From here on the holder is published and opened to clients.
    EpochSealed {
        holder: MemberName,
    },
    Paused,
    Resumed,
    Incident {
        member: Option<MemberName>,
        code: String,
        message: String,
    },
}

/// Why a failover was begun.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The fuse says that PostgreSQL is gone.
    PostgresDied,
    /// The agent's streams were closed and the standbys receive nothing.
    ConnectionLost,
    /// Nothing was heard for `suspect_after` and the standbys receive nothing.
    Silence,
    /// Its agent spoke, and no standby of its set received anything for a TTL.
    Starved,
    /// The lease ran out.
    LeaseExpired,
    /// An operator asked for a failover.
    Operator,
    /// An operator asked for a switchover.
    Switchover,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PostgresDied => "PostgreSQL died",
            Self::ConnectionLost => "connections lost",
            Self::Silence => "silence",
            Self::Starved => "no standby receives",
            Self::LeaseExpired => "lease expired",
            Self::Operator => "operator",
            Self::Switchover => "switchover",
        })
    }
}
