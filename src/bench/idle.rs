//! What a fleet costs while nothing happens, as the kernel counts it.

use std::{fs, thread, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use tokio::time;

use crate::{clock, demo::fleet::Fleet};

/// How long nothing happens.
pub(super) const WATCH: Duration = Duration::from_secs(20);
/// A fleet that was just made still has work to do.
const SETTLE: Duration = Duration::from_secs(6);
/// USER_HZ of every Linux that PostgreSQL runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// One process.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Cost {
    pub region: String,
    /// The subcommand.
    pub service: String,
    pub rss_mib: f64,
    /// Of one core.
    pub cpu_percent: f64,
}

/// Looks at each process of the program twice, [`WATCH`] apart.
pub(super) async fn watch(fleet: &Fleet) -> anyhow::Result<Vec<Cost>> {
    time::sleep(SETTLE).await;
    let began = clock::boottime();
    let mut before = Vec::new();
    for (region, service, pid) in fleet.processes() {
        before.push((region, service, pid, ticks(pid)?));
    }
    time::sleep(WATCH).await;
    let seconds = clock::boottime().saturating_sub(began).as_secs_f64();
    let cost = |(region, service, pid, ticks_before): (String, String, i32, u32)| {
        let spent = f64::from(ticks(pid)?.saturating_sub(ticks_before)) / TICKS_PER_SECOND;
        anyhow::Ok(Cost {
            region,
            service,
            rss_mib: resident_mib(pid)?,
            cpu_percent: spent / seconds * 100.0,
        })
    };
    before.into_iter().map(cost).collect()
}

/// Processor time of all its threads, in user mode and in the kernel.
fn ticks(pid: i32) -> anyhow::Result<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a process has ended")?;
    // The name, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("stat of a process")?;
    let field = |at: usize| -> Option<u32> { fields.split_whitespace().nth(at)?.parse().ok() };
    let both = field(11).zip(field(12)).context("times of a process")?;
    Ok(both.0 + both.1)
}

fn resident_mib(pid: i32) -> anyhow::Result<f64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("a process has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.context("memory of a process")? / 1024.0)
}

/// Processes that wanted to run, averaged over 1, 5 and 15 minutes.
pub(super) fn load() -> Vec<f64> {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let numbers = text.split_whitespace().take(3);
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// What to say of a machine that is busy with something else.
pub(super) fn warning(load: &[f64]) -> Option<String> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let busy = load.first().copied().unwrap_or_default();
    // Half of the processors idle is little enough.
    let most = u32::try_from(cores).map_or(1.0, f64::from) / 2.0;
    (busy > most).then(|| {
        format!(
            "warning: the machine is busy (load {busy:.1} on {cores} cores): what follows says \
             as much of that as of failovers"
        )
    })
}
