//! Domain types to messages and back; generated types stop here.

use std::collections::BTreeSet;

use primacy_proto::v1 as proto;
use tonic::Status;

use super::event_text;
use crate::domain::{
    Control, Durability, Event, GroupName, GroupSpec, MemberName, MemberSpec, NotAName,
};

/// A group name, or `INVALID_ARGUMENT`.
pub fn group_name(text: &str) -> Result<GroupName, Status> {
    text.parse().map_err(|error| bad_name("group", &error))
}

/// A member name, or `INVALID_ARGUMENT`.
pub fn member_name(text: &str) -> Result<MemberName, Status> {
    text.parse().map_err(|error| bad_name("member", &error))
}

/// A member name; none of the empty string.
pub fn optional_member(text: &str) -> Result<Option<MemberName>, Status> {
    (!text.is_empty()).then(|| member_name(text)).transpose()
}

pub(super) fn bad_name(what: &str, error: &NotAName) -> Status {
    Status::invalid_argument(format!("{what}: {error}"))
}

/// The specification as the domain has it; relations are for `validate`.
pub fn spec(message: proto::GroupSpec) -> Result<GroupSpec, Status> {
    let sync_members: Result<BTreeSet<_>, _> = message
        .sync_members
        .iter()
        .map(|name| member_name(name))
        .collect();
    Ok(GroupSpec {
        name: group_name(&message.name)?,
        durability: durability(&message.durability)?,
        sync_k: message.sync_k,
        sync_members: sync_members?,
        ttl_ms: message.ttl_ms,
        suspect_after_ms: message.suspect_after_ms,
        max_lag_bytes: message.max_lag_bytes,
        check_window_ms: message.check_window_ms,
        initial_primary: member_name(&message.initial_primary)?,
        system_identifier: message.system_identifier,
        members: message
            .members
            .into_iter()
            .map(member)
            .collect::<Result<_, _>>()?,
    })
}

fn durability(text: &str) -> Result<Durability, Status> {
    match text {
        "strict" => Ok(Durability::Strict),
        "available" => Ok(Durability::Available),
        "async" => Ok(Durability::Async),
        other => Err(Status::invalid_argument(format!(
            "durability = {other:?} is none of strict, available, async"
        ))),
    }
}

fn member(message: proto::MemberSpec) -> Result<MemberSpec, Status> {
    let name = member_name(&message.name)?;
    let address = message.address.parse().map_err(|_| {
        Status::invalid_argument(format!(
            "member {name}: address = {:?} is not IP:PORT",
            message.address
        ))
    })?;
    let control = match message.control.as_str() {
        "process" => Control::Process,
        "sql" => Control::Sql,
        other => {
            let text = format!("member {name}: control = {other:?} is neither process nor sql");
            return Err(Status::invalid_argument(text));
        }
    };
    Ok(MemberSpec {
        region: message
            .region
            .parse()
            .map_err(|error| bad_name("region", &error))?,
        name,
        address,
        control,
        no_failover: message.no_failover,
        priority: message.priority,
    })
}

/// The specification as a message.
#[must_use]
pub fn spec_message(spec: &GroupSpec) -> proto::GroupSpec {
    proto::GroupSpec {
        name: spec.name.to_string(),
        durability: spec.durability.to_string(),
        sync_k: spec.sync_k,
        sync_members: spec.sync_members.iter().map(ToString::to_string).collect(),
        ttl_ms: spec.ttl_ms,
        suspect_after_ms: spec.suspect_after_ms,
        max_lag_bytes: spec.max_lag_bytes,
        check_window_ms: spec.check_window_ms,
        initial_primary: spec.initial_primary.to_string(),
        system_identifier: spec.system_identifier,
        members: spec.members.iter().map(member_message).collect(),
    }
}

fn member_message(spec: &MemberSpec) -> proto::MemberSpec {
    proto::MemberSpec {
        name: spec.name.to_string(),
        region: spec.region.to_string(),
        address: spec.address.to_string(),
        control: match spec.control {
            Control::Process => "process",
            Control::Sql => "sql",
        }
        .to_owned(),
        no_failover: spec.no_failover,
        priority: spec.priority,
    }
}

/// An event with its sentence.
#[must_use]
pub fn event_message(event: &Event) -> proto::Event {
    let mut detail = serde_json::to_value(&event.kind).unwrap_or_default();
    let kind = detail
        .as_object_mut()
        .and_then(|fields| fields.remove("event"))
        .and_then(|kind| kind.as_str().map(str::to_owned))
        .unwrap_or_default();
    proto::Event {
        revision: event.revision,
        at_ms: event.at_ms,
        group: event.group.to_string(),
        epoch: event.epoch.0,
        kind,
        text: event_text::sentence(event),
        detail_json: detail.to_string(),
    }
}
