//! Epochs that rise, wherever they are read.
//!
//! Per watcher, and per client through checks, whichever node answers: both are
//! linearizable. Per client *and* name server through DNS: two servers may
//! differ by `max_staleness`, so that one client may hear an older epoch from
//! the other.

use std::collections::BTreeMap;

use super::{
    Checker, Verdict,
    facts::{acks, granted, holder, is_selected, named, published},
    findings::{Findings, moment},
};
use crate::history::{Answer, Event, History, Nanos, Operation, Request, Seen, Sight};

pub struct Epochs;

impl Checker for Epochs {
    fn name(&self) -> &'static str {
        "epochs"
    }

    fn claim(&self) -> &'static str {
        "Epochs only rise, for every watcher and every client, and each has one holder everywhere."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut findings = Findings::default();
        judge_grants(&history.events, &mut findings);
        judge_watchers(&history.seen, &mut findings);
        judge_clients(history, &mut findings);
        let epochs = judge_holders(history, &mut findings);
        findings.count("epochs", epochs);
        let sights = granted(history).len();
        findings.count("sights of an epoch", sights);
        if sights == 0 && is_selected(history, &["checks", "register", "watch", "dns"]) {
            findings.too_little("nobody was told of any epoch");
        }
        findings.verdict()
    }
}

/// Each grant on record raises the epoch.
fn judge_grants(events: &[Event], findings: &mut Findings) {
    let mut last = 0;
    for event in events.iter().filter(|event| event.kind == "lease_granted") {
        if event.epoch <= last {
            findings.broke(
                0,
                format!(
                    "the record has a grant of epoch {} at revision {}, after one of epoch {last}",
                    event.epoch, event.revision
                ),
            );
        }
        last = last.max(event.epoch);
    }
}

/// The greatest epoch that somebody was told of.
#[derive(Default)]
struct Highest(u32);

impl Highest {
    /// The epoch from which `epoch` would be a step back.
    fn raise(&mut self, epoch: u32) -> Option<u32> {
        let before = self.0;
        self.0 = before.max(epoch);
        (epoch < before).then_some(before)
    }
}

