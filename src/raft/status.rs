//! What an operator wants to see of a quorum node.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use serde::Serialize;

use super::{
    Handle,
    transfer::{heard_ago, lag},
    types::Node,
};
use crate::ports::NodeId;

/// One node's view of the quorum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    pub node_id: NodeId,
    pub term: u64,
    pub leader: Option<NodeId>,
    pub voters: Vec<Node>,
    /// Members that receive everything and do not vote.
    pub learners: Vec<Node>,
    /// Log indexes; `None` where there is nothing yet.
    pub last_log: Option<u64>,
    pub committed: Option<u64>,
    pub applied: Option<u64>,
    pub snapshot: Option<u64>,
    pub purged: Option<u64>,
    /// Known to the leader only.
    pub followers: Vec<Follower>,
}

/// How far another node has come, as the leader knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Follower {
    pub id: NodeId,
    /// Entries that it is not known to have.
    pub lag: u64,
    /// Since its last acknowledgement; `None` if there was none.
    pub heard_ago: Option<Duration>,
}

impl Handle {
    /// The state of this node and, at the leader, of its followers.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.consensus().metrics().borrow_watched().clone();
        let voters: Vec<NodeId> = metrics.membership_config.voter_ids().collect();
        let nodes = |voting: bool| {
            let all = metrics.membership_config.nodes();
            all.filter(|(id, _)| voters.contains(*id) == voting)
                .map(|(_, node)| node.clone())
                .collect()
        };
        let others = metrics
            .replication
            .iter()
            .flat_map(|all| all.keys().copied());
        let followers = others.filter(|id| *id != metrics.id).map(|id| Follower {
            id,
            lag: lag(&metrics, id),
            heard_ago: heard_ago(&metrics, id),
        });
        Status {
            node_id: metrics.id,
            term: metrics.current_term,
            leader: metrics.current_leader,
            voters: nodes(true),
            learners: nodes(false),
            last_log: metrics.last_log_index,
            committed: metrics.local_committed.as_ref().map(|id| id.index),
            applied: metrics.last_applied.as_ref().map(|id| id.index),
            snapshot: metrics.snapshot.as_ref().map(|id| id.index),
            purged: metrics.purged.as_ref().map(|id| id.index),
            followers: followers.collect(),
        }
    }

    /// A member of the cluster, as this node knows it.
    pub(crate) fn node(&self, id: NodeId) -> Option<Node> {
        self.consensus()
            .metrics()
            .borrow_watched()
            .membership_config
            .get_node(&id)
            .cloned()
    }
}
