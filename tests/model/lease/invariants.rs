//! What must never be seen of a lease.

use std::cmp::Ordering;

use super::{
    actions::Leases,
    state::{Check, CheckStage, State},
};

/// A guarantee that does not hold. Holders are named by their epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Guarantee A, where the empty set is in force.
    TwoAcknowledge { stale: u32, granted: u32 },
    /// While an answer is valid, no other member becomes primary.
    AnswerOverlaps { answered: u32, granted: u32 },
    /// The lessor is always later than the holder.
    Trusted { epoch: u32 },
    /// A time fence counts only for a holder that stops at its deadline.
    SoftFence { epoch: u32 },
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TwoAcknowledge { stale, granted } => write!(
                f,
                "the holder of epoch {stale} may still acknowledge alone, and epoch {granted} is granted"
            ),
            Self::AnswerOverlaps { answered, granted } => write!(
                f,
                "a client still relies on the holder of epoch {answered}, and epoch {granted} is granted"
            ),
            Self::Trusted { epoch } => {
                write!(
                    f,
                    "the lease of epoch {epoch} is expired, and its holder trusts it"
                )
            }
            Self::SoftFence { epoch } => write!(
                f,
                "a time fence counted for epoch {epoch}, of which no hard renewal was acknowledged"
            ),
        }
    }
}

impl Leases {
    /// The first guarantee that does not hold in `state`. With a protection
    /// taken out only harm is asked for, not what leads to it.
    pub(super) fn broken(&self, state: &State) -> Option<Violation> {
        let whole = self.scene.without.is_none();
        self.two_acknowledge(state)
            .or_else(|| self.answer_overlaps(state))
            .or_else(|| self.trusted(state).filter(|_| whole))
            .or_else(|| self.soft_fence(state).filter(|_| whole))
    }

    fn two_acknowledge(&self, state: &State) -> Option<Violation> {
        let granted = self.record.facts(state.group).epoch;
        let holders = (1..granted).zip(&state.holders);
        let mut stale = holders.filter(|(_, holding)| holding.serves);
        let (stale, _) = stale.next()?;
        Some(Violation::TwoAcknowledge { stale, granted })
    }

    fn answer_overlaps(&self, state: &State) -> Option<Violation> {
        let granted = self.record.facts(state.group).epoch;
        match state.check {
            Some(Check {
                stage: CheckStage::Answered { epoch: answered },
                ..
            }) if answered < granted => Some(Violation::AnswerOverlaps { answered, granted }),
            _ => None,
        }
    }

    fn trusted(&self, state: &State) -> Option<Violation> {
        let facts = self.record.facts(state.group);
        // A grant by WAL fence alone waits for nobody's deadline.
        let fenced_by_time = |epoch: u32| state.told_empty >> epoch & 1 == 1;
        let over = |epoch: u32| match epoch.cmp(&facts.epoch) {
            Ordering::Less => fenced_by_time(epoch),
            Ordering::Equal => facts.expired,
            Ordering::Greater => false,
        };
        let mut holders = (1..).zip(&state.holders);
        let trusts = holders.find(|(epoch, holding)| {
            over(*epoch) && holding.held.is_some_and(|held| held.left > 0)
        });
        trusts.map(|(epoch, _)| Violation::Trusted { epoch })
    }

    fn soft_fence(&self, state: &State) -> Option<Violation> {
        let granted = self.record.facts(state.group).epoch;
        if self.scene.released {
            return None;
        }
        // Where the empty set was never on record, a WAL fence is enough.
        let mut fenced = (1..granted).filter(|epoch| state.told_empty >> epoch & 1 == 1);
        let soft = fenced.find(|epoch| state.hard_acknowledged >> epoch & 1 == 0);
        soft.map(|epoch| Violation::SoftFence { epoch })
    }
}
