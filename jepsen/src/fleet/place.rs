//! One region of the fleet: its addresses and its files.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// Regions, in order; members are named after theirs.
pub const REGIONS: [&str; 5] = ["paris", "tokyo", "lima", "oslo", "cairo"];
/// The application's host.
pub const CLIENTS: &str = "clients";
/// Beyond every nemesis's reach.
pub const OBSERVER: &str = "observer";

/// What is started directly; the agent starts fuse and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    Server,
    Agent,
}

impl Service {
    /// The subcommand.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
        }
    }
}

/// A quorum node and, in the first three, a member beside it.
#[derive(Debug, Clone)]
pub struct Place {
    pub index: usize,
    /// Of the node.
    pub id: u64,
    pub region: &'static str,
    pub ip: Ipv4Addr,
    /// Where its disk is mounted.
    pub dir: PathBuf,
    pub has_member: bool,
}

impl Place {
    #[must_use]
    pub fn services(&self) -> &'static [Service] {
        match self.has_member {
            true => &[Service::Server, Service::Agent],
            false => &[Service::Server],
        }
    }

    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        (self.ip, 7400).into()
    }

    #[must_use]
    pub fn raft(&self) -> SocketAddr {
        (self.ip, 7401).into()
    }

    #[must_use]
    pub fn dns(&self) -> SocketAddr {
        (self.ip, 5300).into()
    }

    #[must_use]
    pub fn postgres(&self) -> SocketAddr {
        (self.ip, 5432).into()
    }

    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("state/socket")
    }

    #[must_use]
    pub fn postgres_log(&self) -> PathBuf {
        self.dir.join("state/log/postgresql.log")
    }

    /// Configuration, beside the disks: a power cut takes no file of it.
    #[must_use]
    pub fn config(&self, work: &Path, service: Service) -> PathBuf {
        work.join(format!("{}-{}.toml", self.region, service.name()))
    }

    #[must_use]
    pub fn log(&self, work: &Path, service: Service) -> PathBuf {
        work.join("logs")
            .join(format!("{}-{}.log", self.region, service.name()))
    }
}
