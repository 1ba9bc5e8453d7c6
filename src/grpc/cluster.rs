//! For operators: the quorum itself, and its history.

use std::sync::Arc;

use primacy_proto::v1 as proto;
use tonic::{Request, Response, Status};

use super::{
    convert, history,
    refuse::{self, NodeAddresses},
};
use crate::{
    domain::{Event, GroupName},
    ports::{NodeStatus, Quorum, QuorumStatus},
};

/// Events of a page whose size was not given.
const DEFAULT_LIMIT: usize = 100;
const GREATEST_LIMIT: usize = 10_000;

pub struct ClusterService {
    pub quorum: Arc<dyn Quorum>,
    pub nodes: Arc<NodeAddresses>,
}

impl ClusterService {
    fn node(&self, status: &QuorumStatus, node: &NodeStatus) -> proto::Node {
        proto::Node {
            id: node.id,
            region: node.region.to_string(),
            raft_address: node.address.clone(),
            grpc_address: self.nodes.get(&node.id).cloned().unwrap_or_default(),
            voter: node.voter,
            leader: status.leadership.leader == Some(node.id),
            behind: node.behind,
        }
    }

    async fn oldest(
        &self,
        from: u64,
        limit: usize,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Vec<Event>, Status> {
        let (mut found, mut next) = (Vec::new(), from);
        loop {
            let page = history::page(&self.quorum, next).await?;
            next = page.last().map_or(next, |last| last + 1);
            found.extend(page.events.into_iter().filter(|event| wanted(event)));
            if !page.full || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    }
}

#[tonic::async_trait]
impl proto::cluster_server::Cluster for ClusterService {
    /// Answers without a quorum too, and says so.
    async fn status(
        &self,
        _: Request<proto::ClusterStatusRequest>,
    ) -> Result<Response<proto::ClusterStatusResponse>, Status> {
        let confirmed = self.quorum.read_index().await.is_ok();
        let status = self.quorum.status();
        Ok(Response::new(proto::ClusterStatusResponse {
            cluster_id: status.cluster_id.clone(),
            node_id: status.node_id,
            leader: status.leadership.leader,
            term: status.leadership.term,
            last_log: status.last_log,
            applied: status.applied,
            nodes: status
                .nodes
                .iter()
                .map(|node| self.node(&status, node))
                .collect(),
            confirmed,
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<proto::TransferLeaderResponse>, Status> {
        let to = request.into_inner().to;
        let moved = self.quorum.transfer_leader(to).await;
        moved.map_err(|error| refuse::transfer(&error, &self.nodes))?;
        Ok(Response::new(proto::TransferLeaderResponse {}))
    }

    async fn events(
        &self,
        request: Request<proto::EventsRequest>,
    ) -> Result<Response<proto::EventsResponse>, Status> {
        let request = request.into_inner();
        let group: Option<GroupName> = (!request.group.is_empty())
            .then(|| convert::group_name(&request.group))
            .transpose()?;
        let wanted = move |event: &Event| group.as_ref().is_none_or(|name| event.group == *name);
        let limit = match request.limit {
            0 => DEFAULT_LIMIT,
            asked => (asked as usize).min(GREATEST_LIMIT),
        };
        let from = request.from_revision;
        let events = match request.newest {
            true => history::newest(&self.quorum, from, limit, wanted).await?,
            false => self.oldest(from, limit, wanted).await?,
        };
        let events = events.iter().map(convert::event_message).collect();
        Ok(Response::new(proto::EventsResponse { events }))
    }
}
