//! Real PostgreSQL for tests: a group of members in one temporary directory.
//!
//! PostgreSQL refuses to run as root, so a test started by root executes
//! itself again as the user `postgres`.

#![allow(dead_code)] // Each test file uses a part.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::PermissionsExt, net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use primacy::{
    domain::{Epoch, Incarnation},
    fuse::FuseClient,
    postgres::{
        Error, Instance, LocalPostgres, Promotion, Secret, SyncNames, Upstream, newest_programs,
    },
};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

pub const BUDGET: Duration = Duration::from_secs(30);

/// Runs a test as a user that PostgreSQL accepts. `name` is the test's own.
pub fn run<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    if rustix::process::geteuid().is_root() {
        return run_as_postgres(name);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let limited = async { tokio::time::timeout(Duration::from_secs(120), test()).await };
    runtime.block_on(limited).expect("done within two minutes");
}

fn run_as_postgres(name: &str) {
    let (uid, gid) = postgres_ids();
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args([name, "--exact", "--nocapture"])
        .uid(uid)
        .gid(gid)
        .current_dir("/tmp")
        .env("HOME", "/tmp")
        .output()
        .expect("executable by the user postgres");
    // Its summary is not one of this run's.
    assert!(
        output.status.success(),
        "{name} failed as the user postgres: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

fn postgres_ids() -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").expect("users");
    let line = passwd.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.expect("a user postgres").split(':').skip(2);
    let mut number = || fields.next().and_then(|it| it.parse().ok()).expect("an id");
    (number(), number())
}

/// A group's directory; removed, and everything in it stopped, when dropped.
pub struct Group {
    dir: tempfile::TempDir,
    secret: Secret,
    states: Vec<PathBuf>,
}

impl Group {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("pg")
            .tempdir_in("/tmp")
            .expect("a directory");
        let secret = Secret::new(&[7; 32]).expect("long enough");
        Self {
            dir,
            secret,
            states: Vec::new(),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A member of its own, with a fuse and nothing in PGDATA.
    pub async fn member(&mut self, settings: &[(&str, &str)]) -> LocalPostgres {
        let instance = self.instance(settings);
        instance.validate().expect("a valid instance");
        self.states.push(instance.state.clone());
        let fuse = attach(&instance.state).await;
        LocalPostgres::new(instance, fuse)
    }

    fn instance(&self, settings: &[(&str, &str)]) -> Instance {
        let name = format!("m{}", self.states.len() + 1);
        let base = self.dir.path().join(name);
        for part in ["state", "socket"] {
            let path = base.join(part);
            fs::create_dir_all(&path).expect("created");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("private");
        }
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Instance {
            bin_dir: newest_programs().expect("PostgreSQL 15 or later"),
            data: base.join("data"),
            state: base.join("state"),
            socket_dir: base.join("socket"),
            address: Ipv4Addr::LOCALHOST.into(),
            port: free_port(),
            incarnation: Incarnation(Uuid::new_v4()),
            secret: self.secret.clone(),
            client_hba: vec!["host all app all trust".to_owned()],
            settings: settings.iter().map(text).collect::<BTreeMap<_, _>>(),
            restore_command: None,
        }
    }

    /// A primary of epoch 1 that waits for nobody, with the role `app`.
    pub async fn primary(&mut self, settings: &[(&str, &str)]) -> LocalPostgres {
        let primary = self.member(settings).await;
        copy_template(primary.instance()).await;
        primary
            .start_primary(&SyncNames::Off, true, BUDGET)
            .await
            .expect("started");
        primary.prepare_primary().await.expect("prepared");
        let session = session(&primary).await;
        let schema = "create role app login; create table if not exists w(id bigint primary key); \
            grant all on w to app";
        session.batch_execute(schema).await.expect("created");
        primary
    }

    /// A standby that streams.
    pub async fn standby(
        &mut self,
        primary: &LocalPostgres,
        settings: &[(&str, &str)],
    ) -> LocalPostgres {
        let standby = self.member(settings).await;
        self.join(primary, &standby, Epoch(1)).await;
        standby
    }

    async fn join(&self, primary: &LocalPostgres, standby: &LocalPostgres, epoch: Epoch) {
        let mut members = self.known(primary).await;
        members.push(standby.instance().incarnation);
        primary
            .ensure_members(&members)
            .await
            .expect("a role and a slot");
        let upstream = upstream(primary, epoch);
        standby
            .clone_from(&upstream, true, |_| {})
            .await
            .expect("cloned");
        standby.follow(&upstream, BUDGET).await.expect("following");
        standby
            .wait_streaming(&upstream, BUDGET)
            .await
            .expect("streaming");
    }

    async fn known(&self, primary: &LocalPostgres) -> Vec<Incarnation> {
        let query =
            "select substr(rolname, 9) from pg_roles where rolname ~ '^primacy_[0-9a-f]{32}$'";
        let rows = session(primary)
            .await
            .query(query, &[])
            .await
            .expect("roles");
        let id = |text: &str| Incarnation(Uuid::parse_str(text).expect("an incarnation"));
        rows.iter().map(|row| id(row.get(0))).collect()
    }

    /// A primary and two standbys, of which it waits for any one.
    pub async fn trio(&mut self, settings: &[(&str, &str)]) -> [LocalPostgres; 3] {
        let primary = self.primary(settings).await;
        let one = self.standby(&primary, settings).await;
        let two = self.standby(&primary, settings).await;
        let names = any_one(&[&one, &two]);
        primary.set_sync(&names, BUDGET).await.expect("synchronous");
        [primary, one, two]
    }
}

impl Group {
    /// The end of each member's log, for whoever reads why a test failed.
    fn show_logs(&self) {
        for state in &self.states {
            let log = fs::read_to_string(state.join("log/postgresql.log")).unwrap_or_default();
            let fuse = fs::read_to_string(state.join("fuse.log")).unwrap_or_default();
            eprint!("{fuse}");
            let lines: Vec<_> = log.lines().rev().take(24).collect();
            eprintln!("{}", state.display());
            lines.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for state in &self.states {
            // A fuse that is gone took its PostgreSQL with it.
            let _gone = end_fuse(state);
        }
        if std::thread::panicking() || std::env::var_os("PRIMACY_LOGS").is_some() {
            self.show_logs();
        }
    }
}

/// Ends a fuse and what runs below it, without a runtime.
fn end_fuse(state: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(primacy::fuse::socket_path(state))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    for request in ["\"kill\"\n", "\"shutdown\"\n"] {
        stream.write_all(request.as_bytes())?;
        lines.next().transpose()?;
    }
    Ok(())
}

/// Attaches to a member's fuse as its agent does, starting it if need be.
pub async fn attach(state: &Path) -> FuseClient {
    let program = Path::new(env!("CARGO_BIN_EXE_primacy"));
    FuseClient::attach_or_spawn(program, state, BUDGET)
        .await
        .expect("a fuse")
}

pub fn upstream(primary: &LocalPostgres, epoch: Epoch) -> Upstream {
    Upstream {
        host: primary.instance().address.to_string(),
        port: primary.instance().port,
        epoch,
    }
}

pub fn any_one(members: &[&LocalPostgres]) -> SyncNames {
    SyncNames::Any {
        k: 1,
        members: members.iter().map(|it| it.instance().incarnation).collect(),
    }
}

/// A superuser's session over the member's socket.
pub async fn session(member: &LocalPostgres) -> Client {
    let mut config = tokio_postgres::Config::new();
    config
        .host_path(&member.instance().socket_dir)
        .port(member.instance().port);
    config
        .user("postgres")
        .dbname("postgres")
        .application_name("test");
    connect(&config).await.expect("a session")
}

/// What an application gets: TCP, and pg_hba.conf's permission.
pub async fn client(member: &LocalPostgres) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(member.instance().address.to_string())
        .port(member.instance().port);
    config
        .user("app")
        .dbname("postgres")
        .application_name("test");
    connect(&config).await
}

async fn connect(config: &tokio_postgres::Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Promotes a standby, and lets clients in, as once its epoch is sealed.
pub async fn promote(
    member: &LocalPostgres,
    epoch: Epoch,
    sync: &SyncNames,
) -> Result<Promotion, Error> {
    let promotion = member.promote(epoch, sync, &[], BUDGET).await?;
    member.let_clients(true).await?;
    Ok(promotion)
}

/// Rows that a writer was told are committed.
#[derive(Clone, Default)]
pub struct Acked(Arc<Mutex<Vec<i64>>>);

impl Acked {
    pub fn count(&self) -> usize {
        self.0.lock().expect("no writer panicked").len()
    }

    pub fn rows(&self) -> Vec<i64> {
        self.0.lock().expect("no writer panicked").clone()
    }

    pub async fn at_least(&self, count: usize) {
        eventually("rows are acknowledged", async || self.count() >= count).await;
    }
}

/// Writes one row after another until its session ends.
pub async fn writer(primary: &LocalPostgres) -> Acked {
    let client = client(primary).await.expect("let in");
    let acked = Acked::default();
    let told = acked.clone();
    tokio::spawn(async move {
        for id in 0.. {
            if client
                .execute("insert into w values ($1)", &[&id])
                .await
                .is_err()
            {
                return;
            }
            told.0.lock().expect("no reader panicked").push(id);
        }
    });
    acked
}

pub async fn rows(member: &LocalPostgres) -> Vec<i64> {
    let rows = session(member)
        .await
        .query("select id from w order by id", &[])
        .await;
    rows.expect("readable")
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// Awaits a condition; the whole test has a time limit.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let limit = Duration::from_secs(30);
    let met = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(limit, met)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("bound").port()
}

/// initdb takes a second: it is run once per user and machine, and copied.
async fn copy_template(instance: &Instance) {
    let uid = rustix::process::geteuid().as_raw();
    let template = PathBuf::from(format!("/tmp/primacy-template-15-{uid}"));
    let lock = fs::File::create(template.with_extension("lock")).expect("a lock");
    lock.lock().expect("locked");
    if !template.exists() {
        let fresh = Instance {
            data: template.with_extension("new"),
            ..instance.clone()
        };
        let _leftover = fs::remove_dir_all(&fresh.data);
        fresh.initdb().await.expect("initdb");
        fs::rename(&fresh.data, &template).expect("renamed");
    }
    drop(lock);
    let copied = Command::new("cp")
        .arg("-a")
        .arg(&template)
        .arg(&instance.data)
        .status();
    assert!(copied.expect("cp").success());
}
