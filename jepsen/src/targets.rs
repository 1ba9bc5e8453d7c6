//! What is tortured, as a client sees it: addresses and names, nothing else.

use std::net::SocketAddr;

/// Where everything is asked.
#[derive(Debug, Clone)]
pub struct Targets {
    pub group: String,
    /// Without a dot at its end.
    pub zone: String,
    pub nodes: Vec<Node>,
    pub members: Vec<Member>,
    /// Of the roles `app` and `probe`.
    pub password: String,
}

/// A quorum node.
#[derive(Debug, Clone)]
pub struct Node {
    pub id: u64,
    pub grpc: SocketAddr,
    pub dns: SocketAddr,
}

/// A member of the group.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub postgres: SocketAddr,
}
