//! A former primary, brought back onto the lineage of the new one.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    error::{Error, Result, sql, within},
    files::{self, Durability},
    follow::Upstream,
    instance::Instance,
    lock_file::is_ready,
    passfile, receiver,
    server::LocalPostgres,
    settings, tool,
    wal::EndOfWal,
};
use crate::domain::{Lineage, Timeline, Verdict};

/// Exists while pg_rewind changes PGDATA, and where that led nowhere.
const MARKER: &str = "rewinding";

/// How often a source without a checkpoint is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewound {
    /// It was behind the fork: nothing had to be undone.
    NotNeeded,
    Done {
        took: Duration,
    },
}

/// Whether pg_rewind was interrupted in this directory. Nothing may be
/// started there, nor its position believed, until a rewind succeeds.
#[must_use]
pub fn is_wreck(instance: &Instance) -> bool {
    instance.file(MARKER).exists()
}

pub(super) fn refuse_wreck(instance: &Instance) -> Result<()> {
    if is_wreck(instance) {
        Err(Error::Wreck(instance.data.clone()))
    } else {
        Ok(())
    }
}

/// A directory in the wreck's place is none.
pub(super) fn forget_wreck(instance: &Instance) -> Result<()> {
    files::remove(&instance.file(MARKER))?;
    files::sync_directory(&instance.state)
}

impl LocalPostgres {
    /// Rewinds this stopped member to where `source` left it behind, and
    /// writes what makes it a standby of `upstream`; `follow` starts it.
    ///
    /// `own` is the end of this member's WAL and `source` the lineage on
    /// record for the primary: pg_rewind compares timeline numbers only, so
    /// its "no rewind required" is never taken for an answer.
    ///
    /// # Errors
    /// [`Error::NeedsClone`] where only a base backup helps; [`Error::Tool`]
    /// when pg_rewind failed, which leaves a wreck (see [`is_wreck`]).
    pub async fn rewind(
        &self,
        upstream: &Upstream,
        own: &EndOfWal,
        source: &Lineage,
        budget: Duration,
    ) -> Result<Rewound> {
        if self.is_running().await? {
            return Err(Error::Running);
        }
        if is_wreck(&self.instance) {
            // Its own lineage cannot be read any more; the caller's is old.
        } else if own.lineage.verdict(own.position.lsn, source) == Verdict::Follow {
            self.become_standby(Some(upstream))?;
            return Ok(Rewound::NotNeeded);
        }
        if own.lineage.timeline == source.timeline {
            let why = format!(
                "both are on timeline {}, with different pasts",
                source.timeline
            );
            return Err(Error::NeedsClone(why));
        }
        within(
            "pg_rewind",
            budget,
            self.rewind_now(upstream, source.timeline),
        )
        .await
    }

    async fn rewind_now(&self, upstream: &Upstream, timeline: Timeline) -> Result<Rewound> {
        let begun = Instant::now();
        let passfile = passfile::grant(&self.instance, upstream.epoch)?;
        self.await_checkpoint(upstream, timeline).await?;
        self.await_reaped().await?;
        files::replace(&self.instance.file(MARKER), "", Durability::Synced)?;
        // Single-user recovery, which a crashed directory needs first, is not
        // for standbys. The marker keeps it from being started meanwhile.
        files::remove(&self.instance.data.join("standby.signal"))?;
        let mut command = tool::command(&self.instance, "pg_rewind");
        let output = tool::output(
            command
                .env("PGPASSFILE", passfile)
                .arg("--target-pgdata")
                .arg(&self.instance.data)
                .args(["--source-server", &self.source(upstream)]),
        )
        .await?;
        let said = [output.stdout, output.stderr].concat();
        if !output.status.success() {
            let program = self.instance.binary("pg_rewind");
            return Err(tool::failure(&program, &output.status.to_string(), &said));
        }
        // The wreck stays on record here: the directories are not one lineage.
        if String::from_utf8_lossy(&said).contains("no rewind required") {
            return Err(Error::NeedsClone(
                "it saw no need, but the record does".to_owned(),
            ));
        }
        self.become_standby(Some(upstream))?;
        forget_wreck(&self.instance)?;
        Ok(Rewound::Done {
            took: begun.elapsed(),
        })
    }

    /// What a standby that is not consistent yet waits for, if its upstream does
    /// not send it. Seen unchanged for a while, it will not come.
    ///
    /// # Errors
    /// When the fuse cannot be asked, or postmaster.pid not be read.
    pub async fn waits_in_vain_for(&self) -> Result<Option<String>> {
        if is_ready(&self.instance.data)? {
            return Ok(None);
        }
        let postmaster = self.fuse.status().await?.pid;
        Ok(postmaster.and_then(receiver::waits_in_vain_for))
    }

    /// Gives the directory up for a wreck: only a base backup helps.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn condemn(&self) -> Result<()> {
        files::replace(&self.instance.file(MARKER), "", Durability::Synced)
    }

    /// libpq's words for the source; the password is in PGPASSFILE.
    fn source(&self, upstream: &Upstream) -> String {
        settings::connection_string(&[
            ("host", &upstream.host),
            ("port", &upstream.port.to_string()),
            ("user", &self.instance.identifier()),
            ("dbname", "postgres"),
            ("application_name", "primacy_rewind"),
            ("connect_timeout", "5"),
            ("options", "-c statement_timeout=0"),
        ])
    }

    /// Until its first checkpoint after a promotion the source's control file
    /// names the old timeline, and pg_rewind would see nothing to do.
    async fn await_checkpoint(&self, upstream: &Upstream, timeline: Timeline) -> Result<()> {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&upstream.host)
            .port(upstream.port)
            .user(self.instance.identifier())
            .password(self.instance.secret.password(self.instance.incarnation))
            .dbname("postgres")
            .application_name("primacy_rewind")
            .connect_timeout(Duration::from_secs(5));
        let connected = config.connect(tokio_postgres::NoTls).await;
        let (client, connection) = connected.map_err(sql("connect to pg_rewind's source"))?;
        tokio::spawn(connection);
        for _ in 0..100 {
            let row = client
                .query_one("select timeline_id from pg_control_checkpoint()", &[])
                .await;
            let found: i32 = row.map_err(sql("ask for the source's checkpoint"))?.get(0);
            if Timeline(found.unsigned_abs()) == timeline {
                return Ok(());
            }
            sleep(ASK_AGAIN).await;
        }
        Err(Error::SourceNotReady(timeline))
    }
}
