//! A new copy of the primary, by base backup, beside what is there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

use super::{
    error::{Error, Result},
    files::{self, Durability},
    follow::Upstream,
    instance::Instance,
    passfile,
    rewind::forget_wreck,
    server::LocalPostgres,
    tool,
};

/// Names the copy that is to take PGDATA's place.
const SWAP: &str = "swap";

/// How much of a base backup has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub kilobytes: u64,
    /// Of the estimate made at its start; 100 may be reached early.
    pub percent: u8,
}

/// What became of the directory that a clone replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    Nothing,
    /// Kept, since it may be the only copy of something acknowledged.
    KeptAt(PathBuf),
}

impl LocalPostgres {
    /// Copies the primary into a fresh directory and swaps it in for PGDATA.
    /// The old directory is renamed to `DATA.replaced-N`; without `keep` it is
    /// removed if it is empty. PostgreSQL must be stopped.
    ///
    /// # Errors
    /// PGDATA is untouched unless the swap itself failed; [`Instance::finish_swap`]
    /// then completes it.
    pub async fn clone_from(
        &self,
        upstream: &Upstream,
        keep: bool,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Replaced> {
        if self.is_running().await? {
            return Err(Error::Running);
        }
        let fresh = beside(&self.instance.data, "clone");
        discard_copies(&self.instance.data)?;
        let mut command = self.base_backup(upstream, &fresh)?;
        run_with_progress(&mut command, &mut progress).await?;
        let name = fresh.display().to_string();
        files::replace(&self.instance.file(SWAP), &name, Durability::Synced)?;
        let replaced = self.instance.finish_swap()?;
        match &replaced {
            // Refused unless it is empty: what it held was not looked at.
            Replaced::KeptAt(old) if !keep && fs::remove_dir(old).is_ok() => Ok(Replaced::Nothing),
            _ => Ok(replaced),
        }
    }

    fn base_backup(&self, upstream: &Upstream, fresh: &Path) -> Result<Command> {
        let passfile = passfile::grant(&self.instance, upstream.epoch)?;
        let id = self.instance.identifier();
        let mut command = tool::command(&self.instance, "pg_basebackup");
        command
            .env("PGPASSFILE", passfile)
            .env("PGCONNECT_TIMEOUT", "5")
            // Not the member's own name: a copy must never count as its vote.
            .env("PGAPPNAME", "primacy_clone")
            .args([
                "--host",
                &upstream.host,
                "--port",
                &upstream.port.to_string(),
            ])
            .args(["--username", &id, "--slot", &id, "--no-password"])
            .args(["--checkpoint=fast", "--wal-method=stream", "--progress"])
            .arg("--pgdata")
            .arg(fresh);
        Ok(command)
    }
}

impl Instance {
    /// Completes a swap that a crash may have interrupted: to be called
    /// before anything else is decided about PGDATA.
    ///
    /// # Errors
    /// When a directory cannot be renamed: is PGDATA a mount point?
    pub fn finish_swap(&self) -> Result<Replaced> {
        let marker = self.file(SWAP);
        let Some(fresh) = files::read(&marker)?.map(PathBuf::from) else {
            return Ok(Replaced::Nothing);
        };
        let mut replaced = Replaced::Nothing;
        if fresh.exists() {
            if self.data.exists() {
                let aside = beside(&self.data, "replaced");
                rename(&self.data, &aside)?;
                replaced = Replaced::KeptAt(aside);
            }
            rename(&fresh, &self.data)?;
        }
        forget_wreck(self)?;
        files::remove(&marker)?;
        files::sync_directory(&self.state)?;
        Ok(replaced)
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(files::at("rename", from))?;
    to.parent().map_or(Ok(()), files::sync_directory)
}

/// The first free `DATA.KIND-N`.
fn beside(data: &Path, kind: &str) -> PathBuf {
    let named = |n: u32| PathBuf::from(format!("{}.{kind}-{n}", data.display()));
    #[allow(clippy::unwrap_used)] // The range does not end before the disk is full.
    (1..).map(named).find(|path| !path.exists()).unwrap()
}

/// Removes copies that were never finished; nothing was ever acknowledged there.
fn discard_copies(data: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (data.parent(), data.file_name()) else {
        return Ok(());
    };
    let prefix = format!("{}.clone-", name.to_string_lossy());
    for found in files::names(parent)?
        .iter()
        .filter(|it| it.starts_with(&prefix))
    {
        let path = parent.join(found);
        fs::remove_dir_all(&path).map_err(files::at("remove", &path))?;
    }
    Ok(())
}

/// Runs pg_basebackup, which reports on standard error, line by carriage return.
async fn run_with_progress(
    command: &mut Command,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<()> {
    let program = tool::program(command).to_owned();
    let execute = |source| Error::Execute {
        program: program.clone(),
        source,
    };
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(execute)?;
    let mut complaint = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        watch(&mut stderr, &mut complaint, progress)
            .await
            .map_err(execute)?;
    }
    let status = child.wait().await.map_err(execute)?;
    if status.success() {
        return Ok(());
    }
    Err(tool::failure(&program, &status.to_string(), &complaint))
}

async fn watch(
    stderr: &mut (impl AsyncRead + Unpin),
    complaint: &mut Vec<u8>,
    progress: &mut (impl FnMut(Progress) + Send),
) -> std::io::Result<()> {
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stderr.read(&mut buffer).await?;
        for byte in buffer.iter().take(count).copied() {
            if !matches!(byte, b'\r' | b'\n') {
                line.push(byte);
                continue;
            }
            match parse_progress(&String::from_utf8_lossy(&line)) {
                Some(now) => progress(now),
                None => complaint.extend(line.iter().copied().chain([b'\n'])),
            }
            line.clear();
        }
        if count == 0 {
            complaint.append(&mut line);
            return Ok(());
        }
    }
}

/// Parses ` 1234/5678 kB (21%), 0/1 tablespace`.
fn parse_progress(line: &str) -> Option<Progress> {
    let (done, rest) = line.trim().split_once('/')?;
    let percent = rest.split_once('(')?.1.split_once('%')?.0;
    Some(Progress {
        kilobytes: done.parse().ok()?,
        percent: percent.trim().parse::<u64>().ok()?.min(100) as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_from_complaints() {
        let progress = parse_progress(" 23198/46395 kB (50%), 0/1 tablespace ");
        assert_eq!(
            progress,
            Some(Progress {
                kilobytes: 23198,
                percent: 50
            })
        );
        assert_eq!(
            parse_progress("pg_basebackup: error: connection to 1/2 failed"),
            None
        );
    }
}
