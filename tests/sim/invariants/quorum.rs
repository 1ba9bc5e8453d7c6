//! The quorum keeps one log: one leader for a term, one entry for an index.
//!
//! Everything else rests on it, and the Raft here is the simulator's own.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{super::raft::Entry, Verdict};
use crate::domain::Outcome;

#[derive(Debug, Default)]
pub struct Quorum {
    leaders: BTreeMap<u64, usize>,
    /// Term and content of each entry that was ever applied.
    entries: BTreeMap<u64, (u64, u64)>,
}

impl Quorum {
    pub fn is_first(&self, index: u64) -> bool {
        !self.entries.contains_key(&index)
    }

    /// The last entry that any node has applied.
    pub fn highest(&self) -> u64 {
        self.entries.last_key_value().map_or(0, |(index, _)| *index)
    }

    pub fn leads(&mut self, node: usize, term: u64) -> Verdict {
        match *self.leaders.entry(term).or_insert(node) {
            leader if leader == node => Ok(()),
            leader => Err(format!(
                "nodes {leader} and {node} both lead in term {term}"
            )),
        }
    }

    pub fn applied(
        &mut self,
        node: usize,
        index: u64,
        entry: &Entry,
        outcome: &Outcome,
    ) -> Verdict {
        let mut hasher = DefaultHasher::new();
        entry.command.as_deref().hash(&mut hasher);
        matches!(outcome, Outcome::Applied(_)).hash(&mut hasher);
        let found = (entry.term, hasher.finish());
        match *self.entries.entry(index).or_insert(found) {
            known if known == found => Ok(()),
            (term, _) => Err(format!(
                "node {node} applied an entry of term {} at {index}, another node one of term {term}",
                entry.term
            )),
        }
    }
}
