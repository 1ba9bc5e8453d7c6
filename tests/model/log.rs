//! PostgreSQL's write-ahead log, as far as failovers care.
//!
//! A record is a client's write; its LSN is its number in the log. A promotion
//! has no length: it starts a timeline where the log ends. That is the worst
//! case for a standby that is ahead of the fork, whose LSN then covers the
//! first write of the new timeline.

use crate::domain::{Epoch, Lineage, Lsn, Position, Timeline};

/// A timeline, where it starts and who made it. Two promotions onto the same
/// number differ in `made_by`: their records would be different bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Branch {
    pub timeline: Timeline,
    pub start: usize,
    pub made_by: Epoch,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Log {
    branches: Vec<Branch>,
    writes: Vec<u8>,
}

impl Log {
    /// The empty log of a new cluster.
    pub fn new() -> Self {
        let first = Branch {
            timeline: Timeline(1),
            start: 0,
            made_by: Epoch(1),
        };
        Self {
            branches: vec![first],
            writes: Vec::new(),
        }
    }

    pub fn end(&self) -> usize {
        self.writes.len()
    }

    pub fn timeline(&self) -> Timeline {
        self.branches.last().map_or(Timeline(1), |b| b.timeline)
    }

    pub fn position(&self) -> Position {
        Position {
            timeline: self.timeline(),
            lsn: Lsn(self.end() as u64),
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

    /// The writes among the first `end` records, as a bit mask.
    pub fn writes_until(&self, end: usize) -> u8 {
        let known = &self.writes[..end.min(self.end())];
        known.iter().fold(0, |mask, id| mask | 1 << id)
    }

    pub fn append(&self, write: u8) -> Self {
        let mut next = self.clone();
        next.writes.push(write);
        next
    }

    pub fn promote(&self, timeline: Timeline, made_by: Epoch) -> Self {
        let mut next = self.clone();
        next.branches.push(Branch {
            timeline,
            start: self.end(),
            made_by,
        });
        next
    }

    /// What a standby with this log gets from `primary`, as PostgreSQL decides
    /// it: by timeline number, and without a look at what lies beyond a fork.
    pub fn link_to(&self, primary: &Self) -> Link {
        let found = |b: &Branch| b.timeline == self.timeline();
        let Some(index) = primary.branches.iter().position(found) else {
            return Link::Refused;
        };
        match primary.branches.get(index + 1) {
            None if self.end() > primary.end() => Link::Refused,
            None if self.end() == primary.end() => Link::UpToDate,
            Some(next) if self.end() == next.start => Link::NextTimeline(*next),
            Some(next) if self.end() > next.start => Link::AheadOfFork,
            _ => Link::NextWrite(primary.writes[self.end()]),
        }
    }

    /// The log after it took what `link` offers.
    pub fn receive(&self, link: Link) -> Option<Self> {
        match link {
            Link::NextWrite(write) => Some(self.append(write)),
            Link::NextTimeline(branch) => Some(self.promote(branch.timeline, branch.made_by)),
            Link::Refused | Link::UpToDate | Link::AheadOfFork => None,
        }
    }

    /// What `pg_rewind` leaves: the log up to where the histories part. It
    /// compares timeline numbers only, so on the same one it does nothing.
    pub fn rewound_to(&self, source: &Self) -> Self {
        if self.timeline() == source.timeline() {
            return self.clone();
        }
        let alike = |(a, b): &(&Branch, &Branch)| (a.timeline, a.start) == (b.timeline, b.start);
        let shared = self.branches.iter().zip(&source.branches);
        let shared = shared.take_while(alike).count();
        let left = |log: &Self| log.branches.get(shared).map_or(log.end(), |b| b.start);
        Self {
            branches: self.branches[..shared].to_vec(),
            writes: self.writes[..left(self).min(left(source))].to_vec(),
        }
    }

    /// The timeline on which both logs have different contents, if any.
    pub fn contradicts(&self, other: &Self) -> Option<Timeline> {
        let span = |log: &Self, index: usize| {
            let until = log.branches.get(index + 1).map_or(log.end(), |b| b.start);
            log.branches[index].start..until
        };
        for (i, mine) in self.branches.iter().enumerate() {
            for (j, theirs) in other.branches.iter().enumerate() {
                if mine.timeline != theirs.timeline {
                    continue;
                }
                let (a, b) = (&self.writes[span(self, i)], &other.writes[span(other, j)]);
                let common = a.len().min(b.len());
                if mine != theirs || a[..common] != b[..common] {
                    return Some(mine.timeline);
                }
            }
        }
        None
    }
}

/// What a standby's connection to a primary gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// No connection comes about.
    Refused,
    UpToDate,
    NextWrite(u8),
    NextTimeline(Branch),
    /// Connected, receives nothing, and acknowledges up to its own end, which
    /// is of another history.
    AheadOfFork,
}

impl Link {
    pub fn is_connected(self) -> bool {
        self != Self::Refused
    }
}
