//! What the fleet stands on, and what can be done to it.
//!
//! ```text
//! network    a namespace for each host, joined by a hub that loses and delays
//! processes  found by what they are, killed and stopped
//! disk       file systems of their own, that fill, fail and lose power
//! clocks     per process, by a preloaded library
//! cpu        taken away by whoever spins
//! ```
//!
//! Nothing here knows what Primacy is. Each fault can be asked for its effect:
//! one that shows none did not happen.

pub mod clocks;
pub mod cpu;
pub mod disk;
mod hub;
mod ioctl;
pub mod link;
pub mod namespace;
pub mod network;
pub mod processes;

use std::{io, path::PathBuf, process::Command};

#[derive(Debug, thiserror::Error)]
pub enum GroundError {
    #[error("{what}")]
    System { what: String, source: io::Error },
    #[error("`{command}`: {said}")]
    Command { command: String, said: String },
    #[error("no host is called {0}")]
    NoHost(String),
    #[error("processes {0:?} do not end")]
    StillThere(Vec<i32>),
    #[error("processes {0:?} do not stop")]
    StillRunning(Vec<i32>),
    #[error("process {pid} reads no skewed clock from {}", page.display())]
    NotSkewed { pid: u32, page: PathBuf },
    #[error("{0}")]
    Impossible(String),
}

/// For `map_err`: says what could not be done.
fn doing<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> GroundError {
    let what = what.into();
    move |source| GroundError::System {
        what,
        source: source.into(),
    }
}

/// Runs a tool to its end; an error has what it said.
fn tool(program: &str, arguments: &[&str]) -> Result<String, GroundError> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(doing(format!("start {program}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(GroundError::Command {
        command: format!("{program} {}", arguments.join(" ")),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Whether the process that made something is gone, so that nobody will tidy
/// it up: `rest` begins with that process's number.
fn is_orphan(name: &str, prefix: &str) -> bool {
    let Some((process, _)) = name
        .strip_prefix(prefix)
        .and_then(|rest| rest.split_once('-'))
    else {
        return false;
    };
    process.parse::<u32>().is_ok() && !std::path::Path::new("/proc").join(process).exists()
}

/// Why none of this can be had here, if so.
#[must_use]
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("namespaces and disks are made by root".to_owned());
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        return Some("/dev/net/tun is missing".to_owned());
    }
    let tools = [("ip", "iproute2"), ("mkfs.ext4", "e2fsprogs")];
    tools.iter().find_map(|(program, package)| {
        let there = Command::new(program).arg("-V").output().is_ok();
        (!there).then(|| format!("`{program}` is missing: apt-get install {package}"))
    })
}
