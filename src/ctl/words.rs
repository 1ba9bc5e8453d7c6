//! A group in words, for the commands that show one.

use primacy_proto::v1 as proto;

use super::{failure::Failure, output};
use crate::{
    domain::{GroupSpec, Lsn},
    grpc::event_text::sync_words,
};

pub fn or_dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.to_owned()
    }
}

pub fn name(group: &proto::Group) -> &str {
    group.spec.as_ref().map_or("", |spec| spec.name.as_str())
}

/// The specification as the domain has it.
pub fn spec(group: &proto::Group) -> Result<GroupSpec, Failure> {
    let spec = group.spec.clone().unwrap_or_default();
    crate::grpc::spec(spec)
        .map_err(|status| Failure::Failed(format!("a newer node's answer: {}", status.message())))
}

/// Where the group is on its way to serving.
pub fn state(group: &proto::Group) -> String {
    let state = match (group.holder.as_str(), group.failing_over, group.sealed) {
        ("", ..) => "waits for its first primary",
        (_, true, _) => "failing over",
        (_, false, true) => "sealed",
        (_, false, false) => "not sealed",
    };
    match group.paused {
        true => format!("{state}, paused"),
        false => state.to_owned(),
    }
}

/// `orders: paris (10.0.0.1:5432), epoch 7, sealed`.
pub fn headline(group: &proto::Group) -> String {
    let address = |member: &proto::Member| format!(" ({})", member.address);
    let holder = group
        .members
        .iter()
        .find(|member| member.name == group.holder);
    let primary = match group.holder.as_str() {
        "" => "no primary".to_owned(),
        holder_name => format!("{holder_name}{}", holder.map(address).unwrap_or_default()),
    };
    format!(
        "{}: {primary}, epoch {}, {}",
        name(group),
        group.epoch,
        state(group)
    )
}

/// What commits wait for; several while a change is under way.
pub fn sync(group: &proto::Group) -> String {
    let parts: Vec<String> = group.sync.iter().map(|text| sync_words(text)).collect();
    match parts.as_slice() {
        [] => "nobody yet".to_owned(),
        [only] => only.clone(),
        _ => format!(
            "{}; all of these count while the change is under way",
            parts.join(", or ")
        ),
    }
}

/// The failover under way and what it waits for.
pub fn failover(group: &proto::Group) -> Option<String> {
    let cause = &group.failover_cause;
    match (group.failing_over, group.blocked.as_str()) {
        (false, _) => None,
        (true, "") => Some(format!("under way ({cause})")),
        (true, blocked) => Some(format!("under way ({cause}), waits: {blocked}")),
    }
}

/// What a member is and does.
pub fn member_state(group: &proto::Group, member: &proto::Member) -> String {
    match member.state.as_str() {
        "primary" if member.name != group.holder => "primary, without the lease".to_owned(),
        "primary" => "primary".to_owned(),
        "standby" if member.receiving => "standby, streaming".to_owned(),
        "standby" => "standby, receives nothing".to_owned(),
        "busy" => format!("busy: {}", member.doing),
        "stopped" => member.doing.clone(),
        other => other.to_owned(),
    }
}

pub fn lsn(member: &proto::Member) -> String {
    match member.lsn {
        0 => "-".to_owned(),
        lsn => Lsn(lsn).to_string(),
    }
}

pub fn lag(group: &proto::Group, member: &proto::Member) -> String {
    match member.lag_bytes {
        Some(_) if member.name == group.holder => "-".to_owned(),
        Some(bytes) => output::bytes(bytes),
        None => "-".to_owned(),
    }
}

pub fn agent(member: &proto::Member) -> String {
    match (member.agent_connected, member.state.as_str()) {
        (true, _) => "connected".to_owned(),
        (false, "unknown") => "never seen".to_owned(),
        (false, _) => format!("gone for {}", output::duration(member.report_age_ms)),
    }
}

/// A check's answer on one line.
pub fn check(answer: &proto::CheckResponse) -> String {
    let group = &answer.group;
    match (&answer.primary, answer.reason.as_str()) {
        (None, reason) => format!("{group}: no primary: {reason}"),
        (Some(it), reason) => {
            let doubt = if reason.is_empty() {
                String::new()
            } else {
                format!(" ({reason})")
            };
            format!(
                "{group}: {} in {} at {}, epoch {}{doubt}",
                it.member, it.region, it.address, it.epoch
            )
        }
    }
}

/// An event on one line.
pub fn event(event: &proto::Event) -> String {
    let at = output::time(event.at_ms);
    format!(
        "{at}  {:>6}  {}  epoch {}  {}",
        event.revision, event.group, event.epoch, event.text
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(sync: &[&str]) -> proto::Group {
        let sync = sync.iter().map(ToString::to_string).collect();
        proto::Group {
            sync,
            ..proto::Group::default()
        }
    }

    #[test]
    fn the_sync_set_reads_as_words() {
        assert_eq!(
            super::sync(&group(&["ANY 1 (lima, tokyo)"])),
            "1 of lima, tokyo"
        );
        assert_eq!(super::sync(&group(&["ANY 1 (lima)"])), "lima");
        let two = super::sync(&group(&["ANY 1 (lima, tokyo)", "ANY 1 (lima)"]));
        assert!(two.starts_with("1 of lima, tokyo, or lima; all of these count"));
    }

    #[test]
    fn a_primary_without_the_lease_is_told_apart() {
        let group = proto::Group {
            holder: "paris".to_owned(),
            ..proto::Group::default()
        };
        let member = |name: &str| proto::Member {
            name: name.to_owned(),
            state: "primary".to_owned(),
            ..proto::Member::default()
        };
        assert_eq!(member_state(&group, &member("paris")), "primary");
        assert_eq!(
            member_state(&group, &member("lima")),
            "primary, without the lease"
        );
    }
}
