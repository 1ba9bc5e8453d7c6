//! An agent's file.

use std::{
    collections::BTreeMap,
    env,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::Deserialize;

use super::{
    Checked, ConfigError, Setting, is_loopback,
    layers::{Kind, Raw},
    plaintext, port, quoted, setting,
};
use crate::{agent::Options, postgres};

/// Settings that acknowledge before anything is safe, and what they must not be.
const UNSAFE: [(&str, &[&str]); 3] = [
    ("fsync", &["off"]),
    ("full_page_writes", &["off"]),
    ("synchronous_commit", &["off", "local", "remote_write"]),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    group: String,
    member: String,
    servers: Vec<String>,
    data_dir: PathBuf,
    state_dir: PathBuf,
    bin_dir: Option<PathBuf>,
    /// Of PostgreSQL.
    listen: SocketAddr,
    secret_file: PathBuf,
    #[serde(default)]
    client_hba: Vec<String>,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    restore_command: Option<String>,
    #[serde(default)]
    insecure: bool,
}

impl Raw for File {
    const SETTINGS: &'static [(&'static str, Kind)] = &[
        ("group", Kind::Text),
        ("member", Kind::Text),
        ("servers", Kind::List),
        ("data_dir", Kind::Text),
        ("state_dir", Kind::Text),
        ("bin_dir", Kind::Text),
        ("listen", Kind::Text),
        ("secret_file", Kind::Text),
        ("restore_command", Kind::Text),
        ("insecure", Kind::Boolean),
    ];
    const OPEN_TABLE: Option<&'static str> = Some("settings");
}

pub(super) fn check(file: File) -> Result<Checked<Options>, ConfigError> {
    check_servers(&file.servers)?;
    check_directories(&file)?;
    check_settings(&file.settings)?;
    let mut exposed = exposed(&file);
    for line in &file.client_hba {
        if trusts_the_network(line)? {
            exposed.push(setting("client_hba", quoted(line)));
        }
    }
    let warnings = plaintext(file.insecure, &exposed)?;
    let bin_dir = match file.bin_dir {
        Some(given) => given,
        None => postgres::newest_programs().ok_or_else(|| {
            let reason = format!(
                "it was not given, and no {}/*/bin has `postgres`",
                postgres::PROGRAMS
            );
            ConfigError::value(setting("bin_dir", "(missing)"), reason)
        })?,
    };
    let options = Options {
        group: name("group", &file.group)?,
        member: name("member", &file.member)?,
        servers: file.servers,
        bin_dir,
        data_dir: file.data_dir,
        state_dir: file.state_dir,
        listen: file.listen,
        secret_file: file.secret_file,
        client_hba: file.client_hba,
        settings: file.settings,
        restore_command: file.restore_command,
        program: env::current_exe().map_err(ConfigError::Program)?,
    };
    Ok(Checked { options, warnings })
}

fn name<T: FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, ConfigError> {
    let parsed = text.parse();
    parsed.map_err(|error| ConfigError::value(setting(field, quoted(text)), error))
}

fn check_servers(servers: &[String]) -> Result<(), ConfigError> {
    if servers.is_empty() {
        let reason = "list the gRPC address of every quorum node";
        return Err(ConfigError::value(setting("servers", "[]"), reason));
    }
    for (i, server) in servers.iter().enumerate() {
        port(&format!("servers[{i}]"), server)?;
        if let Some(earlier) = servers[..i].iter().position(|other| other == server) {
            let both = [earlier, i].map(|i| setting(format!("servers[{i}]"), quoted(server)));
            let [first, second] = both;
            let advice = "each node is listed once";
            return Err(ConfigError::contradiction(first, second, advice));
        }
    }
    Ok(())
}

