//! When a grant is legal: exclusive and complete.
//!
//! *Exclusive*: under no configuration on record can a commit still be
//! acknowledged. *Complete*: the candidate has every commit that ever was.
//! The two are shown separately and in any mix; `apply` asks both.

use std::collections::BTreeSet;

use super::{
    Durability, Failover, Incarnation, Lease, Lineage, OnRecord, Refusal, SyncConfig, rule::Rule,
};

/// The facts a grant is judged by.
pub(super) struct Case<'a> {
    pub record: &'a [OnRecord],
    pub lease: &'a Lease,
    pub failover: &'a Failover,
    pub durability: Durability,
    /// Of the last primary that opened.
    pub lineage: Option<&'a Lineage>,
}

impl<'a> Case<'a> {
    /// Whether no commit can be acknowledged under `entry` any more.
    pub fn is_exclusive(&self, entry: &OnRecord) -> bool {
        if entry.exclusive {
            return true;
        }
        let holder_stopped = self.failover.fences.contains_key(&entry.holder);
        holder_stopped
            || entry.config.blocked_by(&self.failover.fenced())
            || (entry.config.is_asynchronous() && self.is_time_fenced())
            || self.failover.host_dead
    }

    /// A time fence counts only for a holder that agreed to stop at its deadline.
    fn is_time_fenced(&self) -> bool {
        self.lease.expired && self.lease.hard
    }

    /// Whether the fenced members hold everything acknowledged under `entry`.
    pub fn is_complete(&self, entry: &OnRecord) -> bool {
        let positioned = self.failover.positioned();
        // Whoever was granted a later epoch had all of this one then, and
        // nothing on record is rewound.
        let had_all =
            |later: &OnRecord| later.epoch > entry.epoch && positioned.contains(&later.holder);
        positioned.contains(&entry.holder)
            || self.record.iter().any(had_all)
            || entry.config.blocked_by(&positioned)
            || (entry.config.is_asynchronous() && self.durability != Durability::Strict)
            || self.failover.accept_loss
    }

    /// What has to be exclusive and complete: every configuration on record,
    /// and what a primary may do on the way from one to the next.
    fn to_be_shown(&self) -> Vec<OnRecord> {
        let mut all = self.record.to_vec();
        // By holder, not by epoch: one that goes on under the next epoch keeps
        // its walsenders, and with them what they read.
        let holders: BTreeSet<_> = self.record.iter().map(|entry| entry.holder).collect();
        all.extend(holders.into_iter().filter_map(|holder| {
            let of_holder = |entry: &&OnRecord| entry.holder == holder;
            mixture(self.record.iter().filter(of_holder))
        }));
        all
    }

    /// Refuses the grant unless every configuration on record is exclusive
    /// and complete, and `candidate` is the most complete of the fenced.
    pub fn judge(&self, candidate: Incarnation, sync: &SyncConfig) -> Result<(), Refusal> {
        for entry in &self.to_be_shown() {
            let judged = Rule::ExclusiveForEvery.holds() || !entry.config.is_asynchronous();
            if judged && !self.is_exclusive(entry) {
                return Err(Refusal::NotExclusive(describe(entry)));
            }
            if !self.is_complete(entry) {
                return Err(Refusal::NotComplete(describe(entry)));
            }
        }
        self.judge_position(candidate)?;
        self.judge_sync(candidate, sync)
    }

    fn judge_position(&self, candidate: Incarnation) -> Result<(), Refusal> {
        let found = self.failover.position(candidate);
        let required = self.failover.greatest().unwrap_or_default();
        let enough = found.is_some_and(|found| found >= required);
        if enough || (found.is_some() && self.failover.accept_loss) {
            return Ok(());
        }
        Err(Refusal::BehindFence {
            candidate,
            found,
            required,
        })
    }

    /// The new sync set names only members fenced in this failover, at or
    /// behind the candidate and of its history: any other may be ahead of the
    /// fork, and could follow only once it is rewound.
    fn judge_sync(&self, candidate: Incarnation, sync: &SyncConfig) -> Result<(), Refusal> {
        let limit = self.failover.position(candidate);
        let shares = |at| self.lineage.is_none_or(|lineage| lineage.holds(at));
        let ahead = |member: &&Incarnation| {
            let position = self.failover.position(**member);
            position > limit || !position.is_some_and(shares)
        };
        match sync.set.iter().find(ahead) {
            Some(member) if Rule::Fork.holds() => Err(Refusal::SyncMemberNotFenced(*member)),
            _ => Ok(()),
        }
    }

    /// Members that are still missing for a legal grant, for each
    /// configuration that wants some; empty when none is missing.
    pub fn missing(&self) -> Vec<(OnRecord, BTreeSet<Incarnation>)> {
        let positioned = self.failover.positioned();
        let wanting = |entry: &OnRecord| !self.is_exclusive(entry) || !self.is_complete(entry);
        let lacking = |entry: &OnRecord| {
            let mut members = &entry.config.set - &positioned;
            members.insert(entry.holder);
            members
        };
        self.to_be_shown()
            .into_iter()
            .filter(wanting)
            .map(|entry| {
                let members = lacking(&entry);
                (entry, members)
            })
            .collect()
    }
}

