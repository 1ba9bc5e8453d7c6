//! Starting, stopping and reloading one PostgreSQL.

use std::{fs, path::Path, sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};
use tokio_postgres::{Client, Statement};

use super::{
    error::{ADMINISTRATION, Error, Result, sql, within},
    files::{self, Durability},
    follow::Upstream,
    hba,
    instance::Instance,
    lock_file::is_ready,
    placeholder::clean_placeholders,
    probe,
    rewind::refuse_wreck,
    session::{self, simple_row, text},
    settings,
    sync::SyncNames,
    tool,
};
use crate::fuse::{Event, FuseClient, StartSpec, StopMode};

/// How often something that PostgreSQL tells nobody about is looked at.
pub(super) const POLL: Duration = Duration::from_millis(1);

const RELOADING: &str = "reload of the configuration";

/// How often a starting PostgreSQL is tried.
const KNOCK: Duration = Duration::from_millis(2);

/// The agent's session, with its most frequent query parsed and planned.
#[derive(Clone)]
struct Standing {
    client: Arc<Client>,
    probe: Statement,
}

/// One PostgreSQL, its fuse and the agent's session in it. Cheap to clone.
#[derive(Clone)]
pub struct LocalPostgres {
    pub(super) instance: Arc<Instance>,
    pub(super) fuse: FuseClient,
    session: Arc<Mutex<Option<Standing>>>,
    /// One for the next barrier, opened after this set was in force.
    pub(super) for_barrier: Arc<Mutex<Option<(SyncNames, Client)>>>,
}

impl LocalPostgres {
    #[must_use]
    pub fn new(instance: Instance, fuse: FuseClient) -> Self {
        Self {
            instance: Arc::new(instance),
            fuse,
            session: Arc::default(),
            for_barrier: Arc::default(),
        }
    }

    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    #[must_use]
    pub fn fuse(&self) -> &FuseClient {
        &self.fuse
    }

    /// Whether any process of this PostgreSQL is left.
    ///
    /// # Errors
    /// When the fuse cannot be reached: nothing can be said then.
    pub async fn is_running(&self) -> Result<bool> {
        Ok(self.fuse.status().await?.running)
    }

    /// Starts a primary that was one before: for the member that holds the
    /// lease, after `initdb` or a restart. A standby becomes primary by
    /// [`promote`](Self::promote) only, and is refused here.
    ///
    /// # Errors
    /// When it does not accept sessions within `budget`.
    pub async fn start_primary(
        &self,
        sync: &SyncNames,
        open: bool,
        budget: Duration,
    ) -> Result<()> {
        if is_standby(&self.instance.data) {
            return Err(Error::NotPrimary(self.instance.data.clone()));
        }
        settings::write_static(&self.instance, open)?;
        settings::write_upstream(&self.instance, None)?;
        settings::write_sync(&self.instance, sync)?;
        self.start(budget).await
    }

    /// Starts a standby of `upstream` or, for recovery to the end of its own
    /// WAL, of nobody. All that makes it one is written before: a directory
    /// that was just copied would otherwise open as a second primary.
    ///
    /// # Errors
    /// When it does not accept sessions within `budget`.
    pub async fn start_standby(&self, upstream: Option<&Upstream>, budget: Duration) -> Result<()> {
        self.become_standby(upstream)?;
        self.start(budget).await
    }

    /// Writes into a stopped directory all that makes it a standby.
    pub(super) fn become_standby(&self, upstream: Option<&Upstream>) -> Result<()> {
        let data = &self.instance.data;
        files::replace(&data.join("standby.signal"), "", Durability::Synced)?;
        files::remove(&data.join("recovery.signal"))?;
        settings::write_static(&self.instance, true)?;
        settings::write_upstream(&self.instance, upstream)?;
        settings::write_sync(&self.instance, &SyncNames::Nobody)?;
        clean_placeholders(&self.instance.pg_wal())
    }

