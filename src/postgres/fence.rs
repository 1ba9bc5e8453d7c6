//! The WAL fence: a standby that receives nothing any more, and its position.
//!
//! The order is the argument. First the credential goes, so that nothing can
//! reconnect; then the configuration, checked in a new session; then the
//! receivers; and only then is the position read, which nothing moves now.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_postgres::Client;
use tracing::warn;

use super::{
    error::{ADMINISTRATION, Error, Result, sql, within},
    passfile,
    probe::lsn,
    receiver,
    server::LocalPostgres,
    settings,
    wal::{EndOfWal, timeline_at},
};
use crate::{
    domain::{Epoch, Position},
    fuse::StopMode,
};

/// What a fence may take before the standby is restarted instead.
const CLEAN: Duration = Duration::from_millis(500);

const POSITION: &str = "
select pg_is_in_recovery() as standby,
       pg_last_wal_receive_lsn()::text as receive,
       pg_last_wal_replay_lsn()::text as replay,
       (select bytes_per_wal_segment from pg_control_init()) as segment_size";

/// A standby that acknowledges nothing of the fenced epochs any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fenced {
    pub end: EndOfWal,
    pub method: FenceMethod,
    pub took: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceMethod {
    /// It kept running and answers reads.
    Running,
    /// It was restarted without an upstream.
    Restarted,
    /// It did not run, or could not be started again.
    Stopped,
}

impl LocalPostgres {
    /// Stops this standby from receiving WAL of `epoch` or anything before.
    /// The agent has persisted its promise already.
    ///
    /// # Errors
    /// Nothing may be counted then. [`Error::NotStandby`] for a primary,
    /// [`Error::Superseded`] when it follows a later epoch.
    pub async fn fence(&self, epoch: Epoch, budget: Duration) -> Result<Fenced> {
        within("fence", budget, self.fence_now(epoch)).await
    }

    async fn fence_now(&self, epoch: Epoch) -> Result<Fenced> {
        let begun = Instant::now();
        let fenced = |end, method| Fenced {
            end,
            method,
            took: begun.elapsed(),
        };
        self.cut_off(epoch)?;
        let Some(postmaster) = self.fuse.status().await?.pid else {
            return Ok(fenced(self.fence_stopped().await?, FenceMethod::Stopped));
        };
        match timeout(CLEAN, self.fence_running(postmaster)).await {
            Ok(Ok(end)) => return Ok(fenced(end, FenceMethod::Running)),
            Ok(Err(error @ Error::NotStandby(_))) => return Err(error),
            Ok(Err(error)) => warn!(%epoch, %error, "fence not clean, restarting the standby"),
            Err(_) => warn!(%epoch, "fence took too long, restarting the standby"),
        }
        let (end, method) = self.fence_by_restart().await?;
        Ok(fenced(end, method))
    }

    /// Makes reconnecting impossible, and the configuration say so.
    fn cut_off(&self, epoch: Epoch) -> Result<()> {
        if let Some(current) = passfile::latest(&self.instance.state)?.filter(|it| *it > epoch) {
            return Err(Error::Superseded {
                asked: epoch,
                current,
            });
        }
        passfile::revoke(&self.instance.state, epoch)?;
        settings::write_upstream(&self.instance, None)
    }

    async fn fence_running(&self, postmaster: u32) -> Result<EndOfWal> {
        // A receiver ends while the session that must show it is being opened.
        self.fuse.reload().await?;
        receiver::signal_all(postmaster);
        let session = self.await_reload(&no_upstream()).await?;
        receiver::terminate_all(postmaster, &session).await?;
        self.running_end_of_wal(&session).await
    }

    /// Ends the whole standby, by force if it must be, and starts it cut off.
    async fn fence_by_restart(&self) -> Result<(EndOfWal, FenceMethod)> {
        let stop = Duration::from_secs(1);
        if self.stop(StopMode::Fast, stop).await.is_err() {
            self.fuse.kill(Duration::from_secs(10)).await?;
        }
        if let Err(error) = self.start_standby(None, Duration::from_secs(10)).await {
            warn!(%error, "the fenced standby does not start");
            self.fuse.kill(Duration::from_secs(10)).await?;
            return Ok((self.fence_stopped().await?, FenceMethod::Stopped));
        }
        let pid = self
            .fuse
            .status()
            .await?
            .pid
            .ok_or(Error::ReceiverStays(CLEAN))?;
        Ok((self.fence_running(pid).await?, FenceMethod::Restarted))
    }

    async fn fence_stopped(&self) -> Result<EndOfWal> {
        if !super::server::is_standby(&self.instance.data) {
            return Err(Error::NotStandby(self.instance.data.clone()));
        }
        self.instance.stopped_end_of_wal().await
    }

    /// The end of this member's own WAL, for the fork rule: whoever is ahead
    /// of the fork must not follow the new primary.
    ///
    /// # Errors
    /// [`Error::ReceiverStays`] while a walreceiver may move it.
    pub async fn own_end_of_wal(&self) -> Result<EndOfWal> {
        within(
            "search for the end of WAL",
            ADMINISTRATION,
            self.own_end_of_wal_now(),
        )
        .await
    }

    async fn own_end_of_wal_now(&self) -> Result<EndOfWal> {
        if !self.is_running().await? {
            return self.instance.stopped_end_of_wal().await;
        }
        let session = self.session().await?;
        let query = "select pg_is_in_recovery() and exists \
            (select from pg_stat_activity where backend_type = 'walreceiver')";
        let row = session
            .query_one(query, &[])
            .await
            .map_err(sql("look for walreceivers"))?;
        if row.get(0) {
            return Err(Error::ReceiverStays(Duration::ZERO));
        }
        self.running_end_of_wal(&session).await
    }

    /// What a running standby holds, its receiver being gone.
    async fn running_end_of_wal(&self, session: &Client) -> Result<EndOfWal> {
        let row = session
            .query_one(POSITION, &[])
            .await
            .map_err(sql("read the position"))?;
        if !row.get::<_, bool>("standby") {
            return Err(Error::NotStandby(self.instance.data.clone()));
        }
        let (receive, replay) = (lsn(&row, "receive")?, lsn(&row, "replay")?);
        let segment_size = u64::from(row.get::<_, i32>("segment_size").unsigned_abs());
        let replayed = replay.unwrap_or_default();
        let end = receive.unwrap_or_default().max(replayed);
        let pg_wal = self.instance.pg_wal();
        let mut lineage = timeline_at(&pg_wal, end, segment_size)?;
        let mut position = Position {
            timeline: lineage.timeline,
            lsn: end,
        };
        // Nothing received since the start, or only what was there before:
        // pg_wal may hold more, acknowledged in its former life.
        if receive.is_none_or(|receive| receive < replayed) {
            position = self.instance.end_of_pg_wal(position, segment_size).await?;
            lineage = super::lineage::read(&pg_wal, position.timeline)?;
        }
        Ok(EndOfWal {
            position,
            lineage,
            receive,
            replay,
        })
    }
}

/// What a cut-off standby shows.
pub(super) fn no_upstream() -> [(&'static str, String); 2] {
    ["primary_conninfo", "restore_command"].map(|name| (name, String::new()))
}
