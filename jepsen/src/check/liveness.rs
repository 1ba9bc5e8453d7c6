//! What comes back once every fault is taken back.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Checker, Verdict,
    dns::server_of,
    facts::{acks, is_selected},
    findings::{Findings, millis, moment, span},
};
use crate::history::{Answer, History, Nanos, Operation, Request};

/// Time to come back. A leader is elected and a lease runs out within seconds;
/// the rest is for a member that has to copy its data again before the sync set
/// is whole, on a machine that runs all of it at once.
const BACK_MS: u64 = 30_000;

/// Longest pause of the writers after that: nothing is wrong any more, so only
/// a change of the sync set may hold them up.
const PAUSE_MS: u64 = 10_000;

pub struct Liveness;

impl Checker for Liveness {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn claim(&self) -> &'static str {
        "Once all faults are over, writes, checks, names and every member come back, and stay."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut findings = Findings::default();
        let Some(calm) = Calm::of(history) else {
            findings.too_little("the run did not get to the calm after the faults");
            return findings.verdict();
        };
        findings.show("calm after the faults", span(calm.healed, calm.quiet));
        if is_selected(history, &["writes"]) {
            calm.judge_writers(history, &mut findings);
            judge_members(history, &mut findings);
        }
        let names = &history.about.name_servers;
        calm.judge_each("node", &nodes(history), |id| id.to_string(), &mut findings);
        let region = |index: u64| {
            let name = usize::try_from(index)
                .ok()
                .and_then(|index| names.get(index));
            name.cloned().unwrap_or_else(|| index.to_string())
        };
        calm.judge_each("name server", &servers(history), region, &mut findings);
        findings.verdict()
    }
}

/// Those that were asked, and when they answered with what is wanted.
type Answers = BTreeMap<u64, Vec<Nanos>>;

fn nodes(history: &History) -> Answers {
    let node = |operation: &Operation| match operation.request {
        Request::Check { node } => Some(node),
        _ => None,
    };
    let names_primary = |answer: &Answer| {
        matches!(
            answer,
            Answer::Checked {
                primary: Some(_),
                ..
            }
        )
    };
    answers(history, node, names_primary)
}

fn servers(history: &History) -> Answers {
    let server = |operation: &Operation| server_of(operation).map(|server| server as u64);
    let is_data = |answer: &Answer| match answer {
        Answer::Addresses { addresses, .. } => !addresses.is_empty(),
        Answer::Epoch { epoch } => *epoch > 0,
        _ => false,
    };
    answers(history, server, is_data)
}

fn answers(
    history: &History,
    asked: impl Fn(&Operation) -> Option<u64>,
    wanted: impl Fn(&Answer) -> bool,
) -> Answers {
    let mut answers = Answers::new();
    for id in history.operations.iter().filter_map(&asked) {
        answers.entry(id).or_default();
    }
    for (operation, answer, at) in history.answered() {
        if let Some(id) = asked(operation).filter(|_| wanted(answer)) {
            answers.entry(id).or_default().push(at);
        }
    }
    answers
}

/// The time without faults, in which the workloads still run.
struct Calm {
    healed: Nanos,
    /// Nobody asks any more.
    quiet: Nanos,
}

impl Calm {
    /// Up to the last question of a workload: the phase itself ends later, when
    /// operators have put everything back.
    fn of(history: &History) -> Option<Self> {
        let (healed, quiet) = (history.phases.healed, history.phases.quiet);
        let operations = history.operations.iter().filter(|operation| {
            !matches!(
                operation.request,
                Request::Admin { .. } | Request::ReadBack { .. }
            )
        });
        let last = operations.map(|operation| operation.invoked).max()?;
        let quiet = quiet.min(last);
        (healed > 0 && quiet > healed).then_some(Self { healed, quiet })
    }

    fn limit(&self) -> Nanos {
        self.healed + millis(BACK_MS)
    }

    /// The first of `times` in the calm; says so where it comes late or never.
    fn back(&self, who: &str, times: &[Nanos], findings: &mut Findings) -> Option<Nanos> {
        let in_calm = |at: &Nanos| (self.healed..self.quiet).contains(at);
        let first = times.iter().copied().filter(in_calm).min();
        let late = first.is_none_or(|first| first > self.limit());
        if late && self.quiet >= self.limit() {
            let when = first.map_or("never".to_owned(), |at| {
                format!("only after {}", span(self.healed, at))
            });
            findings.broke(
                self.limit(),
                format!(
                    "{who} came back {when}; the bound is {}",
                    span(0, millis(BACK_MS))
                ),
            );
        } else if late {
            findings.too_little(format!("the calm was too short for {who} to come back"));
        }
        first
    }

