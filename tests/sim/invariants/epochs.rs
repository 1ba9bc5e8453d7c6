//! Epochs strictly increase, and so do the timelines that they name.

use std::collections::BTreeMap;

use super::Verdict;
use crate::domain::{Epoch, Position, Timeline};

#[derive(Debug, Default)]
pub struct Epochs {
    granted: Epoch,
    /// The epoch under which each member serves, or served last.
    opened: BTreeMap<usize, Epoch>,
    /// Who made each timeline, and where it left its parent.
    timelines: BTreeMap<Timeline, (usize, Option<Position>)>,
}

impl Epochs {
    /// The epoch under which `member` serves, or served last.
    pub fn of(&self, member: usize) -> Epoch {
        self.opened.get(&member).copied().unwrap_or_default()
    }

    pub fn granted(&mut self, epoch: Epoch) -> Verdict {
        let before = std::mem::replace(&mut self.granted, epoch);
        match epoch > before {
            true => Ok(()),
            false => Err(format!("epoch {epoch} was granted after {before}")),
        }
    }

    /// `member` serves under `epoch` on a timeline that began at `fork`.
    pub fn opened(
        &mut self,
        member: usize,
        epoch: Epoch,
        timeline: Timeline,
        fork: Option<Position>,
    ) -> Verdict {
        let before = self.opened.insert(member, epoch).unwrap_or_default();
        if epoch < before {
            return Err(format!(
                "member {member} opened epoch {epoch} after {before}"
            ));
        }
        match *self.timelines.entry(timeline).or_insert((member, fork)) {
            made if made == (member, fork) => Ok(()),
            (other, at) => Err(format!(
                "members {other} and {member} both made timeline {timeline}, at {at:?} and {fork:?}"
            )),
        }
    }
}
