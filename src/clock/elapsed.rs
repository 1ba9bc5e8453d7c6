//! Time that passed, by two clocks that err differently: one is slewed by NTP,
//! the other misses suspension.
//!
//! Pure: what the clocks show is passed in.

use std::time::Duration;

/// What the two clocks show at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Counts suspension.
    pub boottime: Duration,
    /// Without suspension and without slewing.
    pub monotonic_raw: Duration,
}

impl Reading {
    /// What each clock went since `earlier`.
    fn since(self, earlier: Self) -> (Duration, Duration) {
        let boot = self.boottime.saturating_sub(earlier.boottime);
        let raw = self.monotonic_raw.saturating_sub(earlier.monotonic_raw);
        (boot, raw)
    }
}

/// Time that passed since this was made.
///
/// A copy counts on from its own last reading.
#[derive(Debug, Clone)]
pub struct Elapsed {
    start: Reading,
    last: Reading,
    greatest: Duration,
}

impl Elapsed {
    /// Starts counting.
    #[must_use]
    pub fn start(now: Reading) -> Self {
        Self {
            start: now,
            last: now,
            greatest: Duration::ZERO,
        }
    }

    /// For whoever waits for a right of another to end.
    #[must_use]
    pub fn least(&self, now: Reading) -> Duration {
        let (boot, raw) = now.since(self.start);
        boot.min(raw)
    }

    /// For whoever holds a right: between two readings of this, it goes no
    /// less than either clock.
    ///
    /// Of two totals the larger would not do: a clock that was ahead before a
    /// suspension hides it from the other.
    pub fn greatest(&mut self, now: Reading) -> Duration {
        let (boot, raw) = now.since(self.last);
        self.last = now;
        self.greatest += boot.max(raw);
        self.greatest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(boottime: u64, monotonic_raw: u64) -> Reading {
        Reading {
            boottime: Duration::from_secs(boottime),
            monotonic_raw: Duration::from_secs(monotonic_raw),
        }
    }

    #[test]
    fn a_suspension_counts_though_the_clock_that_misses_it_was_ahead() {
        let mut elapsed = Elapsed::start(reading(100, 100));
        let before = elapsed.greatest(reading(110, 120));
        assert_eq!(before, Duration::from_secs(20));
        // Suspended for 8 s: one clock stood still, and is ahead even so.
        let after = elapsed.greatest(reading(118, 120));
        assert_eq!(after, Duration::from_secs(28));
    }
}
