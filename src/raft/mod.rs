//! How the quorum agrees.
//!
//! ```text
//! propose ─► leader ─► log (fsync) ─► quorum ─► machine ─► published state
//!               └────► followers ──────┘
//! ```
//!
//! [`start`] opens a data directory and joins the cluster; the [`Handle`] it
//! returns is all that the rest of the program knows. The consensus itself is
//! openraft's; what is here is its storage, its network, and the rules under
//! which it may be asked.
//!
//! Invariants:
//! - what a node promised (a vote, an entry) is on its disk before it is said;
//! - reads are confirmed by a quorum, never by a clock;
//! - everything can be rebuilt from the newest snapshot file and the log.

mod data_dir;
mod fail_stop;
mod leadership;
mod log;
mod machine;
mod members;
mod network;
mod options;
mod peers;
mod port;
mod propose;
mod read_index;
mod service;
mod sled_store;
mod snapshot;
mod start;
mod status;
#[cfg(test)]
mod storage_tests;
mod transfer;
mod types;
mod wal;

use std::{io, sync::Arc, time::Duration};

use primacy_proto::v1::raft_server::RaftServer;
use tokio::sync::watch;

pub use data_dir::{DataDirError, Identity};
pub use log::LogError;
pub use machine::RecoverError;
pub use members::MembersError;
pub use options::{Options, Profile, Timing};
pub use peers::Dial;
pub use propose::ProposeError;
pub use read_index::ReadIndexError;
pub use service::Service;
pub use sled_store::{HISTORY_KEPT, HistoryEntry};
pub use start::{StartError, start};
pub use status::{Follower, Status};
pub use transfer::TransferError;
pub use types::Node;

pub use crate::ports::{Leadership, NodeId};

use crate::domain::State;

/// Only a mutation sets this, to see that the tests need a quorum's word.
const MUTANT: bool = cfg!(primacy_mutant = "read_index");

/// A running quorum node. Cheap to clone; all clones are the same node.
#[derive(Clone)]
pub struct Handle(Arc<start::Running>);

impl Handle {
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.0.peers.me()
    }

    /// The applied state, replaced once per applied batch.
    #[must_use]
    pub fn published(&self) -> watch::Receiver<Arc<State>> {
        self.0.published.state.clone()
    }

    /// Who leads, as this node sees it.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.clone()
    }

    /// The Raft service of this node, to be served at its Raft address.
    #[must_use]
    pub fn service(&self) -> RaftServer<Service> {
        Service::server(self.clone())
    }

    /// An index such that the published state contains every command that was
    /// answered before this call; it is published when this returns. Works on
    /// every node.
    ///
    /// # Errors
    /// When no leader was confirmed by a quorum, or this node did not catch
    /// up, within the read timeout.
    pub async fn read_index(&self) -> Result<u64, ReadIndexError> {
        if MUTANT {
            return Ok(self.0.published.state.borrow().applied);
        }
        let after = self.0.options.read_timeout;
        let mut reason = ReadIndexError::Timeout { after };
        let confirmed = async {
            let index = self.confirmed_index(&mut reason).await?;
            let mut applied = self.0.published.applied.clone();
            read_index::wait_applied(&mut applied, index)
                .await
                .map(|()| index)
        };
        match tokio::time::timeout(after, confirmed).await {
            Ok(result) => result,
            Err(_) => Err(reason),
        }
    }

    /// Asks until a leader confirms; `reason` says why none did so far.
    async fn confirmed_index(&self, reason: &mut ReadIndexError) -> Result<u64, ReadIndexError> {
        let mut leadership = self.leadership();
        loop {
            let is_me = leadership.borrow_and_update().is_me;
            let rounds = if is_me {
                &self.0.own_rounds
            } else {
                &self.0.leaders_rounds
            };
            match rounds.ask().await {
                Err(error @ (ReadIndexError::NotLeader { .. } | ReadIndexError::NoQuorum)) => {
                    *reason = error;
                }
                result => return result,
            }
            let _ = tokio::time::timeout(Duration::from_millis(50), leadership.changed()).await;
        }
    }

    /// A read index confirmed by this node as the leader, for another node.
    pub(crate) async fn confirm_read_index(&self) -> Result<u64, ReadIndexError> {
        self.0.own_rounds.ask().await
    }

    /// At most `limit` applied commands from log index `from` on, oldest
    /// first. The newest [`HISTORY_KEPT`] are kept, less what a lost or broken
    /// state store or an installed snapshot left out.
    ///
    /// # Errors
    /// When the state store cannot be read.
    pub async fn history(&self, from: u64, limit: usize) -> io::Result<Vec<HistoryEntry>> {
        let store = self.0.store.clone();
        let read = tokio::task::spawn_blocking(move || store.history(from, limit));
        read.await.map_err(io::Error::other)?
    }

    /// As [`Self::history`], on the caller's own thread.
    pub(crate) fn history_now(&self, from: u64, limit: usize) -> io::Result<Vec<HistoryEntry>> {
        self.0.store.history(from, limit)
    }

    pub(crate) fn consensus(&self) -> &types::Consensus {
        &self.0.raft
    }

    pub(crate) fn peers(&self) -> &peers::Peers {
        &self.0.peers
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }
}

/// A command and its outcome, for tests of what stores or carries them.
#[cfg(test)]
pub(crate) fn sample(n: u64) -> (crate::domain::Command, crate::domain::Outcome) {
    use crate::domain::{Change, Command, Outcome};
    // A name that is well-formed.
    #[allow(clippy::unwrap_used)]
    let group = "orders".parse().unwrap();
    (
        Command {
            at_ms: n,
            group,
            change: Change::Pause,
        },
        Outcome::Applied(Vec::new()),
    )
}
