//! A node that serves over a real socket, and the group `orders` in the
//! states that the tests need.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use primacy::{
    ctl::group_file,
    domain::{
        Barrier, Cause, Change, Epoch, GroupSpec, Incarnation, Lineage, Lsn, Position, Revision,
        SyncConfig, Timeline,
    },
    grpc::{
        Api, NodeAddresses,
        agents::{AgentHub, AgentsService},
        router,
    },
    ports::{Agents, OperationDone, OperationError, Operations, Quorum},
};
use primacy_proto::v1::{self as proto, leases_client::LeasesClient};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Status,
    transport::{Channel, Server},
};
use uuid::Uuid;

use crate::quorum::{Answers, Memory, Reports};

pub const MEMBERS: [&str; 3] = ["paris", "tokyo", "lima"];

/// Longer than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(20);

pub struct Node {
    pub quorum: Arc<Memory>,
    pub reports: Arc<Reports>,
    pub address: SocketAddr,
    pub channel: Channel,
}

/// A node whose operations succeed.
pub async fn node() -> Node {
    let done = OperationDone {
        epoch: Epoch(2),
        member: "tokyo".parse().expect("a name"),
        took: Duration::from_millis(812),
    };
    node_with(Ok(done), NodeAddresses::new()).await
}

pub async fn node_with(
    operation: Result<OperationDone, OperationError>,
    nodes: NodeAddresses,
) -> Node {
    let (quorum, reports) = (Memory::new(), Arc::new(Reports::default()));
    let api = Api {
        quorum: Arc::clone(&quorum) as Arc<dyn Quorum>,
        agents: Arc::clone(&reports) as Arc<dyn Agents>,
        operations: Arc::new(Answers(operation)) as Arc<dyn Operations>,
        nodes: Arc::new(nodes),
        worst_leader_change: Duration::from_secs(1),
        history_kept: 1_000,
    };
    let (hub, _) = AgentHub::new();
    let router = router(Server::builder(), api, AgentsService(hub))
        .await
        .expect("a router");
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(socket)));
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address");
    let channel = channel.connect().await.expect("a connection");
    Node {
        quorum,
        reports,
        address,
        channel,
    }
}

/// The group file of `orders`, with `more` at its top.
pub fn file(more: &str) -> String {
    let member = |(place, name): (usize, &&str)| {
        format!(
            "[[member]]\nname = {name:?}\nregion = {name:?}\naddress = \"10.0.0.{place}:5432\"\n"
        )
    };
    let members: String = MEMBERS.iter().enumerate().map(member).collect();
    format!("name = \"orders\"\ninitial_primary = \"paris\"\n{more}\n{members}")
}

pub fn spec(more: &str) -> GroupSpec {
    group_file::parse(&file(more)).expect("a group")
}

pub fn incarnation(member: &str) -> Incarnation {
    let place = MEMBERS
        .iter()
        .position(|name| *name == member)
        .expect("a member");
    Incarnation(Uuid::from_u128(place as u128 + 1))
}

pub fn position(timeline: u32) -> Position {
    Position {
        timeline: Timeline(timeline),
        lsn: Lsn(u64::from(timeline) << 24),
    }
}

/// `orders` with its members seen and `paris` granted epoch 1.
pub fn granted(quorum: &Memory) {
    quorum.must(Change::ApplyGroup { spec: spec("") });
    for member in MEMBERS {
        quorum.must(Change::RegisterMember {
            member: member.parse().expect("a name"),
            incarnation: incarnation(member),
            system_identifier: None,
        });
    }
    let (epoch, holder) = (Epoch(1), incarnation("paris"));
    quorum.must(Change::GrantFirst {
        epoch,
        holder,
        lineage: Lineage::first(),
    });
}

/// The same with epoch 1 sealed over `ANY 1 (tokyo, lima)`.
pub fn sealed(quorum: &Memory) -> u64 {
    granted(quorum);
    let set = ["tokyo", "lima"].map(incarnation).into();
    let (epoch, revision) = (Epoch(1), Revision(2));
    quorum.must(Change::ProposeSync {
        epoch,
        revision,
        next: SyncConfig::any(1, set),
    });
    quorum.must(Change::SealEpoch {
        epoch,
        revision,
        barrier: barrier(1, "tokyo"),
    })
}

pub fn barrier(timeline: u32, by: &str) -> Barrier {
    Barrier {
        position: position(timeline),
        confirmed: [incarnation(by)].into(),
    }
}

pub fn begin_failover(quorum: &Memory) -> u64 {
    let (epoch, cause) = (Epoch(1), Cause::Silence);
    quorum.must(Change::BeginFailover {
        epoch,
        cause,
        silence_ms: 900,
        prefer: None,
    })
}

pub fn fence(quorum: &Memory, member: &str) -> u64 {
    let position = Some(position(1));
    quorum.must(Change::RecordFence {
        epoch: Epoch(1),
        incarnation: incarnation(member),
        position,
    })
}

/// Both standbys are fenced and `tokyo` is granted epoch 2.
pub fn grant_second(quorum: &Memory) {
    fence(quorum, "tokyo");
    fence(quorum, "lima");
    let sync = SyncConfig::any(1, [incarnation("lima")].into());
    let holder = incarnation("tokyo");
    quorum.must(Change::GrantLease {
        epoch: Epoch(2),
        holder,
        sync,
    });
}

pub async fn check(node: &Node, group: &str) -> Result<proto::CheckResponse, Status> {
    let request = proto::CheckRequest {
        group: group.to_owned(),
    };
    let answer = LeasesClient::new(node.channel.clone()).check(request).await;
    answer.map(tonic::Response::into_inner)
}

pub fn switchover() -> proto::SwitchoverRequest {
    proto::SwitchoverRequest {
        group: "orders".to_owned(),
        ..Default::default()
    }
}
