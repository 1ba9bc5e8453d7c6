//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Tortures Primacy as it is shipped, and checks what it promised.
///
/// Starts quorum nodes, agents and PostgreSQL in regions of their own, lets
/// applications work, makes faults of every kind, and at the end asks judges
/// who read nothing but the history: was an acknowledged write lost, were there
/// two primaries, did anybody get an answer that was no longer true?
#[derive(Debug, Parser)]
#[command(name = "jepsen", version, about, long_about)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs one torture, and judges it.
    ///
    /// Exit code 0 only if every judge is satisfied and enough happened.
    Run(Run),
    /// Workloads, nemeses and judges, a line each.
    List,
    /// Judges a recorded history again.
    Check(Check),
    /// Takes out one protection of the server at a time, and expects a judge to see it.
    Mutants(Mutants),
}

#[derive(Debug, Args)]
pub struct Run {
    /// Workloads, separated by commas, or `all`.
    #[arg(long, default_value = "all", value_delimiter = ',')]
    pub workload: Vec<String>,
    /// Nemeses, separated by commas, `all` or `none`.
    #[arg(long, default_value = "all", value_delimiter = ',')]
    pub nemesis: Vec<String>,
    /// Length of the load in seconds.
    #[arg(long, default_value_t = 60)]
    pub time: u64,
    /// What faults come when; the same seed deals the same hand again.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Quorum nodes, one a region; the first three regions have a member.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=5))]
    pub nodes: u64,
    /// Where history, report and logs are left.
    #[arg(long, default_value = "jepsen-out")]
    pub out: PathBuf,
    /// The server to torture; built first where it is not given.
    #[arg(long)]
    pub program: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Check {
    /// A `history.json`.
    pub history: PathBuf,
    /// Where the report is left; beside the history if not given.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Mutants {
    /// Only these; all if none is given.
    pub names: Vec<String>,
    /// What each leaves is put below it.
    #[arg(long, default_value = "jepsen-out")]
    pub out: PathBuf,
}
