//! A quorum node: Raft, the applied state, and what agents told it.
//!
//! Invariant: no message leaves before what it speaks of is on disk.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::Duration,
};

use crate::domain::{Outcome, Report, State};

use super::{
    agent::Directive,
    event::{Event, Process, Said},
    leader::Office,
    mutant::Mutant,
    net::StreamId,
    raft::{Hard, Message, Raft},
    reads::{Asker, Reads, Renewal},
    time::{At, Elapsed, MS},
    world::World,
};

const TICK: At = 50 * MS;
const HEARTBEAT: Duration = Duration::from_millis(100);
const ELECTION: Duration = Duration::from_millis(600);

/// An agent's stream, as this node knows it.
#[derive(Debug, Clone)]
pub struct Session {
    pub stream: StreamId,
    pub connected: bool,
    pub report: Option<Rc<Report>>,
    /// By the node's clock.
    pub heard: Duration,
    pub told: Option<(Directive, Duration)>,
}

#[derive(Debug)]
pub struct Node {
    pub raft: Raft,
    /// What a crash leaves.
    disk: Hard,
    /// On its way to the disk, by version.
    writing: VecDeque<(u64, Hard)>,
    on_disk: u64,
    /// Messages that wait for the disk, with the version they speak of.
    held: VecDeque<(u64, usize, Message)>,
    pub applied: u64,
    pub state: Rc<State>,
    pub hub: BTreeMap<usize, Session>,
    pub office: Option<Office>,
    pub reads: Reads,
    pub elapsed: Elapsed,
    election_due: Duration,
    heartbeat_due: Duration,
    contact: Vec<Duration>,
}

impl Node {
    pub fn new(me: usize, nodes: usize, disk: Hard, elapsed: Elapsed) -> Self {
        Self {
            applied: disk.snapshot_index,
            state: Rc::clone(&disk.snapshot),
            raft: Raft::new(me, nodes, disk.clone()),
            disk,
            writing: VecDeque::new(),
            on_disk: 0,
            held: VecDeque::new(),
            hub: BTreeMap::new(),
            office: None,
            reads: Reads::default(),
            elapsed,
            election_due: ELECTION,
            heartbeat_due: Duration::ZERO,
            contact: vec![Duration::ZERO; nodes],
        }
    }

    /// The node after a crash: what was on disk, and nothing else.
    pub fn reborn(&self, elapsed: Elapsed) -> Self {
        Self::new(self.raft.me, self.raft.nodes, self.disk.clone(), elapsed)
    }

    /// Leads, and has applied an entry of its own term.
    pub fn is_ready(&self) -> bool {
        let hard = &self.raft.hard;
        let term = match self.applied == hard.snapshot_index {
            true => Some(hard.snapshot_term),
            false => hard.entry(self.applied).map(|entry| entry.term),
        };
        self.raft.is_leader() && term == Some(hard.term)
    }
}

impl World {
    pub fn start_node(&mut self, node: usize) {
        let delay = self.rng.below(TICK);
        self.put_off_election(node);
        self.after(Process::Node(node), delay, Event::NodeTick);
    }

    fn put_off_election(&mut self, node: usize) {
        let spread = Duration::from_millis(self.rng.below(600));
        let this = &mut self.nodes[node];
        this.election_due =
            this.elapsed.least(self.clocks[node].reading(self.now)) + ELECTION + spread;
    }

    pub fn node_tick(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let now = this.elapsed.least(self.clocks[node].reading(self.now));
        if this.raft.is_leader() {
            if now >= this.heartbeat_due {
                this.heartbeat_due = now + HEARTBEAT;
                this.raft.spread();
            }
            // Whoever hears from no majority leads nobody.
            let recent = |at: &&Duration| now.saturating_sub(**at) < ELECTION * 2;
            let heard = this.contact.iter().filter(recent).count();
            let self_heard = usize::from(!recent(&&this.contact[node]));
            if !this.raft.is_majority(heard + self_heard) {
                this.raft.role = super::raft::Role::Follower;
                this.raft.leader = None;
            }
        } else if now >= this.election_due {
            this.raft.campaign(true);
            self.put_off_election(node);
        }
        self.settle(node);
        self.after(Process::Node(node), TICK, Event::NodeTick);
    }

    pub fn raft_message(&mut self, node: usize, from: usize, message: Message) {
        let this = &mut self.nodes[node];
        this.contact[from] = this.elapsed.least(self.clocks[node].reading(self.now));
        this.raft.heard = false;
        this.raft.take(from, message);
        if this.raft.heard {
            self.put_off_election(node);
        }
        self.settle(node);
    }

