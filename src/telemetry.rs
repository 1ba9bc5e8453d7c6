//! Logs: to standard error, as lines for people or as JSON.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// What is logged unless RUST_LOG says otherwise. The libraries below log what
/// heals by itself as warnings: a peer that is away, a packet that is no DNS.
const DEFAULT: &str =
    "info,openraft=warn,chunked_wal=warn,raft_log=warn,hickory_server=error,hickory_net=error";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// One line for each event.
    #[default]
    Text,
    /// One JSON object for each event.
    Json,
}

/// Starts logging; called once.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}
