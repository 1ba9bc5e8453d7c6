//! Answers as JSON, with the names of the API and of the group file.

use primacy_proto::v1 as proto;
use serde_json::{Value, json};

use super::{group_file, output, words};
use crate::domain::Lsn;

pub fn group(group: &proto::Group) -> Value {
    json!({
        "name": words::name(group),
        "spec": words::spec(group).map(|spec| group_file::json(&spec)).unwrap_or_default(),
        "epoch": group.epoch,
        "holder": or_null(&group.holder),
        "sealed": group.sealed,
        "paused": group.paused,
        "sync": group.sync,
        "rests_on": group.rests_on,
        "failing_over": group.failing_over,
        "failover_cause": or_null(&group.failover_cause),
        "blocked": or_null(&group.blocked),
        "system_identifier": group.system_identifier.map(|id| id.to_string()),
        "members": group.members.iter().map(member).collect::<Vec<_>>(),
    })
}

fn member(member: &proto::Member) -> Value {
    let lsn = |lsn: u64| (lsn > 0).then(|| Lsn(lsn).to_string());
    json!({
        "name": member.name,
        "region": member.region,
        "address": member.address,
        "incarnation": or_null(&member.incarnation),
        "state": member.state,
        "doing": or_null(&member.doing),
        "timeline": (member.timeline > 0).then_some(member.timeline),
        "lsn": lsn(member.lsn),
        "replayed_lsn": lsn(member.replayed_lsn),
        "lag_bytes": member.lag_bytes,
        "receiving": member.receiving,
        "synchronous": member.synchronous,
        "agent_connected": member.agent_connected,
        "report_age_ms": member.report_age_ms,
        "trouble": or_null(&member.trouble),
    })
}

pub fn cluster(status: &proto::ClusterStatusResponse) -> Value {
    let node = |node: &proto::Node| {
        json!({
            "id": node.id,
            "region": node.region,
            "raft_address": node.raft_address,
            "grpc_address": or_null(&node.grpc_address),
            "voter": node.voter,
            "leader": node.leader,
            "behind": node.behind,
        })
    };
    json!({
        "cluster_id": status.cluster_id,
        "node_id": status.node_id,
        "leader": status.leader,
        "term": status.term,
        "last_log": status.last_log,
        "applied": status.applied,
        "confirmed": status.confirmed,
        "nodes": status.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

pub fn check(answer: &proto::CheckResponse) -> Value {
    let primary = |primary: &proto::Primary| {
        json!({
            "member": primary.member,
            "region": primary.region,
            "address": primary.address,
            "epoch": primary.epoch,
        })
    };
    json!({
        "group": answer.group,
        "primary": answer.primary.as_ref().map(primary),
        "reason": or_null(&answer.reason),
        "valid_for_ms": answer.valid_for_ms,
        "revision": answer.revision,
    })
}

pub fn event(event: &proto::Event) -> Value {
    json!({
        "revision": event.revision,
        "at": output::time(event.at_ms),
        "at_ms": event.at_ms,
        "group": event.group,
        "epoch": event.epoch,
        "kind": event.kind,
        "text": event.text,
        "detail": serde_json::from_str::<Value>(&event.detail_json).unwrap_or_default(),
    })
}

fn or_null(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