    async fn start(&self, budget: Duration) -> Result<()> {
        refuse_wreck(&self.instance)?;
        self.await_reaped().await?;
        let log = self.instance.log();
        if let Some(directory) = log.parent() {
            fs::create_dir_all(directory).map_err(files::at("create", directory))?;
        }
        let spec = StartSpec {
            binary: self.instance.binary("postgres"),
            args: settings::arguments(&self.instance),
            env: start_environment(&self.instance),
            data: self.instance.data.clone(),
            log,
        };
        self.fuse.start(spec).await?;
        self.wait_until_open(budget).await
    }

    /// Waits for sessions to be accepted, or for the reason why never.
    ///
    /// # Errors
    /// When PostgreSQL ends instead, or takes longer than `budget`; it is
    /// left running then: recovery may be long.
    pub async fn wait_until_open(&self, budget: Duration) -> Result<()> {
        let until = Instant::now() + budget;
        let mut events = self.fuse.subscribe().await?;
        loop {
            if is_ready(&self.instance.data)? && self.session().await.is_ok() {
                return Ok(());
            }
            if Instant::now() >= until {
                let what = "start of PostgreSQL";
                return Err(Error::Late { what, budget });
            }
            tokio::select! {
                () = sleep(KNOCK) => {}
                event = events.next() => self.refuse_exit(&event?)?,
            }
        }
    }

    fn refuse_exit(&self, event: &Event) -> Result<()> {
        let exit = match event {
            Event::Exited { exit, .. } => Some(*exit),
            Event::Now(status) if !status.running => status.exit,
            _ => return Ok(()),
        };
        Err(Error::DiedStarting {
            how: exit.map_or("not started".to_owned(), |exit| {
                match (exit.code, exit.signal) {
                    (Some(code), _) => format!("exit code {code}"),
                    (_, signal) => format!("signal {}", signal.unwrap_or_default()),
                }
            }),
            log: self.instance.log(),
        })
    }

    /// Stops PostgreSQL; returns when no process of it is left.
    ///
    /// Never [`StopMode::Fast`] for a suspect primary: ending its sessions
    /// would tell their clients that what no standby has is committed.
    ///
    /// # Errors
    /// When it has not stopped within `budget`; `fuse().kill` then does.
    pub async fn stop(&self, mode: StopMode, budget: Duration) -> Result<()> {
        self.session.lock().await.take();
        self.for_barrier.lock().await.take();
        Ok(self.fuse.stop(mode, budget).await?)
    }

    /// Opens the database to clients, or closes it to new sessions of theirs.
    ///
    /// # Errors
    /// When one of the operator's lines is no line of pg_hba.conf.
    pub async fn let_clients(&self, open: bool) -> Result<()> {
        within(
            "change of pg_hba.conf",
            ADMINISTRATION,
            self.let_clients_now(open),
        )
        .await
    }

    async fn let_clients_now(&self, open: bool) -> Result<()> {
        hba::write(&self.instance, open)?;
        self.fuse.reload().await?;
        let session = self.session().await?;
        self.refuse_wrong_hba(&session).await
    }

    /// PostgreSQL goes on with what it had when a line of pg_hba.conf is wrong.
    pub(super) async fn refuse_wrong_hba(&self, session: &Client) -> Result<()> {
        let query = "select error from pg_hba_file_rules where error is not null limit 1";
        let wrong = simple_row(session, query)
            .await
            .map_err(sql("check pg_hba.conf"))?;
        match wrong {
            None => Ok(()),
            Some(row) => Err(Error::Configuration {
                file: self.instance.file("pg_hba.conf"),
                reason: text(Some(&row), 0),
            }),
        }
    }

    /// The agent's session, opened again when it broke. For reading: what
    /// must show a reload is asked in a new one.
    pub(super) async fn session(&self) -> Result<Arc<Client>> {
        Ok(self.standing().await?.client)
    }

    /// The agent's session and, prepared in it, [`probe::QUERY`].
    pub(super) async fn session_to_probe(&self) -> Result<(Arc<Client>, Statement)> {
        let standing = self.standing().await?;
        Ok((standing.client, standing.probe))
    }