/// What a primary may do while it changes from one of `entries` to the next.
///
/// Each walsender reads the configuration for itself: one that still has the
/// old `k` counts standbys that are in the new set alone. A commit may so be
/// released by the least `k` of all the members together, which configurations
/// with `k` above one do not rule out one by one.
fn mixture<'a>(entries: impl Iterator<Item = &'a OnRecord>) -> Option<OnRecord> {
    // Of nobody and of asynchronous replication no walsender releases anything.
    let mut entries = entries.filter(|entry| !entry.config.set.is_empty());
    let mut mixed = entries.next()?.clone();
    let before = mixed.config.clone();
    for entry in entries {
        (mixed.epoch, mixed.revision) = (entry.epoch, entry.revision);
        mixed.exclusive &= entry.exclusive;
        mixed.config.k = mixed.config.k.min(entry.config.k);
        mixed.config.set.extend(&entry.config.set);
    }
    (mixed.config != before).then_some(mixed)
}

fn describe(entry: &OnRecord) -> String {
    let config = &entry.config;
    format!(
        "epoch {} sync revision {}: ANY {} of {}",
        entry.epoch,
        entry.revision,
        config.k,
        config.set.len()
    )
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, slice::from_ref};

    use super::*;
    use crate::domain::{Cause, Epoch, Lsn, Position, Revision, Timeline};

    fn id(n: u128) -> Incarnation {
        Incarnation(uuid::Uuid::from_u128(n))
    }

    fn on_record(revision: u32, k: u32, set: &[u128]) -> OnRecord {
        OnRecord {
            epoch: Epoch(3),
            revision: Revision(revision),
            holder: id(9),
            config: SyncConfig::any(k, set.iter().map(|n| id(*n)).collect()),
            exclusive: false,
        }
    }

    /// Whether fencing these is enough for a grant to the first of them.
    fn is_enough(record: &[OnRecord], fenced: &[u128]) -> bool {
        let at = Position {
            timeline: Timeline(3),
            lsn: Lsn(7),
        };
        let fences: BTreeMap<_, _> = fenced.iter().map(|n| (id(*n), Some(at))).collect();
        let failover = Failover {
            epoch: Epoch(3),
            cause: Cause::Silence,
            prefer: None,
            fences,
            host_dead: false,
            accept_loss: false,
            began_at_ms: 0,
        };
        let lease = Lease {
            epoch: Epoch(3),
            holder: id(9),
            member: "a".parse().expect("a name"),
            promoted: true,
            sealed: true,
            hard: false,
            expired: false,
        };
        let case = Case {
            record,
            lease: &lease,
            failover: &failover,
            durability: Durability::Strict,
            lineage: None,
        };
        case.judge(id(fenced[0]), &SyncConfig::nobody()).is_ok()
    }

    #[test]
    fn on_the_way_to_a_greater_k_the_lesser_one_may_count_the_new_members() {
        let (one, both) = (on_record(1, 1, &[1]), on_record(2, 2, &[1, 2]));
        assert!(is_enough(from_ref(&one), &[1]));
        assert!(is_enough(from_ref(&both), &[1]));
        // Walsender 1 may release by its k of 1 what 2 alone has flushed.
        assert!(!is_enough(&[one.clone(), both.clone()], &[1]));
        assert!(is_enough(&[one, both], &[1, 2]));
    }

    #[test]
    fn a_holder_that_goes_on_may_mix_the_sets_of_two_epochs() {
        let before = on_record(2, 2, &[1, 2]);
        let after = OnRecord {
            epoch: Epoch(4),
            ..on_record(1, 1, &[1])
        };
        // 2's walsender may count 2 as the one that the new epoch wants.
        assert!(!is_enough(&[before.clone(), after.clone()], &[1]));
        assert!(is_enough(&[before.clone(), after.clone()], &[1, 2]));
        // Another holder has walsenders of its own.
        let elsewhere = OnRecord {
            holder: id(8),
            ..after
        };
        assert!(is_enough(&[before, elsewhere], &[1]));
    }

    #[test]
    fn former_members_are_not_waited_for_where_a_later_holder_has_all_of_theirs() {
        let lost = OnRecord {
            exclusive: true,
            ..on_record(2, 1, &[1, 2])
        };
        let later = OnRecord {
            epoch: Epoch(4),
            holder: id(8),
            ..on_record(1, 1, &[])
        };
        assert!(!is_enough(from_ref(&lost), &[8]));
        assert!(is_enough(&[lost.clone(), later.clone()], &[8]));
        // Not whoever held an epoch before.
        let earlier = OnRecord {
            epoch: Epoch(2),
            ..later
        };
        assert!(!is_enough(&[earlier, lost], &[8]));
    }

    #[test]
    fn sets_that_cross_are_counted_together() {
        let (before, after) = (on_record(1, 2, &[1, 2]), on_record(2, 2, &[2, 3]));
        // 1 and 3 may release what 2 does not have.
        assert!(!is_enough(&[before.clone(), after.clone()], &[2]));
        assert!(is_enough(&[before, after], &[2, 3]));
    }
}
