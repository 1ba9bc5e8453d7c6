//! A cluster in one process: real sockets, real files, real fsync.
//!
//! Each node reaches each other one through a relay of its own, so any
//! direction between any two can be cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::PathBuf,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use primacy::{
    domain::{
        Change, Command, Control, Durability, Epoch, GroupName, GroupSpec, MemberSpec, Outcome,
        State,
    },
    raft::{
        Dial, Handle, HistoryEntry, Leadership, Node, NodeId, Options, Profile, ProposeError, start,
    },
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, OwnedMutexGuard, watch},
    task::JoinHandle,
};
use tonic::transport::{Endpoint, Server};

/// Far beyond what anything here takes; a test that meets it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub const CLUSTER: &str = "test";

/// Creates the group of this number.
pub fn sample_command(n: u64) -> Command {
    let primary = MemberSpec {
        name: "a".parse().unwrap(),
        region: "eu".parse().unwrap(),
        address: "192.0.2.1:5432".parse().unwrap(),
        control: Control::Process,
        no_failover: false,
        priority: 0,
    };
    let spec = GroupSpec {
        name: sample_group(n),
        durability: Durability::Async,
        sync_k: 0,
        sync_members: BTreeSet::new(),
        ttl_ms: 5_000,
        suspect_after_ms: 1_000,
        max_lag_bytes: n,
        check_window_ms: 0,
        initial_primary: primary.name.clone(),
        system_identifier: None,
        members: vec![primary],
    };
    Command {
        at_ms: n,
        group: sample_group(n),
        change: Change::ApplyGroup { spec },
    }
}

/// Expires the first lease of the group of this number, which has none.
pub fn sample_expiry(n: u64) -> Command {
    Command {
        at_ms: n,
        group: sample_group(n),
        change: Change::ExpireLease { epoch: Epoch(1) },
    }
}

pub fn sample_group(n: u64) -> GroupName {
    format!("group-{n}").parse().unwrap()
}

/// Waits until `condition` holds, looking again every few milliseconds.
pub async fn eventually<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "never came true: {what}");
}

/// One direction between two nodes.
struct Relay {
    address: String,
    cut: watch::Sender<bool>,
    /// Connections that were asked for.
    dialled: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Relay {
    async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cut, is_cut) = watch::channel(false);
        let dialled = Arc::<AtomicU64>::default();
        let count = Arc::clone(&dialled);
        let task = tokio::spawn(async move {
            while let Ok((inbound, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(relay(inbound, target.clone(), is_cut.clone()));
            }
        });
        Self {
            address,
            cut,
            dialled,
            task,
        }
    }
}

async fn relay(mut inbound: TcpStream, target: String, mut is_cut: watch::Receiver<bool>) {
    if *is_cut.borrow() {
        return;
    }
    let Ok(mut outbound) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (inbound.set_nodelay(true), outbound.set_nodelay(true));
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut inbound, &mut outbound) => {}
        _ = is_cut.wait_for(|cut| *cut) => {}
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Running {
    handle: Handle,
    server: JoinHandle<()>,
}

/// Clusters take turns: an election that a busy machine causes is not what a
/// test is about.
static TURN: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);

pub struct Cluster {
    root: TempDir,
    nodes: Vec<Node>,
    relays: BTreeMap<(NodeId, NodeId), Relay>,
    running: BTreeMap<NodeId, Running>,
    initial: usize,
    tune: fn(&mut Options),
    _turn: OwnedMutexGuard<()>,
}

impl Cluster {
    /// Nodes 1 to `size`, all started and members from the first.
    pub async fn start(size: u64, tune: fn(&mut Options)) -> Self {
        Self::start_some(size, size, tune).await
    }

    /// As [`Self::start`], but only the first `initial` nodes are members and
    /// started.
    pub async fn start_some(size: u64, initial: u64, tune: fn(&mut Options)) -> Self {
        let turn = Arc::clone(&TURN).lock_owned().await;
        let mut nodes = Vec::new();
        for id in 1..=size {
            let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = port.local_addr().unwrap().to_string();
            nodes.push(Node {
                id,
                region: format!("region-{id}").parse().unwrap(),
                address,
            });
        }
        let mut relays = BTreeMap::new();
        for (from, to) in pairs(size) {
            let target = nodes[to as usize - 1].address.clone();
            relays.insert((from, to), Relay::to(target).await);
        }
        let root = tempfile::tempdir().unwrap();
        let mut cluster = Self {
            root,
            nodes,
            relays,
            running: BTreeMap::new(),
            initial: initial as usize,
            tune,
            _turn: turn,
        };
        for id in 1..=initial {
            cluster.start_node(id).await;
        }
        cluster
    }

