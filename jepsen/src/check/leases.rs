//! How long a check's answer holds, on the machine's one clock.
//!
//! An answer that may be relied on for a while holds from before it was asked
//! for. Until its end no other member may be seen as primary: by a check, by an
//! operator, or by an acknowledgement under a later timeline. An answer for the
//! moment only must not be of an epoch after which another was known to be
//! granted before it was asked for.

use super::{
    Checker, Verdict,
    facts::{Frontier, Told, granted, is_selected, named},
    findings::{Findings, millis, moment},
};
use crate::history::{Answer, History, Nanos, Operation, Primary};

pub struct Leases;

impl Checker for Leases {
    fn name(&self) -> &'static str {
        "leases"
    }

    fn claim(&self) -> &'static str {
        "No check names a primary after a later epoch was granted, and no answer is valid beside a successor."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut findings = Findings::default();
        let mut told = granted(history);
        let frontier = Frontier::new(told.clone());
        told.retain(|told| told.member.is_some());
        let successors = Successors::new(told);
        let mut windows = 0;
        let answers = answers(history);
        for answer in &answers {
            judge_moment(answer, &frontier, &mut findings);
            if answer.valid_for > 0 {
                windows += 1;
                judge_window(answer, &successors, &mut findings);
            }
        }
        findings.count("answers that name a primary", answers.len());
        findings.count("answers with a check window", windows);
        findings.count("epochs known to be granted", frontier.steps().len());
        if answers.is_empty() && is_selected(history, &["checks", "register"]) {
            findings.too_little("no check named a primary");
        }
        findings.verdict()
    }
}

struct Answered<'a> {
    operation: &'a Operation,
    completed: Nanos,
    primary: &'a Primary,
    valid_for: Nanos,
}

fn answers(history: &History) -> Vec<Answered<'_>> {
    let answered = history.answered();
    let answers = answered.filter_map(|(operation, answer, completed)| match answer {
        Answer::Checked {
            primary: Some(primary),
            valid_for_ms,
            ..
        } => Some(Answered {
            operation,
            completed,
            primary,
            valid_for: millis(*valid_for_ms),
        }),
        _ => None,
    });
    answers.collect()
}

fn judge_moment(answer: &Answered<'_>, frontier: &Frontier<'_>, findings: &mut Findings) {
    let Some(later) = frontier.before(answer.operation.invoked) else {
        return;
    };
    if later.epoch > answer.primary.epoch {
        findings.broke(
            answer.completed,
            format!(
                "{}, asked at {}, named {} under epoch {}, though {} had shown epoch {} at {}",
                named(answer.operation),
                moment(answer.operation.invoked),
                answer.primary.member,
                answer.primary.epoch,
                later.by,
                later.epoch,
                moment(later.at),
            ),
        );
    }
}

fn judge_window(answer: &Answered<'_>, successors: &Successors<'_>, findings: &mut Findings) {
    let end = answer.operation.invoked.saturating_add(answer.valid_for);
    let Some(successor) = successors.first_after(answer.primary) else {
        return;
    };
    if successor.at < end {
        findings.broke(
            successor.at,
            format!(
                "{} named {} under epoch {} until {}, and {} showed {} under epoch {} at {}",
                named(answer.operation),
                answer.primary.member,
                answer.primary.epoch,
                moment(end),
                successor.by,
                successor.member.unwrap_or("another"),
                successor.epoch,
                moment(successor.at),
            ),
        );
    }
}

/// Who was first seen as primary under each epoch.
struct Successors<'a> {
    /// By epoch.
    first: Vec<Told<'a>>,
}

impl<'a> Successors<'a> {
    fn new(mut told: Vec<Told<'a>>) -> Self {
        told.sort_by_key(|told| (told.epoch, told.at));
        told.dedup_by_key(|told| (told.epoch, told.member));
        Self { first: told }
    }

    /// The first sight of another member under a later epoch.
    fn first_after(&self, primary: &Primary) -> Option<&Told<'a>> {
        let from = self
            .first
            .partition_point(|told| told.epoch <= primary.epoch);
        let others = self.first[from..].iter();
        others
            .filter(|told| told.member != Some(&primary.member))
            .min_by_key(|told| told.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::build::{
            Build, check, checked, holder, is_caught, passes, primary, probe, shows_nothing,
            written,
        },
        history::{Request, Sight},
    };

    fn valid(epoch: u32, valid_for_ms: u64) -> Answer {
        Answer::Checked {
            primary: Some(primary(epoch)),
            valid_for_ms,
            revision: 0,
        }
    }

    #[test]
    fn answers_that_overlap_a_grant_pass() {
        let build = Build::new()
            .ok(check(), 0, 10, checked(1))
            .ok(check(), 100, 120, checked(2))
            .ok(check(), 119, 140, checked(1));
        passes(&Leases, &build);
    }

    #[test]
    fn an_answer_of_an_epoch_that_was_superseded_is_caught() {
        let build =
            Build::new()
                .ok(check(), 100, 120, checked(2))
                .ok(check(), 121, 140, checked(1));
        is_caught(
            &Leases,
            &build,
            "named paris under epoch 1, though check of node 1 (operation 0) had shown epoch 2",
        );
    }

    #[test]
    fn a_grant_counts_as_soon_as_a_watcher_or_a_writer_knows_of_it() {
        let watched = Build::new()
            .event(19, 2, "lease_granted", holder(2))
            .watched(50, 19, 19)
            .ok(check(), 51, 60, checked(1));
        is_caught(&Leases, &watched, "watcher 1 at node 1");
        let acknowledged =
            Build::new()
                .ok(probe("tokyo", 1), 0, 50, written(2))
                .ok(check(), 51, 60, checked(1));
        is_caught(&Leases, &acknowledged, "probe of tokyo");
    }

    #[test]
    fn a_window_that_ends_before_the_successor_passes() {
        let build =
            Build::new()
                .ok(check(), 0, 10, valid(1, 500))
                .ok(check(), 490, 500, valid(2, 500));
        passes(&Leases, &build);
    }

    #[test]
    fn a_successor_within_the_window_is_caught_however_it_is_seen() {
        let window = || Build::new().ok(check(), 0, 10, valid(1, 500));
        is_caught(
            &Leases,
            &window().ok(check(), 480, 499, checked(2)),
            "until 0.500 s",
        );
        let acknowledged = window().ok(probe("tokyo", 1), 300, 400, written(2));
        is_caught(
            &Leases,
            &acknowledged,
            "showed tokyo under epoch 2 at 0.400 s",
        );
        let admin = Request::Admin {
            what: "switchover tokyo".to_owned(),
        };
        let done = Answer::Done {
            member: "tokyo".to_owned(),
            epoch: 2,
        };
        is_caught(
            &Leases,
            &window().ok(admin, 100, 450, done),
            "`switchover tokyo`",
        );
    }

    #[test]
    fn the_same_member_under_the_next_epoch_is_no_successor() {
        let mut again = primary(1);
        again.epoch = 2;
        let again = Sight::Current {
            primary: Some(again),
            revision: 0,
        };
        let build = Build::new()
            .ok(check(), 0, 10, valid(1, 500))
            .sees(100, 1, 1, again);
        passes(&Leases, &build);
    }

    #[test]
    fn no_answer_shows_nothing() {
        shows_nothing(&Leases, &Build::new());
    }
}
