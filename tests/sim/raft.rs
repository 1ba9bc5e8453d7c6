//! A small Raft: elections with a pre-vote, replication, snapshots, ReadIndex.
//!
//! No I/O and no time of its own: messages and deadlines in, messages out.
//! What has to be on disk before a message may leave is the node's business,
//! which holds messages back until then.

use std::{collections::BTreeSet, rc::Rc};

use crate::domain::{Command, State};

#[derive(Debug, Clone)]
pub struct Entry {
    pub term: u64,
    /// None for a leader's first entry.
    pub command: Option<Rc<Command>>,
}

/// What outlives a crash.
#[derive(Debug, Clone, Default)]
pub struct Hard {
    pub term: u64,
    pub vote: Option<usize>,
    /// The state that the log begins after, and its place.
    pub snapshot: Rc<State>,
    pub snapshot_index: u64,
    pub snapshot_term: u64,
    pub entries: Vec<Entry>,
}

impl Hard {
    pub fn last_index(&self) -> u64 {
        self.snapshot_index + self.entries.len() as u64
    }

    fn last_term(&self) -> u64 {
        self.entries
            .last()
            .map_or(self.snapshot_term, |entry| entry.term)
    }

    pub fn entry(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.snapshot_index + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.snapshot_index {
            return Some(self.snapshot_term);
        }
        self.entry(index).map(|entry| entry.term)
    }

    fn keep_until(&mut self, index: u64) {
        let kept = usize::try_from(index - self.snapshot_index).unwrap_or(0);
        self.entries.truncate(kept);
    }
}

#[derive(Debug, Clone)]
pub enum Message {
    Ask {
        term: u64,
        last_index: u64,
        last_term: u64,
        pre: bool,
    },
    Vote {
        term: u64,
        granted: bool,
        pre: bool,
    },
    Append {
        term: u64,
        before: u64,
        before_term: u64,
        entries: Vec<Entry>,
        commit: u64,
        round: u64,
    },
    Appended {
        term: u64,
        matched: Option<u64>,
        hint: u64,
        round: u64,
    },
    Install {
        term: u64,
        index: u64,
        index_term: u64,
        state: Rc<State>,
        round: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Follower,
    Asking { pre: bool },
    Leader,
}

#[derive(Debug)]
pub struct Raft {
    pub me: usize,
    pub nodes: usize,
    pub hard: Hard,
    /// Raised whenever `hard` changes.
    pub version: u64,
    pub role: Role,
    pub leader: Option<usize>,
    pub commit: u64,
    votes: BTreeSet<usize>,
    next: Vec<u64>,
    matched: Vec<u64>,
    /// The latest confirmation round, and who answered it.
    pub round: u64,
    pub confirmed: BTreeSet<usize>,
    pub outbox: Vec<(usize, Message)>,
    /// Somebody who may lead was heard of, or a vote was given.
    pub heard: bool,
}

/// Entries kept before the log is cut behind a snapshot.
const KEPT: usize = 48;

impl Raft {
    pub fn new(me: usize, nodes: usize, hard: Hard) -> Self {
        Self {
            me,
            nodes,
            commit: hard.snapshot_index,
            hard,
            version: 0,
            role: Role::Follower,
            leader: None,
            votes: BTreeSet::new(),
            next: vec![1; nodes],
            matched: vec![0; nodes],
            round: 0,
            confirmed: BTreeSet::new(),
            outbox: Vec::new(),
            heard: false,
        }
    }

    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    pub fn is_majority(&self, count: usize) -> bool {
        count * 2 > self.nodes
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let me = self.me;
        (0..self.nodes).filter(move |node| *node != me)
    }

    fn follow(&mut self, term: u64) {
        if term > self.hard.term {
            (self.hard.term, self.hard.vote) = (term, None);
            self.version += 1;
        }
        self.role = Role::Follower;
    }

