//! Primacy decides which database is primary.
//!
//! The map, in reading order: what is decided (`domain`), when (`control`),
//! how the quorum agrees (`raft`), who touches PostgreSQL (`agent`, `fuse`,
//! `postgres`), what the world sees (`grpc`, `dns`, `ctl`).

pub mod agent;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod ctl;
pub mod demo;
pub mod dns;
pub mod domain;
pub mod fuse;
pub mod grpc;
pub mod leader;
pub mod ports;
pub mod postgres;
pub mod raft;
pub mod server;
pub mod shutdown;
pub mod telemetry;
