//! Promotion: a standby becomes the primary of one epoch, on its timeline.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use tracing::warn;

use super::{
    error::{Error, Result, sql, within},
    fence::no_upstream,
    hba, lineage, placeholder,
    probe::{Role, parse_timeline},
    server::{LocalPostgres, POLL},
    settings,
    sync::{MUTANT, SyncNames},
};
use crate::domain::{Epoch, Incarnation, Lineage, Position, Timeline};

/// How long what nobody waits for lets the first commits of an epoch pass.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// What a reload may take before the setting that resists is named.
const RELOAD: Duration = Duration::from_secs(1);

/// Ends the sessions of clients that were let in while this was a standby.
async fn end_client_sessions(session: &Client) -> Result<()> {
    let query = "select pg_terminate_backend(pid) from pg_stat_activity \
        where backend_type = 'client backend' and application_name not like 'primacy\\_%'";
    let ended = session.simple_query(query).await;
    ended.map_err(sql("end the sessions of clients"))?;
    Ok(())
}

async fn promote_and_wait(session: &Client) -> Result<Timeline> {
    let asked = session.simple_query("select pg_promote(false)").await;
    asked.map_err(sql("pg_promote"))?;
    // The function for the name of the segment exists on a primary only.
    let query = "select case when not pg_is_in_recovery() \
        then substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end";
    let statement = session
        .prepare(query)
        .await
        .map_err(sql("await the promotion"))?;
    loop {
        let row = session.query_one(&statement, &[]).await;
        let row = row.map_err(sql("await the promotion"))?;
        if let Some(timeline) = row.get::<_, Option<&str>>(0) {
            return parse_timeline(timeline);
        }
        sleep(POLL).await;
    }
}

/// What a promotion made, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    pub lineage: Lineage,
    /// The last position of the timeline that was left. None for the first
    /// timeline, which `initdb` made.
    pub fork: Option<Position>,
    /// Zero when it was done before.
    pub took: Duration,
}

impl LocalPostgres {
    /// Promotes this standby under `epoch`, with `sync` in force before.
    /// Done already, it gives the same answer again.
    ///
    /// Clients are kept out from before the promotion until
    /// [`let_clients`](Self::let_clients): what they would see is not yet
    /// known to be on enough members. `siblings` find their slots in place.
    ///
    /// # Errors
    /// [`Error::WrongTimeline`]: it was promoted under another epoch, or by
    /// somebody else; stop it. Otherwise it is a standby still.
    pub async fn promote(
        &self,
        epoch: Epoch,
        sync: &SyncNames,
        siblings: &[Incarnation],
        budget: Duration,
    ) -> Result<Promotion> {
        let promoted = self.promote_now(epoch, sync, siblings);
        within("promotion", budget, promoted).await
    }

    async fn promote_now(
        &self,
        epoch: Epoch,
        sync: &SyncNames,
        siblings: &[Incarnation],
    ) -> Result<Promotion> {
        let begun = Instant::now();
        let probe = self.probe().await?;
        if let Role::Primary { .. } = probe.role {
            return self.promotion(epoch, probe.lineage.timeline, Duration::ZERO);
        }
        if probe.sync_names.is_empty() && *sync != SyncNames::Off && !MUTANT {
            return Err(Error::SyncWasEmpty);
        }
        placeholder::reserve(&self.instance.pg_wal(), probe.lineage.timeline, epoch)?;
        let session = self.prepare(sync).await?;
        // A sibling that finds no slot tries again only after a while.
        let slots = async { Result::Ok(self.prepare_slots(siblings).await) };
        let (timeline, slots) = tokio::try_join!(promote_and_wait(&session), slots)?;
        if let Err(error) = slots {
            warn!(%epoch, %error, "no slots for the siblings yet");
        }
        let promotion = self.promotion(epoch, timeline, begun.elapsed())?;
        self.keep_for_barrier(sync, session).await;
        self.finish(epoch);
        Ok(promotion)
    }

    /// Puts the sync set in force, keeps clients out, and makes sure that
    /// nobody feeds this standby: one reload for all of it.
    async fn prepare(&self, sync: &SyncNames) -> Result<Client> {
        hba::write(&self.instance, false)?;
        settings::write_upstream(&self.instance, None)?;
        settings::write_sync(&self.instance, sync)?;
        let [conninfo, restore] = no_upstream();
        let names = ("synchronous_standby_names", sync.to_string());
        let session = self
            .reload_within(&[conninfo, restore, names], RELOAD)
            .await?;
        self.refuse_wrong_hba(&session).await?;
        end_client_sessions(&session).await?;
        Ok(session)
    }

    fn promotion(&self, epoch: Epoch, found: Timeline, took: Duration) -> Result<Promotion> {
        if found != epoch.timeline() {
            return Err(Error::WrongTimeline { epoch, found });
        }
        let lineage = lineage::read(&self.instance.pg_wal(), found)?;
        Ok(Promotion {
            fork: lineage.fork(),
            lineage,
            took,
        })
    }

    /// What a promotion leaves to do and nobody waits for: pg_rewind needs a
    /// checkpoint on the new timeline, followers and the archive need a
    /// history file for every number below it.
    fn finish(&self, epoch: Epoch) {
        let this = self.clone();
        tokio::spawn(async move {
            sleep(AFTERWARDS).await;
            let pg_wal = this.instance.pg_wal();
            if let Err(error) = placeholder::fill(&pg_wal, Timeline(1), epoch) {
                warn!(%epoch, %error, "histories have gaps; old standbys cannot follow");
            }
            if let Err(error) = this.checkpoint().await {
                warn!(%epoch, %error, "no checkpoint yet; pg_rewind has to wait for one");
            }
        });
    }

    /// Writes a checkpoint, which may take minutes, and hands reserved
    /// history files to the archiver if there is one.
    ///
    /// # Errors
    /// When PostgreSQL cannot write it.
    pub async fn checkpoint(&self) -> Result<()> {
        // Not in the agent's session, which would be blocked meanwhile.
        let session = super::session::connect(&self.instance, "primacy_checkpoint").await?;
        let mode = session
            .query_one("select current_setting('archive_mode')", &[])
            .await;
        if mode.map_err(sql("read archive_mode"))?.get::<_, &str>(0) != "off" {
            placeholder::archive(&self.instance.pg_wal())?;
        }
        session
            .batch_execute("checkpoint")
            .await
            .map_err(sql("checkpoint"))
    }
}