    /// Nobody was heard of for an election timeout.
    pub fn campaign(&mut self, pre: bool) {
        self.leader = None;
        self.role = Role::Asking { pre };
        self.votes = BTreeSet::from([self.me]);
        let mut term = self.hard.term + 1;
        if !pre {
            (self.hard.term, self.hard.vote) = (term, Some(self.me));
            self.version += 1;
            term = self.hard.term;
        }
        let (last_index, last_term) = (self.hard.last_index(), self.hard.last_term());
        for node in self.others() {
            self.outbox.push((
                node,
                Message::Ask {
                    term,
                    last_index,
                    last_term,
                    pre,
                },
            ));
        }
    }

    pub fn take(&mut self, from: usize, message: Message) {
        match message {
            Message::Ask {
                term,
                last_index,
                last_term,
                pre,
            } => {
                self.asked(from, term, (last_term, last_index), pre);
            }
            Message::Vote { term, granted, pre } => self.voted(from, term, granted, pre),
            Message::Append {
                term,
                before,
                before_term,
                entries,
                commit,
                round,
            } => {
                if let Some(hint) = self.heard_leader(from, term) {
                    let matched = self.append(before, before_term, entries, commit);
                    self.reply(from, matched, hint, round);
                }
            }
            Message::Install {
                term,
                index,
                index_term,
                state,
                round,
            } => {
                if let Some(hint) = self.heard_leader(from, term) {
                    self.install(index, index_term, state);
                    let matched = self.hard.snapshot_index;
                    self.reply(from, Some(matched), hint, round);
                }
            }
            Message::Appended {
                term,
                matched,
                hint,
                round,
            } => {
                self.appended(from, term, matched, hint, round);
            }
        }
    }

    fn asked(&mut self, from: usize, term: u64, last: (u64, u64), pre: bool) {
        if !pre && term > self.hard.term {
            self.follow(term);
            self.leader = None;
        }
        let complete = last >= (self.hard.last_term(), self.hard.last_index());
        let free = match pre {
            // Whoever hears a leader wants no other.
            true => term > self.hard.term && self.leader.is_none(),
            false => term == self.hard.term && self.hard.vote.is_none_or(|vote| vote == from),
        };
        let granted = complete && free && (pre || !self.is_leader());
        if granted && !pre {
            if self.hard.vote.is_none() {
                self.hard.vote = Some(from);
                self.version += 1;
            }
            self.heard = true;
        }
        let term = if granted { term } else { self.hard.term };
        self.outbox
            .push((from, Message::Vote { term, granted, pre }));
    }

    fn voted(&mut self, from: usize, term: u64, granted: bool, pre: bool) {
        if !granted {
            if term > self.hard.term {
                self.follow(term);
            }
            return;
        }
        let asked = self.hard.term + u64::from(pre);
        if self.role != (Role::Asking { pre }) || term != asked {
            return;
        }
        self.votes.insert(from);
        if !self.is_majority(self.votes.len()) {
            return;
        }
        match pre {
            true => self.campaign(false),
            false => self.lead(),
        }
    }

    fn lead(&mut self) {
        self.role = Role::Leader;
        self.leader = Some(self.me);
        self.next = vec![self.hard.last_index() + 1; self.nodes];
        self.matched = vec![0; self.nodes];
        self.propose(None);
    }

    /// The index of a new entry; a leader only.
    pub fn propose(&mut self, command: Option<Rc<Command>>) -> u64 {
        let term = self.hard.term;
        self.hard.entries.push(Entry { term, command });
        self.version += 1;
        self.spread();
        self.hard.last_index()
    }

    /// Tells every follower what it lacks; a heartbeat where that is nothing.
    pub fn spread(&mut self) {
        for node in self.others() {
            self.feed(node);
        }
    }

    fn feed(&mut self, node: usize) {
        let (term, round, commit) = (self.hard.term, self.round, self.commit);
        let before = self.next[node] - 1;
        let message = match self.hard.term_at(before) {
            Some(before_term) => {
                let skipped = usize::try_from(before - self.hard.snapshot_index).unwrap_or(0);
                let entries = self.hard.entries[skipped..].to_vec();
                Message::Append {
                    term,
                    before,
                    before_term,
                    entries,
                    commit,
                    round,
                }
            }
            None => Message::Install {
                term,
                index: self.hard.snapshot_index,
                index_term: self.hard.snapshot_term,
                state: Rc::clone(&self.hard.snapshot),
                round,
            },
        };
        self.outbox.push((node, message));
    }

