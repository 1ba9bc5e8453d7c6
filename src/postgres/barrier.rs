//! The barrier commit: proof that a sync configuration acknowledges.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::{
    error::{Error, Result, sql, within},
    probe::parse_timeline,
    server::{LocalPostgres, POLL},
    session::{self, simple_row, text},
    sync::SyncNames,
};
use crate::domain::{Epoch, Position, Revision};

const PURPOSE: &str = "primacy_barrier";

/// After so long behind a barrier a walsender is ended, to begin anew.
const HELD_UP: Duration = Duration::from_millis(500);

const END_EARLIER: &str = "select pg_terminate_backend(pid) from pg_stat_activity \
    where application_name = 'primacy_barrier' and pid <> pg_backend_pid()";

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
        let session = self.session_for_barrier(sync).await?;
        prepare(&session, sync).await?;
        // The second transaction begins once the first is acknowledged.
        let statements = format!(
            "begin; {}; commit; \
             select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), \
                pg_current_wal_flush_lsn()",
            write(epoch, revision)
        );
        let row = simple_row(&session, &statements)
            .await
            .map_err(sql("write the barrier"))?;
        let position = Position {
            timeline: parse_timeline(&text(row.as_ref(), 0))?,
            lsn: text(row.as_ref(), 1).parse()?,
        };
        if let SyncNames::Any { k: 2.., .. } = sync {
            all_voters_reached(&session, position).await?;
        }
        let took = begun.elapsed();
        Ok(Barrier { position, took })
    }

    /// Keeps a session that was opened after `sync` was in force.
    pub(super) async fn keep_for_barrier(&self, sync: &SyncNames, session: Client) {
        *self.for_barrier.lock().await = Some((sync.clone(), session));
    }

    /// A session that `sync` was in force before; for why that matters see
    /// [`reload_until`](Self::reload_until).
    async fn session_for_barrier(&self, sync: &SyncNames) -> Result<Client> {
        let kept = self.for_barrier.lock().await.take();
        match kept.filter(|(kept, session)| kept == sync && !session.is_closed()) {
            Some((_, session)) => Ok(session),
            None => session::connect(&self.instance, PURPOSE).await,
        }
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
            let statement = format!(
                "set synchronous_commit = on; {}",
                write(Epoch::NONE, Revision(0))
            );
            tokio::select! {
                // Not told yet: it did not wait.
                done = waiter.batch_execute(&statement) => {
                    done.map_err(sql("write the barrier"))?;
                }
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

/// Makes sure of what the barrier proves, in one round trip: this session has
/// the sync set, and nobody outside it can release a commit.
///
/// Ends earlier barriers, which were given up: their client believes nothing
/// of them, so that ending the wait, which leaves the row committed, tells no
/// lie. Ends walsenders that count without being in the set: they still have
/// an older configuration, and could release the barrier by it.
async fn prepare(session: &Client, sync: &SyncNames) -> Result<()> {
    let setting = "synchronous_standby_names";
    let wanted = sync.to_string();
    let members = match sync {
        SyncNames::Any { members, .. } => members.as_slice(),
        SyncNames::Nobody | SyncNames::Off => &[],
    };
    // Identifiers of members are hexadecimal digits.
    let names: Vec<_> = members
        .iter()
        .map(|it| format!("'{}'", it.postgres_identifier()))
        .collect();
    let statements = format!(
        "set synchronous_commit = on; set application_name = '{PURPOSE}'; \
         select current_setting('{setting}'); \
         {END_EARLIER}; \
         select pg_terminate_backend(pid) from pg_stat_replication where sync_priority > 0 \
            and current_setting('{setting}') = '{wanted}' \
            and application_name <> all (array[{}]::text[])",
        names.join(", ")
    );
    let row = simple_row(session, &statements)
        .await
        .map_err(sql("prepare the barrier"))?;
    let found = text(row.as_ref(), 0);
    if found == wanted {
        return Ok(());
    }
    Err(Error::NotInForce {
        setting,
        found,
        wanted,
    })
}

/// Waits until every walsender that counts has sent something behind the
/// barrier, and so has read the configuration; ends those that take long.
///
/// One that was held up between reading a lesser `k` and releasing by it could
/// otherwise release later commits too early. With a `k` of one it releases
/// nothing that a member of the set does not have.
async fn all_voters_reached(session: &Client, barrier: Position) -> Result<()> {
    let begun = tokio::time::Instant::now();
    let behind = format!(
        "from pg_stat_replication where sync_priority > 0 \
            and coalesce(flush_lsn, '0/0') < '{}'",
        barrier.lsn
    );
    let (look, end) = (
        format!("select pid {behind} limit 1"),
        format!("select pg_terminate_backend(pid) {behind}"),
    );
    while simple_row(session, &look)
        .await
        .map_err(sql("look at the voters"))?
        .is_some()
    {
        if begun.elapsed() > HELD_UP {
            let ended = session.batch_execute(&end).await;
            ended.map_err(sql("end a voter that is held up"))?;
        }
        sleep(POLL).await;
    }
    Ok(())
}

async fn end_earlier_barriers(session: &Client) -> Result<()> {
    let ended = session.batch_execute(END_EARLIER).await;
    ended.map_err(sql("end earlier barriers"))?;
    Ok(())
}

fn write(epoch: Epoch, revision: Revision) -> String {
    format!(
        "update primacy.barrier set epoch = {epoch}, revision = {revision}, \
            at = clock_timestamp()"
    )
}
