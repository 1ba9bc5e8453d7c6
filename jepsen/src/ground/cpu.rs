//! The processor, taken away by whoever spins at a higher priority.
//!
//! Threads of this process, so that none outlives it. The kernel may share
//! processor time among sessions first (`autogroup`), and PostgreSQL's backends
//! have their own: this process's session is raised too. The hub's priority is
//! higher still: it is the hosts that are slow, not the network.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    process::setpriority_process,
    time::{ClockId, clock_gettime},
};

use super::{GroundError, doing};
use crate::clock;

const PRIORITY: i32 = -10;
/// Where a session's priority stands, if the kernel knows such a thing.
const SESSION: &str = "/proc/self/autogroup";
/// After which they end by themselves.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at whether to go on.
const SPIN: u32 = 100_000;

/// Spin until they are stopped or dropped.
#[derive(Debug)]
pub struct Burners {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Duration>>,
    /// The session's priority before.
    session: Option<String>,
}

impl Burners {
    /// Starts this many.
    pub fn start(count: usize) -> Result<Self, GroundError> {
        let mut burners = Self {
            stop: Arc::default(),
            threads: Vec::new(),
            session: raise_session(),
        };
        for _ in 0..count {
            let stop = Arc::clone(&burners.stop);
            let thread = thread::Builder::new().name("burner".to_owned());
            let thread = thread.spawn(move || burn(&stop));
            burners
                .threads
                .push(thread.map_err(doing("start a burner"))?);
        }
        Ok(burners)
    }

    /// Says how much processor time they took together.
    pub fn stop(mut self) -> Result<Duration, GroundError> {
        self.stop.store(true, Ordering::Relaxed);
        let took = self.threads.drain(..).map(|thread| {
            let panicked = |_| GroundError::Impossible("a burner panicked".to_owned());
            thread.join().map_err(panicked)
        });
        took.sum()
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(before) = self.session.take() {
            let _cannot_fail = fs::write(SESSION, before);
        }
    }
}

/// The priority until now: `/autogroup-25 nice 0`.
fn raise_session() -> Option<String> {
    let before = fs::read_to_string(SESSION).ok()?;
    let (_, before) = before.trim().rsplit_once(' ')?;
    fs::write(SESSION, PRIORITY.to_string()).ok()?;
    Some(before.to_owned())
}

fn burn(stop: &AtomicBool) -> Duration {
    // Without root they take their share and no more.
    let _fairer = setpriority_process(None, PRIORITY);
    let end = clock::now() + LIMIT;
    while !stop.load(Ordering::Relaxed) && clock::now() < end {
        for _ in 0..SPIN {
            std::hint::black_box(());
        }
    }
    let took = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(took.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(took.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const SPAN: Duration = Duration::from_millis(600);

    /// Processor time of a process in a while, in clock ticks.
    fn share(pid: u32) -> u64 {
        let used = || {
            let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let (_, rest) = line.rsplit_once(')').unwrap();
            let fields: Vec<_> = rest.split_whitespace().collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        };
        let before = used();
        thread::sleep(SPAN);
        used() - before
    }

    #[test]
    fn others_get_the_crumbs_while_burners_spin_whichever_session_they_are_of() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: priorities are raised by root");
            return;
        }
        let spin = ["sh", "-c", "while :; do :; done"];
        for session in [&["setsid"][..], &["env"]] {
            let mut victim = Command::new(session[0])
                .args(spin)
                .stdin(Stdio::null())
                .spawn()
                .unwrap();
            let before = share(victim.id());
            let burners = Burners::start(8).unwrap();
            let meanwhile = share(victim.id());
            let took = burners.stop().unwrap();
            let after = share(victim.id());
            victim.kill().unwrap();
            victim.wait().unwrap();
            assert!(took > SPAN, "{took:?}");
            assert!(
                meanwhile * 3 < before * 2,
                "{session:?}: {before}, then {meanwhile}"
            );
            assert!(
                meanwhile * 3 < after * 2,
                "{session:?}: {meanwhile}, then {after}"
            );
        }
    }
}
