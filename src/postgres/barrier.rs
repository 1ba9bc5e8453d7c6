//! The barrier commit: proof that a sync configuration acknowledges.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::{
    error::{Error, Result, sql, within},
    probe::parse_timeline,
    server::{LocalPostgres, POLL},
    session,
    sync::SyncNames,
};
use crate::domain::{Epoch, Position, Revision};

const PURPOSE: &str = "primacy_barrier";

/// A commit that the sync set has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barrier {
    /// At or beyond the end of the commit; k members' own agents must report
    /// this timeline at or beyond it before it counts.
    pub position: Position,
    pub took: Duration,
}

impl LocalPostgres {
    /// Commits one row under `sync`, and returns once that is acknowledged.
    ///
    /// May be dropped at any moment: the next call ends what is left waiting.
    ///
    /// # Errors
    /// [`Error::NotInForce`] when new sessions have another sync set,
    /// [`Error::Late`] when it was not acknowledged within `budget`.
    pub async fn barrier(
        &self,
        epoch: Epoch,
        revision: Revision,
        sync: &SyncNames,
        budget: Duration,
    ) -> Result<Barrier> {
        let committed = self.barrier_now(epoch, revision, sync);
        within("barrier commit", budget, committed).await
    }

    async fn barrier_now(
        &self,
        epoch: Epoch,
        revision: Revision,
        sync: &SyncNames,
    ) -> Result<Barrier> {
        let begun = tokio::time::Instant::now();
        // A new connection: see `reload_until`.
        let session = session::connect(&self.instance, PURPOSE).await?;
        refuse_other_sync(&session, sync).await?;
        end_earlier_barriers(&session).await?;
        end_foreign_voters(&session, sync).await?;
        write(&session, epoch, revision).await?;
        let query = "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), \
            pg_current_wal_flush_lsn()::text";
        let row = session
            .query_one(query, &[])
            .await
            .map_err(sql("read the barrier's position"))?;
        let position = Position {
            timeline: parse_timeline(row.get(0))?,
            lsn: row.get::<_, &str>(1).parse()?,
        };
        let took = begun.elapsed();
        Ok(Barrier { position, took })
    }

    /// Returns once a commit is seen to wait for a synchronous standby.
    ///
    /// Needs [`SyncNames::Nobody`] in force: the commit then waits for good,
    /// once the checkpointer has told sessions to wait at all.
    ///
    /// # Errors
    /// When the commit cannot be made.
    pub async fn prove_waiting(&self) -> Result<()> {
        let watcher = self.session().await?;
        loop {
            let waiter = session::connect(&self.instance, PURPOSE).await?;
            let pid = backend(&waiter).await?;
            tokio::select! {
                // Not told yet: it did not wait.
                done = write(&waiter, Epoch::NONE, Revision(0)) => done?,
                seen = seen_waiting(&watcher, pid) => {
                    seen?;
                    return end_earlier_barriers(&watcher).await;
                }
            }
        }
    }
}

async fn backend(session: &Client) -> Result<i32> {
    let row = session.query_one("select pg_backend_pid()", &[]).await;
    Ok(row.map_err(sql("read a process identifier"))?.get(0))
}

async fn seen_waiting(watcher: &Client, pid: i32) -> Result<()> {
    let query = "select exists (select from pg_stat_activity \
        where pid = $1 and wait_event = 'SyncRep')";
    loop {
        let row = watcher.query_one(query, &[&pid]).await;
        if row.map_err(sql("watch the barrier wait"))?.get(0) {
            return Ok(());
        }
        sleep(POLL).await;
    }
}

async fn refuse_other_sync(session: &Client, sync: &SyncNames) -> Result<()> {
    let setting = "synchronous_standby_names";
    let row = session
        .query_one("select current_setting($1)", &[&setting])
        .await;
    let found: String = row.map_err(sql("read the sync set"))?.get(0);
    let wanted = sync.to_string();
    if found == wanted {
        Ok(())
    } else {
        Err(Error::NotInForce {
            setting,
            found,
            wanted,
        })
    }
}

/// Ends barriers that were given up. Their client believes nothing of them,
/// so that ending the wait, which leaves the row committed, tells no lie.
async fn end_earlier_barriers(session: &Client) -> Result<()> {
    let query = "select pg_terminate_backend(pid) from pg_stat_activity \
        where application_name = $1 and pid <> pg_backend_pid()";
    let ended = session.query(query, &[&PURPOSE]).await;
    ended.map_err(sql("end earlier barriers"))?;
    Ok(())
}

/// Ends walsenders that count without being in the set: they still have an
/// older configuration, and could release the barrier by it.
async fn end_foreign_voters(session: &Client, sync: &SyncNames) -> Result<()> {
    let members = match sync {
        SyncNames::Any { members, .. } => members.as_slice(),
        SyncNames::Nobody | SyncNames::Off => &[],
    };
    let names: Vec<_> = members.iter().map(|it| it.postgres_identifier()).collect();
    let query = "select pg_terminate_backend(pid) from pg_stat_replication \
        where sync_priority > 0 and application_name <> all($1)";
    let ended = session.query(query, &[&names]).await;
    ended.map_err(sql("end walsenders outside the sync set"))?;
    Ok(())
}

async fn write(session: &Client, epoch: Epoch, revision: Revision) -> Result<()> {
    let on = session.batch_execute("set synchronous_commit = on").await;
    on.map_err(sql("prepare the barrier"))?;
    let (epoch, revision) = (i64::from(epoch.0), i64::from(revision.0));
    let statement = "update primacy.barrier set epoch = $1, revision = $2, at = clock_timestamp()";
    let written = session.execute(statement, &[&epoch, &revision]).await;
    written.map_err(sql("write the barrier"))?;
    Ok(())
}