    fn judge_writers(&self, history: &History, findings: &mut Findings) {
        let writes = acks(history)
            .filter(|ack| matches!(ack.operation.request, Request::Write { .. }))
            .map(|ack| ack.at);
        let mut writes: Vec<_> = writes.collect();
        writes.sort_unstable();
        if let Some(first) = self.back("the writer", &writes, findings) {
            findings.show("first write after", span(self.healed, first));
        }
        self.judge_pauses(&writes, findings);
    }

    fn judge_pauses(&self, writes: &[Nanos], findings: &mut Findings) {
        if self.quiet <= self.limit() {
            return;
        }
        let mut last = self.limit();
        let later = writes.iter().copied().filter(|at| *at > self.limit());
        let mut longest = 0;
        let end = self.quiet;
        for at in later.take_while(|at| *at < end).chain([end]) {
            longest = longest.max(at - last);
            if at - last > millis(PAUSE_MS) {
                findings.broke(
                    last,
                    format!(
                        "no write was acknowledged for {} from {} on, with no fault anywhere",
                        span(last, at),
                        moment(last)
                    ),
                );
            }
            last = at;
        }
        findings.show("longest pause in the calm", span(0, longest));
    }

    fn judge_each(
        &self,
        what: &str,
        answers: &Answers,
        name: impl Fn(u64) -> String,
        findings: &mut Findings,
    ) {
        for (id, times) in answers {
            self.back(&format!("{what} {}", name(*id)), times, findings);
        }
        if !answers.is_empty() {
            findings.count(&format!("{what}s asked"), answers.len());
        }
    }
}

fn judge_members(history: &History, findings: &mut Findings) {
    let read: BTreeSet<&str> = history
        .answered()
        .filter_map(|(operation, ..)| match &operation.request {
            Request::ReadBack { member } => Some(member.as_str()),
            _ => None,
        })
        .collect();
    for member in &history.about.members {
        if !read.contains(member.as_str()) {
            findings.broke(
                history.phases.end.max(history.phases.quiet),
                format!("{member} was not back at the end"),
            );
        }
    }
    findings.count("members back", read.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::build::{
        Build, MEMBERS, addresses, check, checked, is_caught, passes, probe, shows_nothing, write,
        written,
    };
    use crate::history::Outcome;

    /// Healed at 100 s, quiet at 160 s, writes every 5 s from `from` on.
    fn written_from(from: u64) -> Build {
        let mut build = Build::new().phases(10_000, 100_000, 160_000);
        for at in (10_000..160_000).step_by(500) {
            build = build.fail(probe("lima", 9), at, at + 10);
        }
        for at in (from..160_000).step_by(5_000) {
            build = build.ok(write(1), at, at + 10, written(1));
        }
        for member in MEMBERS {
            build = build.read_back(member, &[1]);
        }
        build
    }

    #[test]
    fn writes_that_come_back_and_stay_pass() {
        passes(&Liveness, &written_from(101_000));
        passes(&Liveness, &written_from(129_000));
    }

    #[test]
    fn writes_that_come_back_late_or_never_are_caught() {
        is_caught(&Liveness, &written_from(131_000), "only after 31.0 s");
        is_caught(
            &Liveness,
            &written_from(170_000),
            "the writer came back never",
        );
    }

    #[test]
    fn writes_that_stop_again_are_caught() {
        let mut build = written_from(101_000);
        build.0.operations.retain(|operation| {
            let late = millis(140_000)..millis(160_000);
            !late.contains(&operation.invoked) || matches!(operation.outcome, Outcome::Fail(_))
        });
        is_caught(&Liveness, &build, "no write was acknowledged for 23");
    }

    #[test]
    fn a_node_or_a_name_server_that_stays_away_is_caught() {
        let node = written_from(101_000).ok(check(), 50_000, 50_010, checked(1));
        is_caught(&Liveness, &node, "node 1 came back never");
        passes(&Liveness, &node.ok(check(), 110_000, 110_010, checked(1)));
        let request = Request::ResolveAddress { server: 2 };
        let server = written_from(101_000).fail(request.clone(), 110_000, 110_010);
        is_caught(&Liveness, &server, "name server r3 came back never");
        passes(
            &Liveness,
            &server.ok(request, 111_000, 111_010, addresses(1)),
        );
    }

    #[test]
    fn a_member_that_is_not_back_is_caught() {
        let mut build = written_from(101_000);
        build.0.operations.pop();
        is_caught(&Liveness, &build, "lima was not back at the end");
    }

    #[test]
    fn workloads_that_end_before_the_phase_are_not_waited_for() {
        let mut build = written_from(101_000);
        let end = millis(145_000);
        build.0.operations.retain(|operation| {
            operation.invoked < end || matches!(operation.request, Request::ReadBack { .. })
        });
        passes(&Liveness, &build);
    }

    #[test]
    fn a_calm_that_was_too_short_or_not_reached_shows_nothing() {
        let short = written_from(170_000).phases(10_000, 100_000, 120_000);
        shows_nothing(&Liveness, &short);
        shows_nothing(&Liveness, &Build::new());
    }
}
