//! Who is primary, as a linearizable register that checks read.
//!
//! Its values are the publications of the record: epoch and member, in the
//! order of their revisions, each written over the one before. When a
//! publication took place nobody outside can say, so that the write of it is
//! taken to have been under way since the run began, and to have been done
//! when the first was told of it. Of one that nobody was told of, it is not
//! known whether it is done. That allows at least every moment at which it can
//! have happened: what is refused cannot have happened at any.
//!
//! Answers that name nobody are held against the record by their revision only.

use std::collections::BTreeMap;

use super::{
    Checker, Verdict,
    facts::{Record, is_selected, named, published},
    findings::{Findings, moment},
    linear::{self, Call, Judgement, Model},
};
use crate::history::{Answer, History, Nanos, Operation};

pub struct Register;

impl Checker for Register {
    fn name(&self) -> &'static str {
        "register"
    }

    fn claim(&self) -> &'static str {
        "Checks, whichever node is asked, read one linearizable register: who is primary."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut findings = Findings::default();
        let reads = reads(history);
        let named = reads.iter().filter(|read| read.value.is_some()).count();
        findings.count("answers that name a primary", named);
        findings.count("answers that name nobody", reads.len() - named);
        judge_order(&reads, &mut findings);
        if history.events.is_empty() {
            findings.too_little("the group's history was not read");
        } else {
            let record = Record::of(&history.events);
            judge_content(&reads, &record, &mut findings);
            judge_linearizability(history, &record, &reads, &mut findings);
        }
        if !is_selected(history, &["register", "checks"]) {
            return findings.verdict_of_a_bystander();
        }
        if named == 0 {
            findings.too_little("no check named a primary");
        }
        findings.verdict()
    }
}

type Value<'a> = (u32, &'a str);

struct Read<'a> {
    operation: &'a Operation,
    completed: Nanos,
    value: Option<Value<'a>>,
    revision: u64,
}

fn reads(history: &History) -> Vec<Read<'_>> {
    let answered = history.answered();
    let reads = answered.filter_map(|(operation, answer, completed)| {
        let Answer::Checked {
            primary, revision, ..
        } = answer
        else {
            return None;
        };
        let value = primary.as_ref().map(|who| (who.epoch, who.member.as_str()));
        Some(Read {
            operation,
            completed,
            value,
            revision: *revision,
        })
    });
    reads.collect()
}

