//! The configuration that PostgreSQL is started with.
//!
//! It lives in the agent's state directory and is passed by `config_file`,
//! since everything inside PGDATA is copied by base backups and pg_rewind:
//!
//! - on the command line, what nothing in PGDATA may override (`ENFORCED`);
//! - `postgresql.conf` here: defaults, then PGDATA's own file, then the
//!   operator's settings, then `upstream.conf` and `sync.conf`, which change
//!   while PostgreSQL runs and are therefore on no command line;
//! - PGDATA's `postgresql.auto.conf` is read after all of them, so lines for
//!   what those two files set are taken out of it before each start and reload.

use std::{fmt::Write as _, path::Path};

use super::{
    error::{Error, Result},
    files::{self, Durability},
    follow::Upstream,
    hba,
    instance::Instance,
    passfile,
    sync::SyncNames,
};

/// Settings that change while PostgreSQL runs, and are the agent's alone.
const OWN: [&str; 5] = [
    "primary_conninfo",
    "primary_slot_name",
    "restore_command",
    "synchronous_standby_names",
    "recovery_target_timeline",
];

/// On the command line, where nothing overrides them.
const ENFORCED: [(&str, &str); 13] = [
    // A crash restart shows commits that no standby has acknowledged.
    ("restart_after_crash", "off"),
    ("hot_standby", "on"),
    // pg_rewind needs hints in the WAL where there are no checksums.
    ("wal_log_hints", "on"),
    ("full_page_writes", "on"),
    ("fsync", "on"),
    ("wal_sender_timeout", "5s"),
    ("wal_receiver_timeout", "5s"),
    // Waiters are released on replies only; 0 would make them hang.
    ("wal_receiver_status_interval", "1s"),
    ("wal_retrieve_retry_interval", "100ms"),
    // The fuse gives PostgreSQL a log file as its standard error.
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("update_process_title", "on"),
    ("recovery_target_timeline", "latest"),
];

/// On the command line too, with values of the member's own.
const PLACES: [&str; 8] = [
    "config_file",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "port",
    "unix_socket_directories",
    "unix_socket_permissions",
    "cluster_name",
];

/// Whether the agent sets `name` itself, whatever an operator wants.
#[must_use]
pub fn is_owned_setting(name: &str) -> bool {
    let enforced = ENFORCED.iter().map(|(name, _)| name);
    enforced.chain(&OWN).chain(&PLACES).any(|own| *own == name)
}

/// What an operator may set otherwise.
const DEFAULTS: [(&str, &str); 9] = [
    ("wal_level", "replica"),
    ("max_wal_senders", "16"),
    ("max_replication_slots", "16"),
    // A member that is away for long costs a base backup, not the primary's disk.
    ("max_slot_wal_keep_size", "8GB"),
    // A new primary has a slot for nobody yet when its first checkpoint
    // recycles WAL; this is how far its siblings may be behind by then.
    ("wal_keep_size", "512MB"),
    // After a crash one call instead of one for each file, of which a large
    // database has very many.
    ("recovery_init_sync_method", "syncfs"),
    ("synchronous_commit", "on"),
    ("password_encryption", "scram-sha-256"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
];

/// Arguments for `postgres`.
pub(super) fn arguments(instance: &Instance) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let own = [
        ("config_file", text(&instance.file("postgresql.conf"))),
        ("hba_file", text(&instance.file("pg_hba.conf"))),
        ("ident_file", text(&instance.file("pg_ident.conf"))),
        ("listen_addresses", instance.address.to_string()),
        ("port", instance.port.to_string()),
        (
            "unix_socket_directories",
            guc_list_item(&text(&instance.socket_dir)),
        ),
        ("unix_socket_permissions", "0700".to_owned()),
        ("cluster_name", instance.identifier()),
    ];
    let fixed = ENFORCED.map(|(name, value)| (name, value.to_owned()));
    let mut arguments = vec!["-D".to_owned(), text(&instance.data)];
    for (name, value) in own.into_iter().chain(fixed) {
        arguments.push("-c".to_owned());
        arguments.push(format!("{name}={value}"));
    }
    arguments
}

/// Writes everything that a start reads, but for `upstream.conf` and `sync.conf`.
pub(super) fn write_static(instance: &Instance, open: bool) -> Result<()> {
    let path = instance.file("postgresql.conf");
    files::replace(&path, &render(instance)?, Durability::Cached)?;
    hba::write(instance, open)?;
    hba::write_ident(instance)?;
    clear_auto_conf(&instance.data)
}

