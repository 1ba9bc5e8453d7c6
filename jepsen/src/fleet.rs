//! The fleet under torture: the shipped program, PostgreSQL, one region a host.
//!
//! ```text
//! region = network namespace + disk + `primacy server` + `primacy agent` ─ fuse ─ PostgreSQL
//! ```
//!
//! It knows what an operator knows: files, processes, `primacy ctl`, `psql`.
//! What ended by itself is started again after a moment, as by systemd; what a
//! nemesis ended stays down until the nemesis lets it go.

mod cli;
mod files;
mod place;
mod supervisor;

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use fastrand::Rng;

pub use place::{CLIENTS, OBSERVER, Place, REGIONS, Service};
use supervisor::Supervisor;

use crate::{
    clock,
    ground::{
        clocks::SkewedClock,
        disk::Disk,
        network::Network,
        processes::{Kind, Processes},
    },
    history::Recorder,
    seed::Seed,
    targets::{self, Targets},
};

pub const GROUP: &str = "orders";
pub const ZONE: &str = "db.example";
/// Of regions with a member; the others only vote.
const MEMBERS: usize = 3;
/// Room for a member, its log, and every directory that is kept aside; what is
/// not written takes no room.
const DISK_MIB: u64 = 8192;
const LOOK: Duration = Duration::from_millis(100);
/// Far more than it takes a killed process to end.
const KILL: Duration = Duration::from_secs(20);

/// What the workloads write into.
const SCHEMA: &str = "\
CREATE TABLE writes (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE probes (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
GRANT SELECT, INSERT ON writes TO app;
GRANT SELECT, INSERT ON probes TO probe;";

/// What a fleet is made of.
#[derive(Debug, Clone)]
pub struct Options {
    pub seed: Seed,
    /// Three or five.
    pub nodes: usize,
    pub program: PathBuf,
    /// PostgreSQL's programs.
    pub bin_dir: PathBuf,
    /// Where everything is put; made, and removed at the end.
    pub work: PathBuf,
}

impl Options {
    pub const MAX_STALENESS_MS: u64 = 2000;
    pub const TTL_MS: u64 = 10_000;
}

/// Processes and what they stand on. What it started, it ends when dropped.
pub struct Fleet {
    pub options: Options,
    pub network: Network,
    pub places: Vec<Place>,
    work: PathBuf,
    disks: Vec<Mutex<Disk>>,
    clocks: Vec<SkewedClock>,
    supervisor: Supervisor,
    user: (u32, u32),
    password: String,
    secret: String,
}

impl Fleet {
    /// Makes network, disks and files; starts nothing.
    pub fn prepare(options: Options, recorder: &Recorder) -> anyhow::Result<Self> {
        let regions = REGIONS.get(..options.nodes);
        let regions = regions.context("three or five nodes, one region each")?;
        let orphans = end_orphans(&options);
        let work = options.work.clone();
        fs::create_dir_all(&work).with_context(|| format!("make {}", work.display()))?;
        let user = databases_user()?;
        let hosts: Vec<&str> = regions.iter().copied().chain([CLIENTS, OBSERVER]).collect();
        let network = Network::new(options.seed, &hosts)?;
        let mut places = Vec::new();
        let mut disks = Vec::new();
        let mut clocks = Vec::new();
        for (index, region) in regions.iter().enumerate() {
            let dir = work.join(region);
            let image = work.join(format!("{region}.img"));
            disks.push(Mutex::new(Disk::create(&image, &dir, DISK_MIB, user)?));
            clocks.push(SkewedClock::create(&work.join(format!("{region}.clock")))?);
            places.push(Place {
                index,
                id: u64::try_from(index)? + 1,
                region,
                ip: network.address(region)?,
                dir,
                has_member: index < MEMBERS,
            });
        }
        // Their disks were unmounted when the first of ours was made.
        for orphan in orphans {
            fs::remove_dir_all(&orphan).with_context(|| format!("remove {}", orphan.display()))?;
        }
        let mut random = options.seed.stream("secrets");
        let fleet = Self {
            network,
            places,
            disks,
            clocks,
            supervisor: Supervisor::start(recorder.clone()),
            user,
            password: word(&mut random),
            secret: word(&mut random) + &word(&mut random),
            work,
            options,
        };
        files::write(&fleet).context("write the fleet's files")?;
        Ok(fleet)
    }