    pub fn dir(&self, id: NodeId) -> PathBuf {
        self.root.path().join(format!("node-{id}"))
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize - 1]
    }

    pub fn options(&self, id: NodeId) -> Options {
        let ways: BTreeMap<NodeId, String> = self
            .relays
            .iter()
            .filter(|((from, _), _)| *from == id)
            .map(|((_, to), relay)| (*to, relay.address.clone()))
            .collect();
        let mut options = Options::new(CLUSTER, id, self.dir(id), Profile::Lan);
        options.initial_nodes = self.nodes[..self.initial].to_vec();
        options.dial =
            Dial::new(move |node| Endpoint::from_shared(format!("http://{}", ways[&node.id])));
        (self.tune)(&mut options);
        options
    }

    pub async fn start_node(&mut self, id: NodeId) {
        let handle = start(self.options(id)).await.unwrap();
        let address = self.node(id).address.parse().unwrap();
        let service = handle.service();
        let server = tokio::spawn(async move {
            Server::builder()
                .add_service(service)
                .serve(address)
                .await
                .unwrap();
        });
        self.running.insert(id, Running { handle, server });
        self.heal(id);
    }

    /// Takes a node away without letting it hand anything over: first its
    /// connections, as when a machine loses power, then the rest.
    pub async fn kill(&mut self, id: NodeId) {
        self.cut_off(id);
        let node = self.running.remove(&id).unwrap();
        node.server.abort();
        let _ = node.server.await;
        node.handle.stop().await;
    }

    /// Stops a node in good order.
    pub async fn shut_down(&mut self, id: NodeId) {
        let node = self.running.remove(&id).unwrap();
        node.handle.shutdown().await;
        node.server.abort();
        let _ = node.server.await;
    }

    /// Cuts a node off from all others, in both directions.
    pub fn cut_off(&self, id: NodeId) {
        self.set_cut(id, true);
    }

    pub fn heal(&self, id: NodeId) {
        self.set_cut(id, false);
    }

    fn set_cut(&self, id: NodeId, cut: bool) {
        for ((from, to), relay) in &self.relays {
            if *from == id || *to == id {
                relay.cut.send_replace(cut);
            }
        }
    }

    /// How often `from` asked for a connection to `to`.
    pub fn dialled(&self, from: NodeId, to: NodeId) -> u64 {
        self.relays[&(from, to)].dialled.load(Ordering::Relaxed)
    }

    pub fn handle(&self, id: NodeId) -> &Handle {
        &self.running[&id].handle
    }

    pub fn running(&self) -> Vec<NodeId> {
        self.running.keys().copied().collect()
    }

    /// The leader that all of `nodes` agree on, once it is ready.
    pub async fn leader_of(&self, nodes: &[NodeId]) -> NodeId {
        let mut leader = None;
        eventually("the nodes agree on a leader that is ready", || {
            leader = self.agreed(nodes);
            std::future::ready(leader.is_some())
        })
        .await;
        leader.unwrap()
    }

    pub async fn leader(&self) -> NodeId {
        self.leader_of(&self.running()).await
    }

    fn agreed(&self, nodes: &[NodeId]) -> Option<NodeId> {
        let seen: Vec<Leadership> = nodes.iter().map(|id| self.seen(*id)).collect();
        let leader = seen[0].leader?;
        let agree = seen
            .iter()
            .all(|s| s.leader == Some(leader) && s.term == seen[0].term);
        let ready = nodes.contains(&leader) && self.seen(leader).ready;
        (agree && ready).then_some(leader)
    }

    pub fn seen(&self, id: NodeId) -> Leadership {
        *self.handle(id).leadership().borrow()
    }

    pub fn state(&self, id: NodeId) -> Arc<State> {
        self.handle(id).published().borrow().clone()
    }

    /// Some running node that does not lead.
    pub async fn follower(&self) -> NodeId {
        let leader = self.leader().await;
        self.running().into_iter().find(|id| *id != leader).unwrap()
    }

    /// Proposes the commands one after the other, each until it is
    /// acknowledged: there may be an election at any time. Returns where.
    pub async fn propose(&self, at: NodeId, numbers: std::ops::Range<u64>) -> Vec<(u64, Command)> {
        let mut acknowledged = Vec::new();
        for n in numbers {
            let index = self.propose_one(at, n).await;
            acknowledged.push((index, sample_command(n)));
        }
        acknowledged
    }

    async fn propose_one(&self, at: NodeId, n: u64) -> u64 {
        let attempts = async {
            loop {
                match self.handle(at).propose(sample_command(n)).await {
                    Ok((index, outcome)) => {
                        assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
                        return index;
                    }
                    Err(error) => assert_ne!(error, ProposeError::Stopped),
                }
            }
        };
        tokio::time::timeout(PATIENCE, attempts)
            .await
            .expect("acknowledged")
    }

    /// The read index as of now, asked for until a quorum confirms one.
    pub async fn read_index(&self, at: NodeId) -> u64 {
        let attempts = async {
            loop {
                if let Ok(index) = self.handle(at).read_index().await {
                    return index;
                }
            }
        };
        tokio::time::timeout(PATIENCE, attempts)
            .await
            .expect("confirmed")
    }

    /// The commands that a node applied, by index.
    pub async fn applied(&self, id: NodeId) -> BTreeMap<u64, Command> {
        let all: Vec<HistoryEntry> = self.handle(id).history(0, usize::MAX).await.unwrap();
        all.into_iter()
            .map(|entry| (entry.index, entry.command))
            .collect()
    }

    /// Waits until a node has applied all of `acknowledged` where they were
    /// acknowledged.
    pub async fn has_all(&self, id: NodeId, acknowledged: &[(u64, Command)]) {
        eventually(
            &format!("node {id} has every acknowledged command"),
            || async {
                let applied = self.applied(id).await;
                acknowledged
                    .iter()
                    .all(|(index, command)| applied.get(index) == Some(command))
            },
        )
        .await;
    }
}

fn pairs(size: u64) -> impl Iterator<Item = (NodeId, NodeId)> {
    (1..=size).flat_map(move |from| {
        (1..=size)
            .filter(move |to| *to != from)
            .map(move |to| (from, to))
    })
}
