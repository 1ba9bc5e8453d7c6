//! Tortures Primacy as it is shipped, and checks what it promised.
//!
//! ```text
//! run ─ fleet (ground: network, disks, clocks, processes)
//!     ├ workloads ─┐
//!     └ nemeses ───┴─► history ─► checkers ─► verdicts, report.html
//! ```
//!
//! Knows the product only as its users do: `proto/`, DNS, PostgreSQL's protocol
//! and the command line. Nothing of `src/` is linked in.

mod check;
mod cli;
mod client;
mod clock;
mod fleet;
mod ground;
mod history;
mod mutants;
mod nemesis;
mod report;
mod run;
mod seed;
mod targets;
mod workload;

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::Parser as _;

use check::Verdict;
use fleet::Options;
use run::{Outcome, Plan};
use seed::Seed;

fn main() -> ExitCode {
    match act(cli::Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("jepsen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(command: cli::Command) -> anyhow::Result<bool> {
    match command {
        cli::Command::Run(arguments) => torture(arguments),
        cli::Command::List => list(),
        cli::Command::Check(arguments) => again(&arguments),
        cli::Command::Mutants(arguments) => mutants::run(&arguments, &teller()),
    }
}

fn torture(arguments: cli::Run) -> anyhow::Result<bool> {
    let plan = plan(arguments)?;
    let out = plan.out.clone();
    let outcome = run::run(plan, &teller())?;
    show(&outcome);
    println!("\nThe report: {}", out.join("report.html").display());
    Ok(outcome.good())
}

/// Tells what goes on, with the time since now.
fn teller() -> impl Fn(&str) + Sync {
    let began = clock::now();
    move |what: &str| {
        let at = clock::now().saturating_sub(began).as_secs_f64();
        eprintln!("{at:>7.1} s  {what}");
    }
}

/// What was asked for, checked and filled in.
fn plan(arguments: cli::Run) -> anyhow::Result<Plan> {
    let workloads = choose(workload::all(), &arguments.workload, |it| it.name())?;
    let nemeses = choose(nemesis::all(), &arguments.nemesis, |it| it.name())?;
    ensure!(
        !workloads.is_empty(),
        "a run without a workload shows nothing"
    );
    let nodes = usize::try_from(arguments.nodes)?;
    ensure!(nodes % 2 == 1, "--nodes {nodes}: three or five");
    Ok(Plan {
        command: format!(
            "cargo run --release -p jepsen -- run --workload {} --nemesis {} --time {} --seed {} --nodes {nodes} --out {}",
            arguments.workload.join(","),
            arguments.nemesis.join(","),
            arguments.time,
            arguments.seed,
            arguments.out.display(),
        ),
        fleet: Options {
            seed: Seed(arguments.seed),
            nodes,
            program: program(arguments.program)?,
            bin_dir: fleet::installed_postgres()?,
            work: env::temp_dir().join(format!("jepsen-{}", std::process::id())),
        },
        workloads,
        nemeses,
        time: Duration::from_secs(arguments.time),
        out: arguments.out,
    })
}

/// What was asked for by name, in its own order.
fn choose<T>(
    all: Vec<T>,
    wanted: &[String],
    name: impl Fn(&T) -> &'static str,
) -> anyhow::Result<Vec<T>> {
    let known: Vec<_> = all.iter().map(&name).collect();
    let special = |it: &str| it == "all" || it == "none";
    if let Some(unknown) = wanted
        .iter()
        .find(|it| !special(it) && !known.contains(&it.as_str()))
    {
        bail!(
            "nothing is called {unknown}; there are {}",
            known.join(", ")
        );
    }
    let is_wanted = |it: &T| {
        wanted
            .iter()
            .any(|wanted| wanted == "all" || wanted == name(it))
    };
    Ok(all.into_iter().filter(is_wanted).collect())
}

/// The program to torture, built as it is shipped.
fn program(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given);
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "--package", "primacy"])
        .status()
        .context("build the server; or name one with --program")?;
    ensure!(built.success(), "the server cannot be built");
    // Cargo puts all programs of the workspace in one directory.
    let beside = env::current_exe()?.with_file_name("primacy");
    ensure!(
        beside.exists(),
        "{} is not there: name one with --program",
        beside.display()
    );
    Ok(beside)
}

fn list() -> anyhow::Result<bool> {
    println!("workloads");
    for it in workload::all() {
        println!("  {:<24}{}", it.name(), it.about());
    }
    println!("nemeses");
    for it in nemesis::all() {
        println!("  {:<24}{}", it.name(), it.about());
    }
    println!("judges");
    for it in check::all() {
        println!("  {:<24}{}", it.name(), it.claim());
    }
    Ok(true)
}

fn again(arguments: &cli::Check) -> anyhow::Result<bool> {
    let text = fs::read(&arguments.history)
        .with_context(|| format!("read {}", arguments.history.display()))?;
    let history = serde_json::from_slice(&text)?;
    let beside = arguments.history.parent().map(PathBuf::from);
    let out = arguments.out.clone().or(beside).unwrap_or_default();
    fs::create_dir_all(&out)?;
    let outcome = run::judge(&history, &out)?;
    show(&outcome);
    Ok(outcome.good())
}

fn show(outcome: &Outcome) {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    for (name, _, verdict) in &outcome.verdicts {
        let counted: Vec<_> = verdict
            .counted
            .iter()
            .map(|(what, figure)| format!("{figure} {what}"))
            .collect();
        table.add_row([
            name.clone(),
            in_a_word(verdict).to_owned(),
            counted.join(", "),
        ]);
    }
    println!("{table}");
    for (name, _, verdict) in &outcome.verdicts {
        if let Some(too_little) = &verdict.too_little {
            println!("{name}: too little happened: {too_little}");
        }
        for violation in verdict.violations.iter().take(5) {
            let at = Duration::from_nanos(violation.at).as_secs_f64();
            println!("{name}: at {at:.3} s: {}", violation.text);
        }
    }
    if let Some(trouble) = &outcome.trouble {
        println!("The run did not end as it should: {trouble}");
    }
    println!(
        "{}",
        if outcome.good() {
            "Every judge is satisfied."
        } else {
            "NOT everything holds."
        }
    );
}

fn in_a_word(verdict: &Verdict) -> &'static str {
    match (verdict.violations.is_empty(), &verdict.too_little) {
        (false, _) => "VIOLATED",
        (true, Some(_)) => "too little",
        (true, None) => "holds",
    }
}
