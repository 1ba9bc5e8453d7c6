//! Connections to the other quorum nodes.
//!
//! Two to each: one for the small messages that elections and liveness hang
//! on, one for everything that may be large. Both connect when first used and
//! again after a failure.

use std::{
    collections::HashMap,
    error::Error as StdError,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use primacy_proto::v1::{RaftMessage, raft_client::RaftClient};
use tonic::{
    Code, ConnectError, Status,
    transport::{Channel, Endpoint, Error as TransportError},
};

use super::types::Node;
use crate::ports::NodeId;

/// Larger than any batch of entries; snapshots go in pieces.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// Answers missed in a row before a connection is given up. A connection
/// through a healed partition may otherwise sit out TCP's own back-off.
const MISSED_BEFORE_REDIAL: u32 = 5;
const KEEPALIVE: Duration = Duration::from_secs(2);

/// How a node's address becomes a connection; where TLS is put in.
#[derive(Clone)]
pub struct Dial(Arc<DialFn>);

type DialFn = dyn Fn(&Node) -> Result<Endpoint, TransportError> + Send + Sync;

impl Dial {
    /// `dial` names the endpoint; timeouts and keepalive are set here.
    pub fn new<F>(dial: F) -> Self
    where
        F: Fn(&Node) -> Result<Endpoint, TransportError> + Send + Sync + 'static,
    {
        Self(Arc::new(dial))
    }

    /// Plain TCP to the node's address.
    #[must_use]
    pub fn plain() -> Self {
        Self::new(|node| Endpoint::from_shared(format!("http://{}", node.address)))
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

/// Which of the two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Heartbeats, votes, read indexes.
    Control,
    /// Entries, snapshots, proposals.
    Data,
}

/// The other nodes as this one reaches them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Inner>);

struct Inner {
    cluster_id: String,
    me: NodeId,
    dial: Dial,
    connect_timeout: Duration,
    connections: Mutex<HashMap<(NodeId, Lane), Connection>>,
}

struct Connection {
    address: String,
    channel: Channel,
    missed: Arc<AtomicU32>,
}

/// A client for one node, over one lane.
pub(crate) struct Link {
    pub(crate) client: RaftClient<Channel>,
    missed: Arc<AtomicU32>,
}

impl Link {
    /// Notes whether an answer came, whatever it said.
    pub(crate) fn answered(&self, answered: bool) {
        if answered {
            self.missed.store(0, Ordering::Relaxed);
        } else {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Peers {
    pub(crate) fn new(cluster_id: &str, me: NodeId, dial: Dial, connect_timeout: Duration) -> Self {
        let cluster_id = cluster_id.to_owned();
        let connections = Mutex::default();
        Self(Arc::new(Inner {
            cluster_id,
            me,
            dial,
            connect_timeout,
            connections,
        }))
    }

    pub(crate) fn cluster_id(&self) -> &str {
        &self.0.cluster_id
    }

    pub(crate) fn me(&self) -> NodeId {
        self.0.me
    }

    pub(crate) fn message(&self, to: NodeId, payload: Vec<u8>) -> RaftMessage {
        RaftMessage {
            cluster_id: self.0.cluster_id.clone(),
            to,
            from: self.0.me,
            payload,
        }
    }

    /// A client for `node`; connects when used.
    pub(crate) fn link(&self, node: &Node, lane: Lane) -> Result<Link, TransportError> {
        let mut connections = self
            .0
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let usable = connections.get(&(node.id, lane)).filter(|connection| {
            connection.address == node.address
                && connection.missed.load(Ordering::Relaxed) < MISSED_BEFORE_REDIAL
        });
        if let Some(connection) = usable {
            return Ok(link(connection));
        }
        let connection = self.connect(node)?;
        let link = link(&connection);
        connections.insert((node.id, lane), connection);
        Ok(link)
    }

    fn connect(&self, node: &Node) -> Result<Connection, TransportError> {
        let endpoint = (self.0.dial.0)(node)?
            .connect_timeout(self.0.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        let address = node.address.clone();
        Ok(Connection {
            address,
            channel: endpoint.connect_lazy(),
            missed: Arc::default(),
        })
    }
}

fn link(connection: &Connection) -> Link {
    let client = RaftClient::new(connection.channel.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Link {
        client,
        missed: connection.missed.clone(),
    }
}

/// Whether the request certainly never left this process.
pub(crate) fn never_sent(status: &Status) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether the node itself gave this answer, rather than the way to it.
pub(crate) fn from_the_node(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::FailedPrecondition | Code::PermissionDenied | Code::Aborted
    )
}
