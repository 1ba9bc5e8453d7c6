//! The command line's way of asking.

use std::time::Duration;

use primacy::{
    ctl::{
        client::{Call, Client},
        failure::Failure,
    },
    grpc::NodeAddresses,
    ports::OperationError,
};
use primacy_proto::v1::{self as proto, groups_client::GroupsClient, leases_client::LeasesClient};
use tokio::net::TcpListener;

use crate::scene::{self, LIMIT, node, sealed, switchover};

async fn switch_over(client: &Client) -> Result<proto::OperationResponse, Failure> {
    let ask = |channel| async move { GroupsClient::new(channel).switchover(switchover()).await };
    client
        .call(Call::Change, ask)
        .await
        .map(|answer| answer.value)
}

#[tokio::test]
async fn ctl_passes_over_a_dead_node_and_follows_the_leader() {
    let leader = node().await;
    sealed(&leader.quorum);
    let nodes = NodeAddresses::from([(2, leader.address.to_string())]);
    let follower = scene::node_with(Err(OperationError::NotLeader(Some(2))), nodes).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let dead = socket.local_addr().expect("an address").to_string();
    drop(socket);
    follower.quorum.follow();
    let client = Client::new(vec![dead, follower.address.to_string()], LIMIT);
    assert_eq!(switch_over(&client).await.expect("done").member, "tokyo");
}

#[tokio::test]
async fn ctl_never_repeats_a_change_that_a_node_may_have_taken() {
    let other = node().await;
    sealed(&other.quorum);
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let broken = socket.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        // Takes the connection and what comes first, and breaks off.
        while let Ok((stream, _)) = socket.accept().await {
            stream.readable().await.expect("readable");
            let _ = stream.try_read(&mut [0; 4096]);
        }
    });
    let client = Client::new(vec![broken, other.address.to_string()], LIMIT);
    let failure = switch_over(&client).await.expect_err("broken off");
    assert_eq!(failure.code(), 5, "{failure}");
    let read = |channel| async move {
        GroupsClient::new(channel)
            .list(proto::ListGroupsRequest {})
            .await
    };
    let groups = client
        .call(Call::Read, read)
        .await
        .expect("another node answers");
    assert_eq!(groups.value.groups.len(), 1);
}

#[tokio::test]
async fn ctl_ends_with_3_when_nobody_knows() {
    let node = node().await;
    sealed(&node.quorum);
    node.quorum.lose_quorum();
    let client = Client::new(vec![node.address.to_string()], Duration::from_secs(1));
    let ask = |channel| async move {
        let request = proto::CheckRequest {
            group: "orders".to_owned(),
        };
        LeasesClient::new(channel).check(request).await
    };
    let failure = client.call(Call::Read, ask).await.expect_err("no quorum");
    assert_eq!(failure.code(), 3);
    assert!(failure.to_string().contains("does not know"), "{failure}");
    let pause = proto::PauseRequest {
        group: "orders".to_owned(),
    };
    let paused = GroupsClient::new(node.channel.clone()).pause(pause).await;
    assert_eq!(Failure::from(paused.expect_err("no quorum")).code(), 5);
}
