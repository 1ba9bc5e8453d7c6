//! Which standbys must have a commit before it is acknowledged.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Epoch, Incarnation, InstructionOrder, Revision, rule::Rule};

/// `ANY k (set)`, in incarnations.
///
/// Two forms have an empty set and are opposites. With `k = 0` nobody is
/// asked: the primary acknowledges alone (asynchronous). With `k ≥ 1` nobody
/// can answer: the primary acknowledges nothing (`primacy_none`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SyncConfig {
    pub k: u32,
    pub set: BTreeSet<Incarnation>,
}

impl SyncConfig {
    /// Acknowledges nothing: what an unconfigured member of a sync group carries.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            k: 1,
            set: BTreeSet::new(),
        }
    }

    /// Acknowledges alone.
    #[must_use]
    pub fn asynchronous() -> Self {
        Self {
            k: 0,
            set: BTreeSet::new(),
        }
    }

    /// `ANY min(k, |set|) (set)`, and [`Self::nobody`] of an empty set.
    #[must_use]
    pub fn any(k: u32, set: BTreeSet<Incarnation>) -> Self {
        let size = u32::try_from(set.len()).unwrap_or(u32::MAX);
        Self {
            k: k.min(size).max(1),
            set,
        }
    }

    #[must_use]
    pub fn is_asynchronous(&self) -> bool {
        self.k == 0
    }

    /// Whether its numbers fit together: nobody, asynchronous, or `1 ≤ k ≤ |set|`.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        match self.set.len() {
            0 => self.k <= 1,
            size => self.k >= 1 && self.k as usize <= size,
        }
    }

    /// Whether stopping `fenced` from receiving leaves no k members that could
    /// acknowledge, so that one of `fenced` has every acknowledged commit.
    ///
    /// Never true of the asynchronous configuration, always of nobody.
    #[must_use]
    pub fn blocked_by(&self, fenced: &BTreeSet<Incarnation>) -> bool {
        let needed = if Rule::FenceCount.holds() {
            (self.set.len() + 1).saturating_sub(self.k as usize)
        } else {
            (self.set.len() + 1).saturating_sub(self.k as usize).min(1)
        };
        self.set.intersection(fenced).count() >= needed
    }

    /// Whether `confirmed` holds k of its set. False of nobody.
    #[must_use]
    pub fn confirmed_by(&self, confirmed: &BTreeSet<Incarnation>) -> bool {
        !Rule::Barrier.holds() || self.set.intersection(confirmed).count() >= self.k as usize
    }
}

/// A configuration under which some primary may have acknowledged commits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OnRecord {
    pub epoch: Epoch,
    pub revision: Revision,
    /// The holder of `epoch`: what it has includes all it ever acknowledged.
    pub holder: Incarnation,
    pub config: SyncConfig,
    /// Shown once that no commit can be acknowledged under it any more. What
    /// was shown stays true: promises are never taken back.
    pub exclusive: bool,
}

impl OnRecord {
    #[must_use]
    pub fn order(&self) -> InstructionOrder {
        InstructionOrder {
            epoch: self.epoch,
            revision: self.revision,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(ids: &[u128]) -> BTreeSet<Incarnation> {
        ids.iter()
            .map(|id| Incarnation(uuid::Uuid::from_u128(*id)))
            .collect()
    }

    #[test]
    fn any_one_of_two_needs_both_fenced() {
        let config = SyncConfig::any(1, members(&[1, 2]));
        assert!(!config.blocked_by(&members(&[1])));
        assert!(config.blocked_by(&members(&[1, 2])));
    }

    #[test]
    fn any_two_of_two_needs_one_fenced() {
        let config = SyncConfig::any(2, members(&[1, 2]));
        assert!(config.blocked_by(&members(&[2])));
        assert!(!config.blocked_by(&members(&[3])));
    }

    #[test]
    fn no_fence_blocks_a_primary_that_asks_nobody() {
        assert!(!SyncConfig::asynchronous().blocked_by(&members(&[1, 2, 3])));
    }

    #[test]
    fn a_primary_that_waits_for_nobody_is_blocked_and_never_confirmed() {
        let nobody = SyncConfig::nobody();
        assert!(nobody.blocked_by(&members(&[])));
        assert!(!nobody.confirmed_by(&members(&[1, 2])));
    }
}
