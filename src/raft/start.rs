//! Starting and stopping a node.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openraft::{
    async_runtime::WatchReceiver,
    errors::{Fatal, InitializeError, RaftError},
};
use tokio::sync::watch;

use super::{
    Handle, Options,
    data_dir::{DataDir, DataDirError, Identity},
    leadership,
    log::{LogError, LogStore, LogUse},
    machine::{Machine, Published, RecoverError},
    network::Factory,
    peers::Peers,
    read_index::{ReadIndexError, Rounds, ask_leader, confirm},
    sled_store::SledStore,
    snapshot::Snapshots,
    types::{Consensus, Node, TypeConfig},
};
use crate::ports::{Leadership, NodeId};

/// How long stopping waits for the last user of the log.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("recover the state")]
    Recover(#[from] RecoverError),
    #[error("open the state store")]
    Store(#[source] std::io::Error),
    #[error("timing that consensus does not accept")]
    Config(#[from] openraft::ConfigError),
    #[error("two of the initial nodes have the id {id}")]
    Duplicate { id: NodeId },
    #[error("start consensus")]
    Consensus(#[source] Box<Fatal<TypeConfig>>),
    #[error("initialize the cluster")]
    Initialize(#[source] Box<RaftError<TypeConfig, InitializeError<TypeConfig>>>),
}

/// What a [`Handle`] holds.
pub(crate) struct Running {
    pub(crate) options: Options,
    pub(crate) raft: Consensus,
    pub(crate) peers: Peers,
    pub(crate) store: Arc<SledStore>,
    pub(crate) published: Published,
    pub(crate) leadership: watch::Receiver<Leadership>,
    /// Rounds that this node confirms as the leader.
    pub(crate) own_rounds: Rounds,
    /// Rounds that it asks the leader for.
    pub(crate) leaders_rounds: Rounds,
    log: LogUse,
    dir: Mutex<Option<DataDir>>,
    stopping: AtomicBool,
}

/// Opens the data directory and joins the cluster.
///
/// Returns before there is a leader; [`Handle::leadership`] tells. The service
/// of the handle is to be served at this node's address from now on.
///
/// # Errors
/// When the directory is in use, somebody else's, or damaged.
pub async fn start(options: Options) -> Result<Handle, StartError> {
    let members = members(&options.initial_nodes)?;
    let config = options.config()?;
    let timing = options.profile.timing();
    let identity = Identity::new(&options.cluster_id, options.node_id);
    let dir = DataDir::open(&options.data_dir, &identity)?;
    let log = LogStore::open(&dir.log())?;
    dir.claim(&identity)?;
    let store = Arc::new(SledStore::open(&dir.state()).map_err(StartError::Store)?);
    let snapshots = Snapshots::new(dir.snapshots());
    let (machine, published) =
        Machine::recover(snapshots, store.clone(), log.purged(), log.last())?;

    let peers = Peers::new(
        &options.cluster_id,
        options.node_id,
        options.dial.clone(),
        timing.election_min,
    );
    let network = Factory {
        peers: peers.clone(),
        stall: timing.election_max * 4,
    };
    let log_use = log.in_use();
    let raft = Consensus::new(options.node_id, config, network, log, machine)
        .await
        .map_err(|error| StartError::Consensus(Box::new(error)))?;
    initialize(&raft, options.node_id, members).await?;

    let leadership = leadership::follow(&raft, options.node_id, published.applied.clone());
    let own_rounds = own_rounds(&raft, options.read_timeout);
    let leaders_rounds = leaders_rounds(&raft, &peers, options.read_timeout);
    let running = Running {
        options,
        raft,
        peers,
        store,
        published,
        leadership,
        own_rounds,
        leaders_rounds,
        log: log_use,
        dir: Mutex::new(Some(dir)),
        stopping: AtomicBool::new(false),
    };
    Ok(Handle(Arc::new(running)))
}

fn members(nodes: &[Node]) -> Result<BTreeMap<NodeId, Node>, StartError> {
    let mut members = BTreeMap::new();
    for node in nodes {
        if members.insert(node.id, node.clone()).is_some() {
            return Err(StartError::Duplicate { id: node.id });
        }
    }
    Ok(members)
}

/// Every initial node writes the same first entry, so it does not matter who
/// comes first; a cluster that exists is left alone.
async fn initialize(
    raft: &Consensus,
    me: NodeId,
    members: BTreeMap<NodeId, Node>,
) -> Result<(), StartError> {
    if !members.contains_key(&me) {
        return Ok(());
    }
    match raft.initialize(members).await {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(StartError::Initialize(Box::new(error))),
    }
}

fn own_rounds(raft: &Consensus, limit: Duration) -> Rounds {
    let raft = raft.clone();
    Rounds::spawn(move || {
        let raft = raft.clone();
        async move { confirm(&raft, limit).await }
    })
}

fn leaders_rounds(raft: &Consensus, peers: &Peers, limit: Duration) -> Rounds {
    let (raft, peers) = (raft.clone(), peers.clone());
    Rounds::spawn(move || {
        let (raft, peers) = (raft.clone(), peers.clone());
        async move {
            let leader = {
                let metrics = raft.server_metrics();
                let metrics = metrics.borrow_watched();
                let known = metrics
                    .current_leader
                    .filter(|leader| *leader != peers.me());
                known.and_then(|leader| metrics.membership_config.get_node(&leader).cloned())
            };
            match leader {
                Some(leader) => ask_leader(&peers, &leader, limit).await,
                None => Err(ReadIndexError::NotLeader { leader: None }),
            }
        }
    })
}

impl Handle {
    /// Stops the node. A leader first hands leadership to the follower best
    /// able to take it, for at most the transfer timeout.
    pub async fn shutdown(&self) {
        if self.leadership().borrow().is_me {
            match self.successor() {
                Some(to) => {
                    if let Err(error) = self.transfer_leader(to).await {
                        tracing::warn!(%error, "leadership was not handed over before stopping");
                    }
                }
                None => tracing::info!("no other node can lead; stopping as the leader"),
            }
        }
        self.stop().await;
    }

    /// Stops the node as it is; a leader is missed only once its followers'
    /// election timeouts end. The data directory is free when this returns.
    pub async fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
        if let Err(error) = self.consensus().shutdown().await {
            tracing::error!(%error, "consensus did not stop cleanly");
        }
        let released = async {
            while !self.0.log.is_over() {
                tokio::time::sleep(POLL).await;
            }
        };
        if tokio::time::timeout(RELEASE_LIMIT, released).await.is_err() {
            tracing::warn!("the Raft log is still in use after stopping");
        }
        let store = self.0.store.clone();
        // What it could not write can be rebuilt.
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
        self.0
            .dir
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Whether a failure now interrupts a node that was at work.
    pub(crate) fn was_running(&self) -> bool {
        !self.0.stopping.load(Ordering::Relaxed)
    }
}
