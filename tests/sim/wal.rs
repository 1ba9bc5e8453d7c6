//! PostgreSQL's write-ahead log, as far as failovers care.
//!
//! A record is one write; its LSN is its number in the log. A promotion has no
//! length: that is the worst case for a standby that is ahead of the fork,
//! whose LSN then covers the first write of the new timeline.

use crate::domain::{Lineage, Lsn, Position, Timeline};

/// A write, unique in its world; barriers are writes too.
pub type Write = u64;

/// A timeline and where it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    pub timeline: Timeline,
    pub start: usize,
}

#[derive(Debug, Clone)]
pub struct Wal {
    branches: Vec<Branch>,
    records: Vec<Write>,
}

/// What a primary answers to a standby that asks for its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Refused,
    /// From the standby's end on.
    Streams,
    /// Connected, gets nothing, and acknowledges up to its own end, which is
    /// of another history.
    AheadOfFork,
}

impl Wal {
    /// The log of a cluster made by `initdb`.
    pub fn new() -> Self {
        let first = Branch {
            timeline: Timeline(1),
            start: 0,
        };
        Self {
            branches: vec![first],
            records: Vec::new(),
        }
    }

    pub fn end(&self) -> usize {
        self.records.len()
    }

    pub fn timeline(&self) -> Timeline {
        self.branches
            .last()
            .map_or(Timeline(1), |branch| branch.timeline)
    }

    pub fn position(&self, end: usize) -> Position {
        let begun = self.branches.iter().rev().find(|b| b.start <= end);
        Position {
            timeline: begun.map_or(Timeline(1), |branch| branch.timeline),
            lsn: Lsn(end as u64),
        }
    }

    pub fn lineage(&self) -> Lineage {
        let left = |pair: &[Branch]| Position {
            timeline: pair[0].timeline,
            lsn: Lsn(pair[1].start as u64),
        };
        Lineage {
            timeline: self.timeline(),
            ancestors: self.branches.windows(2).map(left).collect(),
        }
    }

    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    pub fn records(&self) -> &[Write] {
        &self.records
    }

    /// Whether `write` is the record that ends at `lsn`.
    pub fn has(&self, write: Write, lsn: usize) -> bool {
        self.records.get(lsn - 1) == Some(&write)
    }

    /// Appends a record and returns where it ends.
    pub fn append(&mut self, write: Write) -> usize {
        self.records.push(write);
        self.records.len()
    }

    /// Loses what lies beyond `end`.
    pub fn truncate(&mut self, end: usize) {
        self.records.truncate(end);
        self.branches.retain(|branch| branch.start <= end);
    }

    pub fn promote(&mut self, timeline: Timeline) {
        let start = self.end();
        self.branches.push(Branch { timeline, start });
    }

    /// A copy up to `end`, as a base backup takes it.
    pub fn copy_until(&self, end: usize) -> Self {
        let mut copy = self.clone();
        copy.truncate(end);
        copy
    }

    /// How PostgreSQL answers a standby on `timeline` whose log ends at `end`:
    /// by timeline number, without a look at what lies beyond a fork.
    pub fn link(&self, flushed: usize, timeline: Timeline, end: usize) -> Link {
        let Some(index) = self.branches.iter().position(|b| b.timeline == timeline) else {
            return Link::Refused;
        };
        match self.branches.get(index + 1) {
            None if end > flushed => Link::Refused,
            Some(next) if end > next.start => Link::AheadOfFork,
            _ => Link::Streams,
        }
    }

    /// Takes records that follow its own end, and the later timelines that
    /// `branches` has begun by then.
    pub fn receive(&mut self, records: &[Write], branches: &[Branch]) {
        self.records.extend_from_slice(records);
        let (end, last) = (self.end(), self.timeline());
        let begun = |branch: &&Branch| branch.timeline > last && branch.start <= end;
        self.branches.extend(branches.iter().filter(begun));
    }

    /// What `pg_rewind` leaves: the log up to where the histories part. It
    /// compares timeline numbers only, so on the same one it does nothing.
    pub fn rewound_to(&self, source: &Self) -> Self {
        if self.timeline() == source.timeline() {
            return self.clone();
        }
        let shared = self.branches.iter().zip(&source.branches);
        let shared = shared.take_while(|(a, b)| a == b).count();
        let left = |log: &Self| log.branches.get(shared).map_or(log.end(), |b| b.start);
        let end = left(self).min(left(source));
        Self {
            branches: self.branches[..shared].to_vec(),
            records: self.records[..end].to_vec(),
        }
    }
}
