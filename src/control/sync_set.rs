//! Which standbys the primary should wait for, as members come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::domain::{
    Change, Durability, Group, Incarnation, Lease, OnRecord, Receiving, SyncConfig,
};

use super::detector::View;

/// Remembers since when each member is not fit to be waited for.
///
/// A member that was lost leaves the set after `suspect_after`, so that a
/// later failover does not have to find it; one that streams joins at once.
#[derive(Debug, Clone, Default)]
pub struct SyncSet {
    unfit_since: BTreeMap<Incarnation, Duration>,
}

impl SyncSet {
    /// The next sync change of a group whose holder works, if one is due.
    pub fn change(
        &mut self,
        now: Duration,
        group: &Group,
        lease: &Lease,
        views: &[View<'_>],
    ) -> Option<Change> {
        let current: Vec<&OnRecord> = group
            .record
            .iter()
            .filter(|entry| entry.epoch == lease.epoch)
            .collect();
        let latest = *current.iter().max_by_key(|entry| entry.revision)?;
        if group.spec.durability == Durability::Async || !lease.promoted {
            return None;
        }
        let fit = self.fit(now, group, lease, views);
        let set = self.next_set(now, group, &latest.config.set, &fit);
        if set.is_empty() || set == latest.config.set {
            return None;
        }
        // What waits to be confirmed is left alone, unless those who would have
        // to confirm it are lost: nothing would ever be acknowledged again.
        let able = fit.intersection(&latest.config.set).count();
        let settled = lease.sealed && current.len() == 1;
        if !settled && able >= latest.config.k as usize {
            return None;
        }
        let next = SyncConfig::any(group.spec.sync_k, set);
        Some(Change::ProposeSync {
            epoch: lease.epoch,
            revision: latest.revision.next(),
            next,
        })
    }

    /// Members that stream on the holder's timeline and whose agent speaks.
    fn fit(
        &mut self,
        now: Duration,
        group: &Group,
        lease: &Lease,
        views: &[View<'_>],
    ) -> BTreeSet<Incarnation> {
        let fit: BTreeSet<_> = views
            .iter()
            .filter(|view| is_fit(group, lease, view))
            .map(|view| view.report.incarnation)
            .collect();
        for member in group.incarnations.values() {
            match fit.contains(member) {
                true => {
                    self.unfit_since.remove(member);
                }
                false => {
                    self.unfit_since.entry(*member).or_insert(now);
                }
            }
        }
        self.unfit_since
            .retain(|member, _| group.member_of(*member).is_some());
        fit
    }

    /// Those that are fit, and those in the set that were fit a moment ago.
    fn next_set(
        &self,
        now: Duration,
        group: &Group,
        set: &BTreeSet<Incarnation>,
        fit: &BTreeSet<Incarnation>,
    ) -> BTreeSet<Incarnation> {
        let patience = Duration::from_millis(group.spec.suspect_after_ms);
        let lately = |member: &&Incarnation| {
            self.unfit_since
                .get(member)
                .is_some_and(|since| now.saturating_sub(*since) < patience)
        };
        fit.iter()
            .chain(set.iter().filter(lately))
            .copied()
            .collect()
    }
}

fn is_fit(group: &Group, lease: &Lease, view: &View<'_>) -> bool {
    let incarnation = view.report.incarnation;
    let timeline = group.lineage.as_ref().map(|lineage| lineage.timeline);
    let streams = view.report.running().is_some_and(|running| {
        running.receiving == Receiving::Streaming && Some(running.position.timeline) == timeline
    });
    let able = group
        .spec_of(incarnation)
        .is_some_and(|spec| group.spec.may_be_synchronous(spec));
    let speaks = view.connected && view.age.as_millis() <= u128::from(group.spec.suspect_after_ms);
    speaks && view.report.is_standby() && streams && able && incarnation != lease.holder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Epoch, Lineage, Lsn, Postgres, Promised, Report, Revision, Role, Running,
        fixtures::{at, first_epoch, id, member},
    };

    /// A standby that streams from the primary.
    fn streaming(n: u8) -> Report {
        Report {
            group: "orders".parse().expect("a name"),
            member: member(n).name,
            incarnation: id(n),
            system_identifier: Some(7),
            promised: Promised::default(),
            postgres: Postgres::Running(Running {
                role: Role::Standby,
                position: at(1, 70),
                replayed: Lsn(70),
                receiving: Receiving::Streaming,
                open: false,
            }),
            lineage: Some(Lineage::first()),
            fenced: None,
            barrier: None,
            upstream_answers: None,
            checkpointed: None,
            trouble: None,
        }
    }

    /// What is proposed while a change from `b` to `c` waits to be confirmed,
    /// and these members stream.
    fn proposed(streams: &[u8]) -> Option<Change> {
        let mut group = first_epoch(Some(7));
        let entry = |revision, n| OnRecord {
            epoch: Epoch(1),
            revision: Revision(revision),
            holder: id(0),
            config: SyncConfig::any(1, [id(n)].into()),
            exclusive: false,
        };
        group.record = vec![entry(2, 1), entry(3, 2)];
        let lease = Lease {
            promoted: true,
            sealed: true,
            ..group.lease.clone().expect("a lease")
        };
        let reports: Vec<_> = streams.iter().map(|n| streaming(*n)).collect();
        let view = |report| View {
            report,
            connected: true,
            age: Duration::ZERO,
            contested: false,
        };
        let views: Vec<_> = reports.iter().map(view).collect();
        SyncSet::default().change(Duration::ZERO, &group, &lease, &views)
    }

    #[test]
    fn a_change_that_names_a_member_lost_in_that_moment_is_not_waited_for() {
        let Some(Change::ProposeSync { revision, next, .. }) = proposed(&[1]) else {
            panic!("it is waited for");
        };
        assert_eq!(revision, Revision(4));
        assert!(next.set.contains(&id(1)));
    }

    #[test]
    fn a_change_that_can_be_confirmed_is_left_alone() {
        assert_eq!(proposed(&[1, 2]), None);
    }
}
