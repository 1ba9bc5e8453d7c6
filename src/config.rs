//! Configuration: what was written, layered, then checked.
//!
//! ```text
//! file < environment PRIMACY_* < --set  ──►  raw (unknown fields refused)  ──►  Options
//! ```
//!
//! What is written and what is meant are two types. A check that relates two
//! settings names both, with their values: the one who reads the refusal knows
//! where to look, and decides which of the two was wrong.

mod agent;
mod layers;
mod server;

use std::{fmt, io, net::IpAddr, path::PathBuf};

pub use layers::Layers;

/// Where a quorum node's file is looked for.
pub const SERVER_FILE: &str = "/etc/primacy/server.toml";
/// Where an agent's file is looked for.
pub const AGENT_FILE: &str = "/etc/primacy/agent.toml";

/// Options that may be used, and what an operator should know of them.
#[derive(Debug)]
pub struct Checked<T> {
    pub options: T,
    /// Said at every start.
    pub warnings: Vec<String>,
}

/// A setting as it was understood: its name and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    name: String,
    value: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name, self.value)
    }
}

/// A setting, its value shown as TOML would have it.
fn setting(name: impl Into<String>, value: impl fmt::Display) -> Setting {
    let (name, value) = (name.into(), value.to_string());
    Setting { name, value }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not TOML")]
    Syntax {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
    #[error("{path} and what overrides it")]
    Shape {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
    /// A value from the environment or the command line.
    #[error("{origin}: {reason}")]
    Override { origin: String, reason: String },
    #[error("{setting}: {reason}")]
    Value { setting: Setting, reason: String },
    #[error("{first} contradicts {second}: {advice}")]
    Contradiction {
        first: Setting,
        second: Setting,
        advice: String,
    },
    #[error("find this program's own file, which the fuse is started from")]
    Program(#[source] io::Error),
}

impl ConfigError {
    fn value(setting: Setting, reason: impl fmt::Display) -> Self {
        let reason = reason.to_string();
        Self::Value { setting, reason }
    }

    fn contradiction(first: Setting, second: Setting, advice: impl Into<String>) -> Self {
        let advice = advice.into();
        Self::Contradiction {
            first,
            second,
            advice,
        }
    }
}

/// Reads and checks a quorum node's configuration.
pub fn server(layers: &Layers) -> Result<Checked<crate::server::Options>, ConfigError> {
    server::check(layers.read()?)
}

/// Reads and checks an agent's configuration.
pub fn agent(layers: &Layers) -> Result<Checked<crate::agent::Options>, ConfigError> {
    agent::check(layers.read()?)
}

/// Refuses plaintext that leaves the host, unless it is asked for by name.
fn plaintext(insecure: bool, exposed: &[Setting]) -> Result<Vec<String>, ConfigError> {
    match exposed {
        [] => Ok(Vec::new()),
        [first, ..] if !insecure => Err(ConfigError::contradiction(
            first.clone(),
            setting("insecure", false),
            "traffic would leave this host in plaintext; use loopback addresses, or set \
             insecure = true on a network that nobody else is on",
        )),
        all => {
            let list: Vec<_> = all.iter().map(ToString::to_string).collect();
            let list = list.join(", ");
            Ok(vec![format!(
                "insecure = true: traffic leaves this host in plaintext, and whoever reaches \
                 these ports is obeyed ({list})"
            )])
        }
    }
}

/// Whether `address`, `host:port`, stays on this host. Names other than
/// `localhost` may lead anywhere.
fn is_loopback(address: &str) -> bool {
    let Some((host, _)) = address.rsplit_once(':') else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip = host.parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// The port of `host:port`.
fn port(name: &str, address: &str) -> Result<u16, ConfigError> {
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty());
    let port = port.and_then(|(_, port)| port.parse().ok());
    port.filter(|port| *port != 0)
        .ok_or_else(|| ConfigError::value(setting(name, quoted(address)), "HOST:PORT was expected"))
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
