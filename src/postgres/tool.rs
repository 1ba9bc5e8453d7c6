//! PostgreSQL's programs, run to their end.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use tokio::process::Command;

use super::{
    error::{Error, Result},
    instance::Instance,
};

/// A command for one of PostgreSQL's programs, with an environment of its own
/// (`PG*` variables of whoever started the agent must not matter) and plain
/// English messages. Killed when dropped.
pub(super) fn command(instance: &Instance, program: &str) -> Command {
    let mut command = Command::new(instance.binary(program));
    command
        .env_clear()
        .envs(environment(instance))
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

pub(super) fn environment(instance: &Instance) -> Vec<(String, String)> {
    let path = format!("{}:/usr/bin:/bin", instance.bin_dir.display());
    let pairs = [("PATH", path.as_str()), ("LC_ALL", "C"), ("TZ", "UTC")];
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// Runs it; its complaint, when it fails, is in the error.
pub(super) async fn run(command: &mut Command) -> Result<Output> {
    let output = output(command).await?;
    if output.status.success() {
        return Ok(output);
    }
    Err(failure(
        program(command),
        &output.status.to_string(),
        &output.stderr,
    ))
}

/// Runs it, whatever its exit status.
pub(super) async fn output(command: &mut Command) -> Result<Output> {
    let output = command.output().await;
    output.map_err(|source| Error::Execute {
        program: program(command).to_owned(),
        source,
    })
}

pub(super) fn failure(program: &Path, status: &str, complaint: &[u8]) -> Error {
    Error::Tool {
        program: program.to_owned(),
        status: status.to_owned(),
        complaint: tail(&String::from_utf8_lossy(complaint)),
    }
}

pub(super) fn program(command: &Command) -> &Path {
    Path::new(command.as_std().get_program())
}

/// The last lines, where programs say why.
fn tail(text: &str) -> String {
    let lines: Vec<_> = text.trim().lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}
