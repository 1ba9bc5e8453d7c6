//! Virtual time, and the clocks of processes, which err.
//!
//! True time is the simulator's alone. A process sees two clocks that run at
//! rates of their own and may jump ahead; neither goes back, as the system's
//! do not. Its wall clock does what it likes.

use std::time::Duration;

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
/// It compares what passed since the process began, not since the lease was
/// asked for: once the two have drawn apart, a jump of the one behind counts
/// for as much as they are apart. So a clock jumps only beside one that it
/// never drew apart from, unless a test wants to see that.
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

/// Time since a process began, by both of its host's clocks.
#[derive(Debug, Clone)]
pub struct Elapsed {
    boottime: At,
    raw: At,
}

impl Elapsed {
    pub fn start(clocks: &Clocks, now: At) -> Self {
        Self {
            boottime: clocks.boottime.read(now),
            raw: clocks.raw.read(now),
        }
    }

    /// For whoever waits for a right of another to end.
    pub fn least(&self, clocks: &Clocks, now: At) -> Duration {
        let (boot, raw) = self.both(clocks, now);
        Duration::from_micros(boot.min(raw))
    }

    /// For whoever holds a right.
    pub fn greatest(&self, clocks: &Clocks, now: At) -> Duration {
        let (boot, raw) = self.both(clocks, now);
        Duration::from_micros(boot.max(raw))
    }

    fn both(&self, clocks: &Clocks, now: At) -> (At, At) {
        let boot = clocks.boottime.read(now).saturating_sub(self.boottime);
        (boot, clocks.raw.read(now).saturating_sub(self.raw))
    }
}
