//! What this node says to one other, on behalf of consensus.
//!
//! An unreachable node is an error, never an answer: the library's own
//! `pre_vote` would count it as a vote in favour.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use openraft::{
    OptionalSend, RPCTypes,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use primacy_proto::v1::RaftMessage;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tonic::{Code, Response, Status, Streaming};

use super::{
    peers::{Lane, Link, Peers, from_the_node},
    types::{Node, Snapshot, SnapshotMeta, TypeConfig, Vote},
};
use crate::ports::NodeId;

type RpcError = RPCError<TypeConfig>;
type Appended = StreamAppendResult<TypeConfig>;

/// Snapshots travel in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// What goes before the pieces of a snapshot.
#[derive(Serialize, Deserialize)]
pub(crate) struct SnapshotHeader {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    pub(crate) length: u64,
}

/// Makes a [`Network`] for each node and purpose.
pub(crate) struct Factory {
    pub(crate) peers: Peers,
    /// Entries sent but not answered for so long end their stream.
    pub(crate) stall: Duration,
}

impl Factory {
    fn network(&self, node: &Node, lane: Lane) -> Network {
        Network {
            peers: self.peers.clone(),
            node: node.clone(),
            lane,
            stall: self.stall,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Network;

    async fn new_client(&mut self, _: NodeId, node: &Node) -> Network {
        self.network(node, Lane::Data)
    }

    async fn new_heartbeat_client(&mut self, _: NodeId, node: &Node) -> Network {
        self.network(node, Lane::Control)
    }
}

/// One other node.
pub(crate) struct Network {
    peers: Peers,
    node: Node,
    /// For append requests; everything else knows its own lane.
    lane: Lane,
    stall: Duration,
}

impl Network {
    fn message<T: Serialize>(&self, request: &T) -> Result<RaftMessage, RpcError> {
        let payload = serde_json::to_vec(request).map_err(|error| unreachable(&error))?;
        Ok(self.peers.message(self.node.id, payload))
    }

    fn link(&self, lane: Lane) -> Result<Link, RpcError> {
        self.peers
            .link(&self.node, lane)
            .map_err(|error| unreachable(&error))
    }

    /// Waits for an answer for `limit` and decodes it.
    async fn answer<T: DeserializeOwned>(
        &self,
        link: &Link,
        limit: Duration,
        call: impl Future<Output = Result<Response<RaftMessage>, Status>>,
        action: RPCTypes,
    ) -> Result<T, RpcError> {
        let Ok(result) = tokio::time::timeout(limit, call).await else {
            link.answered(false);
            return Err(self.timeout(action, limit));
        };
        link.answered(result.as_ref().map_or_else(from_the_node, |_| true));
        let message = result.map_err(|status| self.failed(&status))?;
        decode(&message.into_inner())
    }

    fn timeout(&self, action: RPCTypes, timeout: Duration) -> RpcError {
        let (id, target) = (self.peers.me(), self.node.id);
        RPCError::Timeout(Timeout {
            action,
            id,
            target,
            timeout,
        })
    }

    fn failed(&self, status: &Status) -> RpcError {
        if status.code() == Code::PermissionDenied {
            let node = self.node.id;
            tracing::error!(node, address = self.node.address, %status, "another node answers at this address");
        }
        unreachable(status)
    }
}

fn unreachable<E: std::error::Error + 'static>(error: &E) -> RpcError {
    RPCError::Unreachable(Unreachable::new(error))
}

fn decode<T: DeserializeOwned>(message: &RaftMessage) -> Result<T, RpcError> {
    serde_json::from_slice(&message.payload)
        .map_err(|error| RPCError::Network(NetworkError::new(&error)))
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let (message, link) = (self.message(&request)?, self.link(self.lane)?);
        let mut client = link.client.clone();
        let call = client.append(message);
        self.answer(&link, option.hard_ttl(), call, RPCTypes::AppendEntries)
            .await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<Appended, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        if self.lane == Lane::Control {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(self.pipeline(input))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let (message, link) = (self.message(&request)?, self.link(Lane::Control)?);
        let mut client = link.client.clone();
        let call = client.vote(message);
        self.answer(&link, option.hard_ttl(), call, RPCTypes::Vote)
            .await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let (message, link) = (self.message(&request)?, self.link(Lane::Control)?);
        let mut client = link.client.clone();
        let call = client.pre_vote(message);
        self.answer(&link, option.hard_ttl(), call, RPCTypes::Vote)
            .await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let (message, link) = (self.message(&request)?, self.link(Lane::Control)?);
        let mut client = link.client.clone();
        let call = client.transfer_leader(message);
        self.answer(&link, option.hard_ttl(), call, RPCTypes::TransferLeader)
            .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let length = snapshot.snapshot.len() as u64;
        let header = self.message(&SnapshotHeader {
            vote,
            meta: snapshot.meta,
            length,
        })?;
        let pieces: Vec<_> = snapshot
            .snapshot
            .chunks(PIECE_BYTES)
            .map(|piece| self.peers.message(self.node.id, piece.to_vec()))
            .collect();
        let link = self.link(Lane::Data)?;
        let mut client = link.client.clone();
        let call = client.snapshot(stream::iter([header].into_iter().chain(pieces)));
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = self.answer(&link, option.hard_ttl(), call, RPCTypes::InstallSnapshot) => Ok(answer?),
        }
    }
}

