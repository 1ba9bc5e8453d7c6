//! The right to be primary, and the failover that takes it away.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Cause, Epoch, Incarnation, MemberName, Position};

/// Who is primary. Until when is not here: deadlines live in the leader's lessor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    pub epoch: Epoch,
    pub holder: Incarnation,
    pub member: MemberName,
    /// The holder's timeline under this epoch is on record.
    pub promoted: bool,
    /// The epoch's barrier is through: the holder is published.
    pub sealed: bool,
    /// A renewal was acknowledged whose holder stops at its deadline.
    pub hard: bool,
    /// It ran out; the holder of a hard lease has stopped.
    pub expired: bool,
}

/// A failover that began and has not been granted yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failover {
    /// The epoch that it closes.
    pub epoch: Epoch,
    pub cause: Cause,
    pub prefer: Option<MemberName>,
    /// Members that obey nothing of the epoch any more, and where they stand.
    pub fences: BTreeMap<Incarnation, Option<Position>>,
    pub host_dead: bool,
    pub accept_loss: bool,
    /// Wall clock of the proposer, milliseconds since 1970; shown only.
    pub began_at_ms: u64,
}

impl Failover {
    /// Every fenced member.
    #[must_use]
    pub fn fenced(&self) -> BTreeSet<Incarnation> {
        self.fences.keys().copied().collect()
    }

    /// The fenced members of which it is known where they stand.
    #[must_use]
    pub fn positioned(&self) -> BTreeSet<Incarnation> {
        self.fences
            .iter()
            .filter(|(_, at)| at.is_some())
            .map(|(id, _)| *id)
            .collect()
    }

    #[must_use]
    pub fn position(&self, member: Incarnation) -> Option<Position> {
        self.fences.get(&member).copied().flatten()
    }

    /// The most complete position of any fenced member.
    #[must_use]
    pub fn greatest(&self) -> Option<Position> {
        self.fences.values().copied().flatten().max()
    }
}
