//! A whole fleet on this machine: nodes, agents and databases in "regions",
//! as separate processes with directories and loopback addresses of their own.
//!
//! Nothing in here knows that it is a demonstration; the failures it can make
//! are real ones. What it started, it ends: also when it is dropped.

mod api;
mod files;
mod network;
mod place;
mod processes;
mod user;

use std::{
    collections::HashMap,
    fs,
    future::Future,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use primacy_proto::v1::{GroupSpec, MemberSpec};
use tokio::{net::TcpListener, time};

use crate::{clock, postgres};
pub use api::Api;
pub use network::{Network, inside};
pub use place::{Place, Service};
pub use user::User;

/// Between two looks while something is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// Of each log, when a test fails.
const LOG_LINES: usize = 40;

/// What a fleet is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// One node and one member in each.
    pub regions: Vec<String>,
    /// The first place is at the address after this one.
    pub base: std::net::Ipv4Addr,
    pub group: String,
    pub zone: String,
    /// `lan` or `wan`.
    pub profile: String,
    pub ttl: Duration,
    pub suspect_after: Duration,
    /// PostgreSQL's programs.
    pub bin_dir: PathBuf,
    /// Settings of PostgreSQL.
    pub settings: Vec<(String, String)>,
    /// The program to run; this one, unless a test runs it from outside.
    pub program: PathBuf,
    /// Where each region's processes run, in the regions' order; empty when
    /// all are in this process's network namespace.
    pub namespaces: Vec<PathBuf>,
}

impl Options {
    /// Three regions on loopback.
    #[must_use]
    pub fn new(bin_dir: PathBuf) -> Self {
        Self {
            regions: ["paris", "tokyo", "lima"].map(str::to_owned).into(),
            base: [127, 0, 0, 10].into(),
            group: "orders".to_owned(),
            zone: "db.example".to_owned(),
            profile: "lan".to_owned(),
            ttl: Duration::from_secs(10),
            suspect_after: Duration::from_millis(500),
            bin_dir,
            settings: vec![("shared_buffers".to_owned(), "16MB".to_owned())],
            program: "/proc/self/exe".into(),
            namespaces: Vec::new(),
        }
    }
}

/// Processes and their files, in one directory.
pub struct Fleet {
    options: Options,
    dir: PathBuf,
    program: PathBuf,
    user: User,
    places: Vec<Place>,
    children: HashMap<(usize, Service), Child>,
    /// Of the role `app`.
    password: String,
    keep: bool,
}

