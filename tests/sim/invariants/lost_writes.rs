//! No acknowledged write is lost: the primary of every later sealed epoch has it.

use super::{
    super::{postgres::Database, wal::Write},
    Verdict,
};
use crate::domain::Epoch;

#[derive(Debug, Default)]
pub struct LostWrites {
    /// Every acknowledged write, and where it ends in the log.
    acknowledged: Vec<(Write, usize)>,
    sealed: Option<(Epoch, usize)>,
}

impl LostWrites {
    pub fn acknowledged(&mut self, write: Write, lsn: usize) {
        self.acknowledged.push((write, lsn));
    }

    pub fn sealed(&mut self, epoch: Epoch, holder: usize) {
        self.sealed = Some((epoch, holder));
    }

    /// The member that was sealed last, and its epoch.
    pub fn latest(&self) -> Option<(Epoch, usize)> {
        self.sealed
    }

    /// Whether `database` has everything that was ever acknowledged.
    pub fn held_by(&self, database: &Database) -> Verdict {
        let missing = self
            .acknowledged
            .iter()
            .find(|(write, lsn)| !database.wal.has(*write, *lsn));
        match missing {
            None => Ok(()),
            Some((write, lsn)) => Err(format!(
                "write {write} was acknowledged at {lsn}, and is not in the log up to {}",
                database.wal.position(database.wal.end())
            )),
        }
    }
}
