//! How a node is started.

use std::{path::PathBuf, sync::Arc, time::Duration};

use openraft::{Config, ConfigError, SnapshotPolicy};

use super::{peers::Dial, types::Node};
use crate::ports::NodeId;

/// Timing for the distances between the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// One site or a few milliseconds apart: a new leader in well under a
    /// second after the old one is lost.
    Lan,
    /// Regions up to about 100 ms apart: a new leader in about three seconds.
    Wan,
}

/// The intervals behind a [`Profile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    pub heartbeat: Duration,
    /// A follower asks for votes after `election_max` of silence plus a
    /// random time between the two; with half of that it is no false alarm.
    pub election_min: Duration,
    pub election_max: Duration,
}

impl Profile {
    #[must_use]
    pub fn timing(self) -> Timing {
        let (heartbeat, election_min, election_max) = match self {
            Self::Lan => (200, 250, 400),
            Self::Wan => (250, 1_000, 1_500),
        };
        Timing {
            heartbeat: Duration::from_millis(heartbeat),
            election_min: Duration::from_millis(election_min),
            election_max: Duration::from_millis(election_max),
        }
    }
}

/// Everything that [`start`](super::start) needs.
#[derive(Debug, Clone)]
pub struct Options {
    pub cluster_id: String,
    pub node_id: NodeId,
    pub data_dir: PathBuf,
    /// The first members of the cluster, the same list on each of them. A
    /// node that is not on it waits until it is added.
    pub initial_nodes: Vec<Node>,
    pub profile: Profile,
    /// How long a proposal may take, elections included.
    pub propose_timeout: Duration,
    /// How long a read index may take, elections included.
    pub read_timeout: Duration,
    /// How long handing over leadership may take, at shutdown as well.
    pub transfer_timeout: Duration,
    /// Entries between snapshots.
    pub snapshot_every: u64,
    /// Entries kept in the log behind a snapshot, for followers that lag.
    pub kept_behind: u64,
    pub dial: Dial,
}

impl Options {
    /// Defaults for everything that has one.
    #[must_use]
    pub fn new(cluster_id: &str, node_id: NodeId, data_dir: PathBuf, profile: Profile) -> Self {
        let election = profile.timing().election_max;
        Self {
            cluster_id: cluster_id.to_owned(),
            node_id,
            data_dir,
            initial_nodes: Vec::new(),
            profile,
            propose_timeout: election * 10,
            read_timeout: election * 5,
            transfer_timeout: election * 3,
            snapshot_every: 10_000,
            kept_behind: 1_000,
            dial: Dial::plain(),
        }
    }

    pub(crate) fn config(&self) -> Result<Arc<Config>, ConfigError> {
        let timing = self.profile.timing();
        let config = Config {
            cluster_name: self.cluster_id.clone(),
            heartbeat_interval: millis(timing.heartbeat),
            election_timeout_min: millis(timing.election_min),
            election_timeout_max: millis(timing.election_max),
            install_snapshot_timeout: 60_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.kept_behind,
            // More than a snapshot behind, the log may be gone already.
            replication_lag_threshold: self.snapshot_every * 2,
            purge_batch_size: self.kept_behind.clamp(1, 256),
            // A node that was cut off must not depose a leader that works.
            enable_pre_vote: Some(true),
            // A restarted leader asks for votes like everybody else.
            enable_leader_restore: Some(false),
            // A leader without quorum falls silent, so that voters who still
            // hear it may elect another.
            quorum_loss_probe_interval: Some(2 * millis(timing.election_max)),
            backoff: "50ms 100ms 200ms ...500ms".to_owned(),
            ..Config::default()
        };
        config.validate().map(Arc::new)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_profiles_are_accepted_by_consensus() {
        for profile in [Profile::Lan, Profile::Wan] {
            let options = Options::new("c", 1, PathBuf::new(), profile);
            assert!(options.config().is_ok(), "{profile:?}");
        }
    }
}
