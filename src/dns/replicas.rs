//! Which standbys were reported to serve reads within their group's `max_lag`.
//!
//! The only facts of the zone that are not in the log: they come from the
//! agents' reports to this node, so nodes may differ in them for a moment.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    domain::{Group, GroupName, MemberName, Position, Report, State},
    ports::MemberView,
};

/// A report older than this says nothing of now.
const REPORT_VALID: Duration = Duration::from_secs(5);

/// Whether each member that reported lately serves reads; a member without
/// an entry is one of which nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaFacts(BTreeMap<(GroupName, MemberName), bool>);

impl ReplicaFacts {
    /// Judges the reports in `views` by the groups of `state`.
    #[must_use]
    pub fn of(state: &State, views: &[MemberView]) -> Self {
        let known = views.iter().filter(|view| is_current(view));
        let judge = |view: &MemberView| {
            let group = state.group(&view.group)?;
            let head = head_of(group, views)?;
            let key = (view.group.clone(), view.member.clone());
            Some((key, serves(group, &view.report, head)))
        };
        Self(known.filter_map(judge).collect())
    }

    /// Records whether `member` serves reads.
    pub fn set(&mut self, group: &GroupName, member: &MemberName, serves: bool) {
        self.0.insert((group.clone(), member.clone()), serves);
    }

    /// Whether `member` serves reads within `max_lag`, if that is known.
    #[must_use]
    pub fn serves(&self, group: &GroupName, member: &MemberName) -> Option<bool> {
        self.0.get(&(group.clone(), member.clone())).copied()
    }
}

fn is_current(view: &MemberView) -> bool {
    view.connected && view.age < REPORT_VALID
}

/// Where the log of the group's primary ends, by the holder's own report.
fn head_of(group: &Group, views: &[MemberView]) -> Option<Position> {
    let holder = group.lease.as_ref()?.holder;
    let view = views.iter().find(|view| {
        view.group == group.spec.name && view.report.incarnation == holder && is_current(view)
    })?;
    let running = view.report.running()?;
    view.report.is_primary().then_some(running.position)
}

/// What a query sees is what was replayed, so that is what is compared.
fn serves(group: &Group, report: &Report, head: Position) -> bool {
    let is_member = group.incarnations.get(&report.member) == Some(&report.incarnation);
    let is_near = report.running().is_some_and(|running| {
        running.position.timeline == head.timeline
            && head.lsn.0.saturating_sub(running.replayed.0) <= group.spec.max_lag_bytes
    });
    is_member && report.is_standby() && is_near
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        dns::fixtures::{GROUP, group_name, incarnation, sealed},
        domain::{Lsn, Postgres, Promised, Receiving, Role, Running, Timeline},
    };

    /// A member's report that its log ends at `lsn` and is replayed to there.
    fn view(member: &str, role: Role, lsn: u64) -> MemberView {
        let running = Running {
            role,
            position: Position {
                timeline: Timeline(1),
                lsn: Lsn(lsn),
            },
            replayed: Lsn(lsn),
            receiving: Receiving::Streaming,
            open: true,
        };
        let report = Report {
            group: group_name(GROUP),
            member: member.parse().expect("a name"),
            incarnation: incarnation(member),
            system_identifier: None,
            promised: Promised::default(),
            postgres: Postgres::Running(running),
            lineage: None,
            fenced: None,
            barrier: None,
            upstream_answers: None,
            checkpointed: None,
            trouble: None,
        };
        MemberView {
            group: report.group.clone(),
            member: report.member.clone(),
            report: Arc::new(report),
            connected: true,
            age: Duration::ZERO,
            contested: false,
        }
    }

    fn oslo(views: &[MemberView]) -> Option<bool> {
        let facts = ReplicaFacts::of(&sealed(), views);
        facts.serves(&group_name(GROUP), &"oslo".parse().expect("a name"))
    }

    fn edited(mut view: MemberView, edit: impl FnOnce(&mut Running)) -> MemberView {
        let report = Arc::make_mut(&mut view.report);
        if let Postgres::Running(running) = &mut report.postgres {
            edit(running);
        }
        view
    }

    #[test]
    fn a_standby_serves_up_to_max_lag_and_not_beyond() {
        let head = view("paris", Role::Primary, 5000);
        assert_eq!(
            oslo(&[head.clone(), view("oslo", Role::Standby, 4000)]),
            Some(true)
        );
        assert_eq!(
            oslo(&[head, view("oslo", Role::Standby, 3999)]),
            Some(false)
        );
    }

    #[test]
    fn a_standby_that_received_but_did_not_replay_is_behind() {
        let lagging = edited(view("oslo", Role::Standby, 5000), |running| {
            running.replayed = Lsn(0)
        });
        assert_eq!(
            oslo(&[view("paris", Role::Primary, 5000), lagging]),
            Some(false)
        );
    }

    #[test]
    fn a_standby_on_another_timeline_does_not_serve() {
        let other = edited(view("oslo", Role::Standby, 5000), |running| {
            running.position.timeline = Timeline(2);
        });
        assert_eq!(
            oslo(&[view("paris", Role::Primary, 5000), other]),
            Some(false)
        );
    }

    #[test]
    fn nothing_is_known_from_old_reports_closed_streams_or_without_a_primary() {
        let head = view("paris", Role::Primary, 5000);
        let standby = view("oslo", Role::Standby, 5000);
        let old = MemberView {
            age: REPORT_VALID,
            ..standby.clone()
        };
        assert_eq!(oslo(&[head.clone(), old]), None);
        let closed = MemberView {
            connected: false,
            ..standby.clone()
        };
        assert_eq!(oslo(&[head, closed]), None);
        assert_eq!(oslo(&[standby]), None);
    }
}
