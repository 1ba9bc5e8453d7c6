//! The quorum as the rest of a node sees it.

use std::sync::Arc;

use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;

use super::{
    Handle, ProposeError, TransferError,
    sled_store::{HistoryEntry, without_gap},
    transfer::lag,
};
use crate::{
    domain::{Command, Event, Outcome, State},
    ports::{self, Applied, BoxFuture, Leadership, NoQuorum, NodeId, NodeStatus, QuorumStatus},
};

/// Rows read at once while looking for events.
const PAGE: usize = 256;

impl Handle {
    fn outcome_unknown(&self) -> ports::ProposeError {
        ports::ProposeError::Unknown(self.options().propose_timeout)
    }
}

fn applied((index, outcome): (u64, Outcome)) -> Applied {
    Applied { index, outcome }
}

impl ports::Quorum for Handle {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, ports::ProposeError>> {
        Box::pin(async move {
            let proposed = Handle::propose(self, command).await;
            proposed.map(applied).map_err(|error| match error {
                ProposeError::Unknown => self.outcome_unknown(),
                ProposeError::NotLeader {
                    leader: Some(leader),
                } => ports::ProposeError::Unreachable { leader },
                _ => ports::ProposeError::NoLeader,
            })
        })
    }

    fn propose_in(
        &self,
        term: u64,
        command: Command,
    ) -> BoxFuture<'_, Result<Applied, ports::ProposeError>> {
        Box::pin(async move {
            let proposed = Handle::propose_in(self, term, command).await;
            proposed.map(applied).map_err(|error| match error {
                ProposeError::Unknown => self.outcome_unknown(),
                ProposeError::NotLeader { .. } => ports::ProposeError::OfficeLost,
                _ => ports::ProposeError::NoLeader,
            })
        })
    }

    fn read_index(&self) -> BoxFuture<'_, Result<u64, NoQuorum>> {
        let confirmed = async {
            Handle::read_index(self).await.map_err(|error| {
                tracing::debug!(%error, "no read index");
                NoQuorum(self.options().read_timeout)
            })
        };
        Box::pin(confirmed)
    }

    fn published(&self) -> watch::Receiver<Arc<State>> {
        Handle::published(self)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        Handle::leadership(self)
    }

    fn history(&self, revision: u64, limit: usize) -> Vec<Event> {
        let (mut events, mut from) = (Vec::new(), revision);
        loop {
            let rows = self.history_now(from, PAGE).unwrap_or_else(|error| {
                tracing::warn!(%error, "history cannot be read");
                Vec::new()
            });
            let Some(last) = rows.last().map(|row| row.index) else {
                break;
            };
            from = last + 1;
            events.extend(rows.into_iter().flat_map(events_of));
            if events.len() >= limit {
                break;
            }
        }
        events.truncate(limit);
        events
    }

    fn has_history(&self, from: u64, to: u64) -> bool {
        let mut next = from;
        while next <= to {
            let Ok(rows) = self.history_now(next, PAGE) else {
                return false;
            };
            if !without_gap(&rows, next) {
                return false;
            }
            let Some(last) = rows.last() else { return true };
            next = last.index + 1;
        }
        true
    }

    fn status(&self) -> QuorumStatus {
        let metrics = self.consensus().metrics().borrow_watched().clone();
        let voters: Vec<NodeId> = metrics.membership_config.voter_ids().collect();
        let followers = metrics.replication.as_ref();
        let nodes = metrics
            .membership_config
            .nodes()
            .map(|(id, node)| NodeStatus {
                id: *id,
                region: node.region.clone(),
                address: node.address.clone(),
                voter: voters.contains(id),
                behind: followers
                    .filter(|all| all.contains_key(id))
                    .map(|_| lag(&metrics, *id)),
            });
        QuorumStatus {
            cluster_id: self.peers().cluster_id().to_owned(),
            node_id: self.node_id(),
            leadership: *Handle::leadership(self).borrow(),
            last_log: metrics.last_log_index.unwrap_or(0),
            applied: metrics.last_applied.map_or(0, |id| id.index),
            nodes: nodes.collect(),
        }
    }

    fn transfer_leader(&self, to: NodeId) -> BoxFuture<'_, Result<(), ports::TransferError>> {
        Box::pin(async move {
            Handle::transfer_leader(self, to)
                .await
                .map_err(|error| match error {
                    TransferError::NotLeader => {
                        ports::TransferError::NotLeader(Handle::leadership(self).borrow().leader)
                    }
                    TransferError::NotAVoter { to } => ports::TransferError::NotAVoter(to),
                    TransferError::Unreachable { to } => {
                        let metrics = self.consensus().metrics().borrow_watched().clone();
                        ports::TransferError::NotReady {
                            to,
                            behind: lag(&metrics, to),
                        }
                    }
                    TransferError::Lagging { to, entries } => ports::TransferError::NotReady {
                        to,
                        behind: entries,
                    },
                    TransferError::NotTaken { .. } => {
                        ports::TransferError::Timeout(self.options().transfer_timeout)
                    }
                })
        })
    }
}

fn events_of(row: HistoryEntry) -> Vec<Event> {
    match row.outcome {
        Outcome::Applied(events) => events,
        Outcome::Refused(_) => Vec::new(),
    }
}
