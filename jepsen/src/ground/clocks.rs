//! Clocks that run as we say, for one process or several.
//!
//! A library is preloaded into a process, and stands in for libc's functions
//! that tell the time or wait. Both sides map the same file: the controller
//! writes there how clocks run, processes write there what they were told.
//!
//! Invariants: a change holds at one moment, for every thread of every process
//! that shares the file. A clock other than the wall clock never goes back.
//! Processes that are started later find the clocks as they are.

mod mapping;
#[path = "../../clock-shim/src/page.rs"]
mod page;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, atomic::Ordering},
    thread,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use self::{
    mapping::Mapping,
    page::{CLOCKS, Course, ONE, Setting, Slot},
};
use super::{GroundError, doing};
use crate::clock;

/// Compiled by the build script.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clock-shim.so"));
const LIBRARY_NAME: &str = "clock-shim.so";
/// How far ahead a change is announced: all must have read it by then.
const NOTICE: Duration = Duration::from_millis(20);
const ATTEMPTS: u32 = 100;
/// About a month, in milliseconds.
const FARTHEST: i64 = 30 * 86_400_000;
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// In the page's order.
const IDS: [ClockId; CLOCKS] = [
    ClockId::Realtime,
    ClockId::Monotonic,
    ClockId::MonotonicRaw,
    ClockId::Boottime,
];
const WALL: usize = 0;
const MONOTONIC: usize = 1;
const BOOT: usize = 3;

/// Which clocks jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    /// `CLOCK_REALTIME`: somebody set it, or NTP stepped it.
    Wall,
}

/// The clocks of the processes that were started with [`SkewedClock::env`].
#[derive(Debug)]
pub struct SkewedClock {
    path: PathBuf,
    library: PathBuf,
    mapping: Mapping,
    changes: Mutex<()>,
}

/// What one process was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Times that were not the real ones.
    pub served: u64,
    /// How far the wall clock, and the monotonic one, were ahead, nanoseconds.
    pub wall_ahead: i64,
    pub monotonic_ahead: i64,
    /// Whether it was told since the last change.
    pub is_current: bool,
}

impl SkewedClock {
    /// Clocks that are right, until told otherwise. The library is put beside
    /// the file `path`; both can be read by every user.
    pub fn create(path: &Path) -> Result<Self, GroundError> {
        let library = path.with_file_name(LIBRARY_NAME);
        put_library(&library).map_err(doing(format!("write {}", library.display())))?;
        let mapping = Mapping::create(path).map_err(doing(format!("map {}", path.display())))?;
        mapping.begin();
        Ok(Self {
            path: path.to_owned(),
            library,
            mapping,
            changes: Mutex::new(()),
        })
    }

    /// What a process is to be started with. Its children inherit it.
    #[must_use]
    pub fn env(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("JEPSEN_CLOCK", self.path.clone()),
        ]
    }

    /// From now on all clocks run at `ratio` of the real pace, 0.01 to 100.
    pub fn set_rate(&self, ratio: f64) -> Result<(), GroundError> {
        if !(0.01..=100.0).contains(&ratio) {
            let why = format!("a clock cannot run at {ratio}");
            return Err(GroundError::Impossible(why));
        }
        let rate = (ratio * ONE as f64).round() as u64;
        self.change(|_, course, at| course.turn(at, 0, rate))
    }

    /// Clocks jump by so many milliseconds: the wall clock forward or back,
    /// all of them forward only.
    pub fn jump(&self, millis: i64, which: Which) -> Result<(), GroundError> {
        if which == Which::All && millis < 0 {
            let why = "a monotonic clock cannot go back".to_owned();
            return Err(GroundError::Impossible(why));
        }
        self.shift(millis, |clock| which == Which::All || clock == WALL)
    }

    /// As if the machine had been suspended: the wall clock and
    /// `CLOCK_BOOTTIME` jump forward, the others missed it.
    pub fn suspend(&self, length: Duration) -> Result<(), GroundError> {
        let millis = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        self.shift(millis, |clock| clock == WALL || clock == BOOT)
    }

    fn shift(&self, millis: i64, is_meant: impl Fn(usize) -> bool) -> Result<(), GroundError> {
        if millis.abs() > FARTHEST {
            let why = format!("a jump of {millis} ms is too far");
            return Err(GroundError::Impossible(why));
        }
        self.change(|clock, course, at| {
            let jump = if is_meant(clock) {
                millis * 1_000_000
            } else {
                0
            };
            course.turn(at, jump, course.rate_after)
        })
    }

    /// All run at the right pace, and the wall clock is right. The others stay
    /// where they are: they cannot go back.
    pub fn reset(&self) -> Result<(), GroundError> {
        self.change(|clock, course, at| {
            let ahead = course.virtual_at(at) - at;
            let jump = if clock == WALL { -ahead } else { 0 };
            course.turn(at, jump, ONE)
        })
    }

    /// Announces a change and returns once it holds.
    fn change(&self, change: impl Fn(usize, &Course, i64) -> Course) -> Result<(), GroundError> {
        let _one_at_a_time = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..ATTEMPTS {
            let began = clock::now();
            let setting: Setting = std::array::from_fn(|clock| {
                let (course, _) = self.mapping.course(clock);
                let notice = i64::try_from(NOTICE.as_nanos()).unwrap_or(0);
                change(clock, &course, read(IDS[clock]) + notice)
            });
            // Announced too late, a slower clock would seem to go back.
            if clock::now() - began < NOTICE / 2 {
                self.mapping.publish(&setting);
                thread::sleep(NOTICE + Duration::from_millis(1));
                return Ok(());
            }
        }
        let why = "this process is held up too long to change a clock".to_owned();
        Err(GroundError::Impossible(why))
    }

    /// Times that a process was told that were not the real ones.
    #[must_use]
    pub fn served(&self, pid: u32) -> u64 {
        self.told(pid).map_or(0, |told| told.served)
    }

    /// Unset: nothing but the truth, since it started.
    #[must_use]
    pub fn told(&self, pid: u32) -> Option<Told> {
        let is_its = |slot: &&Slot| slot.pid.load(Ordering::Acquire) == pid;
        let slot = self.mapping.slots.iter().find(is_its)?;
        let served = slot.served.load(Ordering::Acquire);
        Some(Told {
            served,
            wall_ahead: slot.ahead[WALL].load(Ordering::Relaxed),
            monotonic_ahead: slot.ahead[MONOTONIC].load(Ordering::Relaxed),
            is_current: slot.generation.load(Ordering::Relaxed) == self.mapping.generation(),
        })
    }

    /// Waits until a process was told a wrong time since the last change, and
    /// again after this was called. `deadline` by [`clock::now`].
    pub fn assert_seen(&self, pid: u32, deadline: Duration) -> Result<Told, GroundError> {
        let before = self.served(pid);
        loop {
            match self.told(pid) {
                Some(told) if told.is_current && told.served > before => return Ok(told),
                _ if clock::now() > deadline => {
                    let page = self.path.clone();
                    return Err(GroundError::NotSkewed { pid, page });
                }
                _ => thread::sleep(LOOK_AGAIN),
            }
        }
    }
}

/// Never written over: it may be running.
fn put_library(path: &Path) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == LIBRARY) {
        return Ok(());
    }
    let new = path.with_extension(format!(
        "{}.{:?}",
        std::process::id(),
        thread::current().id()
    ));
    fs::write(&new, LIBRARY)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    fs::rename(new, path)
}

/// Past libc: this process's own clocks, whatever is preloaded into it.
fn read(id: ClockId) -> i64 {
    let time = clock_gettime(id);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[cfg(test)]
mod tests;
