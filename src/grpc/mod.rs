//! gRPC: what applications, operators and agents call.
//!
//! One file per service. Messages become domain types on the way in and come
//! from them on the way out (`convert`); no generated type goes further.
//!
//! Invariant: nothing is answered as certain that no quorum confirmed after
//! the call came.

pub mod agents;
mod cluster;
mod convert;
pub mod event_text;
mod group_view;
mod groups;
mod history;
mod leases;
mod primary;
pub mod refuse;

use std::{sync::Arc, time::Duration};

use primacy_proto::v1::{
    DESCRIPTORS, agents_server::AgentsServer, cluster_server::ClusterServer,
    groups_server::GroupsServer, leases_server::LeasesServer,
};
use tonic::transport::{Server, server::Router};

use crate::ports::{Agents, Operations, Quorum};
use agents::AgentsService;
use cluster::ClusterService;
pub use convert::{spec, spec_message};
use groups::GroupsService;
use leases::LeasesService;
pub use refuse::NodeAddresses;

/// What applications and operators are served from.
#[derive(Clone)]
pub struct Api {
    pub quorum: Arc<dyn Quorum>,
    pub agents: Arc<dyn Agents>,
    pub operations: Arc<dyn Operations>,
    /// Where each node serves this API.
    pub nodes: Arc<NodeAddresses>,
    /// A group's ttl has to be above twice this.
    pub worst_leader_change: Duration,
    /// Revisions that the history keeps at most.
    pub history_kept: u64,
}

/// Everything that a node serves over gRPC.
///
/// # Errors
/// The compiled descriptors cannot be read, which only a broken build brings about.
pub async fn router(
    mut server: Server,
    api: Api,
    agents: AgentsService,
) -> Result<Router, tonic_reflection::server::Error> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<LeasesServer<LeasesService>>().await;
    Ok(server
        .add_service(health)
        .add_service(reflection)
        .add_service(AgentsServer::new(agents))
        .add_service(LeasesServer::new(LeasesService::new(
            Arc::clone(&api.quorum),
            api.history_kept,
        )))
        .add_service(ClusterServer::new(ClusterService {
            quorum: Arc::clone(&api.quorum),
            nodes: Arc::clone(&api.nodes),
        }))
        .add_service(GroupsServer::new(GroupsService {
            quorum: api.quorum,
            agents: api.agents,
            operations: api.operations,
            nodes: api.nodes,
            worst_leader_change: api.worst_leader_change,
        })))
}