    /// Begins a round that confirms this leader.
    pub fn begin_round(&mut self) -> u64 {
        self.round += 1;
        self.confirmed = BTreeSet::from([self.me]);
        self.spread();
        self.round
    }

    /// `None`: a leader of a former term, which is told so.
    fn heard_leader(&mut self, from: usize, term: u64) -> Option<u64> {
        if term < self.hard.term {
            let hint = self.hard.last_index();
            self.reply(from, None, hint, 0);
            return None;
        }
        self.follow(term);
        (self.leader, self.heard) = (Some(from), true);
        Some(self.hard.last_index())
    }

    fn reply(&mut self, to: usize, matched: Option<u64>, hint: u64, round: u64) {
        let term = self.hard.term;
        self.outbox.push((
            to,
            Message::Appended {
                term,
                matched,
                hint,
                round,
            },
        ));
    }

    fn append(
        &mut self,
        before: u64,
        before_term: u64,
        entries: Vec<Entry>,
        commit: u64,
    ) -> Option<u64> {
        // What the snapshot covers is committed, and so the same.
        let covered = self.hard.snapshot_index.saturating_sub(before);
        if covered == 0 && self.hard.term_at(before) != Some(before_term) {
            return None;
        }
        let last = before + entries.len() as u64;
        for (index, entry) in (before + 1..).zip(entries) {
            if index <= self.hard.snapshot_index || self.hard.term_at(index) == Some(entry.term) {
                continue;
            }
            self.hard.keep_until(index - 1);
            self.hard.entries.push(entry);
            self.version += 1;
        }
        self.commit = self.commit.max(commit.min(last));
        Some(last.max(self.hard.snapshot_index))
    }

    fn install(&mut self, index: u64, term: u64, state: Rc<State>) {
        if index <= self.commit {
            return;
        }
        self.hard.entries.clear();
        (self.hard.snapshot_index, self.hard.snapshot_term) = (index, term);
        self.hard.snapshot = state;
        self.commit = index;
        self.version += 1;
    }

    fn appended(&mut self, from: usize, term: u64, matched: Option<u64>, hint: u64, round: u64) {
        if term > self.hard.term {
            self.follow(term);
            self.leader = None;
            return;
        }
        if !self.is_leader() || term < self.hard.term {
            return;
        }
        if round == self.round {
            self.confirmed.insert(from);
        }
        match matched {
            Some(matched) => {
                self.matched[from] = self.matched[from].max(matched);
                self.next[from] = self.next[from].max(matched + 1);
            }
            None => {
                self.next[from] = (hint + 1).min(self.next[from] - 1).max(1);
                self.feed(from);
            }
        }
    }

    /// Commits what a majority has; `own` is how far this node's disk reaches.
    pub fn advance(&mut self, own: u64) {
        if !self.is_leader() {
            return;
        }
        self.matched[self.me] = own;
        let mut sorted = self.matched.clone();
        sorted.sort_unstable();
        let held = sorted[(self.nodes - 1) / 2];
        if held > self.commit && self.hard.term_at(held) == Some(self.hard.term) {
            self.commit = held;
        }
    }

    /// Cuts the log behind `state`, which has applied up to its index.
    pub fn compact(&mut self, state: &Rc<State>, applied: u64) {
        if self.hard.entries.len() < KEPT {
            return;
        }
        let Some(term) = self.hard.term_at(applied) else {
            return;
        };
        let gone = usize::try_from(applied - self.hard.snapshot_index).unwrap_or(0);
        self.hard.entries.drain(..gone);
        (self.hard.snapshot_index, self.hard.snapshot_term) = (applied, term);
        self.hard.snapshot = Rc::clone(state);
        self.version += 1;
    }
}
