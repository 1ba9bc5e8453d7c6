//! Handing over leadership.
//!
//! From the order on the old leader neither proposes nor sends heartbeats,
//! whether or not the new one is able to lead. So the order is given only for
//! a node that answered since it was chosen and has nearly all of the log.

use std::time::Duration;

use openraft::{
    Instant as _, RaftMetrics,
    async_runtime::WatchReceiver,
    type_config::{TypeConfigExt, alias::InstantOf},
};

use super::{Handle, types::TypeConfig};
use crate::ports::NodeId;

/// Entries the next leader may lack when the order is given; it waits for
/// these before it asks for votes.
const LAG_ALLOWED: u64 = 64;
const POLL: Duration = Duration::from_millis(20);

/// Why leadership was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    #[error("this node is not the leader")]
    NotLeader,
    #[error("node {to} is not a voting member")]
    NotAVoter { to: NodeId },
    #[error("node {to} does not answer; is it running and connected?")]
    Unreachable { to: NodeId },
    #[error("node {to} is {entries} entries behind; try again once it has caught up")]
    Lagging { to: NodeId, entries: u64 },
    #[error("node {to} did not take over in time; whoever leads next is up to an election")]
    NotTaken { to: NodeId },
}

impl Handle {
    /// Hands leadership to `to` and waits until it leads.
    ///
    /// # Errors
    /// With [`TransferError::NotTaken`] the cluster is without a leader until
    /// it elects one; after all others nothing has changed.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), TransferError> {
        if !self.leadership().borrow().is_me {
            return Err(TransferError::NotLeader);
        }
        if to == self.node_id() {
            return Ok(());
        }
        let limit = self.options().transfer_timeout;
        let (asked, mut obstacle) = (TypeConfig::now(), Ok(()));
        let wait = async {
            // A node that stopped has not heard of it; those that run answer.
            let _ = self.consensus().trigger().heartbeat().await;
            loop {
                obstacle = self.able(to, asked);
                match &obstacle {
                    Ok(()) | Err(TransferError::NotLeader | TransferError::NotAVoter { .. }) => {
                        return;
                    }
                    Err(_) => tokio::time::sleep(POLL).await,
                }
            }
        };
        // At the deadline the last obstacle seen is the answer.
        let _ = tokio::time::timeout(limit, wait).await;
        obstacle?;
        self.order(to, limit).await
    }

    async fn order(&self, to: NodeId, limit: Duration) -> Result<(), TransferError> {
        tracing::info!(to, "handing over leadership");
        let ordered = self.consensus().trigger().transfer_leader(to).await;
        ordered.map_err(|_| TransferError::NotLeader)?;
        let mut leadership = self.leadership();
        let taken = leadership.wait_for(|now| now.leader == Some(to));
        match tokio::time::timeout(limit, taken).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(TransferError::NotTaken { to }),
        }
    }

    /// Whether `to` could lead: it answered something sent after `since`.
    fn able(&self, to: NodeId, since: InstantOf<TypeConfig>) -> Result<(), TransferError> {
        let metrics = self.consensus().metrics().borrow_watched().clone();
        if metrics.current_leader != Some(self.node_id()) {
            return Err(TransferError::NotLeader);
        }
        let mut voters = metrics.membership_config.voter_ids();
        if !voters.any(|voter| voter == to) {
            return Err(TransferError::NotAVoter { to });
        }
        if heard_at(&metrics, to).is_none_or(|heard| heard <= since) {
            return Err(TransferError::Unreachable { to });
        }
        match lag(&metrics, to) {
            entries if entries > LAG_ALLOWED => Err(TransferError::Lagging { to, entries }),
            _ => Ok(()),
        }
    }

    /// The follower that was heard of last, if any was of late.
    pub(crate) fn successor(&self) -> Option<NodeId> {
        let metrics = self.consensus().metrics().borrow_watched().clone();
        let heard = |voter: NodeId| heard_ago(&metrics, voter).map(|ago| (ago, voter));
        let voters = metrics.membership_config.voter_ids();
        let others = voters.filter(|voter| *voter != self.node_id());
        let (ago, voter) = others.filter_map(heard).min()?;
        (ago < self.options().profile.timing().election_max).then_some(voter)
    }
}

/// When the last message that `node` acknowledged was sent.
fn heard_at(metrics: &RaftMetrics<TypeConfig>, node: NodeId) -> Option<InstantOf<TypeConfig>> {
    let heard = metrics.heartbeat.as_ref()?.get(&node)?.as_ref()?;
    Some(**heard)
}

pub(crate) fn heard_ago(metrics: &RaftMetrics<TypeConfig>, node: NodeId) -> Option<Duration> {
    heard_at(metrics, node).map(|heard| heard.elapsed())
}

/// Entries of this leader's log that `node` is not known to have.
pub(crate) fn lag(metrics: &RaftMetrics<TypeConfig>, node: NodeId) -> u64 {
    let next = metrics.last_log_index.map_or(0, |last| last + 1);
    let has = metrics
        .replication
        .as_ref()
        .and_then(|all| all.get(&node)?.as_ref());
    next.saturating_sub(has.map_or(0, |id| id.index + 1))
}
