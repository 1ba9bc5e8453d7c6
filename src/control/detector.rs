//! Whether the holder can be believed to be primary still.
//!
//! Evidence, not one timeout: what the fuse says, streams that were closed,
//! silence, and whether log still arrives at the standbys. A false alarm costs
//! a failover, never a write, so the detector may be quick.

use std::time::Duration;

use crate::domain::{Cause, Group, Incarnation, Lease, Postgres, Receiving, Report, Role};

/// What the leader knows of one member.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub report: &'a Report,
    /// The agent's stream to the leader is open.
    pub connected: bool,
    /// Time since the latest report.
    pub age: Duration,
    /// A second agent claimed the member while this one spoke.
    pub contested: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing to doubt.
    Well,
    /// The holder is doubted: the standbys should say what they see.
    Suspect,
    /// The holder cannot serve, or nobody sees it any more.
    Failed { cause: Cause, silence: Duration },
}

/// Judges the holder of `lease`. `office` is how long this leader has led: a
/// member that never reported here has been silent for as long.
#[must_use]
pub fn judge(group: &Group, lease: &Lease, views: &[View<'_>], office: Duration) -> Finding {
    let suspect_after = Duration::from_millis(group.spec.suspect_after_ms);
    let holder = views
        .iter()
        .find(|view| view.report.incarnation == lease.holder);
    let Some(holder) = holder else {
        return judge_unseen(group, lease, views, office, suspect_after);
    };
    if holder.connected && is_down(holder.report, lease) {
        return Finding::Failed {
            cause: Cause::PostgresDied,
            silence: holder.age,
        };
    }
    let silent = holder.age.min(office) > suspect_after;
    let (doubted, cause) = match holder.connected {
        false => (true, Cause::ConnectionLost),
        true => (silent, Cause::Silence),
    };
    match doubted {
        false => Finding::Well,
        true if cut_off(group, lease.holder, views, suspect_after) => Finding::Failed {
            cause,
            silence: holder.age,
        },
        true => Finding::Suspect,
    }
}

/// Whether nobody can acknowledge a commit of the holder, though all of its
/// set speak: they stand, and receive nothing. The holder's agent may be well
/// and see nothing of it. Others could serve, so it is not left at that.
#[must_use]
pub fn is_starved(group: &Group, lease: &Lease, views: &[View<'_>]) -> bool {
    let suspect_after = Duration::from_millis(group.spec.suspect_after_ms);
    let set = group.latest_sync().map(|entry| &entry.config.set);
    let receives_nothing = |member: &Incarnation| {
        views
            .iter()
            .filter(|view| view.report.incarnation == *member)
            .filter(|view| view.connected && view.age <= suspect_after)
            .filter_map(|view| view.report.running())
            .any(|running| running.role == Role::Standby && running.receiving == Receiving::No)
    };
    lease.sealed && set.is_some_and(|set| !set.is_empty() && set.iter().all(receives_nothing))
}

/// The holder's agent never spoke to this leader.
fn judge_unseen(
    group: &Group,
    lease: &Lease,
    views: &[View<'_>],
    office: Duration,
    suspect_after: Duration,
) -> Finding {
    if office <= suspect_after {
        return Finding::Well;
    }
    match cut_off(group, lease.holder, views, suspect_after) {
        true => Finding::Failed {
            cause: Cause::Silence,
            silence: office,
        },
        false => Finding::Suspect,
    }
}

/// PostgreSQL was opened under this epoch and no process of it is left.
fn is_down(report: &Report, lease: &Lease) -> bool {
    let gone = matches!(
        report.postgres,
        Postgres::Stopped { .. } | Postgres::Wreck | Postgres::Absent
    );
    gone && report.promised.opened == lease.epoch
}

/// Whether every standby that reports now sees nothing of the holder, and at
/// least one does report.
fn cut_off(group: &Group, holder: Incarnation, views: &[View<'_>], fresh_within: Duration) -> bool {
    let mut standbys = views
        .iter()
        .filter(|view| view.report.incarnation != holder && view.connected)
        .filter(|view| view.age <= fresh_within && view.report.is_standby())
        .filter(|view| group.member_of(view.report.incarnation).is_some())
        .peekable();
    standbys.peek().is_some() && standbys.all(sees_nothing)
}

/// A receiver may hang on a connection that nobody serves any more, so one
/// that looks alive is outweighed by a postmaster that does not answer.
fn sees_nothing(view: &View<'_>) -> bool {
    let receiving = view.report.running().map(|running| running.receiving);
    receiving != Some(Receiving::Streaming) || view.report.upstream_answers == Some(false)
}
