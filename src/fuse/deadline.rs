//! How long the fuse lets PostgreSQL run without hearing from its agent.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock;

/// Both clocks at one moment, as the agent noted it.
///
/// The fuse runs on the agent's host, so it reads the same clocks: a message
/// that was held up on its way cannot prolong a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    pub boottime: Duration,
    pub monotonic_raw: Duration,
}

impl Reading {
    #[must_use]
    pub fn now() -> Self {
        Self {
            boottime: clock::boottime(),
            monotonic_raw: clock::monotonic_raw(),
        }
    }

    /// Time from `self` to `now`: the larger of the two clocks' answers, since
    /// whoever holds a right must not believe in it for too long.
    #[must_use]
    pub fn elapsed_at(self, now: Self) -> Duration {
        let boottime = now.boottime.saturating_sub(self.boottime);
        boottime.max(now.monotonic_raw.saturating_sub(self.monotonic_raw))
    }
}

/// A moment after which PostgreSQL must not run (`hard`), or after which the
/// agent is told that it would have been stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// What the time is counted from.
    pub noted: Reading,
    pub remaining: Duration,
    pub hard: bool,
}

impl Deadline {
    /// Time left at `now`, zero once it has passed.
    #[must_use]
    pub fn left(self, now: Reading) -> Duration {
        self.remaining.saturating_sub(self.noted.elapsed_at(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_faster_clock_ends_a_deadline() {
        let zero = Reading {
            boottime: Duration::ZERO,
            monotonic_raw: Duration::ZERO,
        };
        let deadline = Deadline {
            noted: zero,
            remaining: Duration::from_secs(3),
            hard: true,
        };
        let suspended = Reading {
            boottime: Duration::from_secs(4),
            monotonic_raw: Duration::from_secs(1),
        };
        assert_eq!(deadline.left(suspended), Duration::ZERO);
    }
}