fn check_directories(file: &File) -> Result<(), ConfigError> {
    let shown = |name: &str, path: &Path| setting(name, quoted(&path.to_string_lossy()));
    let paths = [
        ("data_dir", Some(&file.data_dir)),
        ("state_dir", Some(&file.state_dir)),
        ("secret_file", Some(&file.secret_file)),
        ("bin_dir", file.bin_dir.as_ref()),
    ];
    for (name, path) in paths {
        if let Some(path) = path.filter(|path| !path.is_absolute()) {
            let reason = "an absolute path was expected";
            return Err(ConfigError::value(shown(name, path), reason));
        }
    }
    // A clone or a rewind replaces what is inside the data directory.
    for (name, path) in [
        ("state_dir", &file.state_dir),
        ("secret_file", &file.secret_file),
    ] {
        if path.starts_with(&file.data_dir) {
            return Err(ConfigError::contradiction(
                shown(name, path),
                shown("data_dir", &file.data_dir),
                "what is inside the data directory is replaced when the member is cloned",
            ));
        }
    }
    if file.data_dir.starts_with(&file.state_dir) {
        return Err(ConfigError::contradiction(
            shown("data_dir", &file.data_dir),
            shown("state_dir", &file.state_dir),
            "keep the agent's own files beside the data directory, not around it",
        ));
    }
    Ok(())
}

fn check_settings(settings: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (name, value) in settings {
        let lower = name.to_ascii_lowercase();
        let given = || setting(format!("settings.{name}"), quoted(value));
        let forbidden = UNSAFE.iter().find(|(unsafe_name, values)| {
            *unsafe_name == lower && values.iter().any(|v| is_value(value, v))
        });
        if forbidden.is_some() {
            let reason = "commits would be acknowledged that a failover may lose";
            return Err(ConfigError::value(given(), reason));
        }
        if postgres::is_owned_setting(&lower) {
            let reason = "primacy sets this one itself, and depends on it";
            return Err(ConfigError::value(given(), reason));
        }
    }
    Ok(())
}

/// Whether PostgreSQL reads `text` as `value`, one of its words for "no".
fn is_value(text: &str, value: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    let no = [
        "off", "false", "no", "0", "of", "f", "fa", "fal", "fals", "n",
    ];
    text == value || (value == "off" && no.contains(&text.as_str()))
}

/// Whether a line of pg_hba.conf lets anybody on the network in unasked.
/// Refused where it would do so for replication.
fn trusts_the_network(line: &str) -> Result<bool, ConfigError> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let refuse = |reason: &str| ConfigError::value(setting("client_hba", quoted(line)), reason);
    if line.contains(['\n', '\r']) {
        return Err(refuse("one line was expected, not several"));
    }
    match fields[..] {
        [] => return Ok(false),
        [first, ..] if first.starts_with('#') => return Ok(false),
        ["local", ..] => return Ok(false),
        [kind, ..] if kind.starts_with("host") => {}
        _ => return Err(refuse("a line of pg_hba.conf was expected")),
    }
    let [_, databases, _, address, rest @ ..] = &fields[..] else {
        return Err(refuse("TYPE DATABASE USER ADDRESS METHOD was expected"));
    };
    if databases.split(',').any(|name| name == "replication") {
        return Err(refuse(
            "replication belongs to the members, and is let in already",
        ));
    }
    // The mask may be a field of its own.
    let method = rest.iter().find(|field| field.parse::<IpAddr>().is_err());
    let Some(method) = method else {
        return Err(refuse("TYPE DATABASE USER ADDRESS METHOD was expected"));
    };
    let ip = address.split('/').next().unwrap_or_default();
    let local = *address == "samehost" || ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    Ok(*method == "trust" && !local)
}

/// Addresses by which plaintext leaves this host.
fn exposed(file: &File) -> Vec<Setting> {
    let servers = file.servers.iter().enumerate();
    let servers = servers.map(|(i, server)| (format!("servers[{i}]"), server.clone()));
    servers
        .chain([("listen".to_owned(), file.listen.to_string())])
        .filter(|(_, address)| !is_loopback(address))
        .map(|(name, address)| setting(name, quoted(&address)))
        .collect()
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