    /// Starts every region, makes the group, and waits until it serves.
    pub fn bring_up(&self, tell: &dyn Fn(&str)) -> anyhow::Result<()> {
        tell("starting the nodes and agents");
        for place in &self.places {
            self.start_region(place)?;
        }
        self.wait_for("a quorum", Duration::from_secs(60), || {
            let status = self.ctl(&["cluster", "status"]);
            status.is_ok_and(|status| status["confirmed"] == true)
        })?;
        tell("making the first primary and cloning it");
        let file = self.group_file().display().to_string();
        self.ctl(&["group", "apply", "-f", &file])?;
        self.wait_until_whole(Duration::from_secs(180))?;
        let primary = self.primary()?;
        let role = |name: &str| format!("CREATE ROLE {name} LOGIN PASSWORD '{}';\n", self.password);
        let sql = role("app") + &role("probe") + SCHEMA;
        self.sql(primary, &sql).map(|_| ())
    }

    /// The place of a region.
    pub fn place(&self, region: &str) -> anyhow::Result<&Place> {
        let place = self.places.iter().find(|place| place.region == region);
        place.with_context(|| format!("there is no region {region}"))
    }

    /// Places with a member, in order.
    pub fn members(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.has_member)
    }

    /// The holder's place, as the quorum says.
    pub fn primary(&self) -> anyhow::Result<&Place> {
        let group = self.group()?;
        self.place(group["holder"].as_str().context("nobody holds the lease")?)
    }

    /// What clients need to know.
    #[must_use]
    pub fn targets(&self) -> Targets {
        let node = |place: &Place| targets::Node {
            id: place.id,
            grpc: place.grpc(),
            dns: place.dns(),
        };
        let member = |place: &Place| targets::Member {
            name: place.region.to_owned(),
            postgres: place.postgres(),
        };
        Targets {
            group: GROUP.to_owned(),
            zone: ZONE.to_owned(),
            nodes: self.places.iter().map(node).collect(),
            members: self.members().map(member).collect(),
            password: self.password.clone(),
        }
    }

    pub fn disk(&self, place: &Place) -> MutexGuard<'_, Disk> {
        let disk = self.disks[place.index].lock();
        disk.unwrap_or_else(PoisonError::into_inner)
    }

    /// The clocks of a region's node and agent; PostgreSQL keeps the true time.
    pub fn clock(&self, place: &Place) -> &SkewedClock {
        &self.clocks[place.index]
    }

    /// The copy that runs, where the databases' user can execute it.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.work.join("bin/primacy")
    }

    /// The group, as an operator would write it.
    #[must_use]
    pub fn group_file(&self) -> PathBuf {
        self.work.join("group.toml")
    }

    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.work.join("logs")
    }

    fn secret(&self) -> &str {
        &self.secret
    }

    fn subnet(&self) -> String {
        let [a, b, c, _] = self.places[0].ip.octets();
        format!("{}/24", Ipv4Addr::new(a, b, c, 0))
    }

    // Processes.

    /// Starts the services of a region, and keeps them running.
    fn start_region(&self, place: &Place) -> anyhow::Result<()> {
        for service in place.services() {
            let mut command = Command::new(self.program());
            run_as(&mut command, self.user);
            command
                .arg(service.name())
                .arg("--config")
                .arg(place.config(&self.work, *service))
                .current_dir(&place.dir)
                .envs(self.clock(place).env());
            let namespace = self.network.namespace(place.region)?.clone();
            let log = place.log(&self.work, *service);
            let key = (place.index, *service);
            self.supervisor.keep(key, command, namespace, log);
        }
        Ok(())
    }

    /// Leaves a service down once it has ended, until it is released.
    pub fn hold(&self, place: &Place, service: Service) {
        self.supervisor.hold((place.index, service));
    }

    /// Starts a service, unless somebody else holds it down too.
    pub fn release(&self, place: &Place, service: Service) {
        self.supervisor.release((place.index, service));
    }

    pub fn hold_region(&self, place: &Place) {
        place.services().iter().for_each(|it| self.hold(place, *it));
    }

    /// Starts what of a region is down; the counterpart of `hold_region`.
    pub fn release_region(&self, place: &Place) {
        place
            .services()
            .iter()
            .for_each(|it| self.release(place, *it));
    }

    /// The processes of a region.
    #[must_use]
    pub fn processes(&self, place: &Place) -> Processes {
        Processes::of(&place.dir, &self.program(), &self.options.bin_dir)
    }

    /// Kills, -9, everything of a region, and returns when nothing is left. It
    /// stays down until it is released.
    pub fn kill_region(&self, place: &Place) -> anyhow::Result<usize> {
        self.hold_region(place);
        let deadline = clock::now() + KILL;
        let killed = self.processes(place).kill(&Kind::ALL, deadline)?;
        Ok(killed.len())
    }

    // Waiting.

    /// Waits until every member is in its place and the epoch is sealed.
    pub fn wait_until_whole(&self, limit: Duration) -> anyhow::Result<()> {
        self.wait_for("a whole group", limit, || self.is_whole().unwrap_or(false))
    }

    fn is_whole(&self) -> anyhow::Result<bool> {
        let group = self.group()?;
        let members = group["members"].as_array().context("no members")?;
        let well = |member: &serde_json::Value| {
            let is_holder = member["name"] == group["holder"];
            match is_holder {
                true => member["state"] == "primary",
                false => member["state"] == "standby" && member["receiving"] == true,
            }
        };
        let serves = group["sealed"] == true && group["failing_over"] == false;
        Ok(serves && members.len() == MEMBERS && members.iter().all(well))
    }

    /// Looks until `seen`; the error names what was waited for.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        mut seen: impl FnMut() -> bool,
    ) -> anyhow::Result<()> {
        let began = clock::now();
        while !seen() {
            if clock::now().saturating_sub(began) > limit {
                bail!("{what}: not within {}s", limit.as_secs());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Ends everything and removes it. Called again, it does nothing.
    pub fn tear_down(&self) -> anyhow::Result<()> {
        self.supervisor.stop();
        for place in &self.places {
            self.kill_region(place)?;
        }
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Err(error) = self.tear_down() {
            eprintln!("the fleet was not ended: {error:#}");
        }
        self.disks.clear();
        if let Err(error) = fs::remove_dir_all(&self.work) {
            eprintln!("{} was not removed: {error}", self.work.display());
        }
    }
}

/// Ends what runs of fleets whose own process is gone, as after `kill -9`, and
/// says where they were.
fn end_orphans(options: &Options) -> Vec<PathBuf> {
    let (Some(parent), Some(name)) = (options.work.parent(), options.work.file_name()) else {
        return Vec::new();
    };
    let (name, entries) = (name.to_string_lossy(), fs::read_dir(parent));
    let prefix = name.trim_end_matches(|it: char| it.is_ascii_digit());
    let is_orphan = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let process = name.and_then(|name| name.strip_prefix(prefix));
        let process = process.filter(|it| it.parse::<u32>().is_ok());
        process.is_some_and(|it| !Path::new("/proc").join(it).exists())
    };
    let paths = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let orphans: Vec<_> = paths.filter(is_orphan).collect();
    for orphan in &orphans {
        let processes = Processes::of(orphan, &orphan.join("bin/primacy"), &options.bin_dir);
        if let Err(error) = processes.kill(&Kind::ALL, clock::now() + KILL) {
            eprintln!("{}: {error}", orphan.display());
        }
    }
    orphans
}

/// PostgreSQL refuses root.
fn databases_user() -> anyhow::Result<(u32, u32)> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "namespaces and disks are made by root: run this with sudo"
    );
    let users = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let ids = users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[..] {
            ["postgres", _, uid, gid, ..] => Some((uid.parse().ok()?, gid.parse().ok()?)),
            _ => None,
        }
    });
    ids.context("there is no user postgres: apt-get install postgresql")
}

fn run_as(command: &mut Command, (uid, gid): (u32, u32)) {
    command.uid(uid).gid(gid).process_group(0);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["PRIMACY_", "PG", "CARGO"]
            .iter()
            .any(|it| text.starts_with(it))
        {
            command.env_remove(name);
        }
    }
}

fn word(random: &mut Rng) -> String {
    (0..32).map(|_| random.alphanumeric()).collect()
}

/// PostgreSQL's programs, the newest there are.
pub fn installed_postgres() -> anyhow::Result<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql");
    let found = fs::read_dir(versions).ok().into_iter().flatten();
    let numbers = found.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let newest = numbers.filter(|version| *version >= 15).max();
    let newest = newest.context("PostgreSQL 15 or later is needed: apt-get install postgresql")?;
    Ok(versions.join(newest.to_string()).join("bin"))
}
