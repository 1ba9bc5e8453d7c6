//! The processes of a place, found by what they are and where they work.
//!
//! Not by descent: a fuse outlives its agent on purpose, and PostgreSQL's
//! children outlive a killed postmaster. Not by directory alone either: a
//! shell in which somebody looks at the logs is none of ours.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::bail;
use rustix::process::{Pid, Signal, kill_process};

use crate::clock;

const LOOK_AGAIN: Duration = Duration::from_millis(2);
const LIMIT: Duration = Duration::from_secs(10);

/// Kills, -9, every process of `program` and of PostgreSQL that works within
/// `dir`; returns when none is left.
pub(super) fn kill_within(dir: &Path, program: &Path, bin_dir: &Path) -> anyhow::Result<()> {
    let began = clock::boottime();
    loop {
        let left = within(dir, program, bin_dir);
        if left.is_empty() {
            return Ok(());
        }
        left.iter().copied().for_each(kill);
        if clock::boottime().saturating_sub(began) > LIMIT {
            bail!("processes {left:?} in {} do not end", dir.display());
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Sends SIGKILL; a process that has ended needs none.
pub(super) fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _gone = kill_process(pid, Signal::KILL);
    }
}

/// Processes of `program` that work within `dir`, by subcommand.
pub(super) fn of_program(dir: &Path, program: &Path) -> Vec<(String, i32)> {
    let named = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let subcommand = line.split(|byte| *byte == 0).nth(1)?;
        Some((String::from_utf8_lossy(subcommand).into_owned(), pid))
    };
    // Nothing of PostgreSQL is there.
    let pids = within(dir, program, program);
    pids.into_iter().filter_map(named).collect()
}

fn within(dir: &Path, program: &Path, bin_dir: &Path) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let bin_dir = fs::canonicalize(bin_dir).unwrap_or_else(|_| bin_dir.to_owned());
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_ours(*pid, program, &bin_dir) && works_in(*pid, dir))
        .collect()
}

/// A process that has ended has no executable any more.
fn is_ours(pid: i32, program: &Path, bin_dir: &Path) -> bool {
    let Ok(executable) = fs::read_link(format!("/proc/{pid}/exe")) else {
        return false;
    };
    let psql = executable.file_name().is_some_and(|name| name == "psql");
    executable == program || (executable.starts_with(bin_dir) && !psql)
}

fn works_in(pid: i32, dir: &Path) -> bool {
    let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
    if cwd.is_ok_and(|cwd| cwd.starts_with(dir)) {
        return true;
    }
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments = arguments.split(|byte| *byte == 0);
    arguments
        .any(|argument| str::from_utf8(argument).is_ok_and(|it| Path::new(it).starts_with(dir)))
}
