//! Switchovers and failovers, and health.

use primacy::{
    grpc::{NodeAddresses, refuse},
    ports::OperationError,
};
use primacy_proto::v1::{self as proto, groups_client::GroupsClient};
use tonic::Code;

use crate::scene::{self, node, sealed, switchover};

#[tokio::test]
async fn a_node_that_does_not_lead_names_the_leader() {
    let nodes = NodeAddresses::from([(2, "10.0.0.2:7400".to_owned())]);
    let node = scene::node_with(Err(OperationError::NotLeader(Some(2))), nodes).await;
    sealed(&node.quorum);
    for follows in [false, true] {
        let asked = GroupsClient::new(node.channel.clone())
            .switchover(switchover())
            .await;
        let refused = asked.expect_err("not the leader");
        assert_eq!(refused.code(), Code::Unavailable, "{follows}");
        assert_eq!(
            refused.metadata().get(refuse::LEADER).expect("a name"),
            "10.0.0.2:7400"
        );
        node.quorum.follow();
    }
}

#[tokio::test]
async fn a_refused_operation_says_why_and_an_unknown_outcome_that_it_is() {
    let cases = [
        (
            OperationError::Refused("tokyo: lags".to_owned()),
            Code::FailedPrecondition,
        ),
        (OperationError::Unknown, Code::Unknown),
    ];
    for (error, code) in cases {
        let text = error.to_string();
        let node = scene::node_with(Err(error), NodeAddresses::new()).await;
        sealed(&node.quorum);
        let asked = GroupsClient::new(node.channel.clone())
            .switchover(switchover())
            .await;
        let status = asked.expect_err("an error");
        assert_eq!((status.code(), status.message()), (code, text.as_str()));
    }
}

#[tokio::test]
async fn a_switchover_to_a_member_and_a_region_is_one_too_many() {
    let node = node().await;
    sealed(&node.quorum);
    let both = proto::SwitchoverRequest {
        to_member: "tokyo".to_owned(),
        to_region: "tokyo".to_owned(),
        ..switchover()
    };
    let asked = GroupsClient::new(node.channel.clone())
        .switchover(both)
        .await;
    assert_eq!(asked.expect_err("refused").code(), Code::InvalidArgument);
    let done = GroupsClient::new(node.channel.clone())
        .switchover(switchover())
        .await;
    let done = done.expect("done").into_inner();
    assert_eq!(
        (done.member.as_str(), done.epoch, done.took_ms),
        ("tokyo", 2, 812)
    );
}

#[tokio::test]
async fn health_is_served() {
    let node = node().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(node.channel.clone());
    let service = "primacy.v1.Leases".to_owned();
    let request = tonic_health::pb::HealthCheckRequest { service };
    let answer = health.check(request).await.expect("an answer").into_inner();
    assert_eq!(answer.status(), tonic_health::ServingStatus::Serving.into());
}
