//! How long this node may go on answering.
//!
//! A proof is a quorum round that showed this node to have applied all that
//! was committed before the round began. It is aged from that beginning, so
//! what is answered was true within `max_staleness` of the answer.
//!
//! Invariant: nothing here reads a clock, and no proof makes an older one
//! count for longer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Whether a node may answer for its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fresh,
    /// No proof was ever had.
    Starting,
    /// The latest proof is too old.
    Stale,
}

const NEVER: u64 = 0;

/// The latest proof of freshness; times are since boot, suspension included.
#[derive(Debug)]
pub struct Freshness {
    max_staleness: Duration,
    /// Nanoseconds since boot at which the proving round began; 0 before the first.
    proved_at: AtomicU64,
}

impl Freshness {
    #[must_use]
    pub fn new(max_staleness: Duration) -> Self {
        Self {
            max_staleness,
            proved_at: AtomicU64::new(NEVER),
        }
    }

    /// Takes the proof of a round that began at `began`, unless a later one is known.
    ///
    /// What the round proved must be in place before: a reader that sees the
    /// proof goes on to read the zone.
    pub fn prove(&self, began: Duration) {
        self.proved_at.fetch_max(nanos(began), Ordering::AcqRel);
    }

    /// Whether the latest proof is younger than `max_staleness` at `now`.
    #[must_use]
    pub fn verdict(&self, now: Duration) -> Verdict {
        match self.proved_at.load(Ordering::Acquire) {
            NEVER => Verdict::Starting,
            began if self.is_young(now.saturating_sub(Duration::from_nanos(began))) => {
                Verdict::Fresh
            }
            _ => Verdict::Stale,
        }
    }

    fn is_young(&self, age: Duration) -> bool {
        age < self.max_staleness
    }
}

fn nanos(time: Duration) -> u64 {
    // 584 years of uptime; never 0, which stands for no proof.
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(2);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_is_fresh_before_the_first_proof() {
        assert_eq!(Freshness::new(MAX).verdict(seconds(1)), Verdict::Starting);
    }

    #[test]
    fn a_proof_ends_exactly_at_max_staleness_after_its_round_began() {
        let freshness = Freshness::new(MAX);
        freshness.prove(seconds(10));
        let end = seconds(12);
        assert_eq!(
            freshness.verdict(end - Duration::from_nanos(1)),
            Verdict::Fresh
        );
        assert_eq!(freshness.verdict(end), Verdict::Stale);
    }

    #[test]
    fn an_older_round_that_ends_late_takes_nothing_back_and_adds_nothing() {
        let freshness = Freshness::new(MAX);
        freshness.prove(seconds(20));
        freshness.prove(seconds(10));
        assert_eq!(freshness.verdict(seconds(21)), Verdict::Fresh);
        assert_eq!(freshness.verdict(seconds(22)), Verdict::Stale);
    }
}
