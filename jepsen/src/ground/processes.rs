//! The processes of a place, found by what they are and where they work.
//!
//! Not by descent: a fuse outlives its agent on purpose, and PostgreSQL's
//! children outlive a killed postmaster. Not by directory alone either: a
//! shell in which somebody looks at the logs is none of the fleet's.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::GroundError;
use crate::clock;

const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Rounds without a change after which everything is taken to be found.
const CALM: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Server,
    Agent,
    Fuse,
    /// The postmaster and each of its children.
    Postgres,
    /// What else an agent starts: `pg_rewind`, `pg_basebackup`, `initdb`.
    Tool,
}

impl Kind {
    /// A whole region.
    pub const ALL: [Self; 5] = [
        Self::Server,
        Self::Agent,
        Self::Fuse,
        Self::Postgres,
        Self::Tool,
    ];
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub pid: i32,
    pub parent: i32,
    pub kind: Kind,
    /// As `/proc` has it: `R`, `S`, `T` for stopped. Never `Z`: a process that
    /// has ended is not found.
    pub state: char,
    /// When it started, in clock ticks since boot: with the pid, its identity.
    pub started: u64,
}

impl Found {
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state == 'T'
    }
}

/// Where processes are looked for.
#[derive(Debug, Clone)]
pub struct Processes {
    /// They work within it, or it is named on their command line.
    dir: PathBuf,
    program: PathBuf,
    /// PostgreSQL's executables.
    bin_dir: PathBuf,
}

impl Processes {
    /// Those of `program`, and of PostgreSQL, that work within `dir`.
    #[must_use]
    pub fn of(dir: &Path, program: &Path, bin_dir: &Path) -> Self {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Self {
            dir: dir.to_owned(),
            program: real(program),
            bin_dir: real(bin_dir),
        }
    }

    /// Those there are now, by pid.
    #[must_use]
    pub fn find(&self, kinds: &[Kind]) -> Vec<Found> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let found = pids.filter_map(|pid| self.look_at(pid));
        let mut found: Vec<_> = found.filter(|it| kinds.contains(&it.kind)).collect();
        found.sort_by_key(|it| it.pid);
        found
    }

    fn look_at(&self, pid: i32) -> Option<Found> {
        // A process that has ended has no executable any more.
        let executable = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments: Vec<_> = arguments.split(|byte| *byte == 0).collect();
        let kind = self.kind(&executable, &arguments)?;
        if !self.works_here(pid, &arguments) {
            return None;
        }
        let (state, parent, started) = stat(pid)?;
        Some(Found {
            pid,
            parent,
            kind,
            state,
            started,
        })
    }

    fn kind(&self, executable: &Path, arguments: &[&[u8]]) -> Option<Kind> {
        if executable == self.program {
            return match *arguments.get(1)? {
                b"server" => Some(Kind::Server),
                b"agent" => Some(Kind::Agent),
                b"fuse" => Some(Kind::Fuse),
                _ => None,
            };
        }
        let name = executable.strip_prefix(&self.bin_dir).ok()?.to_str()?;
        match name {
            "postgres" => Some(Kind::Postgres),
            "psql" => None,
            _ => Some(Kind::Tool),
        }
    }

    fn works_here(&self, pid: i32, arguments: &[&[u8]]) -> bool {
        let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
        if cwd.is_ok_and(|cwd| cwd.starts_with(&self.dir)) {
            return true;
        }
        let is_here = |argument: &&[u8]| {
            let path = str::from_utf8(argument);
            path.is_ok_and(|path| Path::new(path).starts_with(&self.dir))
        };
        arguments.iter().any(is_here)
    }

    /// Sends a signal to those there are now, once, and says to whom.
    pub fn signal(&self, kinds: &[Kind], signal: Signal) -> Vec<Found> {
        let mut found = self.find(kinds);
        found.retain(|it| send(it, signal));
        found
    }

    /// Kills, -9, until none is left, whatever they start meanwhile. Says who
    /// was killed. `deadline` by [`clock::now`].
    pub fn kill(&self, kinds: &[Kind], deadline: Duration) -> Result<Vec<Found>, GroundError> {
        let mut killed: Vec<Found> = Vec::new();
        loop {
            let left = self.signal(kinds, Signal::KILL);
            if left.is_empty() && self.find(kinds).is_empty() {
                return Ok(killed);
            }
            add(&mut killed, &left);
            if clock::now() > deadline {
                return Err(GroundError::StillThere(pids(&left)));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Stops all of them, and those they start meanwhile. Parents first: a
    /// stopped postmaster has no more children.
    pub fn stop(&self, kinds: &[Kind], deadline: Duration) -> Result<Vec<Found>, GroundError> {
        self.until(kinds, Signal::STOP, deadline, Found::is_stopped)
    }

    /// Lets all of them go on.
    pub fn resume(&self, kinds: &[Kind], deadline: Duration) -> Result<Vec<Found>, GroundError> {
        self.until(kinds, Signal::CONT, deadline, |it| !it.is_stopped())
    }

    /// Sends a signal until everyone there is has been seen as wished, twice.
    fn until(
        &self,
        kinds: &[Kind],
        signal: Signal,
        deadline: Duration,
        wished: impl Fn(&Found) -> bool,
    ) -> Result<Vec<Found>, GroundError> {
        let (mut reached, mut calm) = (Vec::new(), 0);
        loop {
            let (done, mut left): (Vec<_>, Vec<_>) =
                self.find(kinds).into_iter().partition(&wished);
            calm = if left.is_empty() { calm + 1 } else { 0 };
            if calm == CALM {
                add(&mut reached, &done);
                return Ok(reached);
            }
            if clock::now() > deadline {
                return Err(GroundError::StillRunning(pids(&left)));
            }
            left.retain(|it| send(it, signal));
            thread::sleep(LOOK_AGAIN);
        }
    }
}

fn pids(found: &[Found]) -> Vec<i32> {
    found.iter().map(|it| it.pid).collect()
}

fn add(all: &mut Vec<Found>, some: &[Found]) {
    let is_new = |it: &&Found| !all.iter().any(|other| other.pid == it.pid);
    let new: Vec<_> = some.iter().filter(is_new).cloned().collect();
    all.extend(new);
}

/// Whether it was there to be sent to.
fn send(to: &Found, signal: Signal) -> bool {
    let same = stat(to.pid).is_some_and(|(_, _, started)| started == to.started);
    let pid = Pid::from_raw(to.pid).filter(|_| same);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// State, parent, and when it started.
fn stat(pid: i32) -> Option<(char, i32, u64)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, parentheses too.
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    let parent = fields.get(1)?.parse().ok()?;
    Some((state, parent, fields.get(19)?.parse().ok()?))
}

#[cfg(test)]
mod tests;
