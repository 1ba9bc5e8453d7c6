//! What the controller and the skewed processes share: one page of memory, and
//! how a real time becomes a virtual one.
//!
//! Two settings lie side by side; the generation says which one holds. The
//! controller writes the other one whole and then raises the generation, so
//! that a controller that dies in the middle leaves a page that can be read.

use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

pub const MAGIC: u64 = u64::from_le_bytes(*b"pj-clock");
pub const VERSION: u32 = 1;
/// Processes that can be told apart at a time.
pub const SLOTS: usize = 64;
/// `CLOCK_REALTIME`, `MONOTONIC`, `MONOTONIC_RAW`, `BOOTTIME`, in this order.
pub const CLOCKS: usize = 4;
/// Rates are counted in these.
pub const ONE: u64 = 1 << 32;

#[repr(C)]
pub struct Page {
    pub magic: AtomicU64,
    pub version: AtomicU32,
    pub reserved: AtomicU32,
    generation: AtomicU64,
    settings: [[Line; CLOCKS]; 2],
    pub slots: [Slot; SLOTS],
}

/// A [`Course`] in shared memory.
#[repr(C)]
struct Line {
    at: AtomicI64,
    before: AtomicI64,
    after: AtomicI64,
    rate_before: AtomicU64,
    rate_after: AtomicU64,
}

/// What one process was told.
#[repr(C)]
pub struct Slot {
    /// 0: nobody's.
    pub pid: AtomicU32,
    pub reserved: AtomicU32,
    /// Times handed out that were not the real ones.
    pub served: AtomicU64,
    /// The page's when the last of them was handed out.
    pub generation: AtomicU64,
    /// By how much each clock was ahead at the last one, nanoseconds.
    pub ahead: [AtomicI64; CLOCKS],
}

/// How one clock runs: along one line until a moment, along another after it.
/// Real and virtual times are in nanoseconds of that clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// The moment, real.
    pub at: i64,
    /// The virtual time just before it.
    pub before: i64,
    /// The virtual time from it on.
    pub after: i64,
    pub rate_before: u64,
    pub rate_after: u64,
}

pub type Setting = [Course; CLOCKS];

impl Course {
    pub const REAL: Self = Self {
        at: 0,
        before: 0,
        after: 0,
        rate_before: ONE,
        rate_after: ONE,
    };

    pub fn virtual_at(&self, real: i64) -> i64 {
        if real < self.at {
            // Rounded down, and so never behind the line that it continues.
            self.before - scaled(self.at - real, self.rate_before, ONE)
        } else {
            self.after + scaled(real - self.at, self.rate_after, ONE)
        }
    }
}

/// Rounded down; what is too long for a clock is its end.
fn scaled(length: i64, rate: u64, one: u64) -> i64 {
    let product = i128::from(length) * i128::from(rate) / i128::from(one.max(1));
    i64::try_from(product).unwrap_or(i64::MAX)
}

impl Line {
    fn load(&self) -> Course {
        Course {
            at: self.at.load(Ordering::Relaxed),
            before: self.before.load(Ordering::Relaxed),
            after: self.after.load(Ordering::Relaxed),
            rate_before: self.rate_before.load(Ordering::Relaxed),
            rate_after: self.rate_after.load(Ordering::Relaxed),
        }
    }
}

impl Page {
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The course of one clock, and the generation it is of.
    pub fn course(&self, clock: usize) -> (Course, u64) {
        loop {
            let generation = self.generation.load(Ordering::Acquire);
            let course = self.at(generation)[clock].load();
            fence(Ordering::Acquire);
            if self.generation.load(Ordering::Relaxed) == generation {
                return (course, generation);
            }
        }
    }

    fn at(&self, generation: u64) -> &[Line; CLOCKS] {
        &self.settings[usize::from(generation % 2 == 1)]
    }
}

/// The processes' half, unused in the controller.
#[allow(dead_code)]
impl Course {
    /// The first real time, from `now` on, at which it is `moment` or later.
    pub fn real_at(&self, moment: i64, now: i64) -> i64 {
        if now < self.at && moment <= self.before {
            return self.at - scaled(self.before - moment, ONE, self.rate_before);
        }
        if moment <= self.after {
            return self.at.max(now);
        }
        let passed = scaled(moment - self.after, ONE, self.rate_after);
        self.at.saturating_add(passed).saturating_add(1)
    }
}

/// The controller's half, unused in the processes.
#[allow(dead_code)]
impl Course {
    /// The course that turns off this one at a moment after its own.
    pub fn turn(&self, at: i64, jump: i64, rate: u64) -> Self {
        let before = self.virtual_at(at);
        Self {
            at,
            before,
            after: before + jump,
            rate_before: self.rate_after,
            rate_after: rate,
        }
    }
}

#[allow(dead_code)]
impl Line {
    fn store(&self, course: &Course) {
        self.at.store(course.at, Ordering::Relaxed);
        self.before.store(course.before, Ordering::Relaxed);
        self.after.store(course.after, Ordering::Relaxed);
        self.rate_before
            .store(course.rate_before, Ordering::Relaxed);
        self.rate_after.store(course.rate_after, Ordering::Relaxed);
    }
}

#[allow(dead_code)]
impl Page {
    /// On a page of zeros.
    pub fn begin(&self) {
        self.publish(&[Course::REAL; CLOCKS]);
        self.version.store(VERSION, Ordering::Relaxed);
        self.magic.store(MAGIC, Ordering::Release);
    }

    /// By one controller at a time.
    pub fn publish(&self, setting: &Setting) {
        let next = self.generation.load(Ordering::Relaxed) + 1;
        // Who still reads what is written over here sees that the generation moved.
        fence(Ordering::SeqCst);
        for (line, course) in self.at(next).iter().zip(setting) {
            line.store(course);
        }
        self.generation.store(next, Ordering::Release);
    }
}
