//! Quorum nodes, asked over gRPC.
//!
//! What a failed call proves is what the protocol promises about its code. A
//! status that this side made up (a broken stream, a lost connection) proves
//! nothing about what the node did.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use primacy_proto::v1::{
    ApplyGroupRequest, CheckRequest, GetGroupRequest, Group, GroupSpec, OperationResponse,
    PauseRequest, ResumeRequest, SwitchoverRequest, WatchRequest, WatchResponse,
    groups_client::GroupsClient, leases_client::LeasesClient,
};
use tokio::time;
use tonic::{
    Code, ConnectError, Response, Status, Streaming,
    transport::{Channel, Endpoint},
};

use crate::{
    history::{Answer, Primary},
    targets::Targets,
};

const CONNECT: Duration = Duration::from_millis(500);
/// A connection that is silent for this long is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(2);
/// Names the leader's gRPC address, where a node that does not lead knows it.
const LEADER: &str = "primacy-leader";
/// `false` where no quorum confirmed an answer.
const CONFIRMED: &str = "primacy-confirmed";

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The node says no. Nothing happened.
    #[error("{0}")]
    Refused(String),
    /// What was asked for is no longer kept. Nothing happened.
    #[error("{0}")]
    Gone(String),
    /// The node does not know or does not lead: another may. Nothing happened.
    #[error("{message}")]
    Elsewhere {
        leader: Option<SocketAddr>,
        message: String,
    },
    /// No connection, so nothing was asked. Nothing happened.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// It may have happened.
    #[error("broken: {0}")]
    Broken(String),
    /// It may have happened, and may still.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let message = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            _ if never_connected(&status) => Self::Unreachable(message),
            // The transport's word, not the node's.
            _ if status.source().is_some() => Self::Broken(message),
            Code::Unavailable => Self::Elsewhere {
                leader: leader_in(&status),
                message,
            },
            Code::OutOfRange => Self::Gone(message),
            Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::NotFound
            | Code::Unimplemented => Self::Refused(message),
            _ => Self::Broken(message),
        }
    }
}

fn never_connected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn leader_in(status: &Status) -> Option<SocketAddr> {
    let value = status.metadata().get(LEADER)?;
    value.to_str().ok()?.parse().ok()
}

/// Every node. Cheap to clone; connections are made when used, and again when lost.
#[derive(Debug, Clone)]
pub struct Nodes {
    all: Arc<[Node]>,
}

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    pub id: u64,
    address: SocketAddr,
    channel: Channel,
    group: String,
}

impl Nodes {
    /// Within a runtime; opens nothing yet. There is at least one.
    pub fn new(targets: &Targets) -> anyhow::Result<Self> {
        let node = |node: &crate::targets::Node| {
            Ok(Node {
                id: node.id,
                address: node.grpc,
                channel: lazy(node.grpc)?,
                group: targets.group.clone(),
            })
        };
        let all: anyhow::Result<Arc<[Node]>> = targets.nodes.iter().map(node).collect();
        let all = all?;
        anyhow::ensure!(!all.is_empty(), "there is no node to ask");
        Ok(Self { all })
    }

    #[must_use]
    pub fn all(&self) -> &[Node] {
        &self.all
    }

    /// Asks `first` and then the others in turn, the leader next where it is
    /// named, until one does not send the caller elsewhere. `limit` is for each.
    pub async fn ask<T, F>(
        &self,
        first: usize,
        limit: Duration,
        call: impl Fn(Node) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let count = self.all.len();
        let mut order: Vec<usize> = (0..count).map(|turn| (first + turn) % count).collect();
        let mut last = CallError::Unreachable("nobody was asked".to_owned());
        while let Some(index) = next(&mut order, &last, &self.all) {
            match within(limit, call(self.all[index].clone())).await {
                Err(error @ (CallError::Elsewhere { .. } | CallError::Unreachable(_))) => {
                    last = error;
                }
                ended => return ended,
            }
        }
        Err(last)
    }
}

/// The leader that was named, unless it was asked already; else the next in turn.
fn next(order: &mut Vec<usize>, last: &CallError, nodes: &[Node]) -> Option<usize> {
    let named = match last {
        CallError::Elsewhere { leader, .. } => *leader,
        _ => None,
    };
    let named = order
        .iter()
        .position(|index| Some(nodes[*index].address) == named);
    (!order.is_empty()).then(|| order.remove(named.unwrap_or(0)))
}

fn lazy(address: SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

/// Gives a call up after `limit`.
pub async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let ended = time::timeout(limit, call).await;
    ended.unwrap_or(Err(CallError::Late(limit)))
}

fn inner<T>(answer: Result<Response<T>, Status>) -> Result<T, CallError> {
    Ok(answer?.into_inner())
}