fn render(instance: &Instance) -> Result<String> {
    let mut text = "# Written by primacy before each start; changes are lost.\n".to_owned();
    for (name, value) in DEFAULTS {
        line(&mut text, name, value);
    }
    include(
        &mut text,
        "include_if_exists",
        &instance.data.join("postgresql.conf"),
    );
    for (name, value) in &instance.settings {
        if is_owned_setting(name) || !is_setting(name) {
            return Err(Error::Configuration {
                file: instance.state.clone(),
                reason: format!("{name:?} is not a setting that an operator may change"),
            });
        }
        line(&mut text, name, value);
    }
    include(&mut text, "include", &instance.file("upstream.conf"));
    include(&mut text, "include", &instance.file("sync.conf"));
    Ok(text)
}

fn is_setting(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    !name.is_empty() && name.chars().all(allowed)
}

/// Writes whom to stream from; with nobody, whatever the operator configured,
/// no archive is read either, so that the end of this member's WAL is final.
pub(super) fn write_upstream(instance: &Instance, upstream: Option<&Upstream>) -> Result<()> {
    let (conninfo, slot, restore) = match upstream {
        None => (String::new(), String::new(), ""),
        Some(upstream) => (
            conninfo(instance, upstream),
            instance.identifier(),
            instance.restore_command.as_deref().unwrap_or_default(),
        ),
    };
    let mut text = String::new();
    line(&mut text, "primary_conninfo", &conninfo);
    line(&mut text, "primary_slot_name", &slot);
    line(&mut text, "restore_command", restore);
    if upstream.is_some() {
        // The first commit of a new timeline waits for its first segment here,
        // and filling that with zeros takes longer than the rest of a promotion.
        line(&mut text, "wal_init_zero", "off");
    }
    files::replace(&instance.file("upstream.conf"), &text, Durability::Cached)?;
    clear_auto_conf(&instance.data)
}

pub(super) fn write_sync(instance: &Instance, names: &SyncNames) -> Result<()> {
    let mut text = String::new();
    line(&mut text, "synchronous_standby_names", &names.to_string());
    files::replace(&instance.file("sync.conf"), &text, Durability::Cached)?;
    clear_auto_conf(&instance.data)
}

/// How this member connects; the password is in the file that it names.
pub(super) fn conninfo(instance: &Instance, upstream: &Upstream) -> String {
    let passfile = passfile::path(&instance.state, upstream.epoch);
    let id = instance.identifier();
    let pairs = [
        ("host", upstream.host.as_str()),
        ("port", &upstream.port.to_string()),
        ("user", &id),
        ("application_name", &id),
        ("passfile", &passfile.display().to_string()),
        ("connect_timeout", "2"),
        ("tcp_user_timeout", "5000"),
    ];
    connection_string(&pairs)
}

/// Keywords and values as libpq reads them ("Connection Strings").
pub(super) fn connection_string(pairs: &[(&str, &str)]) -> String {
    let quoted = pairs.iter().map(|(key, value)| {
        let value = value.replace('\\', r"\\").replace('\'', r"\'");
        format!("{key}='{value}'")
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Takes our settings out of `postgresql.auto.conf`, if any are there.
fn clear_auto_conf(data: &Path) -> Result<()> {
    let path = data.join("postgresql.auto.conf");
    let Some(content) = files::read(&path)? else {
        return Ok(());
    };
    let is_ours = |line: &str| {
        let name = line
            .trim_start()
            .split(|c: char| c == '=' || c.is_whitespace())
            .next();
        name.is_some_and(|name| OWN.contains(&name.to_ascii_lowercase().as_str()))
    };
    if !content.lines().any(is_ours) {
        return Ok(());
    }
    let kept: String = content
        .lines()
        .filter(|line| !is_ours(line))
        .fold(String::new(), |text, line| text + line + "\n");
    files::replace(&path, &kept, Durability::Synced)
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "{name} = '{}'", escape(value));
}

fn include(text: &mut String, directive: &str, path: &Path) {
    let _infallible = writeln!(
        text,
        "{directive} '{}'",
        escape(&path.display().to_string())
    );
}

/// Quotes and backslashes, doubled as PostgreSQL's configuration lexer wants.
fn escape(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('\'', "''")
        .replace('\n', r"\n")
}

fn guc_list_item(value: &str) -> String {
    format!("\"{}\"", value.replace('"', "\"\""))
}
