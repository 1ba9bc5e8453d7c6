//! `primacy bench`: how long what takes, measured on real processes.
//!
//! ```text
//! ground   a fleet with a writer, and one fault at a time
//! idle     what a fleet costs while nothing happens
//! spread   least, median and greatest, beside what was to be reached
//! ```

mod ground;
mod idle;
mod scenario;
mod spread;

use std::{net::Ipv4Addr, path::PathBuf};

use anyhow::{bail, ensure};
use clap::{Args, Subcommand};
use tokio::{runtime, task};
use tokio_util::sync::CancellationToken;

use crate::demo::{
    fleet::{self, Network, inside},
    verdict::Writes,
};
use ground::Ground;
use idle::Cost;
use scenario::Scenario;
use spread::{Figures, Report};

/// Namespaces hold these to themselves.
const APART: Ipv4Addr = Ipv4Addr::new(10, 77, 200, 0);

/// What is measured.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Breaks a fleet on this machine again and again and times how it recovers.
    ///
    /// An application finds the primary through DNS, checks its lease and
    /// writes every few milliseconds; the write gap is the longest time in
    /// which none of its writes was acknowledged. Regions fall silent in
    /// network namespaces, which takes root. The last line is JSON.
    Failover(Failover),
}

#[derive(Debug, Clone, Args)]
struct Failover {
    /// How often each fault is made.
    #[arg(long, default_value_t = 10)]
    trials: u32,
    /// Only this one; may be repeated.
    #[arg(long, value_name = "NAME", value_enum)]
    only: Vec<Scenario>,
    /// The fleet listens on the three addresses after this one.
    #[arg(long, value_name = "IP", default_value = "127.0.0.20")]
    base: Ipv4Addr,
    /// PostgreSQL's programs [default: the newest /usr/lib/postgresql/*/bin].
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// What one fleet had to tell.
#[derive(Default)]
struct Told {
    figures: Vec<Figures>,
    idle: Vec<Cost>,
    writes: Writes,
}

/// Measures, prints, tidies up.
pub async fn run(arguments: Arguments, stop: CancellationToken) -> anyhow::Result<()> {
    let What::Failover(arguments) = arguments.what;
    ensure!(
        arguments.base.is_loopback(),
        "--base {} is not loopback",
        arguments.base
    );
    let load = idle::load();
    if let Some(warning) = idle::warning(&load) {
        println!("{warning}");
    }
    let mut report = Report::new(load);
    for apart in [false, true] {
        let wanted = arguments.wanted(apart);
        if wanted.is_empty() {
            continue;
        }
        if let Some(reason) = Network::missing().filter(|_| apart) {
            println!("silent losses are skipped: {reason}");
            continue;
        }
        let told = tokio::select! {
            told = measure(&arguments, &wanted, apart) => told?,
            () = stop.cancelled() => bail!("interrupted"),
        };
        report.add(told);
    }
    report.finish(idle::load());
    println!("\n{}\n\n{}", report.table(), report.costs());
    println!("{}", report.remarks());
    println!("{}", serde_json::to_string(&report)?);
    let lost = report.writes.lost;
    ensure!(lost == 0, "{lost} acknowledged writes were lost");
    Ok(())
}

impl Failover {
    fn wanted(&self, apart: bool) -> Vec<Scenario> {
        let wanted = |it: &&Scenario| self.only.is_empty() || self.only.contains(it);
        let all = Scenario::ALL.iter().filter(wanted);
        all.copied().filter(|it| it.is_apart() == apart).collect()
    }

    fn options(&self) -> anyhow::Result<fleet::Options> {
        let bin_dir = match &self.bin_dir {
            Some(given) => given.clone(),
            None => fleet::installed_postgres()?,
        };
        let mut options = fleet::Options::new(bin_dir);
        options.base = self.base;
        Ok(options)
    }
}

async fn measure(arguments: &Failover, wanted: &[Scenario], apart: bool) -> anyhow::Result<Told> {
    let mut options = arguments.options()?;
    if !apart {
        return Ground::measure(options, None, wanted, arguments.trials).await;
    }
    options.base = APART;
    let network = Network::new(APART, 3)?;
    options.namespaces = (0..3).map(|index| network.region(index)).collect();
    let (clients, trials) = (network.clients(), arguments.trials);
    // The clients' threads have to be in their namespace before they open anything.
    let work = || {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(Ground::measure(options, Some(network), wanted, trials))
    };
    task::block_in_place(|| inside(&clients, work))?
}
