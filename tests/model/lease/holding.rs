//! What a holder may do: ask for its lease, learn of an answer, acknowledge
//! alone once its lease is hard, and stop.

use super::{
    super::search::Next,
    actions::{Action, Leases},
    clockwork::Held,
    scene::Protection,
    state::{HOLDERS, Holding, Message, Stage, State},
};
use crate::domain::Epoch;

impl Leases {
    pub(super) fn holders(&mut self, state: &State, out: &mut Vec<Next<Self>>) {
        let epoch = self.record.facts(state.group).epoch;
        for holder in 0..HOLDERS {
            let own = holder as u32 + 1;
            if own > epoch || own >= self.scene.epochs {
                continue;
            }
            self.sends(state, holder, out);
            self.takes(state, holder, out);
            self.serves(state, holder, out);
        }
    }

    /// Begins to acknowledge alone, which the record allows and a hard lease
    /// that is held; or stops, for whatever reason.
    fn serves(&self, state: &State, holder: usize, out: &mut Vec<Next<Self>>) {
        let Holding { held, serves, .. } = state.holders[holder];
        let valid = held.filter(|held| held.left > 0);
        let hard = |held: &Held| held.hard || !self.scene.has(Protection::HardFirst);
        let told = state.told_empty >> (holder + 1) & 1 == 1;
        let mut next = *state;
        let number = holder as u8;
        if serves {
            next.holders[holder] = Holding::default();
            self.push(out, Action::Stop { holder: number }, next);
        } else if told && valid.as_ref().is_some_and(hard) {
            next.holders[holder].serves = true;
            self.push(out, Action::Serve { holder: number }, next);
        }
    }

    fn takes(&mut self, state: &State, holder: usize, out: &mut Vec<Next<Self>>) {
        let epoch = Epoch(holder as u32 + 1);
        for message in state.renewals.iter().flatten() {
            if !message.is_acknowledged() || message.epoch != epoch.0 {
                continue;
            }
            let (age, hard) = (message.age, message.hard);
            let mut next = *state;
            let held = &mut next.holders[holder].held;
            *held = self.clockwork.acknowledged(epoch, *held, age, hard);
            if *held != state.holders[holder].held {
                self.note("lease held");
                let holder = holder as u8;
                self.push(out, Action::Take { holder, hard, age }, next);
            }
        }
    }

    /// One more renewal. The one whose place it takes is lost.
    fn sends(&self, state: &State, holder: usize, out: &mut Vec<Next<Self>>) {
        for slot in 0..self.scene.renewals {
            for hard in [true, false] {
                if !hard && !self.scene.soft {
                    continue;
                }
                let mut next = *state;
                next.renewals[slot] = Some(Message {
                    epoch: holder as u32 + 1,
                    hard,
                    age: 0,
                    stage: Stage::Sent,
                });
                let holder = holder as u8;
                self.push(out, Action::Send { holder, hard }, next);
            }
        }
    }
}
