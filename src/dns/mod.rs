//! The zone that says who is primary, served by every node.
//!
//! ```text
//! published state ┐
//! agents' reports ┴► zone ──┐
//! read-index rounds ► freshness ┴► answer ► UDP, TCP
//! ```
//!
//! DNS is a hint, never the fence. It still never misleads for longer than
//! stated: a node whose proof of freshness is older than `max_staleness`
//! answers SERVFAIL, and resolvers go to the next name server.
//!
//! Not here: transfers, DNSSEC, answers from memory once the quorum is lost.

pub mod answer;
mod freshness;
mod keeper;
pub mod lookup;
mod nodes;
mod options;
mod published;
mod replicas;
mod server;
mod zone;

#[cfg(test)]
pub(crate) mod fixtures;

pub use freshness::{Freshness, Verdict};
pub use hickory_proto::rr::Name;
pub use nodes::Node;
pub use options::{DnsError, NoSuchMode, Options, WithoutQuorum};
pub use replicas::ReplicaFacts;
pub use server::{Handle, Server};
pub use zone::{Lookup, Zone, ZoneConfig};
