//! Putting commands into the log, from any node.
//!
//! Invariant: what a leader decided counts in the term it decided it in, or
//! never. It is put into this node's log only, with its term, and the machine
//! refuses it in an entry of another.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use openraft::errors::{ClientWriteError, ForwardReason, RaftError};
use serde::{Deserialize, Serialize};
use tonic::Code;

use super::{
    Handle,
    peers::{Lane, from_the_node, never_sent},
    read_index::leader_hint,
    types::{Node, Proposal},
};
use crate::domain::{Command, Outcome};
use crate::ports::NodeId;

/// Why a command has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ProposeError {
    /// The command was not taken.
    #[error("no quorum: are most of the nodes running and connected?")]
    NoQuorum,
    /// The command was not taken.
    #[error("not the leader{}", leader_hint(*leader))]
    NotLeader { leader: Option<NodeId> },
    /// The command may or may not take effect, now or later.
    #[error("no answer in time; the outcome is unknown")]
    Unknown,
    /// The command was not taken.
    #[error("this node has stopped")]
    Stopped,
}

/// Log index and outcome of an applied command.
pub(crate) type Proposed = Result<(u64, Outcome), ProposeError>;

/// Between attempts while there is no leader, in case its arrival was missed.
const RETRY: Duration = Duration::from_millis(50);

impl Handle {
    /// Proposes `command` and waits until it is applied and published here or
    /// at the leader. A follower passes it on, once.
    ///
    /// # Errors
    /// [`ProposeError::Unknown`] leaves open whether it takes effect; after
    /// all others it does not.
    pub async fn propose(&self, command: Command) -> Proposed {
        let term = None;
        self.within_timeout(&Proposal { command, term }).await
    }

    /// Proposes what this node decided as the leader of `term`, at this node
    /// alone. In a log entry of any other term it is refused.
    ///
    /// # Errors
    /// As [`Self::propose`]; tried again only while this node leads in `term`.
    pub async fn propose_in(&self, term: u64, command: Command) -> Proposed {
        let term = Some(term);
        self.within_timeout(&Proposal { command, term }).await
    }

    async fn within_timeout(&self, proposal: &Proposal) -> Proposed {
        // Set while an attempt is under way whose end we may not see.
        let under_way = AtomicBool::new(false);
        let attempts = self.attempt_until_taken(proposal, &under_way);
        match tokio::time::timeout(self.options().propose_timeout, attempts).await {
            Ok(result) => result,
            Err(_) if under_way.load(Ordering::Relaxed) => Err(ProposeError::Unknown),
            Err(_) => Err(ProposeError::NoQuorum),
        }
    }

    async fn attempt_until_taken(&self, proposal: &Proposal, under_way: &AtomicBool) -> Proposed {
        let mut leadership = self.leadership();
        loop {
            leadership.mark_unchanged();
            under_way.store(true, Ordering::Relaxed);
            let result = self.attempt(proposal).await;
            let refused = matches!(
                result,
                Err(ProposeError::NoQuorum | ProposeError::NotLeader { .. })
            );
            if !refused {
                return result;
            }
            under_way.store(false, Ordering::Relaxed);
            // A new leader may take it; if none comes the deadline ends this.
            let _ = tokio::time::timeout(RETRY, leadership.changed()).await;
            let now = *leadership.borrow();
            let in_office = |term| now.is_me && now.term == term;
            if !proposal.term.is_none_or(in_office) {
                return result;
            }
        }
    }

    async fn attempt(&self, proposal: &Proposal) -> Proposed {
        let leader = match self.write(proposal.clone()).await {
            Err(ProposeError::NotLeader {
                leader: Some(leader),
            }) if proposal.term.is_none() => leader,
            result => return result,
        };
        match self.node(leader) {
            Some(node) if node.id != self.node_id() => self.forward(&node, &proposal.command).await,
            _ => Err(ProposeError::NotLeader {
                leader: Some(leader),
            }),
        }
    }

    /// Proposes at this node, on behalf of another.
    pub(crate) async fn propose_here(&self, command: Command) -> Proposed {
        let limit = self.options().propose_timeout;
        let term = None;
        let written = self.write(Proposal { command, term });
        let result = tokio::time::timeout(limit, written).await;
        result.unwrap_or(Err(ProposeError::Unknown))
    }

    async fn write(&self, proposal: Proposal) -> Proposed {
        let error = match self.consensus().client_write(proposal).await {
            Ok(written) => {
                // Only entries without a command have no outcome.
                let outcome = written.data.ok_or(ProposeError::Unknown)?;
                return Ok((written.log_id.index, outcome));
            }
            Err(error) => error,
        };
        Err(match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => match to.reason {
                ForwardReason::LeaseExpired => ProposeError::NoQuorum,
                // The next leader may not be one yet.
                ForwardReason::LeadershipTransfer => ProposeError::NotLeader { leader: None },
                ForwardReason::NotLeader => ProposeError::NotLeader {
                    leader: to.leader_id,
                },
            },
            // The entry left this log but may live on in another.
            RaftError::APIError(_) => ProposeError::Unknown,
            // It may have been appended before the node stopped.
            RaftError::Fatal(_) if self.was_running() => ProposeError::Unknown,
            RaftError::Fatal(_) => ProposeError::Stopped,
        })
    }

    async fn forward(&self, leader: &Node, command: &Command) -> Proposed {
        let refused = Err(ProposeError::NotLeader {
            leader: Some(leader.id),
        });
        let Ok(link) = self.peers().link(leader, Lane::Data) else {
            return refused;
        };
        let Ok(payload) = serde_json::to_vec(command) else {
            return refused;
        };
        let message = self.peers().message(leader.id, payload);
        match link.client.clone().propose(message).await {
            Ok(answer) => {
                let answer: Result<Proposed, _> = serde_json::from_slice(&answer.get_ref().payload);
                match answer {
                    // Another node may lead by now.
                    Ok(Err(ProposeError::Stopped)) => refused,
                    Ok(answer) => answer,
                    Err(_) => Err(ProposeError::Unknown),
                }
            }
            Err(status) if never_sent(&status) => refused,
            // Refused before anything was done with it.
            Err(status) if from_the_node(&status) && status.code() != Code::Aborted => refused,
            Err(_) => Err(ProposeError::Unknown),
        }
    }
}
