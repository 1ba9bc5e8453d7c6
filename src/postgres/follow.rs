//! Following a primary.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{
    error::{Error, Result, sql, within},
    passfile,
    placeholder::clean_placeholders,
    probe::Role,
    server::{LocalPostgres, POLL},
    settings,
    sync::SyncNames,
};
use crate::domain::Epoch;

/// The primary of an epoch, as its standbys reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub host: String,
    pub port: u16,
    pub epoch: Epoch,
}

impl LocalPostgres {
    /// Makes this member a standby of `upstream`, started if it was stopped.
    ///
    /// The caller has applied the fork rule: nothing here or in PostgreSQL
    /// keeps a standby that is ahead of the fork from acknowledging what it
    /// does not have.
    ///
    /// # Errors
    /// [`Error::Superseded`] when it follows a later epoch already,
    /// [`Error::NotStandby`] when it runs as a primary.
    pub async fn follow(&self, upstream: &Upstream, budget: Duration) -> Result<()> {
        let asked = upstream.epoch;
        if let Some(current) = passfile::latest(&self.instance.state)?.filter(|it| *it > asked) {
            return Err(Error::Superseded { asked, current });
        }
        passfile::grant(&self.instance, asked)?;
        if !self.is_running().await? {
            self.start_standby(Some(upstream), budget).await?;
            return self.drop_own_slots().await;
        }
        if let Role::Primary { .. } = self.probe().await?.role {
            passfile::revoke(&self.instance.state, asked)?;
            return Err(Error::NotStandby(self.instance.data.clone()));
        }
        self.repoint(upstream, budget).await
    }

    async fn repoint(&self, upstream: &Upstream, budget: Duration) -> Result<()> {
        clean_placeholders(&self.instance.pg_wal())?;
        settings::write_sync(&self.instance, &SyncNames::Nobody)?;
        settings::write_upstream(&self.instance, Some(upstream))?;
        let conninfo = settings::conninfo(&self.instance, upstream);
        let slot = self.instance.identifier();
        let wanted = [("primary_conninfo", conninfo), ("primary_slot_name", slot)];
        // Nothing counts on it: what streams is looked at, and a fence looks again.
        self.reload_seen(&wanted, budget).await
    }

    /// Waits until WAL of the upstream may arrive.
    ///
    /// # Errors
    /// [`Error::Late`]: its log says why (no slot, no role, no route).
    pub async fn wait_streaming(&self, upstream: &Upstream, budget: Duration) -> Result<()> {
        let streaming = async {
            loop {
                if let Role::Standby {
                    receiver: Some(it), ..
                } = self.probe().await?.role
                    && it.status == "streaming"
                    && it.port == upstream.port
                    && it.host == upstream.host
                {
                    return Ok(());
                }
                sleep(POLL).await;
            }
        };
        within("streaming from the primary", budget, streaming).await
    }

    /// Drops the slots that this member kept for others when it was primary:
    /// nobody streams from a standby, and a slot keeps WAL for ever.
    async fn drop_own_slots(&self) -> Result<()> {
        let session = self.session().await?;
        let query = "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
            where slot_name like 'primacy\\_%' and not active";
        let dropped = session.query(query, &[]).await;
        dropped.map_err(sql("drop the slots of a former primary"))?;
        Ok(())
    }
}