fn judge_watchers(seen: &[Seen], findings: &mut Findings) {
    // Events that a watcher asks for again are old by its own wish.
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    let mut highest: BTreeMap<u64, Highest> = BTreeMap::new();
    for sight in seen {
        let (epoch, revision) = match &sight.what {
            Sight::Event(event) => (event.epoch, event.revision),
            Sight::Current {
                primary: Some(primary),
                revision,
            } => (primary.epoch, *revision),
            _ => continue,
        };
        let newest = newest.entry(sight.watcher).or_default();
        if revision < *newest && matches!(sight.what, Sight::Event(_)) {
            continue;
        }
        *newest = revision.max(*newest);
        let highest = highest.entry(sight.watcher).or_default();
        if let Some(before) = highest.raise(epoch) {
            findings.broke(
                sight.at,
                format!(
                    "watcher {} was told of epoch {epoch} after epoch {before}",
                    sight.watcher
                ),
            );
        }
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Through {
    Checks,
    NameServer(usize),
}

fn judge_clients(history: &History, findings: &mut Findings) {
    let mut answers: Vec<(Nanos, &Operation, Through, u32)> = history
        .answered()
        .filter_map(|(operation, answer, at)| {
            let (through, epoch) = heard(operation, answer)?;
            Some((at, operation, through, epoch))
        })
        .collect();
    answers.sort_by_key(|(at, ..)| *at);
    let mut highest: BTreeMap<(u64, Through), Highest> = BTreeMap::new();
    for (at, operation, through, epoch) in answers {
        let highest = highest.entry((operation.process, through)).or_default();
        if let Some(before) = highest.raise(epoch) {
            findings.broke(
                at,
                format!(
                    "process {} heard of epoch {epoch} after epoch {before}, by {}",
                    operation.process,
                    named(operation)
                ),
            );
        }
    }
}

fn heard(operation: &Operation, answer: &Answer) -> Option<(Through, u32)> {
    match (&operation.request, answer) {
        (
            Request::Check { .. },
            Answer::Checked {
                primary: Some(primary),
                ..
            },
        ) => Some((Through::Checks, primary.epoch)),
        (Request::ResolveEpoch { server }, Answer::Epoch { epoch }) if *epoch > 0 => {
            Some((Through::NameServer(*server), *epoch))
        }
        _ => None,
    }
}

/// Who names whom as the holder of an epoch; returns how many epochs there were.
fn judge_holders(history: &History, findings: &mut Findings) -> usize {
    let mut holders: BTreeMap<u32, (String, String)> = BTreeMap::new();
    for (at, epoch, member, by) in namings(history) {
        let first = holders
            .entry(epoch)
            .or_insert_with(|| (member.clone(), by.clone()));
        if first.0 != member {
            let (other, their) = first;
            findings.broke(
                at,
                format!(
                    "epoch {epoch} is of {other} by {their}, and of {member} by {by} at {}",
                    moment(at)
                ),
            );
        }
    }
    holders.len()
}

fn namings(history: &History) -> Vec<(Nanos, u32, String, String)> {
    let of = |at, event: &Event, by: String| {
        let names = ["lease_granted", "promoted", "epoch_sealed"].contains(&event.kind.as_str());
        names.then(|| Some((at, event.epoch, holder(event)?, by)))?
    };
    let recorded = history.events.iter();
    let recorded = recorded.filter_map(|event| of(0, event, "the record".to_owned()));
    let watched = history.seen.iter().filter_map(|seen| match &seen.what {
        Sight::Event(event) => of(seen.at, event, format!("watcher {}", seen.watcher)),
        _ => None,
    });
    let told = published(history).into_iter();
    let told = told.filter_map(|told| {
        Some((
            told.at,
            told.epoch,
            told.member?.to_owned(),
            told.by.to_string(),
        ))
    });
    // A promotion under epoch E makes timeline E.
    let acks = acks(history).filter(|ack| ack.timeline > 0).map(|ack| {
        let by = format!("its acknowledgement of {}", named(ack.operation));
        (ack.at, ack.timeline, ack.member.to_owned(), by)
    });
    recorded.chain(watched).chain(told).chain(acks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::build::{
            Build, check, checked, event, holder, is_caught, passes, primary, shows_nothing, write,
            written,
        },
        history::Outcome,
    };

    fn rising() -> Build {
        Build::new()
            .elected(1)
            .elected(2)
            .watched(50, 0, 20)
            .ok(write(1), 0, 10, written(1))
            .ok(check(), 60, 70, checked(2))
    }

    fn dns(build: Build, process: u64, server: usize, at: u64, epoch: u32) -> Build {
        let request = Request::ResolveEpoch { server };
        let outcome = Outcome::Ok(Answer::Epoch { epoch });
        build.add(process, request, at, Some(at + 5), outcome)
    }

    #[test]
    fn epochs_that_rise_pass() {
        passes(&Epochs, &rising());
    }

    #[test]
    fn a_grant_of_an_epoch_that_was_granted_is_caught() {
        let build = rising().event(30, 2, "lease_granted", holder(2));
        is_caught(&Epochs, &build, "a grant of epoch 2 at revision 30");
    }

    #[test]
    fn a_watcher_that_is_taken_back_is_caught() {
        let old = event(25, 1, "incident", "paris");
        let build = rising().sees(80, 1, 1, Sight::Event(old.clone()));
        is_caught(
            &Epochs,
            &build,
            "watcher 1 was told of epoch 1 after epoch 2",
        );
        passes(&Epochs, &rising().sees(80, 2, 1, Sight::Event(old)));
    }

    #[test]
    fn a_watcher_that_asks_again_may_see_old_events() {
        passes(&Epochs, &rising().watched(90, 9, 20));
    }

    #[test]
    fn a_client_whose_checks_go_back_is_caught() {
        let answer = |epoch| Outcome::Ok(checked(epoch));
        let build = Build::new().add(5, check(), 0, Some(10), answer(2)).add(
            5,
            check(),
            20,
            Some(30),
            answer(1),
        );
        is_caught(&Epochs, &build, "process 5 heard of epoch 1 after epoch 2");
    }

    #[test]
    fn dns_may_differ_between_servers_but_not_go_back_at_one() {
        let build = dns(dns(rising(), 7, 0, 10, 2), 7, 1, 20, 1);
        passes(&Epochs, &build);
        is_caught(
            &Epochs,
            &dns(build, 7, 0, 30, 1),
            "process 7 heard of epoch 1",
        );
    }

    #[test]
    fn two_holders_of_one_epoch_are_caught_wherever_they_are_seen() {
        let twin = Answer::Written {
            member: "lima".to_owned(),
            timeline: 2,
        };
        is_caught(
            &Epochs,
            &rising().ok(write(2), 80, 90, twin),
            "epoch 2 is of tokyo",
        );
        let mut other = primary(2);
        other.member = "paris".to_owned();
        let current = Sight::Current {
            primary: Some(other),
            revision: 20,
        };
        is_caught(
            &Epochs,
            &rising().sees(99, 3, 1, current),
            "and of paris by watcher 3",
        );
    }

    #[test]
    fn nobody_told_shows_nothing() {
        shows_nothing(&Epochs, &Build::new().elected(1));
    }
}