    /// Carries out whatever follows from a change of this node's Raft.
    pub fn settle(&mut self, node: usize) {
        self.write_to_disk(node);
        let this = &mut self.nodes[node];
        let before = this.raft.commit;
        this.raft.advance(this.disk.last_index());
        if this.raft.is_leader() && this.raft.commit > before {
            this.raft.spread();
        }
        self.send_held(node);
        self.apply_committed(node);
        self.change_office(node);
        self.settle_reads(node);
    }

    fn write_to_disk(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let version = this.raft.version;
        let last = this
            .writing
            .back()
            .map_or(this.on_disk, |(version, _)| *version);
        if version > last {
            this.writing.push_back((version, this.raft.hard.clone()));
            let takes = self.rng.skewed(100, 20 * MS);
            self.after(Process::Node(node), takes, Event::Synced(version));
        }
    }

    pub fn synced(&mut self, node: usize, version: u64) {
        let forgets_vote = self.mutant == Some(Mutant::VoteNotPersisted);
        let this = &mut self.nodes[node];
        while let Some((written, mut hard)) = this.writing.pop_front_if(|(it, _)| *it <= version) {
            if forgets_vote {
                (hard.term, hard.vote) = (this.disk.term, None);
            }
            this.disk = hard;
            this.on_disk = written;
        }
        self.settle(node);
    }

    fn send_held(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let version = this.raft.version;
        let outbox = this.raft.outbox.drain(..);
        this.held
            .extend(outbox.map(|(to, message)| (version, to, message)));
        let on_disk = this.on_disk;
        let mut free = Vec::new();
        while let Some((_, to, message)) =
            this.held.pop_front_if(|(version, ..)| *version <= on_disk)
        {
            free.push((to, message));
        }
        for (to, message) in free {
            let event = Event::Raft {
                from: node,
                message,
            };
            self.datagram(Process::Node(node), Process::Node(to), event);
        }
    }

    fn apply_committed(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        if this.applied < this.raft.hard.snapshot_index {
            this.applied = this.raft.hard.snapshot_index;
            this.state = Rc::clone(&this.raft.hard.snapshot);
        }
        while self.nodes[node].applied < self.nodes[node].raft.commit {
            self.apply_next(node);
        }
        let this = &mut self.nodes[node];
        this.raft.compact(&this.state, this.applied);
        self.write_to_disk(node);
    }

    fn apply_next(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let index = this.applied + 1;
        let Some(entry) = this.raft.hard.entry(index).cloned() else {
            this.raft.commit = this.applied;
            return;
        };
        let before = Rc::clone(&this.state);
        let state = Rc::make_mut(&mut this.state);
        let outcome = match &entry.command {
            Some(command) => state.apply(index, command),
            None => {
                state.skip(index);
                Outcome::Applied(Vec::new())
            }
        };
        this.applied = index;
        if let Some(office) = &mut this.office {
            office.awaits.remove(&index);
        }
        self.entry_applied(node, index, &entry, &before, &outcome);
        self.wake_leader(node, 0);
    }

    // What agents say.

    pub fn hello(&mut self, node: usize, stream: StreamId, member: usize) {
        let heard = self.clocks[node].boottime(self.now);
        let hub = &mut self.nodes[node].hub;
        let report = hub.remove(&member).and_then(|session| session.report);
        let session = Session {
            stream,
            connected: true,
            report,
            heard,
            told: None,
        };
        hub.insert(member, session);
    }

    pub fn heard(&mut self, node: usize, stream: StreamId, member: usize, said: Said) {
        let heard = self.clocks[node].boottime(self.now);
        let this = &mut self.nodes[node];
        let Some(session) = this
            .hub
            .get_mut(&member)
            .filter(|known| known.stream == stream)
        else {
            return;
        };
        session.heard = heard;
        let news = said.report.is_some();
        session.report = said.report.or(session.report.take());
        if let (Some((epoch, _)), Some(report)) = (said.renewal, &session.report) {
            let (incarnation, sequence) = (report.incarnation, said.sequence);
            this.reads.renewals.push(Renewal {
                member,
                sequence,
                incarnation,
                epoch,
            });
            match this.is_ready() {
                true => self.settle_reads(node),
                false => this.reads.renewals.clear(),
            }
        }
        if news {
            self.wake_leader(node, 0);
        }
    }

    pub fn session_closed(&mut self, node: usize, stream: StreamId) {
        let hub = &mut self.nodes[node].hub;
        let closed = hub.values_mut().find(|session| session.stream == stream);
        if let Some(session) = closed {
            (session.connected, session.told) = (false, None);
            self.wake_leader(node, 0);
        }
    }

    pub fn read_index_asked(&mut self, node: usize, from: usize, id: u64) {
        if self.nodes[node].is_ready() {
            self.ask_read(node, Asker::Node { node: from, id });
            return;
        }
        let answer = Event::ReadIndexAnswered { id, index: None };
        self.datagram(Process::Node(node), Process::Node(from), answer);
    }
}
