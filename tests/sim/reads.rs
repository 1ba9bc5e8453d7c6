//! ReadIndex: rounds that confirm a leader, and who waits for them.
//!
//! Invariant: a round answers only those that asked before it began.

use crate::domain::Epoch;
use std::time::Duration;

use super::{
    client::Answer,
    event::{Event, Process},
    mutant::Mutant,
    time::MS,
    world::World,
};

/// After so long a round has failed.
const LIMIT: u64 = 500 * MS;

/// A renewal that waits for its round.
#[derive(Debug, Clone)]
pub struct Renewal {
    pub member: usize,
    pub sequence: u64,
    pub incarnation: crate::domain::Incarnation,
    pub epoch: Epoch,
}

#[derive(Debug, Clone)]
pub enum Asker {
    Client { client: usize, call: u64 },
    Node { node: usize, id: u64 },
    Renewals,
}

#[derive(Debug, Default)]
pub struct Reads {
    /// Came since the running round began.
    waiting: Vec<Asker>,
    running: Option<Round>,
    /// Confirmed, and waiting for the state to be applied that far.
    confirmed: Vec<(u64, Asker)>,
    /// Calls of clients that the leader was asked for.
    forwarded: Vec<(u64, usize, u64)>,
    pub renewals: Vec<Renewal>,
    batch: Vec<Renewal>,
    receipt: Duration,
}

#[derive(Debug)]
struct Round {
    number: u64,
    index: u64,
    askers: Vec<Asker>,
}

impl World {
    pub fn ask_read(&mut self, node: usize, asker: Asker) {
        if self.nodes[node].is_ready() {
            self.nodes[node].reads.waiting.push(asker);
            self.begin_round(node);
            return;
        }
        let Asker::Client { client, call } = asker else {
            return;
        };
        let Some(leader) = self.nodes[node]
            .raft
            .leader
            .filter(|leader| *leader != node)
        else {
            return;
        };
        // Never used again, or an answer to a former life would fit a new question.
        let id = self.new_write();
        self.nodes[node].reads.forwarded.push((id, client, call));
        let (from, to) = (Process::Node(node), Process::Node(leader));
        self.datagram(from, to, Event::ReadIndexAsked { from: node, id });
    }

    fn begin_round(&mut self, node: usize) {
        let skipped = self.mutant == Some(Mutant::ReadIndexSkipped);
        let this = &mut self.nodes[node];
        if this.reads.running.is_some() {
            return;
        }
        let mut askers = std::mem::take(&mut this.reads.waiting);
        if !this.reads.renewals.is_empty() {
            askers.push(Asker::Renewals);
            this.reads.batch = std::mem::take(&mut this.reads.renewals);
            this.reads.receipt = this.elapsed.least(self.clocks[node].reading(self.now));
        }
        if askers.is_empty() {
            return;
        }
        let index = this.raft.commit;
        if skipped {
            this.reads
                .confirmed
                .extend(askers.into_iter().map(|asker| (index, asker)));
            self.answer_reads(node);
            return;
        }
        let number = this.raft.begin_round();
        this.reads.running = Some(Round {
            number,
            index,
            askers,
        });
        self.after(Process::Node(node), LIMIT, Event::ReadTimeout(number));
        self.settle(node);
    }

    pub fn read_timeout(&mut self, node: usize, number: u64) {
        let reads = &mut self.nodes[node].reads;
        if reads
            .running
            .as_ref()
            .is_some_and(|round| round.number == number)
        {
            reads.running = None;
            self.begin_round(node);
        }
    }

    /// Ends a round that a majority confirmed, and answers what it can.
    pub fn settle_reads(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        if !this.is_ready() {
            (this.reads.running, this.reads.waiting) = (None, Vec::new());
        }
        let held = this.raft.is_majority(this.raft.confirmed.len());
        let current = this.raft.round;
        if let Some(round) = this
            .reads
            .running
            .take_if(|round| held && round.number == current)
        {
            let confirmed = round.askers.into_iter().map(|asker| (round.index, asker));
            this.reads.confirmed.extend(confirmed);
        }
        self.answer_reads(node);
        if self.nodes[node].is_ready() {
            self.begin_round(node);
        }
    }

    fn answer_reads(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let applied = this.applied;
        let due: Vec<_> = this
            .reads
            .confirmed
            .extract_if(.., |(index, _)| *index <= applied)
            .collect();
        for (index, asker) in due {
            match asker {
                Asker::Client { client, call } => self.answer_check(node, client, call),
                Asker::Node { node: to, id } => {
                    let answer = Event::ReadIndexAnswered {
                        id,
                        index: Some(index),
                    };
                    self.datagram(Process::Node(node), Process::Node(to), answer);
                }
                Asker::Renewals => self.acknowledge_renewals(node),
            }
        }
    }

    /// The leader's answer to what this node forwarded.
    pub fn read_index_answered(&mut self, node: usize, id: u64, index: Option<u64>) {
        let reads = &mut self.nodes[node].reads;
        let Some(at) = reads.forwarded.iter().position(|(asked, ..)| *asked == id) else {
            return;
        };
        let (_, client, call) = reads.forwarded.remove(at);
        if let Some(index) = index {
            reads
                .confirmed
                .push((index, Asker::Client { client, call }));
            self.answer_reads(node);
        }
    }

    fn answer_check(&mut self, node: usize, client: usize, call: u64) {
        let state = &self.nodes[node].state;
        let group = state.groups.values().next();
        let published = group.and_then(|group| group.published());
        let answer = Answer {
            revision: self.nodes[node].applied,
            epoch: group.map(|group| group.epoch).unwrap_or_default(),
            primary: published.map(|lease| self.number_of(&lease.member)),
        };
        let answered = Event::CheckAnswered { call, answer };
        self.datagram_once(Process::Node(node), Process::Client(client), answered);
    }

    fn acknowledge_renewals(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let batch = std::mem::take(&mut this.reads.batch);
        let receipt = this.reads.receipt;
        let name = self.plan.group();
        for renewal in batch {
            let this = &mut self.nodes[node];
            let (Some(office), Some(group)) = (&mut this.office, this.state.group(&name)) else {
                return;
            };
            let held = group.lease.as_ref().is_some_and(|lease| {
                (lease.holder, lease.epoch) == (renewal.incarnation, renewal.epoch)
                    && !lease.expired
            });
            let ttl_ms = group.spec.ttl_ms;
            if held && office.lessor.renew(&name, renewal.epoch, receipt, ttl_ms) {
                self.renewed(node, renewal.member, renewal.sequence, ttl_ms);
            }
        }
    }
}