impl Network {
    /// Sends batches as they come, without waiting for answers in between.
    ///
    /// Dials only when there is something to send: the pause after a failure
    /// is in the way to the first batch, and a node that refuses connections
    /// would be dialled without any otherwise.
    async fn pipeline<S>(
        &mut self,
        mut input: S,
    ) -> Result<BoxStream<'_, Result<Appended, RpcError>>, RpcError>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let Some(first) = input.next().await else {
            return Ok(Box::pin(stream::empty()));
        };
        let input = stream::iter([first]).chain(input);
        let sent = Arc::new(AtomicU64::new(0));
        let (peers, to, counter) = (self.peers.clone(), self.node.id, sent.clone());
        let requests = input.map(move |request| {
            counter.fetch_add(1, Ordering::Relaxed);
            // An entry was read from JSON and can be written as JSON.
            peers.message(to, serde_json::to_vec(&request).unwrap_or_default())
        });
        let link = self.link(Lane::Data)?;
        let mut client = link.client.clone();
        let opened = tokio::time::timeout(self.stall, client.append_stream(requests)).await;
        let answers = match opened {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(self.failed(&status)),
            Err(_) => {
                link.answered(false);
                return Err(self.timeout(RPCTypes::AppendEntries, self.stall));
            }
        };
        let reader = Reader {
            network: self,
            link,
            answers,
            sent,
            received: 0,
        };
        Ok(Box::pin(stream::unfold(Some(reader), Reader::next)))
    }
}

/// The answering half of a pipeline.
struct Reader<'s> {
    network: &'s Network,
    link: Link,
    answers: Streaming<RaftMessage>,
    sent: Arc<AtomicU64>,
    received: u64,
}

impl Reader<'_> {
    async fn next(reader: Option<Self>) -> Option<(Result<Appended, RpcError>, Option<Self>)> {
        let mut reader = reader?;
        match reader.receive().await {
            Ok(None) => None,
            Ok(Some(answer)) => {
                // The stream is over after a conflict or a higher vote.
                let more = answer.is_ok();
                Some((Ok(answer), more.then_some(reader)))
            }
            Err(error) => Some((Err(error), None)),
        }
    }

    /// The next answer, or an error once something sent went unanswered for
    /// the stall time. A stream with nothing to answer may be silent for good.
    async fn receive(&mut self) -> Result<Option<Appended>, RpcError> {
        let mut waiting_since_last_look = false;
        loop {
            let stall = self.network.stall;
            match tokio::time::timeout(stall, self.answers.message()).await {
                Ok(Ok(Some(message))) => {
                    self.link.answered(true);
                    self.received += 1;
                    return decode(&message).map(Some);
                }
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(status)) => return Err(self.network.failed(&status)),
                Err(_) => {
                    let waiting = self.sent.load(Ordering::Relaxed) > self.received;
                    if waiting && waiting_since_last_look {
                        self.link.answered(false);
                        return Err(self.network.timeout(RPCTypes::AppendEntries, stall));
                    }
                    waiting_since_last_look = waiting;
                }
            }
        }
    }
}