impl Fleet {
    /// Writes everything that the processes need; starts none.
    pub async fn prepare(options: Options) -> anyhow::Result<Self> {
        let user = User::for_databases()?;
        let [_, _, c, d] = options.base.octets();
        let name = format!("primacy-{}-{c}-{d}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        ensure!(!dir.exists(), "{} exists already: remove it", dir.display());
        let places = place::places(&options, &dir);
        // Elsewhere nobody else is.
        let here = places.iter().filter(|place| place.namespace.is_none());
        for address in here.flat_map(Place::listeners) {
            let bound = TcpListener::bind(address).await;
            bound.with_context(|| format!("{address} is needed: what uses it?"))?;
        }
        fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        let fleet = Self {
            program: dir.join("bin/primacy"),
            password: uuid::Uuid::new_v4().simple().to_string(),
            children: HashMap::new(),
            keep: false,
            options,
            dir,
            user,
            places,
        };
        files::write(&fleet).context("write the fleet's files")?;
        Ok(fleet)
    }

    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The program that all of it runs, a copy of this one.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The group of this fleet: one member a region, the first is primary at first.
    #[must_use]
    pub fn spec(&self) -> GroupSpec {
        let options = &self.options;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // Home is the last choice in a failover, so that there is a way home.
        let members = self.places.iter().map(|place| MemberSpec {
            name: place.region.clone(),
            region: place.region.clone(),
            address: place.postgres().to_string(),
            control: "process".to_owned(),
            no_failover: false,
            priority: [0, 20, 10].get(place.index).copied().unwrap_or(0),
        });
        GroupSpec {
            name: options.group.clone(),
            durability: "strict".to_owned(),
            sync_k: 1,
            sync_members: Vec::new(),
            ttl_ms: millis(options.ttl),
            suspect_after_ms: millis(options.suspect_after),
            max_lag_bytes: 16 << 20,
            check_window_ms: 0,
            initial_primary: options.regions.first().cloned().unwrap_or_default(),
            system_identifier: None,
            members: members.collect(),
        }
    }

    /// The place of a region, which is also its member's name.
    pub fn place(&self, region: &str) -> anyhow::Result<&Place> {
        let place = self.places.iter().find(|place| place.region == region);
        place.ok_or_else(|| anyhow!("there is no region {region}"))
    }

    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    #[must_use]
    pub fn dns_servers(&self) -> Vec<SocketAddr> {
        self.places.iter().map(Place::dns).collect()
    }

    /// A client of every node.
    pub fn api(&self) -> anyhow::Result<Api> {
        let nodes = self.places.iter().map(|place| (place.id, place.grpc()));
        Api::new(nodes.collect(), &self.options.group)
    }

    /// Starts the node or the agent of a place.
    pub fn start(&mut self, index: usize, service: Service) -> anyhow::Result<()> {
        let place = &self.places[index];
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(place.log(service))
            .with_context(|| format!("open {}", place.log(service).display()))?;
        let mut command = self.user.command(&self.program);
        command
            .arg(service.name())
            .arg("--config")
            .arg(place.config(service))
            .current_dir(&place.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut spawn = || command.spawn();
        let child = match &place.namespace {
            Some(namespace) => inside(namespace, spawn)?,
            None => spawn(),
        };
        let child =
            child.with_context(|| format!("start {} of {}", service.name(), place.region))?;
        self.children.insert((index, service), child);
        Ok(())
    }

    /// Starts node and agent of a place.
    pub fn start_region(&mut self, index: usize) -> anyhow::Result<()> {
        self.start(index, Service::Server)?;
        self.start(index, Service::Agent)
    }

    /// The fleet's program, run beside what runs already: as the fleet's user,
    /// in a place's directory. What is left of it ends with the fleet.
    #[must_use]
    pub fn command(&self, index: usize) -> Command {
        self.command_of(index, &self.program)
    }

    /// One of PostgreSQL's programs, run the same way.
    #[must_use]
    pub fn postgres_command(&self, index: usize, name: &str) -> Command {
        self.command_of(index, &self.options.bin_dir.join(name))
    }

    fn command_of(&self, index: usize, program: &Path) -> Command {
        let mut command = self.user.command(program);
        command
            .current_dir(&self.places[index].dir)
            .stdin(Stdio::null());
        command
    }

    /// Gives the fleet's user everything below `dir`.
    pub fn own(&self, dir: &Path) -> anyhow::Result<()> {
        self.user.own(dir)
    }

    /// Kills one process, -9. An agent's fuse and PostgreSQL live on.
    pub fn kill(&mut self, index: usize, service: Service) -> anyhow::Result<()> {
        if let Some(mut child) = self.children.remove(&(index, service)) {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Kills everything in a place at once: node, agent, fuse, PostgreSQL.
    pub fn kill_region(&mut self, index: usize) -> anyhow::Result<()> {
        processes::kill_within(
            &self.places[index].dir,
            &self.program,
            &self.options.bin_dir,
        )?;
        for service in Service::ALL {
            self.kill(index, service)?;
        }
        Ok(())
    }

    /// Kills the postmaster, -9; its fuse sees it.
    pub fn kill_postgres(&self, index: usize) -> anyhow::Result<()> {
        let file = self.places[index].data().join("postmaster.pid");
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let pid = text.lines().next().and_then(|line| line.parse().ok());
        processes::kill(pid.with_context(|| format!("no pid in {}", file.display()))?);
        Ok(())
    }

    /// What of the program runs: region, subcommand and process.
    #[must_use]
    pub fn processes(&self) -> Vec<(String, String, i32)> {
        let of_place = |place: &Place| {
            let region = place.region.clone();
            let all = processes::of_program(&place.dir, &self.program);
            all.into_iter()
                .map(move |(service, pid)| (region.clone(), service, pid))
        };
        self.places.iter().flat_map(of_place).collect()
    }

    /// Whether a process that was started has ended by itself.
    pub fn ended(&mut self) -> Option<String> {
        let places = &self.places;
        self.children
            .iter_mut()
            .find_map(|((index, service), child)| {
                let status = child.try_wait().ok()??;
                let place = &places[*index];
                let log = place.log(*service);
                let name = service.name();
                let log = log.display();
                Some(format!(
                    "{name} of {} ended ({status}); see {log}",
                    place.region
                ))
            })
    }

    /// Runs SQL as the superuser, on the member's own socket.
    pub fn superuser(&self, index: usize, sql: &str) -> anyhow::Result<String> {
        let place = &self.places[index];
        let mut psql = self
            .user
            .command(&self.options.bin_dir.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
            ])
            .args(["-d", "postgres", "-p", &place.postgres().port().to_string()])
            .arg("-h")
            .arg(place.socket())
            .current_dir(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start psql")?;
        // On standard input: passwords are in it.
        let mut input = psql.stdin.take().context("psql has no input")?;
        input.write_all(sql.as_bytes())?;
        drop(input);
        let output = psql.wait_with_output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "psql at {}: {}",
            place.region,
            error.trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Makes the role `app` on the primary, and runs `sql` after it.
    pub fn create_client(&self, primary: usize, sql: &str) -> anyhow::Result<()> {
        let role = format!("CREATE ROLE app LOGIN PASSWORD '{}';\n{sql}", self.password);
        self.superuser(primary, &role).map(|_| ())
    }

    /// Leaves everything running when this is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// The last lines of every log, for whoever has to find out what went wrong.
    fn show_logs(&self) {
        for place in &self.places {
            for log in Service::ALL.map(|service| place.log(service)) {
                let text = fs::read_to_string(&log).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                let last = lines.len().saturating_sub(LOG_LINES);
                eprintln!("{}:\n{}\n", log.display(), lines[last..].join("\n"));
            }
        }
    }

    fn tear_down(&mut self) -> anyhow::Result<()> {
        for index in 0..self.places.len() {
            self.kill_region(index)?;
        }
        fs::remove_dir_all(&self.dir).with_context(|| format!("remove {}", self.dir.display()))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if std::thread::panicking() {
            self.show_logs();
        }
        if let Err(error) = self.tear_down() {
            eprintln!("the fleet was not tidied up: {error:#}");
        }
    }
}

/// PostgreSQL's newest programs on this machine.
pub fn installed_postgres() -> anyhow::Result<PathBuf> {
    let found = postgres::newest_programs();
    found.context("PostgreSQL 15 or later is needed: apt-get install postgresql")
}

/// Looks again and again until there is something to see, or `limit` is over.
pub async fn wait_for<T, F>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let began = clock::boottime();
    loop {
        let seen = match time::timeout(limit, look()).await {
            Ok(Ok(Some(seen))) => return Ok(seen),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(anyhow!("no answer")),
        };
        if clock::boottime().saturating_sub(began) > limit {
            let last = seen.map_or_else(String::new, |error| format!(" (last: {error:#})"));
            bail!("{what}: not within {}s{last}", limit.as_secs());
        }
        time::sleep(LOOK).await;
    }
}

/// A command for `program`, for those who need one of the fleet's user.
impl User {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        self.apply(&mut command);
        command
    }
}