impl Node {
    /// Who is primary: always `Answer::Checked`.
    pub async fn check(&self) -> Result<Answer, CallError> {
        let group = self.group.clone();
        let request = CheckRequest { group };
        let mut client = LeasesClient::new(self.channel.clone());
        let answer = inner(client.check(request).await)?;
        Ok(Answer::Checked {
            primary: answer.primary.map(primary),
            valid_for_ms: answer.valid_for_ms,
            revision: answer.revision,
        })
    }

    /// The group's history from a revision on, and what follows.
    pub async fn watch(&self, from_revision: u64) -> Result<Streaming<WatchResponse>, CallError> {
        let request = WatchRequest {
            groups: vec![self.group.clone()],
            from_revision,
        };
        inner(LeasesClient::new(self.channel.clone()).watch(request).await)
    }

    /// The group, confirmed by a quorum.
    pub async fn group(&self) -> Result<Group, CallError> {
        let group = self.group.clone();
        let answer = self.groups().get(GetGroupRequest { group }).await?;
        if answer
            .metadata()
            .get(CONFIRMED)
            .is_some_and(|it| it == "false")
        {
            return Err(CallError::Elsewhere {
                leader: None,
                message: "no quorum confirms what the node knows".to_owned(),
            });
        }
        Ok(answer.into_inner())
    }

    pub async fn apply(&self, spec: GroupSpec) -> Result<(), CallError> {
        let request = ApplyGroupRequest { spec: Some(spec) };
        inner(self.groups().apply(request).await).map(|_| ())
    }

    /// To a member or a region; the other one is empty.
    pub async fn switchover(
        &self,
        to_member: String,
        to_region: String,
    ) -> Result<OperationResponse, CallError> {
        let request = SwitchoverRequest {
            group: self.group.clone(),
            to_member,
            to_region,
        };
        inner(self.groups().switchover(request).await)
    }

    pub async fn pause(&self) -> Result<(), CallError> {
        let group = self.group.clone();
        inner(self.groups().pause(PauseRequest { group }).await).map(|_| ())
    }

    pub async fn resume(&self) -> Result<(), CallError> {
        let group = self.group.clone();
        inner(self.groups().resume(ResumeRequest { group }).await).map(|_| ())
    }

    fn groups(&self) -> GroupsClient<Channel> {
        GroupsClient::new(self.channel.clone())
    }
}

/// As the history notes it.
#[must_use]
pub fn primary(primary: primacy_proto::v1::Primary) -> Primary {
    Primary {
        member: primary.member,
        address: primary.address,
        epoch: primary.epoch,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn from_transport(code: Code, cause: impl Error + Send + Sync + 'static) -> CallError {
        let mut status = Status::new(code, "made up here");
        status.set_source(Arc::new(cause));
        status.into()
    }

    #[test]
    fn only_what_a_node_said_itself_proves_that_nothing_happened() {
        let refused = |code| matches!(Status::new(code, "").into(), CallError::Refused(_));
        assert!(refused(Code::FailedPrecondition));
        assert!(refused(Code::InvalidArgument));
        assert!(!refused(Code::Unknown));
        assert!(!refused(Code::Internal));
        assert!(!refused(Code::Cancelled));

        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        let broken = from_transport(Code::Unavailable, broken);
        assert!(matches!(broken, CallError::Broken(_)), "{broken:?}");
    }

    #[test]
    fn a_call_whose_connection_was_never_made_was_not_made() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = from_transport(Code::Unavailable, ConnectError(Box::new(refused)));
        assert!(matches!(error, CallError::Unreachable(_)), "{error:?}");
    }

    #[tokio::test]
    async fn the_leader_that_is_named_is_asked_next_and_nobody_twice() {
        let node = |id: u64| crate::targets::Node {
            id,
            grpc: ([127, 0, 0, 1], 1 + u16::try_from(id).unwrap()).into(),
            dns: ([127, 0, 0, 1], 53).into(),
        };
        let targets = Targets {
            group: "orders".to_owned(),
            zone: "db.example".to_owned(),
            nodes: (0..4).map(node).collect(),
            members: Vec::new(),
            password: String::new(),
        };
        let nodes = Nodes::new(&targets).unwrap();
        let asked = std::sync::Mutex::new(Vec::new());
        let ended = nodes.ask(1, CONNECT, |node| {
            asked.lock().unwrap().push(node.id);
            let mut status = Status::unavailable("this node does not lead");
            let leader = targets.nodes[3].grpc.to_string();
            let leader = leader.parse().unwrap();
            status.metadata_mut().insert(LEADER, leader);
            async { Err::<(), _>(status.into()) }
        });
        assert!(matches!(ended.await, Err(CallError::Elsewhere { .. })));
        assert_eq!(*asked.lock().unwrap(), [1, 3, 2, 0]);
    }
}
