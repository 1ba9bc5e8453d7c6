//! Who may connect: pg_hba.conf and pg_ident.conf, written whole.
//!
//! Both live in the agent's state directory, so that no base backup brings
//! another member's. Replication is never trusted: each member has a role
//! and a password of its own.

use std::process::Command;

use super::{
    error::{Error, Result},
    files::{self, Durability},
    instance::Instance,
};

/// The role that every member's role belongs to.
pub(super) const MEMBERS: &str = "primacy_members";

/// The user map that makes this OS user the superuser, on the socket only.
const MAP: &str = "primacy";

/// pg_hba.conf; clients are let in only when `open`.
#[must_use]
pub(super) fn render_hba(instance: &Instance, open: bool) -> String {
    let mut lines = vec![
        "# Written by primacy; changes are lost.".to_owned(),
        format!("local all postgres peer map={MAP}"),
        format!("host replication +{MEMBERS} all scram-sha-256"),
        // pg_rewind reads the source's files through an ordinary session.
        format!("host postgres +{MEMBERS} all scram-sha-256"),
        format!("host all +{MEMBERS} all reject"),
    ];
    if open {
        lines.extend(instance.client_hba.iter().cloned());
    }
    lines.join("\n") + "\n"
}

pub(super) fn write(instance: &Instance, open: bool) -> Result<()> {
    let hba = render_hba(instance, open);
    files::replace(&instance.file("pg_hba.conf"), &hba, Durability::Cached)
}

/// Writes pg_ident.conf, which names the user that runs this process.
pub(super) fn write_ident(instance: &Instance) -> Result<()> {
    let ident = format!("{MAP} \"{}\" postgres\n", user_name()?);
    files::replace(&instance.file("pg_ident.conf"), &ident, Durability::Cached)
}

/// Asked of `id`, which knows every directory that users may come from.
fn user_name() -> Result<String> {
    let execute = |source| Error::Execute {
        program: "id".into(),
        source,
    };
    let output = Command::new("id").arg("-un").output().map_err(execute)?;
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !name.is_empty() && !name.contains('"') {
        return Ok(name);
    }
    Err(Error::Unreadable {
        place: "the answer of `id -un`".to_owned(),
        found: name,
    })
}
