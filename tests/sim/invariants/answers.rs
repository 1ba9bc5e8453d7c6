//! Every answer to a check is linearizable: it is read from a state no older
//! than anything that had been applied anywhere when the check was asked.

use std::collections::BTreeMap;

use super::{super::client::Answer, Verdict};
use crate::domain::Epoch;

#[derive(Debug, Default)]
pub struct Answers {
    /// What had been applied, and what had been answered, when each was asked.
    asked: BTreeMap<u64, (u64, Epoch)>,
    greatest: Epoch,
}

impl Answers {
    pub fn asked(&mut self, call: u64, applied: u64) {
        self.asked.insert(call, (applied, self.greatest));
    }

    pub fn answered(&mut self, call: u64, answer: Answer) -> Verdict {
        let Some((applied, epoch)) = self.asked.remove(&call) else {
            return Ok(());
        };
        self.greatest = self.greatest.max(answer.epoch);
        if answer.revision < applied {
            let found = answer.revision;
            return Err(format!(
                "answered from revision {found}; {applied} had been applied before"
            ));
        }
        match answer.epoch >= epoch {
            true => Ok(()),
            false => Err(format!(
                "answered epoch {} after epoch {epoch}",
                answer.epoch
            )),
        }
    }
}
