//! What the quorum does: elects, commits, applies.

use super::{
    super::search::Next,
    actions::{Action, Leases},
    record::Entry,
    scene::Protection,
    state::{NODES, Office, Proposal, State},
};

impl Leases {
    pub(super) fn elections(&mut self, state: &State, out: &mut Vec<Next<Self>>) {
        if state.term >= self.scene.terms {
            return;
        }
        for node in 0..NODES {
            let mut next = *state;
            next.term += 1;
            next.leader = node as u8;
            next.offices[node] = Some(Office {
                term: next.term,
                ready: false,
                saw_hard: false,
                suspects: false,
                windows: 0,
            });
            if self.keeps_nothing_over() {
                next.lessors[node] = None;
            }
            self.push(out, Action::Elect { node: node as u8 }, next);
        }
    }

    /// What a node knew when it last led is not used again.
    fn keeps_nothing_over(&self) -> bool {
        self.scene.has(Protection::FullTtl) && self.scene.has(Protection::RoundOfOwnTerm)
    }

    /// The leader's own first entry is applied, and before it whatever of its
    /// predecessors' had come into its log; what had not is gone.
    pub(super) fn openings(&mut self, state: &State, out: &mut Vec<Next<Self>>) {
        if state.opened == state.term {
            return;
        }
        let earlier: Vec<Proposal> = state.proposals.iter().flatten().copied().collect();
        let mut ways = vec![[None, None]];
        match earlier[..] {
            [a] => ways.push([Some(a.entry), None]),
            [a, b] => {
                let (a, b) = (Some(a.entry), Some(b.entry));
                ways.extend([[a, None], [b, None], [a, b], [b, a]]);
            }
            _ => {}
        }
        for carried in ways {
            let mut next = *state;
            if self.scene.has(Protection::ProposalOfOwnTerm) {
                next.proposals = [None; 2];
            }
            for entry in carried.into_iter().flatten() {
                self.apply(&mut next, entry);
            }
            self.take_office(&mut next);
            let node = state.leader;
            self.push(out, Action::Open { node, carried }, next);
        }
    }

    fn take_office(&mut self, state: &mut State) {
        state.opened = state.term;
        let node = usize::from(state.leader);
        let epoch = self.record.facts(state.group).epoch;
        let former = match self.scene.has(Protection::FullTtl) {
            true => None,
            false => state.lessors[node],
        };
        let (windows, deadline) = self.clockwork.take_office(epoch, former);
        state.lessors[node] = Some(deadline);
        if let Some(office) = &mut state.offices[node] {
            office.ready = true;
            office.windows = windows;
        }
    }

    pub(super) fn applications(&mut self, state: &State, out: &mut Vec<Next<Self>>) {
        if state.opened != state.term {
            return;
        }
        for (slot, proposal) in state.proposals.iter().enumerate() {
            let Some(Proposal { entry, term }) = *proposal else {
                continue;
            };
            if term != state.term && self.scene.has(Protection::ProposalOfOwnTerm) {
                continue;
            }
            let mut next = *state;
            next.proposals[slot] = None;
            self.apply(&mut next, entry);
            self.push(
                out,
                Action::Apply {
                    entry,
                    proposed_in: term,
                },
                next,
            );
        }
    }

    fn apply(&mut self, state: &mut State, entry: Entry) {
        let before = self.record.facts(state.group);
        let entry = match entry {
            Entry::Expire(_) if !self.scene.has(Protection::EpochOfExpiry) => {
                Entry::Expire(before.epoch)
            }
            entry => entry,
        };
        state.group = self.record.apply(state.group, entry);
        let after = self.record.facts(state.group);
        if after.empty {
            state.told_empty |= 1 << after.epoch;
        }
        if after.expired && !before.expired && after.epoch == before.epoch {
            self.note("lease expired");
        }
        if after.epoch == before.epoch {
            return;
        }
        let empty = state.told_empty >> before.epoch & 1 == 1;
        self.note(match (self.scene.released, empty) {
            (true, _) => "grant after a release",
            (false, true) => "grant by time fence",
            (false, false) => "grant by WAL fence",
        });
        self.clockwork
            .learn(after.epoch, &self.record.state(state.group));
        let node = usize::from(state.leader);
        if state.opened == state.term
            && let Some(known) = state.lessors[node]
        {
            state.lessors[node] = Some(self.clockwork.observe(after.epoch, known));
            if let Some(office) = &mut state.offices[node] {
                (office.saw_hard, office.suspects) = (false, false);
            }
        }
    }
}
