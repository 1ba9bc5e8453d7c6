//! One region of a fleet: where its files are and what it listens on.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::Options;

/// What is started directly; the agent starts fuse and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    Server,
    Agent,
}

impl Service {
    pub const ALL: [Self; 2] = [Self::Server, Self::Agent];

    /// The subcommand.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
        }
    }
}

/// A node and a member, side by side.
#[derive(Debug, Clone)]
pub struct Place {
    pub index: usize,
    /// Of the node.
    pub id: u64,
    /// Also the member's name.
    pub region: String,
    pub dir: PathBuf,
    /// Of the network, where it is not this process's own.
    pub(super) namespace: Option<PathBuf>,
    ip: Ipv4Addr,
}

/// One place for each region, at consecutive addresses.
pub(super) fn places(options: &Options, dir: &Path) -> Vec<Place> {
    let base = u32::from(options.base);
    let numbered = (0..).zip(1_u32..).zip(&options.regions);
    let place = |((index, id), region): ((usize, u32), &String)| Place {
        index,
        id: id.into(),
        region: region.clone(),
        dir: dir.join(region),
        namespace: options.namespaces.get(index).cloned(),
        ip: Ipv4Addr::from(base + id),
    };
    numbered.map(place).collect()
}

impl Place {
    fn at(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    /// Ports that differ between places are counted from the first one's.
    fn numbered(&self, first: u16) -> SocketAddr {
        let offset = u16::try_from(self.index).unwrap_or(0);
        self.at(first + offset)
    }

    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.at(7400)
    }

    #[must_use]
    pub fn raft(&self) -> SocketAddr {
        self.at(7401)
    }

    #[must_use]
    pub fn dns(&self) -> SocketAddr {
        self.numbered(5300)
    }

    #[must_use]
    pub fn postgres(&self) -> SocketAddr {
        self.numbered(5501)
    }

    pub(super) fn listeners(&self) -> [SocketAddr; 4] {
        [self.grpc(), self.raft(), self.dns(), self.postgres()]
    }

    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.state().join("socket")
    }

    #[must_use]
    pub fn config(&self, service: Service) -> PathBuf {
        self.dir.join(format!("{}.toml", service.name()))
    }

    #[must_use]
    pub fn log(&self, service: Service) -> PathBuf {
        self.dir.join(format!("{}.log", service.name()))
    }
}
