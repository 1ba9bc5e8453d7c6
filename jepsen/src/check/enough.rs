//! Whether the run shows anything at all.
//!
//! Every other judge is content with a world in which nothing happened.

use super::{Checker, Verdict, facts::acks, findings::Findings};
use crate::history::{History, Outcome};

pub struct Enough;

impl Checker for Enough {
    fn name(&self) -> &'static str {
        "enough"
    }

    fn claim(&self) -> &'static str {
        "Enough happened to show anything: writes were acknowledged, faults had an effect, every workload was answered."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut findings = Findings::default();
        let acknowledged = acks(history).count();
        let effective = history.faults.iter().filter(|fault| fault.effect.is_some());
        let effective = effective.count();
        findings.count("operations", history.operations.len());
        findings.count("acknowledged writes and probes", acknowledged);
        findings.count("faults", history.faults.len());
        findings.count("faults that showed their effect", effective);
        if acknowledged == 0 {
            findings.too_little("nothing was acknowledged");
        }
        if !history.about.nemeses.is_empty() && effective == 0 {
            findings.too_little("no fault showed an effect");
        }
        for workload in &history.about.workloads {
            let answered = answers(history, workload);
            findings.count(&format!("answers to {workload}"), answered);
            if answered == 0 {
                findings.too_little(format!("the workload {workload} had no answer"));
            }
        }
        findings.verdict()
    }
}

/// Of one workload; watchers are sent what they see.
fn answers(history: &History, workload: &str) -> usize {
    let of_it = |name: &str| workload == "all" || name == workload;
    let is_ok = |outcome: &Outcome| matches!(outcome, Outcome::Ok(_));
    let operations = history.operations.iter();
    let answered = operations
        .filter(|operation| of_it(&operation.workload) && is_ok(&operation.outcome))
        .count();
    match of_it("watch") {
        true => answered + history.seen.len(),
        false => answered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::build::{Build, passes, shows_nothing, write, written};
    use crate::history::Sight;

    fn full() -> Build {
        let mut build = Build::new()
            .ok(write(1), 0, 10, written(1))
            .fault("kill", 5, 6, &[])
            .sees(1, 1, 1, Sight::CaughtUp { revision: 1 });
        build.0.operations[0].workload = "writes".to_owned();
        build.0.about.workloads = vec!["writes".to_owned(), "watch".to_owned()];
        build.0.about.nemeses = vec!["kill".to_owned()];
        build
    }

    #[test]
    fn a_run_in_which_all_was_answered_is_enough() {
        passes(&Enough, &full());
    }

    #[test]
    fn nothing_acknowledged_shows_nothing() {
        shows_nothing(&Enough, &Build::new());
        let mut build = full();
        build.0.operations[0].outcome = Outcome::Info("late".to_owned());
        shows_nothing(&Enough, &build);
    }

    #[test]
    fn faults_without_an_effect_show_nothing() {
        let mut build = full();
        build.0.faults[0].effect = None;
        shows_nothing(&Enough, &build);
        build.0.faults.clear();
        shows_nothing(&Enough, &build);
    }

    #[test]
    fn a_workload_without_an_answer_shows_nothing() {
        let mut build = full();
        build.0.about.workloads.push("dns".to_owned());
        shows_nothing(&Enough, &build);
        let mut build = full();
        build.0.seen.clear();
        shows_nothing(&Enough, &build);
    }
}
