//! Virtual time, and the clocks of processes, which err.
//!
//! True time is the simulator's alone. A process sees two clocks that run at
//! rates of their own and may jump ahead; neither goes back, as the system's
//! do not. Its wall clock does what it likes.

use std::time::Duration;

pub use crate::clock::elapsed::Elapsed;
use crate::clock::elapsed::Reading;

use super::rng::Rng;

/// True time in microseconds since the world began.
pub type At = u64;

pub const MS: At = 1_000;
pub const SECOND: At = 1_000 * MS;

/// The two clocks of one host.
#[derive(Debug, Clone)]
pub struct Clocks {
    boottime: Clock,
    raw: Clock,
    /// How this host's clocks err.
    habit: Habit,
    /// Milliseconds by which the wall clock is off; shown, never compared.
    wall_ms: u64,
}

/// What a host's two clocks may do, of which `Elapsed` makes the best.
///
/// Whoever waits compares what passed in all: once the two have drawn apart, a
/// jump of the one behind counts for as much as they are apart. The system's
/// clocks jump for a suspension only, in which that time did pass. So a clock
/// jumps here only beside one that it never drew apart from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    DrawsApart,
    BoottimeJumps,
    RawJumps,
}

/// A clock that runs at `rate` millionths of true time since `since`.
#[derive(Debug, Clone)]
struct Clock {
    since: At,
    shown: At,
    rate: u64,
}

/// Drift that the lease arithmetic allows for, in millionths (8 %).
const DRIFT: u64 = 80_000;

impl Clock {
    fn new(rng: &mut Rng) -> Self {
        Self {
            since: 0,
            shown: rng.below(1000 * SECOND),
            rate: drawn_rate(rng),
        }
    }

    fn read(&self, now: At) -> At {
        self.shown + now.saturating_sub(self.since) * self.rate / 1_000_000
    }

    fn set(&mut self, now: At, ahead: At, rate: u64) {
        self.shown = self.read(now) + ahead;
        (self.since, self.rate) = (now, rate);
    }
}

fn drawn_rate(rng: &mut Rng) -> u64 {
    match rng.below(3) {
        0 => 1_000_000,
        _ => 1_000_000 - DRIFT + rng.below(2 * DRIFT + 1),
    }
}

impl Clocks {
    pub fn new(rng: &mut Rng) -> Self {
        let habit = rng.pick(&[Habit::DrawsApart, Habit::BoottimeJumps, Habit::RawJumps]);
        let mut clocks = Self {
            boottime: Clock::new(rng),
            raw: Clock::new(rng),
            habit,
            wall_ms: 1_700_000_000_000,
        };
        clocks.change_rates(0, rng);
        clocks
    }

    fn change_rates(&mut self, now: At, rng: &mut Rng) -> String {
        let boot = drawn_rate(rng);
        let apart = self.habit == Habit::DrawsApart;
        let raw = if apart { drawn_rate(rng) } else { boot };
        self.boottime.set(now, 0, boot);
        self.raw.set(now, 0, raw);
        format!("clock rates become {boot} and {raw} ppm")
    }

    pub fn boottime(&self, now: At) -> Duration {
        Duration::from_micros(self.boottime.read(now))
    }

    /// What both clocks of the host show.
    pub fn reading(&self, now: At) -> Reading {
        Reading {
            boottime: self.boottime(now),
            monotonic_raw: Duration::from_micros(self.raw.read(now)),
        }
    }

    pub fn wall_ms(&self, now: At) -> u64 {
        self.wall_ms + now / MS
    }

    /// Lets the rates wander, or one of the two clocks jump ahead.
    pub fn disturb(&mut self, now: At, rng: &mut Rng) -> String {
        let ahead = rng.between(1, 30) * SECOND;
        self.wall_ms = self.wall_ms.wrapping_add(rng.below(86_400_000));
        let jumps = rng.chance(500) && self.habit != Habit::DrawsApart;
        if !jumps {
            return self.change_rates(now, rng);
        }
        let clock = match self.habit {
            Habit::BoottimeJumps => &mut self.boottime,
            _ => &mut self.raw,
        };
        clock.set(now, ahead, clock.rate);
        format!("{:?} by {} s", self.habit, ahead / SECOND)
    }
}