/// A check invoked after another was answered knows at least as much.
fn judge_order(reads: &[Read<'_>], findings: &mut Findings) {
    let mut by_end: Vec<_> = reads.iter().collect();
    by_end.sort_by_key(|read| read.completed);
    let mut newest: Option<&Read<'_>> = None;
    let mut ended = by_end.into_iter().peekable();
    for read in reads {
        while let Some(before) = ended.next_if(|other| other.completed < read.operation.invoked) {
            if newest.is_none_or(|newest| newest.revision < before.revision) {
                newest = Some(before);
            }
        }
        if let Some(newest) = newest.filter(|newest| newest.revision > read.revision) {
            findings.broke(
                read.completed,
                format!(
                    "{} was answered from revision {}, though {} had been answered from revision {} at {}, before it began",
                    named(read.operation),
                    read.revision,
                    named(newest.operation),
                    newest.revision,
                    moment(newest.completed),
                ),
            );
        }
    }
}

/// An answer says what the record says as of its revision.
fn judge_content(reads: &[Read<'_>], record: &Record, findings: &mut Findings) {
    for read in reads {
        let on_record = record.published_at(read.revision);
        if on_record != read.value {
            findings.broke(
                read.completed,
                format!(
                    "{} named {}, while the record at revision {} has {}",
                    named(read.operation),
                    shown(read.value),
                    read.revision,
                    shown(on_record),
                ),
            );
        }
    }
}

fn shown(value: Option<Value<'_>>) -> String {
    match value {
        Some((epoch, member)) => format!("{member} under epoch {epoch}"),
        None => "nobody".to_owned(),
    }
}

/// The register itself: numbers stand for values, 0 for none.
struct Publications;

#[derive(Debug, Clone, Copy)]
enum Op {
    /// Over the value before it.
    Publish(usize),
    Read(usize),
}

impl Model for Publications {
    type State = usize;
    type Op = Op;

    fn initial(&self) -> usize {
        0
    }

    fn step(&self, state: &usize, op: &Op) -> Option<usize> {
        match *op {
            Op::Publish(value) => (*state + 1 == value).then_some(value),
            Op::Read(value) => (*state == value).then_some(value),
        }
    }

    fn is_read(&self, op: &Op) -> bool {
        matches!(op, Op::Read(_))
    }
}

fn judge_linearizability(
    history: &History,
    record: &Record,
    reads: &[Read<'_>],
    findings: &mut Findings,
) {
    let numbers: BTreeMap<Value<'_>, usize> = record.publications().zip(1..).collect();
    let mut calls = publications(history, record);
    let mut of = vec![None; calls.len()];
    for read in reads {
        let Some(value) = read.value else { continue };
        // A value that was never published is equal to none of them.
        let number = numbers.get(&value).copied().unwrap_or(usize::MAX);
        calls.push(Call {
            op: Op::Read(number),
            invoked: read.operation.invoked,
            completed: Some(read.completed),
        });
        of.push(Some(read));
    }
    match linear::judge(&Publications, &calls) {
        Judgement::Linearizable => {}
        Judgement::NotLinearizable { stuck } => {
            let (at, text) = stuck_at(&calls[stuck], of[stuck]);
            findings.broke(at, text);
        }
        Judgement::TooHard => findings.too_little("too many orders are possible to try them all"),
    }
}

/// The writes of the register, with the latest moment at which each was done.
fn publications(history: &History, record: &Record) -> Vec<Call<Op>> {
    let mut first: BTreeMap<u32, Nanos> = BTreeMap::new();
    for told in published(history) {
        let at = first.entry(told.epoch).or_insert(told.at);
        *at = told.at.min(*at);
    }
    let calls = record
        .publications()
        .zip(1..)
        .map(|((epoch, _), number)| Call {
            op: Op::Publish(number),
            invoked: 0,
            completed: first.get(&epoch).copied(),
        });
    calls.collect()
}

fn stuck_at(call: &Call<Op>, read: Option<&Read<'_>>) -> (Nanos, String) {
    let text = match read {
        Some(read) => format!(
            "no order of the checks explains that {} named {} between {} and {}",
            named(read.operation),
            shown(read.value),
            moment(call.invoked),
            moment(read.completed),
        ),
        None => format!(
            "no order of the checks explains that publication {:?} was told of by {}",
            call.op,
            moment(call.completed.unwrap_or_default()),
        ),
    };
    (call.completed.unwrap_or_default(), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::build::{Build, check, checked, is_caught, passes, primary, shows_nothing};
    use crate::history::Sight;

    fn nobody(revision: u64) -> Answer {
        Answer::Checked {
            primary: None,
            valid_for_ms: 0,
            revision,
        }
    }

    fn three_epochs() -> Build {
        Build::new()
            .elected(1)
            .elected(2)
            .elected(3)
            .ok(check(), 0, 10, checked(1))
            .ok(check(), 15, 30, nobody(19))
            .ok(check(), 20, 40, checked(2))
            .ok(check(), 25, 39, nobody(19))
            .ok(check(), 50, 60, checked(3))
    }

    #[test]
    fn answers_in_the_order_of_the_record_pass() {
        passes(&Register, &three_epochs());
    }

    #[test]
    fn checks_that_overlap_may_be_ordered_either_way() {
        let build = three_epochs()
            .ok(check(), 70, 90, checked(3))
            .elected(4)
            .ok(check(), 80, 100, checked(4))
            .ok(check(), 85, 95, checked(3));
        passes(&Register, &build);
    }

    #[test]
    fn an_old_value_after_a_new_one_is_caught() {
        let build = three_epochs().ok(check(), 61, 70, checked(2));
        is_caught(&Register, &build, "no order of the checks explains");
        is_caught(&Register, &build, "answered from revision 20");
    }

    #[test]
    fn an_old_value_after_a_watcher_was_told_of_the_new_one_is_caught() {
        let current = Sight::Current {
            primary: Some(primary(4)),
            revision: 40,
        };
        let build =
            three_epochs()
                .elected(4)
                .sees(70, 1, 1, current)
                .ok(check(), 71, 80, checked(3));
        is_caught(&Register, &build, "no order of the checks explains");
    }

    #[test]
    fn a_value_that_was_never_published_is_caught() {
        let build = three_epochs().ok(check(), 61, 70, checked(4));
        is_caught(&Register, &build, "named paris under epoch 4");
    }

    #[test]
    fn an_answer_other_than_the_record_at_its_revision_is_caught() {
        let early = Answer::Checked {
            primary: Some(primary(3)),
            valid_for_ms: 0,
            revision: 29,
        };
        let build = three_epochs().ok(check(), 61, 70, early);
        is_caught(
            &Register,
            &build,
            "while the record at revision 29 has nobody",
        );
        let silent = three_epochs().ok(check(), 61, 70, nobody(30));
        is_caught(&Register, &silent, "named nobody");
    }

    #[test]
    fn no_check_or_no_record_shows_nothing() {
        shows_nothing(&Register, &Build::new().elected(1));
        shows_nothing(&Register, &Build::new().ok(check(), 0, 1, checked(1)));
    }

    #[test]
    fn a_run_without_checks_misses_none() {
        let mut build = Build::new();
        build.0.about.workloads = vec!["writes".to_owned()];
        passes(&Register, &build);
    }
}
