//! Parse, run, exit code.

use std::{future::Future, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use primacy::{
    agent, bench,
    cli::{AgentArguments, Arguments, CheckArguments, Command, ServerArguments},
    config::{self, Checked, ConfigError, Layers},
    ctl, demo, fuse, server, shutdown, telemetry,
};
use tokio::runtime;
use tokio_util::sync::CancellationToken;
use tracing::warn;

const FAILED: u8 = 1;
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let format = arguments.log_format;
    let done = match arguments.command {
        Command::Server(arguments) => {
            telemetry::start(format);
            server(arguments)
        }
        Command::Agent(arguments) => {
            telemetry::start(format);
            agent(arguments)
        }
        Command::Fuse { state } => fuse::run(&state).map_err(Into::into),
        Command::Ctl(arguments) => return ctl(arguments),
        Command::Demo(arguments) => on_two_threads(|stop| demo::run(arguments, stop)),
        Command::Bench(arguments) => on_two_threads(|stop| bench::run(arguments, stop)),
        Command::Check(arguments) => check(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

/// Prints what failed and why, once.
fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("primacy: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {}", cause.to_string().trim_end());
    }
    let usage = error.chain().any(|cause| cause.is::<ConfigError>());
    ExitCode::from(if usage { USAGE } else { FAILED })
}

fn server(arguments: ServerArguments) -> anyhow::Result<()> {
    let options = heed(config::server(&arguments.layers())?);
    // Two: one may sit in an fsync while the other answers heartbeats.
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    run(runtime, |stop| server::run(options, stop))
}

fn agent(arguments: AgentArguments) -> anyhow::Result<()> {
    let options = heed(config::agent(&arguments.layers())?);
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    run(runtime, |stop| agent::run(options, stop))
}

fn ctl(arguments: ctl::Arguments) -> ExitCode {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    match runtime.context("start the threads") {
        Ok(runtime) => runtime.block_on(ctl::run(arguments)),
        Err(error) => complain(&error),
    }
}

fn on_two_threads<F>(main: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    run(runtime, main)
}

fn run<F, E>(
    runtime: std::io::Result<runtime::Runtime>,
    main: impl FnOnce(CancellationToken) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), E>>,
    E: Into<anyhow::Error>,
{
    runtime.context("start the threads")?.block_on(async {
        let stop = shutdown::on_signal().context("listen for signals")?;
        main(stop).await.map_err(Into::into)
    })
}

/// Says at every start what an operator should know, and goes on.
fn heed<T>(checked: Checked<T>) -> T {
    for warning in &checked.warnings {
        warn!("{warning}");
    }
    checked.options
}

fn check(arguments: CheckArguments) -> anyhow::Result<()> {
    if let Some(path) = arguments.server_config {
        let checked = config::server(&Layers::new(path.clone(), Vec::new()))?;
        report(&path, &checked.warnings);
    }
    if let Some(path) = arguments.agent_config {
        let checked = config::agent(&Layers::new(path.clone(), Vec::new()))?;
        report(&path, &checked.warnings);
    }
    Ok(())
}

fn report(path: &std::path::Path, warnings: &[String]) {
    for warning in warnings {
        println!("{}: warning: {warning}", path.display());
    }
    println!("{}: good", path.display());
}
