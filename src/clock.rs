//! The clocks, read through libc and nowhere else.
//!
//! Through libc on purpose: a test that skews time does so by preloading a
//! library, which raw system calls and timer descriptors would slip past.

// The only system call here cannot be made safely through libc; the argument
// stands at the block.
#![allow(unsafe_code)]

mod elapsed;

use std::time::Duration;

pub use elapsed::{Elapsed, Reading};

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

/// What both clocks show now.
#[must_use]
pub fn reading() -> Reading {
    Reading {
        boottime: boottime(),
        monotonic_raw: monotonic_raw(),
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

    #[test]
    fn the_wall_clock_is_past_2020() {
        assert!(wall_ms() > 1_577_836_800_000);
    }
}
