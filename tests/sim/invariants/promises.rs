//! What a life of a member promised it never takes back.

use std::collections::BTreeMap;

use super::Verdict;
use crate::domain::{Incarnation, Promised};

#[derive(Debug, Default)]
pub struct Promises {
    greatest: BTreeMap<Incarnation, Promised>,
}

impl Promises {
    pub fn made(&mut self, incarnation: Incarnation, promised: Promised) -> Verdict {
        let before = self
            .greatest
            .insert(incarnation, promised)
            .unwrap_or_default();
        let kept = promised.fenced >= before.fenced
            && promised.accepted >= before.accepted
            && promised.opened >= before.opened;
        match kept {
            true => Ok(()),
            false => Err(format!(
                "{incarnation} went back from {before:?} to {promised:?}"
            )),
        }
    }
}
