//! Renewals on their way, and what a node that believes it leads makes of them.

use super::{
    super::search::Next,
    actions::{Action, Leases},
    record::Entry,
    scene::Protection,
    state::{Message, NODES, Office, Proposal, Receipt, Stage, State},
};

impl Message {
    pub fn is_acknowledged(&self) -> bool {
        self.stage == Stage::Acknowledged
    }
}

impl Leases {
    pub(super) fn renewals(&mut self, state: &State, out: &mut Vec<Next<Self>>) {
        for slot in 0..self.scene.renewals {
            let Some(message) = state.renewals[slot] else {
                continue;
            };
            match message.stage {
                Stage::Sent => self.receive(state, slot, message, out),
                Stage::Received(receipt) => self.confirm(state, slot, receipt, out),
                Stage::Confirmed(receipt) => self.acknowledge(state, slot, receipt, out),
                Stage::Acknowledged => {}
            }
        }
    }

    /// The round of the quorum is begun at once: later, it confirms less.
    fn receive(&self, state: &State, slot: usize, message: Message, out: &mut Vec<Next<Self>>) {
        for node in 0..NODES {
            let Some(office) = state.offices[node].filter(|office| office.ready) else {
                continue;
            };
            let receipt = Receipt {
                node: node as u8,
                term: office.term,
                age: 0,
            };
            let stage = Stage::Received(receipt);
            let mut next = *state;
            next.renewals[slot] = Some(Message { stage, ..message });
            let node = node as u8;
            self.push(out, Action::Receive { node, copy: false }, next);
            if self.scene.renewals > 1 {
                next.renewals[1 - slot] = Some(message);
                self.push(out, Action::Receive { node, copy: true }, next);
            }
        }
    }

    /// A quorum answers that nobody else was elected yet. Where a round of
    /// whoever leads now is as good, one comes to its end at any time.
    fn confirm(&self, state: &State, slot: usize, receipt: Receipt, out: &mut Vec<Next<Self>>) {
        let mut next = *state;
        let Some(message) = &mut next.renewals[slot] else {
            return;
        };
        let of_own = self.leads(state, receipt) && receipt.term == state.term;
        let any =
            !self.scene.has(Protection::ReadIndex) || !self.scene.has(Protection::RoundOfOwnTerm);
        let facts = self.record.facts(state.group);
        if (of_own || any) && facts.epoch == message.epoch && !facts.expired {
            message.stage = Stage::Confirmed(receipt);
            self.push(out, Action::Confirm { node: receipt.node }, next);
        }
    }

    fn leads(&self, state: &State, receipt: Receipt) -> bool {
        state.offices[usize::from(receipt.node)].is_some_and(|office| office.term == receipt.term)
    }

    /// Whether the node may acknowledge what it received when it led.
    fn still_leads(&self, state: &State, receipt: Receipt, epoch: u32) -> bool {
        if self.scene.has(Protection::RoundOfOwnTerm) {
            return self.leads(state, receipt);
        }
        // It only looks whether it leads, and what is applied.
        let facts = self.record.facts(state.group);
        state.leader == receipt.node && facts.epoch == epoch && !facts.expired
    }

    fn acknowledge(
        &mut self,
        state: &State,
        slot: usize,
        receipt: Receipt,
        out: &mut Vec<Next<Self>>,
    ) {
        let mut next = *state;
        let node = usize::from(receipt.node);
        let (Some(message), Some(known)) = (&mut next.renewals[slot], state.lessors[node]) else {
            return;
        };
        if !self.still_leads(state, receipt, message.epoch) {
            return;
        }
        let Some(renewed) = self.clockwork.renew(known, message.epoch, receipt.age) else {
            return;
        };
        message.stage = Stage::Acknowledged;
        let (hard, epoch) = (message.hard, message.epoch);
        next.lessors[node] = Some(renewed);
        if hard || !self.scene.has(Protection::HardFirst) {
            if let Some(office) = &mut next.offices[node] {
                office.saw_hard = true;
            }
            next.hard_acknowledged |= 1 << epoch;
        }
        self.note("renewal acknowledged");
        let node = node as u8;
        self.push(out, Action::Acknowledge { node, hard }, next);
    }

    /// What leaders decide to propose. A decision that is refused when it is
    /// applied, or made twice in one term, is left out: it changes nothing,
    /// unless an expiry meets another epoch, which longer scenes have.
    pub(super) fn decisions(&mut self, state: &State, out: &mut Vec<Next<Self>>) {
        let under_way = state.proposals.iter().flatten().count();
        if under_way >= self.scene.proposals {
            return;
        }
        for node in 0..NODES {
            let (Some(office), Some(known)) = (state.offices[node], state.lessors[node]) else {
                continue;
            };
            if !office.ready {
                continue;
            }
            if !self.scene.released {
                self.decide_expiry(state, node, out);
                self.decide_hard(state, node, known.epoch, out);
            }
            self.decide_grant(state, node, out);
        }
    }

    fn decide_expiry(&mut self, state: &State, node: usize, out: &mut Vec<Next<Self>>) {
        let Some(closed) = state.lessors[node].and_then(|known| self.clockwork.expire(known))
        else {
            return;
        };
        let facts = self.record.facts(state.group);
        let mut next = *state;
        next.lessors[node] = Some(closed);
        // What the leader sees applied it does not propose again.
        if facts.epoch == closed.epoch && !facts.expired {
            self.propose(next, node, Entry::Expire(closed.epoch), out);
        }
    }

    fn decide_hard(&mut self, state: &State, node: usize, epoch: u32, out: &mut Vec<Next<Self>>) {
        let facts = self.record.facts(state.group);
        if facts.epoch != epoch {
            return;
        }
        let saw_hard = state.offices[node].is_some_and(|office| office.saw_hard);
        if saw_hard && !facts.hard {
            self.propose(*state, node, Entry::Hard(epoch), out);
        }
        if facts.hard && !facts.empty {
            self.propose(*state, node, Entry::Empty(epoch), out);
        }
    }

    fn decide_grant(&mut self, state: &State, node: usize, out: &mut Vec<Next<Self>>) {
        let epoch = self.record.facts(state.group).epoch;
        let entry = Entry::Grant(epoch);
        let granted = self.record.apply(state.group, entry);
        let legal = self.record.facts(granted).epoch > epoch;
        let waits = state.offices[node].is_none_or(|office| office.windows > 0);
        if legal && !waits && epoch < self.scene.epochs {
            self.propose(*state, node, entry, out);
        }
    }

    /// A leader that others have followed already proposes in vain.
    fn propose(&self, mut next: State, node: usize, entry: Entry, out: &mut Vec<Next<Self>>) {
        let Some(Office { term, .. }) = next.offices[node] else {
            return;
        };
        let proposal = Proposal { entry, term };
        let again = next.proposals.contains(&Some(proposal)) && self.scene.epochs < 3;
        let in_vain = term < next.opened && self.scene.has(Protection::ProposalOfOwnTerm);
        if again || in_vain {
            return;
        }
        if let (Entry::Grant(_), Some(office)) = (entry, &mut next.offices[node]) {
            office.suspects = self.scene.checks;
        }
        if let Some(free) = next.proposals.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(proposal);
            let node = node as u8;
            self.push(out, Action::Decide { node, entry }, next);
        }
    }
}
