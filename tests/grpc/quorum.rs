//! A quorum of one that applies to a real state, in memory, and obeys the test.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use primacy::{
    domain::{Change, Command, Epoch, Event, EventKind, Outcome, State},
    ports::{
        Agents, Applied, BoxFuture, FailoverRequest, Leadership, MemberView, NoQuorum, NodeId,
        NodeStatus, OperationDone, OperationError, Operations, ProposeError, Quorum, QuorumStatus,
        SwitchoverTarget, TransferError,
    },
};
use tokio::sync::watch;

pub struct Memory {
    history: Mutex<Vec<Event>>,
    /// Applied and published, not in the history yet.
    pending: Mutex<Vec<Event>>,
    published: watch::Sender<Arc<State>>,
    leadership: watch::Sender<Leadership>,
    /// No round is confirmed and nothing is committed.
    pub lost: AtomicBool,
    /// The history falls behind the state.
    pub slow_history: AtomicBool,
    /// Revisions below this came with a snapshot, without their history.
    pub history_from: AtomicU64,
    /// How often the history was read.
    looks: AtomicUsize,
}

impl Memory {
    pub fn new() -> Arc<Self> {
        let leads = Leadership {
            leader: Some(1),
            is_me: true,
            term: 1,
            ready: true,
        };
        Arc::new(Self {
            history: Mutex::default(),
            pending: Mutex::default(),
            published: watch::Sender::default(),
            leadership: watch::Sender::new(leads),
            lost: AtomicBool::new(false),
            slow_history: AtomicBool::new(false),
            history_from: AtomicU64::new(0),
            looks: AtomicUsize::new(0),
        })
    }

    /// Node 2 leads from here on.
    pub fn follow(&self) {
        let follows = Leadership {
            leader: Some(2),
            is_me: false,
            term: 2,
            ready: false,
        };
        self.leadership.send_replace(follows);
    }

    pub fn lose_quorum(&self) {
        self.lost.store(true, Ordering::SeqCst);
    }

    /// Applies a change to the group `orders`; it must be taken.
    pub fn must(&self, change: Change) -> u64 {
        let applied = self.apply(&change_of("orders", change.clone()));
        assert!(
            matches!(applied.outcome, Outcome::Applied(_)),
            "{change:?}: {applied:?}"
        );
        applied.index
    }

    /// An entry with `count` events, numbered.
    pub fn incidents(&self, group: &str, count: usize) -> u64 {
        let mut index = 0;
        self.published.send_modify(|state| {
            let state = Arc::make_mut(state);
            index = state.applied + 1;
            state.skip(index);
        });
        let event = |number: usize| Event {
            revision: index,
            at_ms: 0,
            group: group.parse().expect("a name"),
            epoch: Epoch(0),
            kind: EventKind::Incident {
                member: None,
                code: number.to_string(),
                message: format!("{index} {number}"),
            },
        };
        self.record((0..count).map(event));
        index
    }

    pub fn history_catches_up(&self) {
        self.slow_history.store(false, Ordering::SeqCst);
        self.history
            .lock()
            .expect("not poisoned")
            .append(&mut self.pending.lock().expect("not poisoned"));
    }

    fn record(&self, events: impl Iterator<Item = Event>) {
        let slow = self.slow_history.load(Ordering::SeqCst);
        let list = if slow { &self.pending } else { &self.history };
        list.lock().expect("not poisoned").extend(events);
    }

    /// Waits until the history was looked at twice more.
    pub async fn looked_at(&self) {
        let seen = self.looks.load(Ordering::SeqCst);
        while self.looks.load(Ordering::SeqCst) < seen + 2 {
            tokio::task::yield_now().await;
        }
    }

    fn apply(&self, command: &Command) -> Applied {
        let mut applied = None;
        self.published.send_modify(|state| {
            let state = Arc::make_mut(state);
            let index = state.applied + 1;
            let outcome = state.apply(index, command);
            if let Outcome::Applied(events) = &outcome {
                self.record(events.iter().cloned());
            }
            applied = Some(Applied { index, outcome });
        });
        applied.expect("applied")
    }
}

pub fn change_of(group: &str, change: Change) -> Command {
    Command {
        at_ms: 1_785_000_000_123,
        group: group.parse().expect("a name"),
        change,
    }
}

impl Quorum for Memory {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        Box::pin(async move {
            match self.lost.load(Ordering::SeqCst) {
                true => Err(ProposeError::Unknown(Duration::from_millis(10))),
                false => Ok(self.apply(&command)),
            }
        })
    }

    fn propose_in(
        &self,
        term: u64,
        command: Command,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        match self.leadership.borrow().term == term {
            true => self.propose(command),
            false => Box::pin(async { Err(ProposeError::OfficeLost) }),
        }
    }

    fn read_index(&self) -> BoxFuture<'_, Result<u64, NoQuorum>> {
        Box::pin(async move {
            match self.lost.load(Ordering::SeqCst) {
                true => Err(NoQuorum(Duration::from_millis(10))),
                false => Ok(self.published.borrow().applied),
            }
        })
    }

    fn published(&self) -> watch::Receiver<Arc<State>> {
        self.published.subscribe()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn history(&self, revision: u64, limit: usize) -> Vec<Event> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        let history = self.history.lock().expect("not poisoned");
        let wanted = history.iter().filter(|event| event.revision >= revision);
        wanted.take(limit).cloned().collect()
    }

    fn has_history(&self, from: u64, _: u64) -> bool {
        from >= self.history_from.load(Ordering::SeqCst)
    }

    fn status(&self) -> QuorumStatus {
        let node = |id: NodeId| NodeStatus {
            id,
            region: "paris".parse().expect("a name"),
            address: format!("10.0.0.{id}:7401"),
            voter: true,
            behind: None,
        };
        QuorumStatus {
            cluster_id: "test".to_owned(),
            node_id: 1,
            leadership: *self.leadership.borrow(),
            last_log: 0,
            applied: self.published.borrow().applied,
            nodes: vec![node(1), node(2)],
        }
    }

    fn transfer_leader(&self, to: NodeId) -> BoxFuture<'_, Result<(), TransferError>> {
        Box::pin(async move {
            match to {
                2 => Ok(()),
                _ => Err(TransferError::NotAVoter(to)),
            }
        })
    }
}

/// Agents that reported what the test says.
#[derive(Default)]
pub struct Reports(pub Mutex<Vec<MemberView>>);

impl Agents for Reports {
    fn views(&self) -> Vec<MemberView> {
        self.0.lock().expect("not poisoned").clone()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}

/// Operations that end as the test says.
pub struct Answers(pub Result<OperationDone, OperationError>);

impl Operations for Answers {
    fn switchover(
        &self,
        _: primacy::domain::GroupName,
        _: SwitchoverTarget,
    ) -> BoxFuture<'_, Result<OperationDone, OperationError>> {
        Box::pin(async { self.0.clone() })
    }

    fn failover(
        &self,
        _: primacy::domain::GroupName,
        _: FailoverRequest,
    ) -> BoxFuture<'_, Result<OperationDone, OperationError>> {
        Box::pin(async { self.0.clone() })
    }
}
