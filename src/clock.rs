//! The clocks, read through libc and nowhere else.
//!
//! Through libc on purpose: a test that skews time does so by preloading a
//! library, which raw system calls and timer descriptors would slip past.

// The only system call here cannot be made safely through libc; the argument
// stands at the block.
#![allow(unsafe_code)]

use std::time::Duration;

/// Time since boot, counting suspension. Never goes back.
#[must_use]
pub fn boottime() -> Duration {
    read(libc::CLOCK_BOOTTIME)
}

/// Time since boot without suspension and without NTP's slewing.
#[must_use]
pub fn monotonic_raw() -> Duration {
    read(libc::CLOCK_MONOTONIC_RAW)
}

/// Wall clock, milliseconds since 1970. To show, never to compare.
#[must_use]
pub fn wall_ms() -> u64 {
    u64::try_from(read(libc::CLOCK_REALTIME).as_millis()).unwrap_or(u64::MAX)
}

/// Time that passed since this was made, by two clocks that err differently:
/// one is slewed by NTP, the other misses suspension.
///
/// Not to be copied: [`Self::greatest`] counts on from its last reading.
#[derive(Debug)]
pub struct Elapsed {
    start: Reading,
    last: Reading,
    greatest: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    boottime: Duration,
    monotonic_raw: Duration,
}

impl Reading {
    fn now() -> Self {
        Self {
            boottime: boottime(),
            monotonic_raw: monotonic_raw(),
        }
    }

    /// What each clock went since `earlier`.
    fn since(self, earlier: Self) -> (Duration, Duration) {
        let boot = self.boottime.saturating_sub(earlier.boottime);
        let raw = self.monotonic_raw.saturating_sub(earlier.monotonic_raw);
        (boot, raw)
    }
}

impl Elapsed {
    /// Starts counting.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at(Reading::now())
    }

    fn start_at(now: Reading) -> Self {
        Self {
            start: now,
            last: now,
            greatest: Duration::ZERO,
        }
    }

    /// For whoever waits for a right of another to end.
    #[must_use]
    pub fn least(&self) -> Duration {
        let (boot, raw) = Reading::now().since(self.start);
        boot.min(raw)
    }

    /// For whoever holds a right: between two readings of this, it goes no
    /// less than either clock.
    ///
    /// Of two totals the larger would not do: a clock that was ahead before a
    /// suspension hides it from the other.
    pub fn greatest(&mut self) -> Duration {
        self.greatest_at(Reading::now())
    }

    fn greatest_at(&mut self, now: Reading) -> Duration {
        let (boot, raw) = now.since(self.last);
        self.last = now;
        self.greatest += boot.max(raw);
        self.greatest
    }
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid, writable timespec for the length of the call,
    // and the call keeps no pointer to it.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    // Fails only for a clock the kernel does not know; Linux has had all three
    // since 2.6.39. Going on with a wrong time could revoke or keep a lease.
    assert_eq!(
        result, 0,
        "clock {clock} is missing: Linux 2.6.39 or later is required"
    );
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elapsed_clocks_never_go_back() {
        let (boot, raw) = (boottime(), monotonic_raw());
        assert!(boottime() >= boot);
        assert!(monotonic_raw() >= raw);
    }

    fn reading(boottime: u64, monotonic_raw: u64) -> Reading {
        Reading {
            boottime: Duration::from_secs(boottime),
            monotonic_raw: Duration::from_secs(monotonic_raw),
        }
    }

    #[test]
    fn a_suspension_counts_though_the_clock_that_misses_it_was_ahead() {
        let mut elapsed = Elapsed::start_at(reading(100, 100));
        let before = elapsed.greatest_at(reading(110, 120));
        assert_eq!(before, Duration::from_secs(20));
        // Suspended for 8 s: one clock stood still, and is ahead even so.
        let after = elapsed.greatest_at(reading(118, 120));
        assert_eq!(after, Duration::from_secs(28));
    }

    #[test]
    fn the_wall_clock_is_past_2020() {
        assert!(wall_ms() > 1_577_836_800_000);
    }
}
