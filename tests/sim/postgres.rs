//! A modelled PostgreSQL: a directory, and the server that may run on it.
//!
//! What failovers care about and nothing else: which log is on disk, who is
//! sent it, whose acknowledgement a commit waits for, and what a crash leaves.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Epoch, Incarnation, Role, SyncConfig};

use super::{
    net::StreamId,
    time::At,
    wal::{Wal, Write},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directory {
    Absent,
    Wreck,
    Present,
}

/// Whom a standby is configured to stream from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    pub member: usize,
}

#[derive(Debug)]
pub struct Database {
    pub directory: Directory,
    pub wal: Wal,
    /// How much of the log a crash leaves for sure.
    pub flushed: usize,
    pub clean: bool,
    pub system: Option<u64>,
    pub is_standby: bool,
    pub upstream: Option<Upstream>,
    /// `synchronous_standby_names`, as the file has it.
    pub sync: SyncConfig,
    pub server: Option<Server>,
    /// Number of the latest run of a server here.
    pub run: u64,
}

#[derive(Debug)]
pub struct Server {
    pub role: Role,
    /// Answers; before, it starts or recovers.
    pub ready: bool,
    /// Lets clients in.
    pub open: bool,
    /// A fast stop is under way: no new commits.
    pub stopping: bool,
    pub receiver: Option<Receiver>,
    pub senders: BTreeMap<Incarnation, Sender>,
    /// Commits that wait to be acknowledged, in the order of the log.
    pub waits: Vec<Wait>,
    /// What the checkpointer told the sessions: whether a commit waits at all.
    pub commits_wait: bool,
    pub slots: BTreeSet<Incarnation>,
    /// Asked to promote, under this epoch.
    pub promoting: Option<Epoch>,
}

#[derive(Debug, Clone, Copy)]
pub struct Receiver {
    pub stream: StreamId,
    pub streaming: bool,
}

/// A walsender. It has read the configuration at some time, not always the latest.
#[derive(Debug)]
pub struct Sender {
    pub stream: StreamId,
    pub member: usize,
    pub sent: usize,
    pub flush: usize,
    pub view: SyncConfig,
    /// Since when it has been told to read the configuration again. It does
    /// before it sends anything further; what it is busy with it ends first.
    pub told: Option<At>,
    /// Its standby is ahead of the fork: nothing is ever sent to it.
    pub ahead: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiter {
    Client(usize),
    Agent,
}

#[derive(Debug, Clone, Copy)]
pub struct Wait {
    pub write: Write,
    pub lsn: usize,
    pub waiter: Waiter,
}

impl Database {
    pub fn absent() -> Self {
        Self {
            directory: Directory::Absent,
            wal: Wal::new(),
            flushed: 0,
            clean: true,
            system: None,
            is_standby: false,
            upstream: None,
            sync: SyncConfig::nobody(),
            server: None,
            run: 0,
        }
    }

    pub fn is_primary(&self) -> bool {
        self.server
            .as_ref()
            .is_some_and(|server| server.role == Role::Primary)
    }

    /// Whether log may still arrive here.
    pub fn may_receive(&self) -> bool {
        let receives = self
            .server
            .as_ref()
            .is_some_and(|server| server.receiver.is_some());
        receives || self.upstream.is_some()
    }
}

impl Server {
    pub fn new(role: Role, commits_wait: bool) -> Self {
        Self {
            role,
            ready: false,
            open: role == Role::Standby,
            stopping: false,
            receiver: None,
            senders: BTreeMap::new(),
            waits: Vec::new(),
            commits_wait,
            slots: BTreeSet::new(),
            promoting: None,
        }
    }

    /// How far commits are released by the walsender of `by`: the k-th
    /// greatest position, by its own k, of all that count themselves in.
    pub fn released_by(&self, by: Incarnation) -> Option<usize> {
        let sender = self
            .senders
            .get(&by)
            .filter(|sender| sender.view.set.contains(&by))?;
        let counts = |(id, sender): &(&Incarnation, &Sender)| sender.view.set.contains(id);
        let mut flushed: Vec<_> = self
            .senders
            .iter()
            .filter(counts)
            .map(|(_, s)| s.flush)
            .collect();
        flushed.sort_unstable_by(|a, b| b.cmp(a));
        flushed
            .get((sender.view.k as usize).checked_sub(1)?)
            .copied()
    }
}
