//! Regions that can be cut off from each other: a network namespace for each,
//! joined by a bridge that loses what it is told to lose.
//!
//! ```text
//! region 1 ─┐
//! region 2 ─┤ hub: a bridge, and the packets that do not get through it
//! region 3 ─┤
//! clients  ─┘
//! ```
//!
//! Lost packets are dropped in the hub: nobody gets a reset, an error or a
//! carrier that went down, as with a region that is gone.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context as _, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps the names.
const NAMES: &str = "/run/netns";
const PREFIX: &str = "pm";
/// The clients' host number; regions count from 1.
const CLIENTS: u8 = 100;

/// What the hub loses: by both ends, and by one end and a TCP port.
const RULES: &str = "\
table bridge hub {
    set lost {
        type ipv4_addr . ipv4_addr
    }
    set shut {
        type ipv4_addr . inet_service
    }
    chain between {
        type filter hook forward priority 0; policy accept;
        ip saddr . ip daddr @lost counter drop
        ip saddr . tcp dport @shut counter drop
        ip daddr . tcp sport @shut counter drop
    }
}
";

/// Names are told apart by process and by network.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The namespaces, for as long as this lives.
pub struct Network {
    prefix: String,
    base: Ipv4Addr,
    regions: u8,
}

impl Network {
    /// Why there can be none here, if so.
    #[must_use]
    pub fn missing() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("network namespaces are made by root".to_owned());
        }
        let tools = [("ip", "iproute2"), ("nft", "nftables")];
        tools.iter().find_map(|(tool, package)| {
            let mut look = Command::new(tool);
            look.arg("-V").stdout(Stdio::null()).stderr(Stdio::null());
            let there = look.status().is_ok_and(|status| status.success());
            (!there).then(|| format!("`{tool}` is missing: apt-get install {package}"))
        })
    }

    /// A hub and `regions` of one address each, counted from the one after
    /// `base`, and one more for clients.
    pub fn new(base: Ipv4Addr, regions: u8) -> anyhow::Result<Self> {
        remove_orphans();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PREFIX}{}-{number}-", std::process::id());
        let network = Self {
            prefix,
            base,
            regions,
        };
        network.build().context("make the network namespaces")?;
        Ok(network)
    }

    fn build(&self) -> anyhow::Result<()> {
        let hub = self.name("hub");
        ip(&format!("netns add {hub}"))?;
        ip(&format!(
            "-n {hub} link add br0 type bridge stp_state 0 forward_delay 0"
        ))?;
        ip(&format!("-n {hub} link set br0 up"))?;
        let hosts = (1..=self.regions).chain([CLIENTS]);
        for host in hosts {
            let (name, address) = (self.name(&host.to_string()), self.address(host));
            ip(&format!("netns add {name}"))?;
            ip(&format!(
                "link add v{host} netns {hub} type veth peer name eth0 netns {name}"
            ))?;
            ip(&format!("-n {hub} link set v{host} master br0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
        }
        self.nft(RULES)
    }

    fn name(&self, of: &str) -> String {
        format!("{}{of}", self.prefix)
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.base.octets();
        Ipv4Addr::new(a, b, c, host)
    }

    fn host(index: usize) -> u8 {
        u8::try_from(index + 1).unwrap_or(u8::MAX)
    }

    /// The namespace of a region, counted from 0.
    #[must_use]
    pub fn region(&self, index: usize) -> PathBuf {
        Path::new(NAMES).join(self.name(&Self::host(index).to_string()))
    }

    /// The namespace of clients.
    #[must_use]
    pub fn clients(&self) -> PathBuf {
        Path::new(NAMES).join(self.name(&CLIENTS.to_string()))
    }

    fn others(&self, host: u8) -> impl Iterator<Item = u8> + use<> {
        let hosts = (1..=self.regions).chain([CLIENTS]);
        hosts.filter(move |other| *other != host)
    }

    /// Nothing reaches a region any more, and nothing leaves it.
    pub fn cut_off(&self, index: usize) -> anyhow::Result<()> {
        let host = Self::host(index);
        let both = self
            .others(host)
            .flat_map(|other| [(host, other), (other, host)]);
        self.lose(both)
    }

    /// Nothing leaves a region any more; what is sent to it arrives.
    pub fn mute(&self, index: usize) -> anyhow::Result<()> {
        let host = Self::host(index);
        self.lose(self.others(host).map(|other| (host, other)))
    }

    fn lose(&self, pairs: impl Iterator<Item = (u8, u8)>) -> anyhow::Result<()> {
        let pair = |(from, to)| format!("{} . {}", self.address(from), self.address(to));
        let pairs: Vec<_> = pairs.map(pair).collect();
        self.nft(&format!(
            "add element bridge hub lost {{ {} }}\n",
            pairs.join(", ")
        ))
    }

    /// A region's connections to a port elsewhere fall silent.
    pub fn shut_port(&self, index: usize, port: u16) -> anyhow::Result<()> {
        let address = self.address(Self::host(index));
        self.nft(&format!(
            "add element bridge hub shut {{ {address} . {port} }}\n"
        ))
    }

    /// Everything gets through again.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.nft("flush set bridge hub lost\nflush set bridge hub shut\n")
    }

    fn nft(&self, rules: &str) -> anyhow::Result<()> {
        use std::io::Write as _;
        let hub = Path::new(NAMES).join(self.name("hub"));
        let mut command = Command::new("nft");
        command
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = inside(&hub, || command.spawn())?.context("start nft")?;
        let mut input = child.stdin.take().context("nft has no input")?;
        input.write_all(rules.as_bytes())?;
        drop(input);
        succeeded(&child.wait_with_output()?, "nft")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(&self.prefix);
    }
}

/// Does something in a thread that has moved to a namespace, and in those
/// that it starts.
pub fn inside<T: Send>(namespace: &Path, act: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    let namespace = fs::File::open(namespace)
        .with_context(|| format!("open namespace {}", namespace.display()))?;
    let work = move || {
        use std::os::fd::AsFd as _;
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), kind).context("enter a namespace")?;
        anyhow::Ok(act())
    };
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .map_err(|error| anyhow!("start ip: {error}"))?;
    succeeded(&output, &format!("ip {arguments}"))
}

fn succeeded(output: &std::process::Output, what: &str) -> anyhow::Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}", said.trim());
    Ok(())
}

fn names() -> impl Iterator<Item = String> {
    let entries = fs::read_dir(NAMES).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn remove(prefix: &str) {
    for name in names().filter(|name| name.starts_with(prefix)) {
        if let Err(error) = ip(&format!("netns del {name}")) {
            eprintln!("a namespace was not tidied up: {error:#}");
        }
    }
}

/// Namespaces of processes that were killed before they could tidy up.
fn remove_orphans() {
    for name in names() {
        let process = name.strip_prefix(PREFIX).and_then(|it| it.split_once('-'));
        let Some((process, _)) = process else {
            continue;
        };
        let number = process.parse::<u32>().is_ok();
        if number && !Path::new("/proc").join(process).exists() {
            remove(&name);
        }
    }
}
