//! The machine's one clock.
//!
//! Everything that is recorded is timed by it, whatever namespace, process or
//! skewed clock it happened under: all parts run on one machine, so that two
//! moments can be compared.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since boot. Never goes back.
#[must_use]
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}
