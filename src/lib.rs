//! Primacy decides which database is primary.
//!
//! The map, in reading order: what is decided (`domain`), when (`control`),
//! how the quorum agrees (`raft`), who touches PostgreSQL (`agent`, `fuse`,
//! `postgres`), what the world sees (`grpc`, `dns`, `ctl`).

pub mod agent;
pub mod clock;
pub mod control;
pub mod ctl;
pub mod dns;
pub mod domain;
pub mod fuse;
pub mod grpc;
pub mod leader;
pub mod ports;
pub mod postgres;
pub mod raft;
