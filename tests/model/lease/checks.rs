//! A client that asks who is primary, and the leader that answers.

use super::{
    super::search::Next,
    actions::{Action, Leases},
    scene::Protection,
    state::{Check, CheckStage, NODES, Office, State},
};

impl Leases {
    pub(super) fn checks(&mut self, state: &State, out: &mut Vec<Next<Self>>) {
        let Some(check) = state.check else {
            let check = Check {
                age: 0,
                stage: CheckStage::Sent,
            };
            let check = Some(check);
            self.push(out, Action::AskWho, State { check, ..*state });
            return;
        };
        match check.stage {
            CheckStage::Sent => (0..NODES).for_each(|node| self.receive_check(state, node, out)),
            CheckStage::Received { node, term, epoch } => {
                self.answer(state, node, term, epoch, out);
            }
            CheckStage::Answered { .. } => {}
        }
    }

    fn receive_check(&self, state: &State, node: usize, out: &mut Vec<Next<Self>>) {
        let suspicious =
            |office: &Office| office.suspects && self.scene.has(Protection::NoneForSuspect);
        let office = state.offices[node].filter(|office| office.ready && !suspicious(office));
        let Some(office) = office else { return };
        let mut next = *state;
        if self.scene.has(Protection::WindowBeforeRound) {
            next.note_window(node, self.clockwork.give(office.windows));
        }
        if let Some(check) = &mut next.check {
            check.stage = CheckStage::Received {
                node: node as u8,
                term: office.term,
                // What is read may be as old as the question.
                epoch: self.record.facts(state.group).epoch,
            };
        }
        self.push(out, Action::ReceiveCheck { node: node as u8 }, next);
    }

    fn answer(&mut self, state: &State, node: u8, term: u8, epoch: u32, out: &mut Vec<Next<Self>>) {
        let office = state.offices[usize::from(node)].filter(|office| office.term == term);
        let Some(office) = office else { return };
        if term != state.term && self.scene.has(Protection::ReadIndex) {
            return;
        }
        let mut next = *state;
        if !self.scene.has(Protection::WindowBeforeRound) {
            next.note_window(node.into(), self.clockwork.give(office.windows));
        }
        if let Some(check) = &mut next.check {
            check.stage = CheckStage::Answered { epoch };
        }
        self.note("answer relied on");
        self.push(out, Action::Answer { node }, next);
    }
}

impl State {
    fn note_window(&mut self, node: usize, windows: u8) {
        if let Some(office) = &mut self.offices[node] {
            office.windows = windows;
        }
    }
}
