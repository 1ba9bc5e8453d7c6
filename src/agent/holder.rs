//! The holder's side of a lease: until when it may trust it.
//!
//! Takes `now` from its caller: the larger of the two clocks that a holder
//! reads. Counting from before the renewal was sent, and leaving out the drift
//! and the time it takes to stop, it is always done before the lessor, which
//! counts the whole TTL from later on a clock assumed slow, grants to another.

use std::time::Duration;

use crate::domain::Epoch;

/// Drift assumed of any clock, in percent. NTP slews by up to 8.
pub const DRIFT_PERCENT: u32 = 10;

/// A renewal on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Renewal {
    pub epoch: Epoch,
    /// The holder stops at its deadline; otherwise it serves on for as long
    /// as its sync set acknowledges.
    pub hard: bool,
    /// The holder's clock before the renewal was sent.
    pub sent: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Holder {
    held: Option<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Held {
    epoch: Epoch,
    until: Duration,
    hard: bool,
}

impl Holder {
    /// Takes the acknowledgement of `renewal`. One that is late, or of an
    /// epoch that was left, changes nothing.
    ///
    /// Once hard, a lease stays hard for its epoch, as it does on record: a
    /// soft renewal may have been on its way since before the primary began to
    /// acknowledge alone, and would otherwise let it outlive its deadline.
    pub fn acknowledged(&mut self, renewal: Renewal, ttl: Duration, fence_budget: Duration) {
        let kept = ttl * (100 - DRIFT_PERCENT) / 100;
        let until = renewal.sent + kept.saturating_sub(fence_budget);
        let was_hard = self
            .held
            .is_some_and(|now| now.epoch == renewal.epoch && now.hard);
        let held = Held {
            epoch: renewal.epoch,
            until,
            hard: renewal.hard || was_hard,
        };
        match self.held {
            Some(now) if (now.epoch, now.until) >= (held.epoch, held.until) => {}
            _ => self.held = Some(held),
        }
    }

    /// Forgets the lease: another epoch is known.
    pub fn superseded(&mut self) {
        self.held = None;
    }

    /// Until when the lease of `epoch` is held, if it ever was.
    #[must_use]
    pub fn until(&self, epoch: Epoch) -> Option<Duration> {
        self.held
            .filter(|held| held.epoch == epoch)
            .map(|held| held.until)
    }

    /// Whether the holder of a hard lease has to have stopped by `now`.
    #[must_use]
    pub fn must_stop(&self, now: Duration) -> bool {
        self.held.is_some_and(|held| held.hard && now >= held.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);
    const BUDGET: Duration = Duration::from_secs(1);

    fn renewal(sent: u64, hard: bool) -> Renewal {
        Renewal {
            epoch: Epoch(3),
            hard,
            sent: Duration::from_secs(sent),
        }
    }

    #[test]
    fn a_lease_counts_from_before_it_was_asked_for() {
        let mut holder = Holder::default();
        holder.acknowledged(renewal(100, true), TTL, BUDGET);
        assert_eq!(holder.until(Epoch(3)), Some(Duration::from_secs(108)));
        assert!(!holder.must_stop(Duration::from_secs(107)));
        assert!(holder.must_stop(Duration::from_secs(108)));
    }

    #[test]
    fn an_acknowledgement_that_comes_late_shortens_nothing() {
        let mut holder = Holder::default();
        holder.acknowledged(renewal(100, true), TTL, BUDGET);
        holder.acknowledged(renewal(90, true), TTL, BUDGET);
        assert_eq!(holder.until(Epoch(3)), Some(Duration::from_secs(108)));
    }

    #[test]
    fn a_soft_renewal_softens_no_hard_lease_of_its_epoch() {
        let mut holder = Holder::default();
        holder.acknowledged(renewal(100, true), TTL, BUDGET);
        holder.acknowledged(renewal(101, false), TTL, BUDGET);
        assert!(holder.must_stop(Duration::from_secs(109)));
    }

    #[test]
    fn a_soft_lease_stops_nobody() {
        let mut holder = Holder::default();
        holder.acknowledged(renewal(100, false), TTL, BUDGET);
        assert!(!holder.must_stop(Duration::from_secs(1000)));
    }
}
