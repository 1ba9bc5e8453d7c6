//! Whom the processes of a fleet run as: PostgreSQL refuses root.

use std::{
    env, fs,
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::Command,
};

use anyhow::Context as _;

/// Debian's name for the owner of databases.
const POSTGRES: &str = "postgres";

/// A user to run as; none when that is the user of this process.
#[derive(Debug, Clone, Copy)]
pub struct User(Option<(u32, u32)>);

impl User {
    /// The user `postgres` when this process is root's, else its own user.
    pub fn for_databases() -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let users = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        let ids = users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            match fields[..] {
                [POSTGRES, _, uid, gid, ..] => Some((uid.parse().ok()?, gid.parse().ok()?)),
                _ => None,
            }
        });
        let ids = ids.context(
            "PostgreSQL does not run as root, and there is no user postgres to run it as",
        )?;
        Ok(Self(Some(ids)))
    }

    /// Makes a command's process this user's, out of reach of the terminal's
    /// signals and of settings meant for this process.
    pub(super) fn apply(self, command: &mut Command) {
        if let Some((uid, gid)) = self.0 {
            command.uid(uid).gid(gid);
        }
        command.process_group(0);
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PRIMACY_") || text.starts_with("PG") {
                command.env_remove(name);
            }
        }
    }

    /// Gives this user everything below `dir`.
    pub(super) fn own(self, dir: &Path) -> anyhow::Result<()> {
        let Some((uid, gid)) = self.0 else {
            return Ok(());
        };
        chown(dir, Some(uid), Some(gid)).with_context(|| format!("chown {}", dir.display()))?;
        if dir.is_dir() {
            for entry in fs::read_dir(dir)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }
}
