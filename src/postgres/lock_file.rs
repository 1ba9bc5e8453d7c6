//! PostgreSQL's locks on its data directory and on its socket.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{
    error::Result,
    files,
    server::{LocalPostgres, POLL},
};

const NAME: &str = "postmaster.pid";

/// What the parent of orphans may take to notice that one of them ended.
const REAPED: Duration = Duration::from_secs(10);

/// Whether PostgreSQL says that it takes sessions: asking by connecting
/// would fill its log with refusals (its eighth line).
pub(super) fn is_ready(data: &Path) -> Result<bool> {
    let content = files::read(&data.join(NAME))?.unwrap_or_default();
    Ok(content
        .lines()
        .nth(7)
        .is_some_and(|it| it.trim() == "ready"))
}

/// The process that a lock names, where it has ended and its parent has not
/// asked for its exit status.
fn zombie(lock: &Path) -> Result<Option<u32>> {
    let content = files::read(lock)?.unwrap_or_default();
    let pid = content.lines().next().and_then(|line| line.parse().ok());
    Ok(pid.filter(|pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().next());
        state == Some("Z")
    }))
}

fn first_zombie(locks: &[PathBuf]) -> Result<Option<u32>> {
    for lock in locks {
        if let Some(pid) = zombie(lock)? {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

impl LocalPostgres {
    /// Waits until nobody can take a killed postmaster for a living one.
    ///
    /// One whose fuse was killed with it belongs to the machine's first
    /// process, and some, in containers above all, look after such orphans
    /// only now and then. PostgreSQL's programs ask for no more than whether
    /// the number is taken ("lock file postmaster.pid already exists").
    pub(super) async fn await_reaped(&self) -> Result<()> {
        let socket = format!(".s.PGSQL.{}.lock", self.instance.port);
        let locks = [
            self.instance.data.join(NAME),
            self.instance.socket_dir.join(socket),
        ];
        let until = Instant::now() + REAPED;
        while let Some(pid) = first_zombie(&locks)? {
            if Instant::now() >= until {
                warn!(
                    pid,
                    "the killed postmaster is not reaped: does process 1 reap orphans?"
                );
                return Ok(());
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}
