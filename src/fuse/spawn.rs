//! Starting PostgreSQL as the fuse's own child.

use std::{
    fs, io,
    path::Path,
    process::{self, Command, Stdio},
};

use super::{protocol::StartSpec, sys, tree};

/// Starts it; the caller reaps.
///
/// Refuses while anything of this directory runs, whoever started it: a
/// second postmaster on one directory destroys it.
pub(super) fn postgres(spec: &StartSpec) -> Result<u32, String> {
    refuse_second(&spec.data)?;
    let log = open_log(&spec.log)
        .map_err(|error| format!("open the log {}: {error}", spec.log.display()))?;
    let mut command = Command::new(&spec.binary);
    command
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(|error| error.to_string())?)
        .stderr(log);
    sys::die_with_parent(&mut command);
    let child = command
        .spawn()
        .map_err(|error| format!("execute {}: {error}", spec.binary.display()))?;
    Ok(child.id())
}

fn open_log(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().create(true).append(true).open(path)
}

/// Clears the way for a start: a `postmaster.pid` left behind by a kill goes,
/// but only once nobody is seen to live in the directory.
fn refuse_second(data: &Path) -> Result<(), String> {
    let own = tree::descendants(process::id()).map_err(|error| format!("read /proc: {error}"))?;
    if let Some(pid) = own.first() {
        return Err(format!("process {pid} of the last PostgreSQL still runs"));
    }
    let stranger =
        tree::inhabitant(data).map_err(|error| format!("look into {}: {error}", data.display()))?;
    if let Some(pid) = stranger {
        let data = data.display();
        return Err(format!(
            "process {pid}, not started by this fuse, works in {data}; \
             is another service set to start this directory?"
        ));
    }
    match fs::remove_file(data.join("postmaster.pid")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("remove a stale postmaster.pid: {error}"))
        }
        _ => Ok(()),
    }
}
