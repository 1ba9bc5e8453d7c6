//! The data directory of a quorum node: whose it is, and that one process
//! uses it.
//!
//! ```text
//! LOCK  identity.json  log/  snapshots/  state/
//! ```
//!
//! Invariant: `identity.json` is written last, so a directory that has one
//! once had a log. If the log is gone, so is this node's memory of its vote,
//! and it must not take part under its old id.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::ports::NodeId;

const FORMAT: u32 = 1;

/// Whose directory it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub cluster_id: String,
    pub node_id: NodeId,
    /// Layout of the directory.
    pub format: u32,
}

impl Identity {
    #[must_use]
    pub fn new(cluster_id: &str, node_id: NodeId) -> Self {
        Self {
            cluster_id: cluster_id.to_owned(),
            node_id,
            format: FORMAT,
        }
    }
}

/// Why a data directory was refused.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("{dir} is in use by another process")]
    Locked { dir: PathBuf },
    #[error("{dir} belongs to cluster {found:?}, this node is configured for {configured:?}")]
    OtherCluster {
        dir: PathBuf,
        found: String,
        configured: String,
    },
    #[error("{dir} belongs to node {found}, this node is configured as {configured}")]
    OtherNode {
        dir: PathBuf,
        found: NodeId,
        configured: NodeId,
    },
    #[error("{dir} has format {found}, this release reads {FORMAT}")]
    OtherFormat { dir: PathBuf, found: u32 },
    #[error(
        "{dir} belonged to this node but its Raft log is gone, and with it what this node \
         promised: restore the disk; a node must not start empty under an id that has voted"
    )]
    LogMissing { dir: PathBuf },
    #[error(
        "{file} does not say whose directory this is; restore it or wipe the directory and use a new node id"
    )]
    Unreadable {
        file: PathBuf,
        source: serde_json::Error,
    },
    #[error("{doing} {path}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io {
        doing,
        path,
        source,
    }
}

/// A locked data directory; dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates or takes the directory, and refuses one that is in use or
    /// somebody else's.
    pub(crate) fn open(root: &Path, identity: &Identity) -> Result<Self, DataDirError> {
        create_durably(root).map_err(io_error("create", root))?;
        let lock = lock(root)?;
        let dir = Self {
            root: root.to_owned(),
            _lock: lock,
        };
        let known = dir.check(identity)?;
        if known && !has_files(&dir.log()) {
            return Err(DataDirError::LogMissing { dir: dir.root });
        }
        for part in [dir.log(), dir.snapshots()] {
            create_durably(&part).map_err(io_error("create", &part))?;
        }
        Ok(dir)
    }

    /// Writes down whose directory this is; the log must be open by now.
    pub(crate) fn claim(&self, identity: &Identity) -> Result<(), DataDirError> {
        let file = self.identity();
        let json =
            serde_json::to_vec_pretty(identity).map_err(|source| DataDirError::Unreadable {
                file: file.clone(),
                source,
            })?;
        replace_durably(&file, &[&json]).map_err(io_error("write", &file))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// What can be rebuilt from the other two.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    fn identity(&self) -> PathBuf {
        self.root.join("identity.json")
    }

    /// Whether the directory was this node's before.
    fn check(&self, configured: &Identity) -> Result<bool, DataDirError> {
        let (file, dir) = (self.identity(), self.root.clone());
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io_error("read", &file)(error)),
        };
        let found: Identity = serde_json::from_slice(&text)
            .map_err(|source| DataDirError::Unreadable { file, source })?;
        if found.format != configured.format {
            return Err(DataDirError::OtherFormat {
                dir,
                found: found.format,
            });
        }
        if found.cluster_id != configured.cluster_id {
            let configured = configured.cluster_id.clone();
            return Err(DataDirError::OtherCluster {
                dir,
                found: found.cluster_id,
                configured,
            });
        }
        if found.node_id != configured.node_id {
            let configured = configured.node_id;
            return Err(DataDirError::OtherNode {
                dir,
                found: found.node_id,
                configured,
            });
        }
        Ok(true)
    }
}

fn lock(root: &Path) -> Result<File, DataDirError> {
    let path = root.join("LOCK");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io_error("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::Locked {
            dir: root.to_owned(),
        }),
        Err(error) => Err(io_error("lock", &path)(error.into())),
    }
}

fn has_files(dir: &Path) -> bool {
    let named = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".wal");
    fs::read_dir(dir).is_ok_and(|mut found| {
        found.any(|entry| entry.is_ok_and(|entry| named(&entry.file_name())))
    })
}

/// Creates `dir` and what is missing above it, each durable in its parent.
pub(crate) fn create_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_durably(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(dir)?;
    sync_parent(dir)
}

/// Replaces `path` with `parts` such that a crash leaves the old or the new
/// file, never a mixture, and the new one for certain once this returned.
pub(crate) fn replace_durably(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_parent(path)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(root: &Path) -> Identity {
        let identity = Identity::new("prod", 1);
        let dir = DataDir::open(root, &identity).unwrap();
        fs::write(dir.log().join("r-0.wal"), b"x").unwrap();
        dir.claim(&identity).unwrap();
        identity
    }

    #[test]
    fn its_own_directory_is_taken_again() {
        let root = tempfile::tempdir().unwrap();
        let identity = claimed(root.path());
        assert!(DataDir::open(root.path(), &identity).is_ok());
    }

    #[test]
    fn another_clusters_directory_is_refused_with_both_names() {
        let root = tempfile::tempdir().unwrap();
        claimed(root.path());
        let error = DataDir::open(root.path(), &Identity::new("test", 1))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("\"prod\"") && error.contains("\"test\""),
            "{error}"
        );
    }

    #[test]
    fn another_nodes_directory_is_refused_with_both_ids() {
        let root = tempfile::tempdir().unwrap();
        claimed(root.path());
        let error = DataDir::open(root.path(), &Identity::new("prod", 2))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("node 1") && error.contains("as 2"),
            "{error}"
        );
    }

    #[test]
    fn a_directory_in_use_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let identity = Identity::new("prod", 1);
        let _held = DataDir::open(root.path(), &identity).unwrap();
        let refused = DataDir::open(root.path(), &identity);
        assert!(matches!(refused, Err(DataDirError::Locked { .. })));
    }

    #[test]
    fn a_directory_that_lost_its_log_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let identity = claimed(root.path());
        fs::remove_dir_all(root.path().join("log")).unwrap();
        let refused = DataDir::open(root.path(), &identity);
        assert!(matches!(refused, Err(DataDirError::LogMissing { .. })));
    }

    #[test]
    fn an_unreadable_identity_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let identity = claimed(root.path());
        fs::write(root.path().join("identity.json"), b"{").unwrap();
        let refused = DataDir::open(root.path(), &identity);
        assert!(matches!(refused, Err(DataDirError::Unreadable { .. })));
    }
}
