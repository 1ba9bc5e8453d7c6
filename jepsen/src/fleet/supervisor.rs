//! Keeps services running, as systemd would: what ends by itself is started
//! again a moment later, unless somebody holds it down.
//!
//! A nemesis that kills a service holds it first. What dies unheld (of a full
//! disk, of a failed fsync) is noted in the service's log and comes back.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;

use super::Service;
use crate::{clock, ground::namespace::Namespace, history::Recorder};

/// Between the end of a service and its next start; systemd's `RestartSec`.
const REST: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);

pub(super) type Key = (usize, Service);

pub(super) struct Supervisor {
    shared: Arc<Shared>,
}

struct Shared {
    kept: Mutex<BTreeMap<Key, Kept>>,
    ended: AtomicBool,
    recorder: Recorder,
}

struct Kept {
    command: Command,
    namespace: Namespace,
    log: PathBuf,
    child: Option<Child>,
    /// How many want it down.
    holds: u32,
    /// When it is started again.
    due: Option<Duration>,
}

impl Supervisor {
    pub(super) fn start(recorder: Recorder) -> Self {
        let shared = Arc::new(Shared {
            kept: Mutex::default(),
            ended: AtomicBool::new(false),
            recorder,
        });
        let watched = Arc::clone(&shared);
        thread::spawn(move || {
            while !watched.ended.load(Ordering::SeqCst) {
                watched.look();
                thread::sleep(LOOK);
            }
        });
        Self { shared }
    }

    /// Starts `command` in `namespace`, and keeps it running.
    pub(super) fn keep(&self, key: Key, command: Command, namespace: Namespace, log: PathBuf) {
        let kept = Kept {
            command,
            namespace,
            log,
            child: None,
            holds: 0,
            due: Some(Duration::ZERO),
        };
        self.shared.kept().insert(key, kept);
        self.shared.look();
    }

    /// Leaves it down once it has ended, until all who hold it let go.
    pub(super) fn hold(&self, key: Key) {
        if let Some(kept) = self.shared.kept().get_mut(&key) {
            kept.holds += 1;
        }
    }

    /// Takes one hold back; without any it is started at once.
    pub(super) fn release(&self, key: Key) {
        if let Some(kept) = self.shared.kept().get_mut(&key) {
            kept.holds = kept.holds.saturating_sub(1);
            kept.due = Some(Duration::ZERO);
        }
        self.shared.look();
    }

    /// Starts nothing any more.
    pub(super) fn stop(&self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let mut kept = self.shared.kept();
        kept.values_mut().for_each(|kept| kept.holds += 1);
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) {
        for kept in self.kept().values_mut() {
            if let Err(error) = kept.look(&self.recorder) {
                kept.note(&self.recorder, &format!("not started: {error:#}"));
                kept.due = Some(clock::now() + REST);
            }
        }
    }
}

impl Kept {
    /// Also collects what has ended, so that no zombie stays.
    fn runs(&mut self) -> anyhow::Result<bool> {
        let Some(child) = &mut self.child else {
            return Ok(false);
        };
        let ended = child.try_wait()?.is_some();
        if ended {
            self.child = None;
        }
        Ok(!ended)
    }

    fn look(&mut self, recorder: &Recorder) -> anyhow::Result<()> {
        let had_one = self.child.is_some();
        if self.runs()? || self.holds > 0 {
            return Ok(());
        }
        if had_one {
            self.note(recorder, "ended by itself");
            self.due = Some(clock::now() + REST);
        }
        match self.due {
            Some(due) if clock::now() >= due => self.start(recorder),
            _ => Ok(()),
        }
    }

    fn start(&mut self, recorder: &Recorder) -> anyhow::Result<()> {
        self.due = None;
        self.note(recorder, "started");
        let log = open(&self.log)?;
        self.command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let command = &mut self.command;
        let child = self.namespace.run(|| command.spawn())?;
        self.child = Some(child.with_context(|| format!("start {command:?}"))?);
        Ok(())
    }

    /// A line in the service's own log, with the run's time.
    fn note(&self, recorder: &Recorder, what: &str) {
        let at = Duration::from_nanos(recorder.now()).as_secs_f64();
        if let Ok(mut log) = open(&self.log) {
            let _unsaid = writeln!(log, "=== {at:.3} s: {what}");
        }
    }
}

fn open(log: &Path) -> anyhow::Result<File> {
    let opened = File::options().append(true).create(true).open(log);
    opened.with_context(|| format!("open {}", log.display()))
}
