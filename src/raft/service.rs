//! What this node answers to the others.
//!
//! Invariant: nothing reaches consensus that was meant for another cluster or
//! another node, whoever's address it came to.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, StreamExt, future, stream};
use openraft::raft::AppendEntriesRequest;
use primacy_proto::v1::{
    RaftMessage, ReadIndexRequest, ReadIndexResponse,
    raft_server::{Raft, RaftServer},
};
use serde::{Serialize, de::DeserializeOwned};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Handle,
    network::SnapshotHeader,
    peers::MAX_MESSAGE_BYTES,
    types::{Snapshot, TypeConfig},
};
use crate::domain::Command;
use crate::ports::NodeId;

/// More than any state is expected to take.
const MAX_SNAPSHOT_BYTES: u64 = 1 << 30;

type Answer = Result<Response<RaftMessage>, Status>;
type Answers = Pin<Box<dyn Stream<Item = Result<RaftMessage, Status>> + Send>>;

/// The Raft service of one node, for mounting in a server.
pub struct Service(Handle);

impl Service {
    pub(crate) fn server(handle: Handle) -> RaftServer<Self> {
        RaftServer::new(Self(handle))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn check(&self, cluster_id: &str, to: NodeId, from: NodeId) -> Result<(), Status> {
        check_addressee(&self.0, cluster_id, to, from)
    }

    fn open<T: DeserializeOwned>(&self, message: &RaftMessage) -> Result<T, Status> {
        self.check(&message.cluster_id, message.to, message.from)?;
        decode(&message.payload)
    }

    fn answer<T: Serialize>(&self, to: NodeId, answer: &T) -> Answer {
        encode(answer).map(|payload| Response::new(self.0.peers().message(to, payload)))
    }
}

fn check_addressee(node: &Handle, cluster: &str, to: NodeId, from: NodeId) -> Result<(), Status> {
    let (my_cluster, me) = (node.peers().cluster_id(), node.peers().me());
    if cluster == my_cluster && to == me {
        return Ok(());
    }
    let text = format!(
        "node {from} of cluster {cluster:?} asked for node {to}; this is node {me} of cluster {my_cluster:?}"
    );
    tracing::warn!(from, to, cluster, "message for another node refused");
    Err(Status::permission_denied(text))
}

fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Status> {
    serde_json::from_slice(payload).map_err(|error| {
        Status::invalid_argument(format!("not understood, is the release the same? {error}"))
    })
}

fn encode<T: Serialize>(answer: &T) -> Result<Vec<u8>, Status> {
    serde_json::to_vec(answer).map_err(|error| Status::internal(error.to_string()))
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this node has stopped: {error}"))
}

#[tonic::async_trait]
impl Raft for Service {
    type AppendStreamStream = Answers;

    async fn append(&self, request: Request<RaftMessage>) -> Answer {
        let message = request.into_inner();
        let entries = self.open(&message)?;
        let answer = self
            .0
            .consensus()
            .append_entries(entries)
            .await
            .map_err(stopped)?;
        self.answer(message.from, &answer)
    }

    async fn append_stream(
        &self,
        request: Request<Streaming<RaftMessage>>,
    ) -> Result<Response<Answers>, Status> {
        let refused = Refused::default();
        let requests = accepted(self.0.clone(), request.into_inner(), refused.clone());
        let handle = self.0.clone();
        let answers = self
            .0
            .consensus()
            .stream_append(requests)
            .map(move |answer| {
                let payload = encode(&answer.map_err(stopped)?)?;
                // The stream is the requester's own; there is nobody else to name.
                Ok(handle.peers().message(0, payload))
            });
        let refusal = stream::once(async move { refused.take() }).filter_map(future::ready);
        Ok(Response::new(Box::pin(answers.chain(refusal.map(Err)))))
    }

    async fn vote(&self, request: Request<RaftMessage>) -> Answer {
        let message = request.into_inner();
        let vote = self.open(&message)?;
        let answer = self.0.consensus().vote(vote).await.map_err(stopped)?;
        self.answer(message.from, &answer)
    }

    async fn pre_vote(&self, request: Request<RaftMessage>) -> Answer {
        let message = request.into_inner();
        let vote = self.open(&message)?;
        let answer = self.0.consensus().pre_vote(vote).await.map_err(stopped)?;
        self.answer(message.from, &answer)
    }

    async fn transfer_leader(&self, request: Request<RaftMessage>) -> Answer {
        let message = request.into_inner();
        let transfer = self.open(&message)?;
        let answer = self
            .0
            .consensus()
            .handle_transfer_leader(transfer)
            .await
            .map_err(stopped)?;
        self.answer(message.from, &answer)
    }

    async fn snapshot(&self, request: Request<Streaming<RaftMessage>>) -> Answer {
        let mut pieces = request.into_inner();
        let first = pieces.message().await?;
        let first = first.ok_or_else(|| Status::invalid_argument("a snapshot without header"))?;
        let SnapshotHeader { vote, meta, length } = self.open(&first)?;
        let snapshot = collect(&mut pieces, length).await?;
        let snapshot = Snapshot { meta, snapshot };
        let installed = self
            .0
            .consensus()
            .install_full_snapshot(vote, snapshot)
            .await;
        self.answer(first.from, &installed.map_err(stopped)?)
    }

    async fn read_index(
        &self,
        request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexResponse>, Status> {
        let request = request.into_inner();
        self.check(&request.cluster_id, request.to, request.from)?;
        let index = self.0.confirm_read_index().await;
        let index = index.map_err(|error| Status::failed_precondition(error.to_string()))?;
        Ok(Response::new(ReadIndexResponse { index }))
    }

    async fn propose(&self, request: Request<RaftMessage>) -> Answer {
        let message = request.into_inner();
        let command: Command = self.open(&message)?;
        let result = self.0.propose_here(command).await;
        self.answer(message.from, &result)
    }
}

/// Why a stream was cut short, for its end.
#[derive(Clone, Default)]
struct Refused(Arc<Mutex<Option<Status>>>);

impl Refused {
    fn set(&self, status: Status) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    fn take(&self) -> Option<Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The requests of a stream up to the first that is not for this node.
fn accepted(
    node: Handle,
    messages: Streaming<RaftMessage>,
    refused: Refused,
) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + 'static {
    stream::unfold(messages, move |mut messages| {
        let (node, refused) = (node.clone(), refused.clone());
        async move {
            let opened = match messages.message().await {
                Ok(Some(message)) => {
                    check_addressee(&node, &message.cluster_id, message.to, message.from)
                        .and_then(|()| decode(&message.payload))
                }
                Ok(None) => return None,
                Err(status) => Err(status),
            };
            match opened {
                Ok(request) => Some((request, messages)),
                Err(status) => {
                    refused.set(status);
                    None
                }
            }
        }
    })
}

async fn collect(pieces: &mut Streaming<RaftMessage>, length: u64) -> Result<Vec<u8>, Status> {
    if length > MAX_SNAPSHOT_BYTES {
        return Err(Status::resource_exhausted(format!(
            "a snapshot of {length} bytes"
        )));
    }
    let mut data = Vec::new();
    while let Some(piece) = pieces.message().await? {
        data.extend_from_slice(&piece.payload);
        if data.len() as u64 > length {
            return Err(Status::invalid_argument("a snapshot longer than announced"));
        }
    }
    if data.len() as u64 != length {
        return Err(Status::aborted(format!(
            "{} of {length} bytes came",
            data.len()
        )));
    }
    Ok(data)
}
