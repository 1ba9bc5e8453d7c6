//! One PostgreSQL as its agent was configured to run it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{
    error::{Error, Result},
    secret::Secret,
};
use crate::domain::Incarnation;

/// Longest path of a unix socket (`sun_path`, less its final zero).
const LONGEST_SOCKET: usize = 107;

#[derive(Debug, Clone)]
pub struct Instance {
    /// Where `postgres`, `initdb`, `pg_rewind` and the others are.
    pub bin_dir: PathBuf,
    /// PGDATA. Its parent must be writable: a re-cloned directory is swapped in.
    pub data: PathBuf,
    /// The agent's own directory (0700); nothing of it is ever copied
    /// between members.
    pub state: PathBuf,
    /// For the agent's sessions (0700).
    pub socket_dir: PathBuf,
    pub address: IpAddr,
    pub port: u16,
    pub incarnation: Incarnation,
    pub secret: Secret,
    /// Lines for pg_hba.conf that let clients in, once they may come.
    pub client_hba: Vec<String>,
    /// Settings that the operator added; those in `settings::ENFORCED` are ours.
    pub settings: BTreeMap<String, String>,
    /// Used by a standby that follows somebody, never by a fenced one.
    pub restore_command: Option<String>,
}

impl Instance {
    /// Role, slot and `application_name` of this incarnation.
    #[must_use]
    pub fn identifier(&self) -> String {
        self.incarnation.postgres_identifier()
    }

    #[must_use]
    pub fn pg_wal(&self) -> PathBuf {
        self.data.join("pg_wal")
    }

    /// What PostgreSQL and the programs around it print.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.state.join("log/postgresql.log")
    }

    pub(super) fn binary(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// Makes the directory of the agent's socket, for the agent's user only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_socket_dir(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.socket_dir);
        made.map_err(super::files::at("create", &self.socket_dir))
    }

    /// Whether PGDATA holds a cluster. A directory that cannot be looked into,
    /// or whose disk is not there, is not one that is absent: an absent one is
    /// made anew.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn holds_cluster(&self) -> Result<bool> {
        if let Some(parent) = self.data.parent() {
            std::fs::metadata(parent).map_err(super::files::at("find", parent))?;
        }
        let version = self.data.join("PG_VERSION");
        version
            .try_exists()
            .map_err(super::files::at("look for", &version))
    }

    /// Checks what would otherwise fail late and obscurely.
    ///
    /// # Errors
    /// Names the path at fault.
    pub fn validate(&self) -> Result<()> {
        let refuse = |file: &Path, reason: &str| {
            Err(Error::Configuration {
                file: file.to_owned(),
                reason: reason.to_owned(),
            })
        };
        let socket = self.socket_dir.join(format!(".s.PGSQL.{}.lock", self.port));
        if socket.as_os_str().len() > LONGEST_SOCKET {
            return refuse(&socket, "longer than the 107 bytes of a unix socket's path");
        }
        for path in [&self.data, &self.state, &self.socket_dir] {
            let text = path.to_str();
            if !path.is_absolute() || text.is_none_or(|text| text.contains(['\n', '\r'])) {
                return refuse(path, "must be an absolute path, in UTF-8, of one line");
            }
        }
        if self.state.starts_with(&self.data) {
            return refuse(
                &self.state,
                "lies inside PGDATA, which is copied between members",
            );
        }
        Ok(())
    }
}
