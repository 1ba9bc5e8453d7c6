//! A group as operators see it: what was asked for, what is on record, what
//! agents report to this node.

use std::collections::BTreeSet;

use primacy_proto::v1 as proto;

use super::convert;
use crate::{
    domain::{
        Control, Durability, Group, Incarnation, MemberSpec, Position, Postgres, Receiving, Report,
        Role,
    },
    ports::MemberView,
};

/// The view of `group`; `views` are of every group's members.
#[must_use]
pub fn view(group: &Group, views: &[MemberView]) -> proto::Group {
    let views: Vec<&MemberView> = views
        .iter()
        .filter(|view| view.group == group.spec.name)
        .collect();
    let lease = group.lease.as_ref();
    proto::Group {
        spec: Some(convert::spec_message(&group.spec)),
        epoch: group.epoch.0,
        holder: lease
            .map(|lease| lease.member.to_string())
            .unwrap_or_default(),
        sealed: group.published().is_some(),
        paused: group.paused,
        sync: sync(group),
        rests_on: rests_on(group).to_owned(),
        failing_over: group.failover.is_some(),
        failover_cause: group
            .failover
            .as_ref()
            .map(|failover| failover.cause.to_string())
            .unwrap_or_default(),
        blocked: blocked(group, &views),
        members: group
            .spec
            .members
            .iter()
            .map(|spec| member(group, spec, &views))
            .collect(),
        system_identifier: group.system_identifier,
    }
}

/// Every configuration that still counts, oldest first, each once.
fn sync(group: &Group) -> Vec<String> {
    let mut entries: Vec<_> = group.record.iter().collect();
    entries.sort_by_key(|entry| entry.order());
    let mut texts: Vec<String> = Vec::new();
    for entry in entries {
        let text = group.describe(&entry.config);
        texts.retain(|known| *known != text);
        texts.push(text);
    }
    texts
}

/// Design, section 3.4, in a phrase.
fn rests_on(group: &Group) -> &'static str {
    let unfenced = |member: &MemberSpec| member.control == Control::Sql && !member.no_failover;
    if group.spec.members.iter().any(unfenced) {
        return "nothing: a member that is reached by SQL only cannot be fenced";
    }
    match (group.spec.durability, group.latest_sync()) {
        (Durability::Async, _) => {
            "clock rates, and hosts that are not frozen across a lease; the last writes may be lost"
        }
        (Durability::Available, Some(entry)) if entry.config.is_asynchronous() => {
            "clock rates alone: every standby is lost, and the last writes may be"
        }
        _ => "PostgreSQL's synchronous replication, for sessions that wait for it; no clock",
    }
}

fn blocked(group: &Group, views: &[&MemberView]) -> String {
    let live: BTreeSet<Incarnation> = views
        .iter()
        .filter(|view| view.connected && view.report.is_standby())
        .map(|view| view.report.incarnation)
        .collect();
    match &group.failover {
        None => String::new(),
        Some(_) => group
            .choose(&live)
            .err()
            .map(|why| why.to_string())
            .unwrap_or_default(),
    }
}

fn member(group: &Group, spec: &MemberSpec, views: &[&MemberView]) -> proto::Member {
    let mut message = proto::Member {
        name: spec.name.to_string(),
        region: spec.region.to_string(),
        address: spec.address.to_string(),
        state: "unknown".to_owned(),
        ..proto::Member::default()
    };
    if let Some(known) = group.incarnations.get(&spec.name) {
        message.incarnation = known.to_string();
        message.synchronous = group
            .latest_sync()
            .is_some_and(|entry| entry.config.set.contains(known));
    }
    if let Some(view) = views.iter().find(|view| view.member == spec.name) {
        report(&mut message, &view.report);
        if view.contested {
            message.trouble = "a second agent speaks for it: stop one".to_owned();
        }
        message.agent_connected = view.connected;
        message.report_age_ms = u64::try_from(view.age.as_millis()).unwrap_or(u64::MAX);
        message.lag_bytes = lag(&view.report, primary_position(group, views));
    }
    message
}

fn report(message: &mut proto::Member, report: &Report) {
    let (state, doing) = match &report.postgres {
        Postgres::Absent => ("absent", ""),
        Postgres::Wreck => ("wreck", ""),
        Postgres::Stopped { clean: true } => ("stopped", "stopped cleanly"),
        Postgres::Stopped { clean: false } => ("stopped", "stopped without a checkpoint"),
        Postgres::Busy { doing } => ("busy", doing.as_str()),
        Postgres::Running(running) => match running.role {
            Role::Primary => ("primary", ""),
            Role::Standby => ("standby", ""),
        },
    };
    message.state = state.to_owned();
    message.doing = doing.to_owned();
    message.trouble = report
        .trouble
        .as_ref()
        .map(|trouble| trouble.message.clone())
        .unwrap_or_default();
    if let Some(at) = position(report) {
        message.timeline = at.timeline.0;
        message.lsn = at.lsn.0;
    }
    if let Some(running) = report.running() {
        message.receiving = running.receiving == Receiving::Streaming;
        message.replayed_lsn = match running.role {
            Role::Primary => running.position.lsn.0,
            Role::Standby => running.replayed.0,
        };
    }
}

/// Where it runs, or where it was fenced.
fn position(report: &Report) -> Option<Position> {
    let running = report.running().map(|running| running.position);
    running.or_else(|| report.fenced.and_then(|fenced| fenced.position))
}

/// Of the holder, while it runs as primary.
fn primary_position(group: &Group, views: &[&MemberView]) -> Option<Position> {
    let holder = group.lease.as_ref()?.holder;
    let view = views
        .iter()
        .find(|view| view.report.incarnation == holder)?;
    let running = view.report.running()?;
    (running.role == Role::Primary).then_some(running.position)
}

/// Bytes behind; two timelines cannot be compared by bytes.
fn lag(report: &Report, primary: Option<Position>) -> Option<u64> {
    let (own, primary) = (report.running()?.position, primary?);
    (own.timeline == primary.timeline).then(|| primary.lsn.0.saturating_sub(own.lsn.0))
}
