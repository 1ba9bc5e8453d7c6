//! Takes the books of a run, from all threads at once.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Answer, Fault, History, Nanos, Operation, Outcome, Request, Seen, Sight};
use crate::clock;

/// Cheap to clone; all clones write one history.
#[derive(Debug, Clone)]
pub struct Recorder {
    books: Arc<Books>,
}

#[derive(Debug)]
struct Books {
    began: Duration,
    history: Mutex<History>,
    processes: AtomicU64,
}

/// An operation under way. Dropped without an end, its outcome is not known.
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    recorder: Recorder,
    index: usize,
    ended: bool,
}

impl Recorder {
    /// Starts the run's time.
    #[must_use]
    pub fn new() -> Self {
        let books = Books {
            began: clock::now(),
            history: Mutex::default(),
            processes: AtomicU64::new(0),
        };
        Self {
            books: Arc::new(books),
        }
    }

    #[must_use]
    pub fn now(&self) -> Nanos {
        let since = clock::now().saturating_sub(self.books.began);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// A number for a client; a new one after each operation of unknown outcome.
    #[must_use]
    pub fn process(&self) -> u64 {
        self.books.processes.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes that an operation begins: before the first packet of it is sent.
    pub fn begin(&self, workload: &str, process: u64, request: Request) -> Ticket {
        let mut history = self.history();
        // Read under the lock: operations are in the order of invocation.
        let invoked = self.now();
        let index = history.operations.len();
        history.operations.push(Operation {
            id: u64::try_from(index).unwrap_or(u64::MAX),
            process,
            workload: workload.to_owned(),
            request,
            invoked,
            completed: None,
            outcome: Outcome::Info("no answer before the end".to_owned()),
        });
        Ticket {
            recorder: self.clone(),
            index,
            ended: false,
        }
    }

    /// Notes what a watcher was sent.
    pub fn saw(&self, watcher: u64, stream: u64, node: u64, what: Sight) {
        let mut history = self.history();
        let at = self.now();
        history.seen.push(Seen {
            at,
            watcher,
            stream,
            node,
            what,
        });
    }

    /// Notes that a fault begins, just before it is made; returns its number.
    pub fn fault(
        &self,
        name: &str,
        what: String,
        regions: Vec<String>,
        cut: Vec<(String, String)>,
    ) -> u64 {
        let mut history = self.history();
        let began = self.now();
        let id = u64::try_from(history.faults.len()).unwrap_or(u64::MAX);
        history.faults.push(Fault {
            id,
            name: name.to_owned(),
            what,
            regions,
            began,
            ended: None,
            cut,
            effect: None,
        });
        id
    }

    /// Notes what was seen of a fault's effect.
    pub fn effect(&self, fault: u64, effect: String) {
        self.with_fault(fault, |fault, _| fault.effect = Some(effect));
    }

    /// Notes that a fault was taken back.
    pub fn heal(&self, fault: u64) {
        self.with_fault(fault, |fault, now| fault.ended = Some(now));
    }

    fn with_fault(&self, id: u64, change: impl FnOnce(&mut Fault, Nanos)) {
        let mut history = self.history();
        let now = self.now();
        if let Some(fault) = history.faults.iter_mut().find(|fault| fault.id == id) {
            change(fault, now);
        }
    }

    /// Changes what is noted of the run as a whole.
    pub fn note(&self, change: impl FnOnce(&mut History, Nanos)) {
        let mut history = self.history();
        let now = self.now();
        change(&mut history, now);
    }

    /// The books as they are.
    pub fn history(&self) -> MutexGuard<'_, History> {
        let history = self.books.history.lock();
        history.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Ticket {
    /// It happened, and this was the answer.
    pub fn ok(self, answer: Answer) {
        self.end(Outcome::Ok(answer));
    }

    /// It did not happen, and will not.
    pub fn fail(self, why: impl ToString) {
        self.end(Outcome::Fail(why.to_string()));
    }

    /// Whether it happened is not known.
    pub fn info(self, why: impl ToString) {
        self.end(Outcome::Info(why.to_string()));
    }

    fn end(mut self, outcome: Outcome) {
        let completed = self.recorder.now();
        self.ended = true;
        let mut history = self.recorder.history();
        if let Some(operation) = history.operations.get_mut(self.index) {
            operation.completed = Some(completed);
            operation.outcome = outcome;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut history = self.recorder.history();
        if let Some(operation) = history.operations.get_mut(self.index) {
            operation.outcome = Outcome::Info("given up".to_owned());
        }
    }
}
