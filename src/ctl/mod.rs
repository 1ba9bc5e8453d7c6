//! `primacy ctl`: what operators type.
//!
//! One file per command. A command asks the nodes through [`client`], prints
//! for people or for programs ([`output`]), and ends with a [`Failure`] whose
//! exit code says whether anything may have been done.

mod check;
pub mod client;
mod cluster;
mod events;
mod failover;
pub mod failure;
mod follow;
mod group;
pub mod group_file;
mod json;
pub mod output;
mod pause;
mod progress;
mod status;
mod switchover;
mod watch;
mod words;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};

use client::Client;
use failure::Failure;
use output::Format;

/// Long enough for an election, short enough to wait for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Talk to the quorum: see who is primary, change it, change groups.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 quorum or node unreachable, 4 refused by safety,
5 outcome unknown.

Example: primacy ctl --server 10.0.0.1:7400,10.0.0.2:7400 status")]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
struct Options {
    /// gRPC addresses of quorum nodes, HOST:PORT, separated by commas.
    #[arg(
        long = "server",
        global = true,
        env = "PRIMACY_SERVERS",
        value_delimiter = ',',
        default_value = "127.0.0.1:7400",
        value_name = "HOST:PORT"
    )]
    servers: Vec<String>,
    /// How the answer is printed.
    #[arg(long, global = true, value_enum, default_value = "table")]
    output: Format,
    /// How long to try; a switchover or failover gets 100 s unless this is given.
    #[arg(long, global = true, value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Arguments),
    /// Create, look at and delete groups.
    #[command(subcommand)]
    Group(group::Command),
    Switchover(switchover::Arguments),
    Failover(failover::Arguments),
    Events(events::Arguments),
    Watch(watch::Arguments),
    Check(check::Arguments),
    /// Stop automatic failover of a group; it serves on.
    #[command(after_long_help = "Example: primacy ctl pause orders")]
    Pause(pause::Arguments),
    /// Let failover of a group happen by itself again.
    #[command(after_long_help = "Example: primacy ctl resume orders")]
    Resume(pause::Arguments),
    /// The quorum nodes themselves.
    #[command(subcommand)]
    Cluster(cluster::Command),
}

/// What a command works with.
struct Context {
    client: Client,
    format: Format,
    /// Given by the operator, for all calls.
    timeout: Option<Duration>,
}

impl Context {
    fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// The client for a call that may take as long as `usual`.
    fn patient(&self, usual: Duration) -> Client {
        self.client.within(self.timeout.unwrap_or(usual))
    }
}

/// Runs a command and says on stderr what went wrong.
pub async fn run(arguments: Arguments) -> ExitCode {
    match dispatch(arguments).await {
        Ok(()) | Err(Failure::NobodyReads) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("primacy ctl: {failure}");
            if let Some(advice) = failure.advice() {
                eprintln!("  {advice}");
            }
            failure.exit_code()
        }
    }
}

async fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let Options {
        servers,
        output,
        timeout,
    } = arguments.options;
    let client = Client::new(servers, timeout.unwrap_or(TIMEOUT));
    let context = Context {
        client,
        format: output,
        timeout,
    };
    match arguments.command {
        Command::Status(arguments) => status::run(&context, arguments).await,
        Command::Group(command) => group::run(&context, command).await,
        Command::Switchover(arguments) => switchover::run(&context, arguments).await,
        Command::Failover(arguments) => failover::run(&context, arguments).await,
        Command::Events(arguments) => events::run(&context, arguments).await,
        Command::Watch(arguments) => watch::run(&context, arguments).await,
        Command::Check(arguments) => check::run(&context, arguments).await,
        Command::Pause(arguments) => pause::pause(&context, arguments).await,
        Command::Resume(arguments) => pause::resume(&context, arguments).await,
        Command::Cluster(command) => cluster::run(&context, command).await,
    }
}
