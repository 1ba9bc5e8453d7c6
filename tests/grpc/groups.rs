//! Groups: applying, refusing, and what operators see.

use std::{sync::Arc, time::Duration};

use primacy::{
    domain::{Lsn, Position, Postgres, Promised, Receiving, Report, Role, Running, Timeline},
    grpc::{refuse, spec_message},
    ports::MemberView,
};
use primacy_proto::v1::{
    self as proto, cluster_client::ClusterClient, groups_client::GroupsClient,
};
use tonic::{Code, Status};

use crate::scene::{Node, begin_failover, check, fence, incarnation, node, sealed, spec};

async fn apply(node: &Node, spec: proto::GroupSpec) -> Result<proto::ApplyGroupResponse, Status> {
    let request = proto::ApplyGroupRequest { spec: Some(spec) };
    let answer = GroupsClient::new(node.channel.clone()).apply(request).await;
    answer.map(tonic::Response::into_inner)
}

async fn get(node: &Node) -> proto::Group {
    let request = proto::GetGroupRequest {
        group: "orders".to_owned(),
    };
    let answer = GroupsClient::new(node.channel.clone()).get(request).await;
    answer.expect("the group").into_inner()
}

#[tokio::test]
async fn an_applied_group_is_created_once_and_then_changed() {
    let node = node().await;
    let first = apply(&node, spec_message(&spec("")))
        .await
        .expect("applied");
    let second = apply(&node, spec_message(&spec("ttl = \"12s\"")))
        .await
        .expect("applied");
    assert!(first.created && !second.created && second.revision > first.revision);
    let group = get(&node).await;
    assert_eq!(group.spec, Some(spec_message(&spec("ttl = \"12s\""))));
    assert!(group.members.iter().all(|member| member.state == "unknown"));
}

#[tokio::test]
async fn what_this_release_cannot_keep_is_refused_with_the_reason() {
    let node = node().await;
    let cases = [
        ("durability = \"async\"", "synchronous groups only"),
        ("durability = \"available\"", "synchronous groups only"),
        ("check_window = \"100ms\"", "no check windows"),
        ("ttl = \"2s\"", "must be above 2000ms"),
    ];
    for (setting, reason) in cases {
        let refused = apply(&node, spec_message(&spec(setting)))
            .await
            .expect_err(setting);
        assert_eq!(refused.code(), Code::InvalidArgument, "{setting}");
        assert!(
            refused.message().contains(reason),
            "{setting}: {}",
            refused.message()
        );
    }
    let mut by_sql = spec_message(&spec(""));
    by_sql.members[2].control = "sql".to_owned();
    let refused = apply(&node, by_sql).await.expect_err("refused");
    assert!(
        refused.message().contains("member lima has control"),
        "{refused}"
    );
    assert_eq!(
        check(&node, "orders").await.expect_err("none").code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn a_refusal_of_the_state_machine_is_a_failed_precondition() {
    let node = node().await;
    sealed(&node.quorum);
    let mut without_holder = spec_message(&spec("sync = { k = 1 }"));
    without_holder.members.remove(0);
    without_holder.initial_primary = "tokyo".to_owned();
    let refused = apply(&node, without_holder).await.expect_err("refused");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(
        refused.message(),
        "member paris holds the lease and cannot be left out"
    );
    let request = proto::DeleteGroupRequest {
        group: "invoices".to_owned(),
    };
    let unknown = GroupsClient::new(node.channel.clone())
        .delete(request)
        .await;
    assert_eq!(unknown.expect_err("unknown").code(), Code::NotFound);
}

#[tokio::test]
async fn a_change_without_an_answer_is_of_unknown_outcome() {
    let node = node().await;
    node.quorum.lose_quorum();
    let lost = apply(&node, spec_message(&spec("")))
        .await
        .expect_err("no quorum");
    assert_eq!(lost.code(), Code::Unknown);
}

fn report(member: &str, role: Role, timeline: u32, lsn: u64) -> MemberView {
    let running = Running {
        role,
        position: Position {
            timeline: Timeline(timeline),
            lsn: Lsn(lsn),
        },
        replayed: Lsn(lsn),
        receiving: Receiving::Streaming,
        open: true,
    };
    let report = Report {
        group: "orders".parse().expect("a name"),
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
        age: Duration::from_millis(20),
        contested: false,
    }
}

#[tokio::test]
async fn lag_is_shown_only_on_the_primarys_timeline() {
    let node = node().await;
    sealed(&node.quorum);
    *node.reports.0.lock().expect("not poisoned") = vec![
        report("paris", Role::Primary, 1, 5_000),
        report("tokyo", Role::Standby, 1, 4_000),
        report("lima", Role::Standby, 2, 9_000),
    ];
    let group = get(&node).await;
    let lag: Vec<_> = group
        .members
        .iter()
        .map(|member| member.lag_bytes)
        .collect();
    assert_eq!(lag, [Some(0), Some(1_000), None]);
    let synchronous: Vec<_> = group
        .members
        .iter()
        .map(|member| member.synchronous)
        .collect();
    assert_eq!(synchronous, [false, true, true]);
    assert_eq!(group.sync, ["ANY 1 (tokyo, lima)"]);
    assert!(group.rests_on.contains("synchronous replication"));
}

#[tokio::test]
async fn a_failover_says_what_it_waits_for_until_it_goes_on() {
    let node = node().await;
    sealed(&node.quorum);
    begin_failover(&node.quorum);
    fence(&node.quorum, "tokyo");
    let group = get(&node).await;
    assert!(group.failing_over && group.failover_cause == "silence");
    assert!(
        group.blocked.contains("not enough of these are fenced"),
        "{}",
        group.blocked
    );
    assert!(group.blocked.contains("lima"), "{}", group.blocked);
    fence(&node.quorum, "lima");
    assert_eq!(get(&node).await.blocked, "");
}

#[tokio::test]
async fn without_a_quorum_operators_see_what_is_known_marked_as_such() {
    let node = node().await;
    sealed(&node.quorum);
    node.quorum.lose_quorum();
    let request = proto::GetGroupRequest {
        group: "orders".to_owned(),
    };
    let answer = GroupsClient::new(node.channel.clone())
        .get(request)
        .await
        .expect("a group");
    assert_eq!(
        answer.metadata().get(refuse::CONFIRMED).expect("a mark"),
        "false"
    );
    let request = proto::GetGroupRequest {
        group: "invoices".to_owned(),
    };
    let unknown = GroupsClient::new(node.channel.clone()).get(request).await;
    assert_eq!(unknown.expect_err("unknown").code(), Code::Unavailable);
    let status = ClusterClient::new(node.channel.clone())
        .status(proto::ClusterStatusRequest {})
        .await
        .expect("a status");
    assert!(!status.into_inner().confirmed);
}
