//! A granted lease is complete and exclusive, judged by what only the
//! simulator knows: every log, every acknowledgement, every connection.

use super::super::{
    wal::{Wal, Write},
    world::World,
};
use crate::domain::Epoch;

#[derive(Debug, Default)]
pub struct Grants {
    granted: Vec<Granted>,
}

/// A grant, and the log that its holder began with.
#[derive(Debug)]
struct Granted {
    epoch: Epoch,
    holder: usize,
    wal: Wal,
}

impl World {
    pub fn judge_grant(&mut self, epoch: Epoch, holder: usize) {
        let database = &self.members[holder].database;
        let complete = self.checks.lost_writes.held_by(database);
        let complete =
            complete.map_err(|why| format!("epoch {epoch} was granted to {holder}: {why}"));
        let wal = database.wal.clone();
        self.judge("a grant is complete", complete);
        self.checks
            .grants
            .granted
            .push(Granted { epoch, holder, wal });
        let able = |member: &usize| *member != holder && self.can_acknowledge(*member);
        let exclusive = match (0..self.members.len()).find(able) {
            None => Ok(()),
            Some(other) => Err(format!(
                "epoch {epoch} was granted to {holder} while member {other} can acknowledge"
            )),
        };
        self.judge("a grant is exclusive", exclusive);
    }

    /// An acknowledgement under an epoch that has a successor must be of
    /// something that every successor began with.
    pub fn judge_late_acknowledgement(
        &mut self,
        member: usize,
        epoch: Epoch,
        write: Write,
        lsn: usize,
    ) {
        let lacks = |granted: &&Granted| {
            granted.epoch > epoch && granted.holder != member && !granted.wal.has(write, lsn)
        };
        let verdict = match self.checks.grants.granted.iter().find(lacks) {
            None => Ok(()),
            Some(granted) => Err(format!(
                "member {member} acknowledged write {write} under epoch {epoch}; epoch {} was \
                 granted to {} without it",
                granted.epoch, granted.holder
            )),
        };
        self.judge("a grant is complete", verdict);
    }
}
