//! What can go wrong with one PostgreSQL, in words that say what to check.

use std::{io, path::PathBuf, time::Duration};

use crate::{
    domain::{Epoch, Lsn, NotAnLsn, Timeline},
    fuse::FuseError,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} {path}; does this user own it, is the disk full?")]
    File {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("connect to PostgreSQL in {socket_dir}; does it run, does its log complain?")]
    Connect {
        socket_dir: PathBuf,
        source: tokio_postgres::Error,
    },
    #[error("{what}")]
    Sql {
        what: &'static str,
        source: tokio_postgres::Error,
    },
    #[error(transparent)]
    Fuse(#[from] FuseError),
    #[error("run {program}; is PostgreSQL's bin directory configured right?")]
    Execute { program: PathBuf, source: io::Error },
    #[error("{program} failed ({status}): {complaint}")]
    Tool {
        program: PathBuf,
        status: String,
        complaint: String,
    },
    #[error("{what} was not done within {budget:?}")]
    Late {
        what: &'static str,
        budget: Duration,
    },
    #[error("{file}: {reason}")]
    Configuration { file: PathBuf, reason: String },
    #[error("PostgreSQL ended while starting ({how}); its reason is at the end of {log}")]
    DiedStarting { how: String, log: PathBuf },
    #[error("{found:?} in {place} is not what PostgreSQL writes there")]
    Unreadable { place: String, found: String },
    #[error(transparent)]
    Lsn(#[from] NotAnLsn),
    #[error("{0} was promoted already: a primary is not fenced as a standby is, but stopped")]
    NotStandby(PathBuf),
    #[error("{0} is a standby")]
    NotPrimary(PathBuf),
    #[error("an instruction of epoch {asked} is late: this member follows epoch {current}")]
    Superseded { asked: Epoch, current: Epoch },
    #[error("promoted to timeline {found} where epoch {epoch} was granted; stop this member")]
    WrongTimeline { epoch: Epoch, found: Timeline },
    #[error(
        "timeline {found} exists in pg_wal, so that epoch {epoch} cannot make its own; \
         was this member promoted by hand?"
    )]
    TimelineTaken { epoch: Epoch, found: Timeline },
    #[error(
        "{setting} is {found:?} where {wanted:?} was written; is there an error in \
         postgresql.conf, or did ALTER SYSTEM set it?"
    )]
    NotInForce {
        setting: &'static str,
        found: String,
        wanted: String,
    },
    #[error("synchronous_standby_names was empty on this standby: restart it before a promotion")]
    SyncWasEmpty,
    #[error("a walreceiver was still there after {0:?}")]
    ReceiverStays(Duration),
    #[error("{0} is not empty; initdb is run for a new group only, and in an empty directory")]
    NotEmpty(PathBuf),
    #[error(
        "PostgreSQL {0} may not wait for its standbys just after a start: install 15.13, 16.9, \
         17.5 or later"
    )]
    TooOld(String),
    #[error("{path} holds a PostgreSQL {found}, the binaries are {binaries}")]
    Version {
        path: PathBuf,
        found: String,
        binaries: String,
    },
    #[error("system identifier {found} where {wanted} is on record: this is another database")]
    OtherSystem { found: u64, wanted: u64 },
    #[error(
        "pg_rewind cannot help: {0}; a base backup is needed, the directory at hand is kept aside"
    )]
    NeedsClone(String),
    #[error("{0} was left half rewound by a crash; rewind it again or take a base backup")]
    Wreck(PathBuf),
    #[error("the source has not written a checkpoint on timeline {0} yet; pg_rewind needs one")]
    SourceNotReady(Timeline),
    #[error("PostgreSQL at {position} lacks WAL up to {needed}")]
    Behind { position: Lsn, needed: Lsn },
    #[error("PostgreSQL must be stopped for this, and runs")]
    Running,
}

impl Error {
    /// Stable, for machines and for the history of incidents.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Connect { .. } | Self::Sql { .. } => "postgres_session",
            Self::Fuse(_) => "fuse",
            Self::Execute { .. } | Self::Tool { .. } => "tool_failed",
            Self::Late { .. } => "too_slow",
            Self::Configuration { .. } | Self::NotInForce { .. } | Self::SyncWasEmpty => {
                "configuration"
            }
            Self::DiedStarting { .. } => "died_starting",
            Self::Unreadable { .. } | Self::Lsn(_) => "unreadable",
            Self::NotStandby(_) | Self::NotPrimary(_) | Self::Running => "wrong_role",
            Self::Superseded { .. } => "superseded",
            Self::WrongTimeline { .. } | Self::TimelineTaken { .. } => "wrong_timeline",
            Self::ReceiverStays(_) => "fence_not_clean",
            Self::NotEmpty(_) => "directory_not_empty",
            Self::Version { .. } | Self::TooOld(_) => "wrong_version",
            Self::OtherSystem { .. } => "wrong_system_identifier",
            Self::NeedsClone(_) => "rewind_cannot_help",
            Self::Wreck(_) => "wreck",
            Self::SourceNotReady(_) => "source_not_ready",
            Self::Behind { .. } => "behind",
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, Error>;

/// For `map_err`: what was asked of PostgreSQL when it refused.
pub(super) fn sql(what: &'static str) -> impl Fn(tokio_postgres::Error) -> Error {
    move |source| Error::Sql { what, source }
}

/// What a statement of the agent's own may take, when no one waits for it but
/// the agent. More means that PostgreSQL hangs.
pub(super) const ADMINISTRATION: Duration = Duration::from_secs(10);

/// Ends an action that takes longer than its budget; what it began may stand.
pub(super) async fn within<T>(
    what: &'static str,
    budget: Duration,
    action: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(budget, action)
        .await
        .unwrap_or(Err(Error::Late { what, budget }))
}
