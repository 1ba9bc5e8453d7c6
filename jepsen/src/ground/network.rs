//! Hosts that can be cut off from each other, slowed down and made lossy, for
//! each ordered pair.
//!
//! ```text
//! paris   ─ TUN ─┐
//! tokyo   ─ TUN ─┼─ hub, a thread of this process
//! clients ─ TUN ─┘
//! ```
//!
//! A packet that is lost is lost in the hub: nobody gets a reset, an error or a
//! carrier that went down, as with a region that is gone. The namespaces have
//! no other way out, so that nothing gets around the hub.

use std::{
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{
    GroundError, doing,
    hub::{self, Hub, MTU},
    ioctl::open_tun,
    link::{Counters, Link, LinkRule},
    namespace::{self, Namespace},
    tool,
};
use crate::seed::Seed;

/// Hosts count from 1 within it. The same in every network: each is alone.
const BASE: [u8; 3] = [10, 77, 0];
const DEVICE: &str = "tun0";
/// Packets that wait in a device while the hub is not scheduled.
const WAITING: &str = "4000";

/// Tells networks of one process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The hosts, for as long as this lives.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<Host>,
    numbers: BTreeMap<String, usize>,
    links: Arc<Links>,
    // Dropped last: the hub ends after nobody can ask for anything.
    _hub: Hub,
}

#[derive(Debug)]
struct Host {
    name: String,
    namespace: Namespace,
}

/// By sending and receiving host.
#[derive(Debug)]
pub(super) struct Links {
    hosts: usize,
    links: Vec<Link>,
}

impl Links {
    fn new(hosts: usize) -> Self {
        let links = (0..hosts * hosts).map(|_| Link::default()).collect();
        Self { hosts, links }
    }

    pub(super) fn get(&self, from: usize, to: usize) -> &Link {
        &self.links[from * self.hosts + to]
    }
}

/// The host at the end of this address, counted from 0.
pub(super) fn host_at(address: [u8; 4], hosts: usize) -> Option<usize> {
    let [a, b, c, number] = address;
    let index = usize::from(number).checked_sub(1)?;
    ([a, b, c] == BASE && index < hosts).then_some(index)
}

impl Network {
    /// One namespace for each name, joined by links that lose nothing.
    pub fn new<N: AsRef<str>>(seed: Seed, names: &[N]) -> Result<Self, GroundError> {
        namespace::remove_orphans();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{}{}-{number}-", namespace::PREFIX, std::process::id());
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for (index, name) in (1..=u8::MAX - 1).zip(names) {
            let name = name.as_ref().to_owned();
            let [a, b, c] = BASE;
            let address = Ipv4Addr::new(a, b, c, index);
            let namespace = Namespace::create(format!("{prefix}{name}"), address)?;
            ports.push(plug_in(&namespace)?);
            hosts.push(Host { name, namespace });
        }
        let links = Arc::new(Links::new(hosts.len()));
        let hub = hub::start(ports, Arc::clone(&links), seed.stream("hub"))?;
        let numbered = hosts.iter().enumerate();
        Ok(Self {
            numbers: numbered
                .map(|(index, host)| (host.name.clone(), index))
                .collect(),
            hosts,
            links,
            _hub: hub,
        })
    }

    fn number(&self, name: &str) -> Result<usize, GroundError> {
        let number = self.numbers.get(name).copied();
        number.ok_or_else(|| GroundError::NoHost(name.to_owned()))
    }

    pub fn namespace(&self, host: &str) -> Result<&Namespace, GroundError> {
        Ok(&self.hosts[self.number(host)?].namespace)
    }

    pub fn address(&self, host: &str) -> Result<Ipv4Addr, GroundError> {
        Ok(self.namespace(host)?.address())
    }

    /// Does something in a thread on this host.
    pub fn spawn_in<T: Send>(
        &self,
        host: &str,
        act: impl FnOnce() -> T + Send,
    ) -> Result<T, GroundError> {
        self.namespace(host)?.run(act)
    }

    /// A runtime whose threads are all on this host. Spawn on it: `block_on`
    /// runs its future on the calling thread.
    pub fn runtime(
        &self,
        host: &str,
        workers: usize,
    ) -> Result<tokio::runtime::Runtime, GroundError> {
        self.namespace(host)?.runtime(workers)
    }

    /// What carries packets from one host to another.
    pub fn link(&self, from: &str, to: &str) -> Result<&Link, GroundError> {
        Ok(self.links.get(self.number(from)?, self.number(to)?))
    }

    /// Loses everything in this direction; see [`Link::cut`].
    pub fn cut(&self, from: &str, to: &str) -> Result<(), GroundError> {
        self.link(from, to).map(Link::cut)
    }

    /// Takes one cut back; see [`Link::heal`].
    pub fn heal(&self, from: &str, to: &str) -> Result<(), GroundError> {
        self.link(from, to).map(Link::heal)
    }

    /// Sets the rule of one direction.
    pub fn set(&self, from: &str, to: &str, rule: LinkRule) -> Result<(), GroundError> {
        self.link(from, to).map(|link| link.set(rule))
    }

    /// No cut and no rule is left anywhere.
    pub fn heal_all(&self) {
        self.links.links.iter().for_each(Link::restore);
    }

    pub fn counters(&self, from: &str, to: &str) -> Result<Counters, GroundError> {
        self.link(from, to).map(Link::counters)
    }
}

/// Gives a namespace its one way out; the other end is the hub's.
fn plug_in(namespace: &Namespace) -> Result<OwnedFd, GroundError> {
    let device: io::Result<OwnedFd> = namespace.run(|| open_tun(DEVICE))?;
    let device = device.map_err(doing("open /dev/net/tun"))?;
    let (name, address) = (namespace.name(), format!("{}/24", namespace.address()));
    let mtu = MTU.to_string();
    tool("ip", &["-n", name, "link", "set", "lo", "up"])?;
    tool(
        "ip",
        &["-n", name, "address", "add", &address, "dev", DEVICE],
    )?;
    let up = [
        "-n",
        name,
        "link",
        "set",
        DEVICE,
        "mtu",
        &mtu,
        "txqueuelen",
        WAITING,
        "up",
    ];
    tool("ip", &up)?;
    Ok(device)
}

#[cfg(test)]
mod tests;
