//! What an operator types: `primacy ctl`, and `psql` on a member's own socket.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{Fleet, GROUP, OBSERVER, Place, run_as};
use crate::{clock, history::Event};

/// For one command; what it starts may take longer and is looked at again.
const LIMIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);
/// Events that are asked for at once.
const PAGE: usize = 500;

impl Fleet {
    /// Runs `primacy ctl` on the observer's host and reads its JSON.
    pub fn ctl(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let nodes: Vec<String> = self.places.iter().map(|it| it.grpc().to_string()).collect();
        let mut command = Command::new(self.program());
        command
            .arg("ctl")
            .args(arguments)
            .args(["--output", "json", "--server", &nodes.join(",")]);
        let output = self
            .network
            .spawn_in(OBSERVER, move || run_within(command, String::new(), LIMIT))??;
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(
            output.status.success(),
            "primacy ctl {}: {error}",
            arguments.join(" ")
        );
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("what `primacy ctl {}` prints", arguments.join(" ")))
    }

    /// Runs SQL as the superuser, on a member's own socket.
    pub fn sql(&self, place: &Place, sql: &str) -> anyhow::Result<String> {
        let mut command = Command::new(self.options.bin_dir.join("psql"));
        run_as(&mut command, self.user);
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-U", "postgres", "-d", "postgres", "-h"])
            .arg(place.socket())
            .args(["-p", &place.postgres().port().to_string()]);
        let output = run_within(command, sql.to_owned(), LIMIT)?;
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(output.status.success(), "psql at {}: {error}", place.region);
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The group as the quorum shows it.
    pub fn group(&self) -> anyhow::Result<Value> {
        let status = self.ctl(&["status", GROUP])?;
        let group = status["groups"].get(0).cloned();
        group.context("the group is not there")
    }

    /// The whole history.
    pub fn events(&self) -> anyhow::Result<Vec<Event>> {
        let mut events = Vec::<Event>::new();
        loop {
            let since = events.last().map_or(0, |event| event.revision + 1);
            let mut page = self.events_since(since)?;
            let is_last = page.len() < PAGE;
            // A page may end between two events of one revision.
            if let (false, Some(cut)) = (is_last, page.last().map(|event| event.revision)) {
                page.retain(|event| event.revision < cut);
                ensure!(
                    !page.is_empty(),
                    "revision {cut} has more than {PAGE} events"
                );
            }
            events.extend(page);
            if is_last {
                return Ok(events);
            }
        }
    }

    fn events_since(&self, since: u64) -> anyhow::Result<Vec<Event>> {
        let (since, limit) = (since.to_string(), PAGE.to_string());
        let page = self.ctl(&["events", GROUP, "--since", &since, "--limit", &limit])?;
        let page = page
            .as_array()
            .context("`primacy ctl events` prints no list")?;
        page.iter().map(event).collect()
    }
}

fn event(line: &Value) -> anyhow::Result<Event> {
    let number = |key: &str| {
        line[key]
            .as_u64()
            .with_context(|| format!("{key} in {line}"))
    };
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    Ok(Event {
        revision: number("revision")?,
        at_ms: number("at_ms")?,
        group: text("group"),
        epoch: u32::try_from(number("epoch")?)?,
        kind: text("kind"),
        text: text("text"),
        detail: line["detail"].to_string(),
    })
}

/// Runs a command to its end, or kills it.
fn run_within(mut command: Command, input: String, limit: Duration) -> anyhow::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {name}"))?;
    // On standard input: passwords are in it.
    child
        .stdin
        .take()
        .context("it has no input")?
        .write_all(input.as_bytes())?;
    let mut out = child.stdout.take().context("it has no output")?;
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes)
    });
    let began = clock::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if clock::now().saturating_sub(began) > limit {
            child.kill()?;
            child.wait()?;
            bail!("{name}: no end within {}s", limit.as_secs());
        }
        thread::sleep(LOOK);
    };
    let mut stderr = Vec::new();
    if let Some(mut err) = child.stderr.take() {
        err.read_to_end(&mut stderr)?;
    }
    let stdout = match reader.join() {
        Ok(read) => read?,
        Err(_) => bail!("{name}: its output could not be read"),
    };
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}
