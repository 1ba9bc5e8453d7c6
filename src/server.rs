//! The composition root of a quorum node: everything is made here, in order,
//! and handed to what needs it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{
    Server,
    server::{Router, TcpIncoming},
};
use tracing::info;

use crate::{
    dns,
    grpc::{
        self,
        agents::{AgentHub, AgentsService},
    },
    leader::Leader,
    ports::{AgentLink, Agents, NodeId, Quorum},
    raft,
};

/// Streams that are open get this long to end once the node stops.
const GRACE: Duration = Duration::from_secs(2);

/// How a node is set up; checked by `config`.
#[derive(Debug, Clone)]
pub struct Options {
    pub raft: raft::Options,
    pub listen_raft: SocketAddr,
    pub listen_grpc: SocketAddr,
    /// Where clients and agents reach each node.
    pub grpc_addresses: BTreeMap<NodeId, String>,
    /// The zone, where this node serves it.
    pub dns: Option<dns::Options>,
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Raft(#[from] raft::StartError),
    #[error("serve the zone")]
    Dns(#[from] dns::DnsError),
    #[error("the descriptors of the API cannot be read")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("listen on {address} for {what}: is another process using the port?")]
    Listen {
        what: &'static str,
        address: SocketAddr,
        source: std::io::Error,
    },
}

/// Runs a quorum node until `shutdown`; a leader hands over first.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), ServerError> {
    // Ports first: a node that cannot be reached must not vote.
    let raft_socket = listen("Raft", options.listen_raft).await?;
    let grpc_socket = listen("gRPC", options.listen_grpc).await?;
    let worst_leader_change = worst_leader_change(&options.raft);
    let node = raft::start(options.raft).await?;
    let tasks = TaskTracker::new();
    let down = CancellationToken::new();
    let raft_server = Server::builder().add_service(node.service());
    tasks.spawn(serve(raft_server, raft_socket, down.clone()));

    let (hub, renewals) = AgentHub::new();
    let quorum: Arc<dyn Quorum> = Arc::new(node.clone());
    let leader = Leader::new(Arc::clone(&quorum), Arc::clone(&hub) as Arc<dyn AgentLink>);
    let operations = leader.start(renewals, down.clone());
    let api = grpc::Api {
        quorum: Arc::clone(&quorum),
        agents: Arc::clone(&hub) as Arc<dyn Agents>,
        operations: Arc::new(operations),
        nodes: Arc::new(options.grpc_addresses),
        worst_leader_change,
        history_kept: raft::HISTORY_KEPT,
    };
    let grpc = grpc::router(Server::builder(), api, AgentsService(Arc::clone(&hub))).await?;
    tasks.spawn(serve(grpc, grpc_socket, down.clone()));
    if let Some(dns) = options.dns {
        let agents: Arc<dyn Agents> = hub;
        let zone = dns::Server::start(dns, Arc::clone(&quorum), agents, down.clone()).await?;
        tasks.spawn(async move { zone.stopped().await });
    }
    info!(node = node.node_id(), "node started");

    shutdown.cancelled().await;
    info!("node stops");
    node.shutdown().await;
    down.cancel();
    tasks.close();
    let _ = tokio::time::timeout(GRACE, tasks.wait()).await;
    Ok(())
}

/// The longest silence before a follower asks for votes, and the vote itself.
fn worst_leader_change(raft: &raft::Options) -> Duration {
    let timing = raft.profile.timing();
    timing.election_max * 2 + timing.election_min
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, ServerError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ServerError::Listen {
        what,
        address,
        source,
    })
}

async fn serve(router: Router, socket: TcpListener, down: CancellationToken) {
    // Small answers that wait for an earlier one's acknowledgement take 40 ms.
    let incoming = TcpIncoming::from(socket).with_nodelay(Some(true));
    if let Err(error) = router
        .serve_with_incoming_shutdown(incoming, down.cancelled_owned())
        .await
    {
        tracing::error!(%error, "a listener ended");
    }
}