    async fn standing(&self) -> Result<Standing> {
        let mut slot = self.session.lock().await;
        if let Some(standing) = slot.as_ref().filter(|it| !it.client.is_closed()) {
            return Ok(standing.clone());
        }
        let client = session::connect(&self.instance, "primacy_agent").await?;
        let probe = client.prepare(probe::QUERY).await;
        let standing = Standing {
            client: Arc::new(client),
            probe: probe.map_err(sql("prepare the status query"))?,
        };
        *slot = Some(standing.clone());
        Ok(standing)
    }

    /// Reloads until a *new* session shows the settings, and returns it.
    ///
    /// An old session, or a reload that returned, proves nothing about other
    /// processes. A new one does: the postmaster signals every child while it
    /// reads its configuration, and only then forks again.
    pub(super) async fn reload_until(&self, wanted: &[(&'static str, String)]) -> Result<Client> {
        self.fuse.reload().await?;
        self.await_reload(wanted).await
    }

    /// As [`reload_until`](Self::reload_until), for a reload that was asked for.
    pub(super) async fn await_reload(&self, wanted: &[(&'static str, String)]) -> Result<Client> {
        loop {
            let client = session::connect(&self.instance, "primacy_check").await?;
            match not_in_force(&client, wanted).await? {
                None => return Ok(client),
                Some(_) => sleep(POLL).await,
            }
        }
    }

    /// As [`reload_until`](Self::reload_until), but says which setting is
    /// still another one when `budget` ends.
    pub(super) async fn reload_within(
        &self,
        wanted: &[(&'static str, String)],
        budget: Duration,
    ) -> Result<Client> {
        let reloaded = within(RELOADING, budget, self.reload_until(wanted));
        match reloaded.await {
            Err(late @ Error::Late { .. }) => {
                let client = session::connect(&self.instance, "primacy_check").await?;
                Err(not_in_force(&client, wanted).await?.unwrap_or(late))
            }
            other => other,
        }
    }

    /// Reloads until the agent's own session shows the settings: says that
    /// PostgreSQL took them, not that every process of it has. A session less
    /// to open, where nothing rests on the difference.
    pub(super) async fn reload_seen(
        &self,
        wanted: &[(&'static str, String)],
        budget: Duration,
    ) -> Result<()> {
        self.fuse.reload().await?;
        let seen = async {
            while not_in_force(&*self.session().await?, wanted)
                .await?
                .is_some()
            {
                sleep(POLL).await;
            }
            Ok(())
        };
        match within(RELOADING, budget, seen).await {
            Err(late @ Error::Late { .. }) => {
                let session = self.session().await?;
                Err(not_in_force(&session, wanted).await?.unwrap_or(late))
            }
            other => other,
        }
    }
}

/// Whether the directory is set to start as a standby.
#[must_use]
pub fn is_standby(data: &Path) -> bool {
    data.join("standby.signal").exists()
}

/// The first setting that this session sees otherwise.
async fn not_in_force(client: &Client, wanted: &[(&'static str, String)]) -> Result<Option<Error>> {
    let settings = wanted.iter().map(|(setting, _)| *setting);
    let columns: Vec<_> = settings
        .map(|setting| format!("current_setting('{setting}')"))
        .collect();
    let query = format!("select {}", columns.join(", "));
    let row = simple_row(client, &query)
        .await
        .map_err(sql("read settings"))?;
    for (column, (setting, wanted)) in wanted.iter().enumerate() {
        let found = text(row.as_ref(), column);
        if found != *wanted {
            let wanted = wanted.clone();
            return Ok(Some(Error::NotInForce {
                setting,
                found,
                wanted,
            }));
        }
    }
    Ok(None)
}

/// The fuse's protection from the OOM killer is for the postmaster alone
/// ("Linux Memory Overcommit").
fn start_environment(instance: &Instance) -> Vec<(String, String)> {
    let mut environment = tool::environment(instance);
    let file = "/proc/self/oom_score_adj".to_owned();
    environment.push(("PG_OOM_ADJUST_FILE".to_owned(), file));
    environment
}
