//! Linearizable reads, by ReadIndex only.
//!
//! A read index is the newest committed index at some moment after the
//! question, confirmed by a quorum that was asked after the question. The
//! leader's lease is never used: the library forgets it on a restart.
//!
//! Questions are answered in rounds. A round answers those that came before
//! it began; those that come meanwhile wait for the next.

use std::{future::Future, time::Duration};

use openraft::{
    LinearizerOption,
    errors::{ForwardReason, ForwardToLeader, LinearizableReadError, RaftError},
};
use primacy_proto::v1::ReadIndexRequest;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    peers::{Lane, Peers},
    types::{Consensus, LogId, Node, TypeConfig},
};
use crate::ports::NodeId;

/// Why there is no read index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadIndexError {
    #[error("no quorum confirmed the leader in time: are most of the nodes running and connected?")]
    NoQuorum,
    #[error("this node is not the leader{}", leader_hint(*leader))]
    NotLeader { leader: Option<NodeId> },
    #[error("no answer within {after:?}")]
    Timeout { after: Duration },
    #[error("this node has stopped")]
    Stopped,
}

pub(crate) fn leader_hint(leader: Option<NodeId>) -> String {
    leader.map_or_else(
        || "; no leader is known".to_owned(),
        |id| format!("; node {id} may be"),
    )
}

type Answer = Result<u64, ReadIndexError>;

/// Puts questions together so that one round answers many.
#[derive(Clone)]
pub(crate) struct Rounds(mpsc::UnboundedSender<oneshot::Sender<Answer>>);

impl Rounds {
    /// `round` is called for one round after another, never for two at once.
    pub(crate) fn spawn<F, Fut>(round: F) -> Self
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = Answer> + Send,
    {
        let (questions, mut waiting) = mpsc::unbounded_channel::<oneshot::Sender<Answer>>();
        tokio::spawn(async move {
            let mut answered = Vec::new();
            // Whoever is taken here asked before the round begins.
            while waiting.recv_many(&mut answered, usize::MAX).await > 0 {
                let answer = round().await;
                for question in answered.drain(..) {
                    // A caller that gave up is not there to hear it.
                    let _ = question.send(answer.clone());
                }
            }
        });
        Self(questions)
    }

    pub(crate) async fn ask(&self) -> Answer {
        let (question, answer) = oneshot::channel();
        self.0.send(question).map_err(|_| ReadIndexError::Stopped)?;
        answer.await.unwrap_or(Err(ReadIndexError::Stopped))
    }
}

/// One round at the leader: a quorum acknowledges a heartbeat sent after now.
pub(crate) async fn confirm(raft: &Consensus, limit: Duration) -> Answer {
    // An age of zero accepts no acknowledgement of anything sent before now.
    let fresh = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(limit);
    match raft.get_read_linearizer(fresh).await {
        Ok(linearizer) => Ok(linearizer.read_log_id().index()),
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
            Err(ReadIndexError::NoQuorum)
        }
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => Err(refusal(&to)),
        Err(RaftError::Fatal(_)) => Err(ReadIndexError::Stopped),
    }
}

fn refusal(to: &ForwardToLeader<TypeConfig>) -> ReadIndexError {
    match to.reason {
        ForwardReason::LeaseExpired => ReadIndexError::NoQuorum,
        _ => ReadIndexError::NotLeader {
            leader: to.leader_id,
        },
    }
}

/// One round at a follower: the leader is asked for one of its own.
pub(crate) async fn ask_leader(peers: &Peers, leader: &Node, limit: Duration) -> Answer {
    let stale = ReadIndexError::NotLeader { leader: None };
    let Ok(link) = peers.link(leader, Lane::Control) else {
        return Err(stale);
    };
    let (cluster_id, to, from) = (peers.cluster_id().to_owned(), leader.id, peers.me());
    let mut client = link.client.clone();
    let call = client.read_index(ReadIndexRequest {
        cluster_id,
        to,
        from,
    });
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(response)) => {
            link.answered(true);
            Ok(response.into_inner().index)
        }
        Ok(Err(status)) => {
            tracing::debug!(leader = leader.id, %status, "no read index from the leader");
            Err(stale)
        }
        Err(_) => {
            link.answered(false);
            Err(ReadIndexError::NoQuorum)
        }
    }
}

/// Waits until what is published contains `index`.
pub(crate) async fn wait_applied(
    applied: &mut watch::Receiver<Option<LogId>>,
    index: u64,
) -> Result<(), ReadIndexError> {
    let reached = |id: &Option<LogId>| id.as_ref().is_some_and(|id| id.index >= index);
    applied
        .wait_for(reached)
        .await
        .map(drop)
        .map_err(|_| ReadIndexError::Stopped)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_question_is_never_answered_by_a_round_already_under_way() {
        let (started, gate) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
        let (count, opened) = (started.clone(), gate.clone());
        let rounds = Rounds::spawn(move || {
            let round = count.fetch_add(1, Ordering::SeqCst) + 1;
            let opened = opened.clone();
            async move {
                opened.acquire().await.unwrap().forget();
                Ok(round)
            }
        });
        let first = tokio::spawn({
            let rounds = rounds.clone();
            async move { rounds.ask().await }
        });
        while started.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let late: Vec<_> = (0..3)
            .map(|_| {
                tokio::spawn({
                    let rounds = rounds.clone();
                    async move { rounds.ask().await }
                })
            })
            .collect();
        // The late ones have asked once each holds a place in the queue.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), Ok(1));
        for question in late {
            assert_eq!(
                question.await.unwrap(),
                Ok(2),
                "one round answers all that waited"
            );
        }
        assert_eq!(started.load(Ordering::SeqCst), 2);
    }
}
