//! Finding and ending walreceivers; what recovery is doing, by its title.
//!
//! A reload does not end one while replay is paused, delayed or behind, and
//! `pg_stat_wal_receiver` hides one that is still connecting. Here they are
//! found where they cannot hide: among the children of the postmaster.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::{
    error::{Result, sql},
    server::POLL,
};

/// What a child of the postmaster is, by its title.
#[derive(PartialEq, Eq)]
enum Child {
    Receiver,
    /// Forked, but still under the postmaster's own command line.
    Unnamed,
    Other,
}

/// Sends SIGTERM to walreceivers until neither /proc nor `pg_stat_activity`
/// shows one. One that starts later cannot connect: its credential is gone.
pub(super) async fn terminate_all(postmaster: u32, session: &Client) -> Result<()> {
    let query = "select pid from pg_stat_activity where backend_type = 'walreceiver'";
    let statement = session
        .prepare(query)
        .await
        .map_err(sql("look for walreceivers"))?;
    loop {
        let rows = session.query(&statement, &[]).await;
        let rows = rows.map_err(sql("look for walreceivers"))?;
        let known = rows.iter().map(|row| row.get::<_, i32>(0).unsigned_abs());
        let mut receivers: Vec<u32> = known.collect();
        let children = children(postmaster);
        receivers.extend(of_kind(&children, Child::Receiver));
        let unnamed = of_kind(&children, Child::Unnamed).next().is_some();
        if receivers.is_empty() && !unnamed {
            return Ok(());
        }
        for pid in receivers {
            // The title is looked at again: the number may be another's by now.
            if kind(pid, postmaster) == Child::Receiver {
                terminate(pid);
            }
        }
        sleep(POLL).await;
    }
}

/// Sends SIGTERM to the walreceivers that /proc shows now.
pub(super) fn signal_all(postmaster: u32) {
    of_kind(&children(postmaster), Child::Receiver).for_each(terminate);
}

/// What recovery waits for, in the words of its title, while nothing brings it:
/// no receiver streams, no archive is read, and it sleeps.
///
/// It is `waiting for` a segment that is not there, and `recovering` one that is
/// there in part. A receiver that streams says so, one that is refused ends.
pub(super) fn waits_in_vain_for(postmaster: u32) -> Option<String> {
    let pids = crate::fuse::children(postmaster).unwrap_or_default();
    let words = |pid| (pid, String::from_utf8_lossy(&title(pid)).into_owned());
    let children: Vec<(u32, String)> = pids.into_iter().map(words).collect();
    let shows = |part: &str| children.iter().find(|(_, title)| title.contains(part));
    if shows("walreceiver streaming").is_some() {
        return None;
    }
    let (recovery, title) = shows(" startup waiting for ").or(shows(" startup recovering "))?;
    let reads_archive = crate::fuse::children(*recovery).is_ok_and(|them| !them.is_empty());
    (is_asleep(*recovery) && !reads_archive).then(|| title.clone())
}

fn is_asleep(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('S'))
}

fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone = kill_process(pid, Signal::TERM);
    }
}

fn of_kind(children: &[(u32, Child)], wanted: Child) -> impl Iterator<Item = u32> {
    children
        .iter()
        .filter(move |(_, kind)| *kind == wanted)
        .map(|(pid, _)| *pid)
}

fn children(postmaster: u32) -> Vec<(u32, Child)> {
    let pids = crate::fuse::children(postmaster).unwrap_or_default();
    pids.into_iter()
        .map(|pid| (pid, kind(pid, postmaster)))
        .collect()
}

fn kind(pid: u32, postmaster: u32) -> Child {
    let own = title(pid);
    if own.windows(11).any(|part| part == b"walreceiver") && own.starts_with(b"postgres:") {
        Child::Receiver
    } else if !own.is_empty() && own == title(postmaster) {
        Child::Unnamed
    } else {
        Child::Other
    }
}

fn title(pid: u32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}
