//! Takes out one protection of the server at a time, and expects a judge to see
//! it: a torture that lets a broken server pass proves nothing.
//!
//! The server is built with `--cfg primacy_mutant="name"`, which nothing but
//! this and `scripts/mutants.sh` sets. It is no cargo feature, so that
//! `--all-features` disarms nothing. The compiler's wrapper passes it on, so
//! that dependencies are built once for all.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use crate::{
    cli,
    run::{self, Outcome},
};

/// A protection, and how its absence shows.
struct Mutant {
    name: &'static str,
    /// What is taken out, in a sentence.
    about: &'static str,
    nemeses: &'static str,
    seconds: u64,
    /// Judges that must object, any of them.
    judges: &'static [&'static str],
}

const MUTANTS: [Mutant; 8] = [
    Mutant {
        name: "fence",
        about: "standbys say that they are fenced, and stream on",
        nemeses: "false-alarm",
        seconds: 40,
        judges: &["writes", "double-primary"],
    },
    Mutant {
        name: "epoch",
        about: "agents obey instructions of an epoch that they left",
        nemeses: "late-leader",
        seconds: 60,
        judges: &["serves-on", "writes", "double-primary"],
    },
    Mutant {
        name: "read_index",
        about: "nodes answer without asking a quorum",
        nemeses: "partition-one",
        seconds: 40,
        judges: &["register", "leases", "dns"],
    },
    Mutant {
        name: "fsync",
        about: "the log is acknowledged before it is on the disk",
        nemeses: "power-cut-all",
        seconds: 30,
        judges: &["watch", "epochs", "register", "writes"],
    },
    Mutant {
        name: "deadlines",
        about: "a new leader trusts deadlines that it does not know",
        nemeses: "kill-node",
        seconds: 40,
        judges: &["spurious"],
    },
    Mutant {
        name: "fork",
        about: "a standby follows a new primary from beyond the fork",
        nemeses: "ahead-of-the-fork",
        seconds: 90,
        judges: &["writes", "serves-on", "double-primary"],
    },
    Mutant {
        name: "sentinel",
        about: "unconfigured members have an empty `synchronous_standby_names`",
        nemeses: "sleeping-checkpointer",
        seconds: 50,
        judges: &["writes"],
    },
    Mutant {
        name: "freshness",
        about: "name servers answer however old their knowledge is",
        nemeses: "partition-one",
        seconds: 40,
        judges: &["dns"],
    },
];

/// Runs seeds of one mutant until a judge objects.
const SEEDS: [u64; 3] = [1, 2, 3];

/// Runs those that were named, or all. False: one was not caught.
pub fn run(arguments: &cli::Mutants, tell: &(dyn Fn(&str) + Sync)) -> anyhow::Result<bool> {
    let known: Vec<_> = MUTANTS.iter().map(|mutant| mutant.name).collect();
    for name in &arguments.names {
        ensure!(
            known.contains(&name.as_str()),
            "no mutant {name}; there are {}",
            known.join(", ")
        );
    }
    let names = &arguments.names;
    let wanted = MUTANTS
        .iter()
        .filter(|it| names.is_empty() || names.iter().any(|name| name == it.name));
    let mut survivors = Vec::new();
    for mutant in wanted {
        println!("without {}: {}", mutant.name, mutant.about);
        let out = arguments.out.join("mutants").join(mutant.name);
        let program = build(mutant.name, &out)?;
        match hunt(mutant, &program, &out, tell)? {
            Some(objection) => println!("  caught: {objection}"),
            None => {
                println!("  SURVIVED");
                survivors.push(mutant.name);
            }
        }
    }
    if !survivors.is_empty() {
        println!("survived: {}", survivors.join(", "));
    }
    Ok(survivors.is_empty())
}

/// What the first judge says who is expected to object, and does.
fn hunt(
    mutant: &Mutant,
    program: &Path,
    out: &Path,
    tell: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Option<String>> {
    for seed in SEEDS {
        let plan = crate::plan(cli::Run {
            workload: vec!["all".to_owned()],
            nemesis: vec![mutant.nemeses.to_owned()],
            time: mutant.seconds,
            seed,
            nodes: 3,
            out: out.join(seed.to_string()),
            program: Some(program.to_owned()),
        })?;
        let outcome = run::run(plan, tell)?;
        if let Some(objection) = objection(mutant, &outcome) {
            return Ok(Some(format!("seed {seed}, {objection}")));
        }
    }
    Ok(None)
}

fn objection(mutant: &Mutant, outcome: &Outcome) -> Option<String> {
    let judges = outcome.verdicts.iter();
    let expected = judges.filter(|(name, ..)| mutant.judges.contains(&name.as_str()));
    let mut found = expected.filter_map(|(name, _, verdict)| {
        let first = verdict.violations.first()?;
        Some(format!(
            "{name}: {} ({} in all)",
            first.text,
            verdict.violations.len()
        ))
    });
    found.next()
}

/// Builds the server without a protection; returns where it is.
fn build(name: &str, out: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(out)?;
    // Built by cargo, this program lies two directories below the target's.
    let own = env::current_exe()?;
    let target = own
        .ancestors()
        .nth(2)
        .context("where cargo builds")?
        .join("mutants");
    fs::create_dir_all(&target)?;
    let wrapper = target.join(format!("{name}.sh"));
    let script = format!("#!/bin/sh\nexec \"$@\" --cfg 'primacy_mutant=\"{name}\"'\n");
    fs::write(&wrapper, script)?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--locked",
            "--package",
            "primacy",
            "--bin",
            "primacy",
        ])
        .env("RUSTC_WORKSPACE_WRAPPER", &wrapper)
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .context("start cargo")?;
    if !status.success() {
        bail!("the server without {name} cannot be built");
    }
    let program = out.join("primacy");
    fs::copy(target.join("debug/primacy"), &program)?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check, nemesis};

    #[test]
    fn every_mutant_names_a_nemesis_and_judges_that_there_are() {
        let judges: Vec<_> = check::all().iter().map(|it| it.name()).collect();
        let nemeses: Vec<_> = nemesis::all().iter().map(|it| it.name()).collect();
        for mutant in &MUTANTS {
            let known = |judge: &&str| judges.contains(judge);
            assert!(mutant.judges.iter().all(known), "{}", mutant.name);
            assert!(nemeses.contains(&mutant.nemeses), "{}", mutant.name);
        }
    }
}
