//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    bench,
    config::{AGENT_FILE, Layers, SERVER_FILE},
    ctl, demo,
    telemetry::LogFormat,
};

const AFTER: &str = "\
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 quorum or node unreachable,
4 refused by safety (the reason is printed), 5 outcome unknown.

Logs go to standard error; RUST_LOG chooses what is logged, for example
RUST_LOG=info,primacy=debug.";

/// Decides which PostgreSQL is primary, in a second and without losing an
/// acknowledged write.
///
/// Three or five nodes (`primacy server`) in different regions agree by Raft on
/// who is primary. An agent beside each PostgreSQL (`primacy agent`) carries it
/// out: fences the old primary, promotes the right standby, brings the old one
/// back. Applications find the primary through DNS or gRPC.
///
/// `primacy demo` shows all of it on this machine in about a minute.
#[derive(Debug, Parser)]
#[command(name = "primacy", version, about, long_about, after_help = AFTER)]
pub struct Arguments {
    /// How logs are written.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "PRIMACY_LOG_FORMAT"
    )]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a quorum node.
    ///
    /// A node votes, answers lease checks over gRPC and, where configured,
    /// serves the DNS zone. Run three or five, each in a region of its own.
    Server(ServerArguments),
    /// Runs the agent of one PostgreSQL member.
    ///
    /// It runs as the owner of the data directory, beside PostgreSQL, and is
    /// the only one that starts, stops, promotes or rewinds it. When the agent
    /// ends, PostgreSQL lives on, and the next agent attaches to it.
    Agent(AgentArguments),
    /// Parent of one PostgreSQL; started by the agent, not by hand.
    Fuse {
        /// The agent's state directory.
        #[arg(long)]
        state: PathBuf,
    },
    /// Looks at groups and changes them, from a terminal or a script.
    ///
    /// Talks to the quorum nodes over gRPC; any node will do, list them all.
    Ctl(ctl::Arguments),
    /// Shows three regions lose their primary and recover, on this machine.
    ///
    /// Starts three nodes and three PostgreSQL members as separate processes on
    /// loopback addresses, writes all the while, kills what a disaster would
    /// kill, and counts at the end what was acknowledged and what is there.
    /// Takes about a minute, needs PostgreSQL 15.13 or later, and leaves nothing
    /// behind. Exit code 1 if an acknowledged write was lost.
    Demo(demo::Arguments),
    /// Measures how fast a fleet on this machine recovers.
    Bench(bench::Arguments),
    /// Checks configuration files and says what is wrong with them.
    ///
    /// Applies every check of the values that a start applies, environment
    /// included. Starts nothing, opens no port, reads no secret and looks into
    /// no directory. Exit code 2 when a file would be refused.
    Check(CheckArguments),
}

/// Values that win over the file.
#[derive(Debug, Clone, Args)]
pub struct Overrides {
    /// Overrides one setting of the file, such as data_dir=/srv/primacy.
    ///
    /// May be repeated. The environment does the same with PRIMACY_ and the
    /// setting's name, such as PRIMACY_DATA_DIR, or PRIMACY_LISTEN_GRPC for
    /// listen.grpc; --set wins over it.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ServerArguments {
    /// The node's configuration.
    #[arg(long, value_name = "PATH", default_value = SERVER_FILE)]
    config: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Debug, Args)]
pub struct AgentArguments {
    /// The agent's configuration.
    #[arg(long, value_name = "PATH", default_value = AGENT_FILE)]
    config: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct CheckArguments {
    /// A quorum node's configuration to check.
    #[arg(long, value_name = "PATH")]
    pub server_config: Option<PathBuf>,
    /// An agent's configuration to check.
    #[arg(long, value_name = "PATH")]
    pub agent_config: Option<PathBuf>,
}

impl ServerArguments {
    #[must_use]
    pub fn layers(self) -> Layers {
        Layers::new(self.config, self.overrides.set)
    }
}

impl AgentArguments {
    #[must_use]
    pub fn layers(self) -> Layers {
        Layers::new(self.config, self.overrides.set)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
