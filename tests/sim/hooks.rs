//! Where the world tells the invariants what happened.

use crate::domain::{Change, Epoch, Outcome, State};

use super::{client::Answer, plan::Weather, raft::Entry, wal::Write, world::World};

impl World {
    /// `node` applied the entry at `index`, the first of all nodes or a later one.
    pub fn entry_applied(
        &mut self,
        node: usize,
        index: u64,
        entry: &Entry,
        before: &State,
        outcome: &Outcome,
    ) {
        let first = self.checks.quorum.is_first(index);
        let verdict = self.checks.quorum.applied(node, index, entry, outcome);
        self.judge("one log", verdict);
        let (Outcome::Applied(events), Some(command)) = (outcome, &entry.command) else {
            return;
        };
        if !first || events.is_empty() {
            return;
        }
        for event in events {
            self.note(format!("epoch {}: {:?}", event.epoch, event.kind));
        }
        match &command.change {
            Change::GrantFirst { epoch, .. } | Change::GrantLease { epoch, .. } => {
                self.granted(node, *epoch);
            }
            Change::SealEpoch { .. } => self.sealed(node),
            Change::ExpireLease { epoch } => self.expired(before, *epoch),
            Change::BeginFailover { .. } => self.failover_began(),
            _ => {}
        }
    }

    fn granted(&mut self, node: usize, epoch: Epoch) {
        self.history.grants += 1;
        let verdict = self.checks.epochs.granted(epoch);
        self.judge("epochs increase", verdict);
        let name = self.plan.group();
        let state = self.nodes[node].state.clone();
        let lease = state.group(&name).and_then(|group| group.lease.as_ref());
        let Some(holder) = lease.and_then(|lease| self.member_with(lease.holder)) else {
            return;
        };
        self.judge_grant(epoch, holder);
        self.judge_acknowledgers();
    }

    fn sealed(&mut self, node: usize) {
        let state = self.nodes[node].state.clone();
        let group = state.group(&self.plan.group());
        if let Some(lease) = group.and_then(|group| group.published())
            && let Some(holder) = self.member_with(lease.holder)
        {
            self.checks.lost_writes.sealed(lease.epoch, holder);
            let verdict = self
                .checks
                .lost_writes
                .held_by(&self.members[holder].database);
            self.judge("no acknowledged write is lost", verdict);
        }
    }

    fn expired(&mut self, before: &State, epoch: Epoch) {
        let group = before.group(&self.plan.group());
        let Some(lease) = group.and_then(|group| group.lease.as_ref()) else {
            return;
        };
        if let Some(holder) = self.member_with(lease.holder) {
            self.judge_expiry(holder, epoch);
        }
    }

    fn failover_began(&mut self) {
        if self.plan.weather != Weather::Stormy {
            let why = "a failover began though nothing was wrong".to_owned();
            self.judge("quiet worlds stay quiet", Err(why));
        }
    }

    pub fn took_office(&mut self, node: usize, term: u64) {
        self.note(format!("node {node} leads in term {term}"));
        let verdict = self.checks.quorum.leads(node, term);
        self.judge("one leader for a term", verdict);
    }

    /// A primary acknowledged a client's write.
    pub fn acknowledged(&mut self, member: usize, write: Write, lsn: usize) {
        self.history.acknowledged += 1;
        let epoch = self.checks.epochs.of(member);
        self.checks.lost_writes.acknowledged(write, lsn);
        self.judge_late_acknowledgement(member, epoch, write, lsn);
    }

    /// A member serves as primary, under the epoch that it opened.
    pub fn opened(&mut self, member: usize) {
        let epoch = self.members[member].agent.promised().opened;
        let database = &self.members[member].database;
        let (timeline, fork) = (database.wal.timeline(), database.wal.lineage().fork());
        let verdict = self.checks.epochs.opened(member, epoch, timeline, fork);
        self.judge("epochs increase", verdict);
        self.judge_acknowledgers();
    }

    pub fn promised_now(&mut self, member: usize) {
        let memory = &self.members[member].agent.memory;
        let verdict = self
            .checks
            .promises
            .made(memory.incarnation, memory.promised);
        self.judge("promises never go back", verdict);
    }

    // What clients see.

    pub fn check_asked(&mut self, call: u64) {
        let floor = self.checks.quorum.highest();
        self.checks.answers.asked(call, floor);
    }

    pub fn judge_answer(&mut self, call: u64, answer: Answer) {
        let verdict = self.checks.answers.answered(call, answer);
        self.judge("checks are linearizable", verdict);
    }

    pub fn client_was_told(&mut self) {
        if self.healed_at.is_some() {
            self.history.acknowledged_after_healing += 1;
        }
    }

    // What the simulator alone can see.

    /// Who holds the lease, as the most advanced node has it.
    pub fn holder_now(&self) -> Option<usize> {
        let node = self.nodes.iter().max_by_key(|node| node.applied)?;
        let group = node.state.group(&self.plan.group())?;
        self.member_with(group.lease.as_ref()?.holder)
    }

    /// Sealed, one configuration on record, nothing under way.
    pub fn is_settled(&self) -> bool {
        let node = self.nodes.iter().max_by_key(|node| node.applied);
        let group = node.and_then(|node| node.state.group(&self.plan.group()));
        group.is_some_and(|group| {
            group.published().is_some() && group.record.len() == 1 && group.failover.is_none()
        })
    }
}
