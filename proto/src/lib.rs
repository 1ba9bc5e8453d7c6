//! Generated types and services of `primacy.v1`.
//!
//! Clients, tests and the server share these; nothing here has behaviour.

/// Everything in package `primacy.v1`.
pub mod v1 {
    tonic::include_proto!("primacy.v1");

    /// The compiled descriptors, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
