//! The processes below the fuse, and how to be rid of all of them.
//!
//! PostgreSQL's children are sessions of their own and outlive a killed
//! postmaster: backends have been seen to acknowledge a commit six seconds
//! after it. As a subreaper the fuse stays the ancestor of every one of them.

use std::{collections::HashMap, fs, io, path::Path, sync::Mutex, thread, time::Duration};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid},
};

/// How long between two looks at processes that were sent SIGKILL.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// One line of /proc: a process that has not ended.
#[derive(Debug, Clone, Copy)]
struct Process {
    pid: u32,
    parent: u32,
}

/// Parses `/proc/PID/stat`; a zombie is not a process any more.
fn parse_stat(stat: &str) -> Option<Process> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    // The name in parentheses may hold anything, parentheses included.
    let mut rest = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = rest.next()?;
    let parent = rest.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(Process { pid, parent })
}

fn pids() -> io::Result<impl Iterator<Item = u32>> {
    Ok(fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// Whether this process, a subreaper, has a descendant that has not been
/// reaped. Without a child there is none: orphans become children.
pub fn has_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, options), Err(Errno::CHILD))
}

/// Every live process below `ancestor`, nearest first.
///
/// # Errors
/// When /proc cannot be read: nothing can be said then.
pub fn descendants(ancestor: u32) -> io::Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in pids()? {
        // A process that ended meanwhile is none of ours to report.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        if let Some(process) = parse_stat(&stat) {
            children
                .entry(process.parent)
                .or_default()
                .push(process.pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![ancestor];
    while let Some(parent) = next.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            found.push(child);
            next.push(child);
        }
    }
    Ok(found)
}

/// The live children of one process.
///
/// # Errors
/// When /proc cannot be read.
pub fn children(parent: u32) -> io::Result<Vec<u32>> {
    let of_parent = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| parse_stat(&stat).is_some_and(|it| it.parent == parent))
    };
    Ok(pids()?.filter(of_parent).collect())
}

/// A process of this user that works inside `data`, as all of PostgreSQL's do.
///
/// # Errors
/// When /proc cannot be read.
pub fn inhabitant(data: &Path) -> io::Result<Option<u32>> {
    let data = fs::canonicalize(data)?;
    Ok(pids()?.find(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)))
}

/// Sends a signal; a process that has ended needs none.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _gone = kill_process(pid, signal);
    }
}

/// Kills everything below `ancestor` and returns when nothing is left.
///
/// The postmaster is stopped first: it can neither fork any more nor reap, so
/// that no identifier of a dead child is given to a stranger meanwhile.
/// Each round holds `reaping` for the same reason.
///
/// # Errors
/// When /proc cannot be read.
pub fn kill_all(ancestor: u32, postmaster: Option<u32>, reaping: &Mutex<()>) -> io::Result<()> {
    if let Some(pid) = postmaster {
        signal(pid, Signal::STOP);
    }
    loop {
        let round = {
            let _nothing_is_reaped = reaping.lock();
            kill_once(ancestor, postmaster)?
        };
        if round == Round::NothingLeft {
            return Ok(());
        }
        thread::sleep(LOOK_AGAIN);
    }
}

#[derive(PartialEq, Eq)]
enum Round {
    NothingLeft,
    Killed,
}

/// Kills the children, and the postmaster once it has none.
fn kill_once(ancestor: u32, postmaster: Option<u32>) -> io::Result<Round> {
    let left = descendants(ancestor)?;
    let children = left.iter().filter(|pid| Some(**pid) != postmaster);
    let mut any_child = false;
    for pid in children {
        any_child = true;
        signal(*pid, Signal::KILL);
    }
    if let (false, Some(pid)) = (any_child, postmaster)
        && left.contains(&pid)
    {
        signal(pid, Signal::KILL);
    }
    Ok(if left.is_empty() {
        Round::NothingLeft
    } else {
        Round::Killed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_parentheses() {
        let process = parse_stat("71 (a) S 9) R 12 71 71 0").expect("alive");
        assert_eq!((process.pid, process.parent), (71, 12));
        assert!(parse_stat("71 (postgres) Z 12 71").is_none());
    }
}
