//! Which timelines led to where a member stands, and who may follow whom.

use serde::{Deserialize, Serialize};

use super::{Lsn, Position, Timeline, rule::Rule};

/// A timeline with its ancestors, as PostgreSQL's history file lists them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lineage {
    pub timeline: Timeline,
    /// Each ancestor and where it was left, oldest first.
    pub ancestors: Vec<Position>,
}

/// Whether a member may stream from a primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything the member has, the primary has too.
    Follow,
    /// The member holds log that the primary does not have, from here on.
    Diverged { from: Position },
}

impl Lineage {
    /// The lineage of a cluster made by `initdb`.
    #[must_use]
    pub fn first() -> Self {
        Self {
            timeline: Timeline(1),
            ancestors: Vec::new(),
        }
    }

    /// The lineage that a promotion at `lsn` onto `timeline` makes.
    #[must_use]
    pub fn promoted(&self, lsn: Lsn, timeline: Timeline) -> Self {
        let mut ancestors = self.ancestors.clone();
        ancestors.push(Position {
            timeline: self.timeline,
            lsn,
        });
        Self {
            timeline,
            ancestors,
        }
    }

    /// Where this lineage's last promotion left its parent.
    #[must_use]
    pub fn fork(&self) -> Option<Position> {
        self.ancestors.last().copied()
    }

    /// The timeline of this lineage that wrote what ends at `lsn`.
    #[must_use]
    pub fn timeline_of(&self, lsn: Lsn) -> Timeline {
        let ancestor = self.ancestors.iter().find(|left| lsn <= left.lsn);
        ancestor.map_or(self.timeline, |left| left.timeline)
    }

    /// Whether log that ends at `position` is a part of this lineage's.
    #[must_use]
    pub fn holds(&self, position: Position) -> bool {
        let ends_before =
            |left: &Position| left.timeline == position.timeline && position.lsn <= left.lsn;
        position.timeline == self.timeline || self.ancestors.iter().any(ends_before)
    }

    /// Decides whether a member of lineage `self`, whose log ends at `end`
    /// (received, replayed or lying unreplayed in pg_wal, whichever is most),
    /// may stream from a primary of lineage `primary`.
    ///
    /// PostgreSQL does not check the end: a standby beyond the fork reports
    /// its old position in its first reply, and the primary then releases
    /// commits that nobody has (walsender.c, `ProcessStandbyReplyMessage`).
    #[must_use]
    pub fn verdict(&self, end: Lsn, primary: &Self) -> Verdict {
        let shared = self.shared_ancestors(primary);
        if shared == self.ancestors.len() {
            if self.timeline == primary.timeline && shared == primary.ancestors.len() {
                return Verdict::Follow;
            }
            return self.verdict_at_fork(end, primary.ancestors.get(shared));
        }
        Verdict::Diverged {
            from: self.earliest_difference(shared, primary),
        }
    }

    fn verdict_at_fork(&self, end: Lsn, left: Option<&Position>) -> Verdict {
        match left {
            Some(left) if left.timeline == self.timeline => {
                if end <= left.lsn || !Rule::Fork.holds() {
                    Verdict::Follow
                } else {
                    Verdict::Diverged { from: *left }
                }
            }
            // The primary never was on this timeline, so all of it is foreign.
            _ => Verdict::Diverged {
                from: self.fork().unwrap_or_default(),
            },
        }
    }

    fn shared_ancestors(&self, other: &Self) -> usize {
        self.ancestors
            .iter()
            .zip(&other.ancestors)
            .take_while(|(a, b)| a == b)
            .count()
    }

    fn earliest_difference(&self, shared: usize, primary: &Self) -> Position {
        let own = self.ancestors[shared];
        match primary.ancestors.get(shared) {
            Some(theirs) if theirs.timeline == own.timeline => own.min(*theirs),
            _ => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(timeline: u32, lsn: u64) -> Position {
        Position {
            timeline: Timeline(timeline),
            lsn: Lsn(lsn),
        }
    }

    fn primary() -> Lineage {
        Lineage::first().promoted(Lsn(100), Timeline(3))
    }

    #[test]
    fn a_standby_behind_the_fork_may_follow() {
        assert_eq!(
            Lineage::first().verdict(Lsn(100), &primary()),
            Verdict::Follow
        );
    }

    #[test]
    fn a_standby_ahead_of_the_fork_is_diverged() {
        let verdict = Lineage::first().verdict(Lsn(101), &primary());
        assert_eq!(verdict, Verdict::Diverged { from: at(1, 100) });
    }

    #[test]
    fn a_timeline_the_primary_never_was_on_is_diverged_from_its_start() {
        let other = Lineage::first().promoted(Lsn(90), Timeline(2));
        assert_eq!(
            other.verdict(Lsn(90), &primary()),
            Verdict::Diverged { from: at(1, 90) }
        );
    }

    #[test]
    fn the_same_timeline_with_another_past_is_diverged() {
        let twin = Lineage::first().promoted(Lsn(80), Timeline(3));
        assert_eq!(
            twin.verdict(Lsn(80), &primary()),
            Verdict::Diverged { from: at(1, 80) }
        );
    }
}
