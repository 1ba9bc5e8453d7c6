//! Two members that acknowledge writes.
//!
//! A promotion under epoch E makes timeline E, so the timeline that a session
//! saw names the primary that acknowledged it. Once a later timeline has
//! acknowledged, a write *invoked* after that must not be acknowledged under an
//! earlier one. Writes that overlap prove nothing, and are let through.

use std::collections::BTreeMap;

use super::{
    Checker, Verdict,
    facts::{Ack, Frontier, Source, Told, acks, is_selected, named},
    findings::{Findings, moment},
};
use crate::history::{History, Request};

pub struct DoublePrimary;

impl Checker for DoublePrimary {
    fn name(&self) -> &'static str {
        "double-primary"
    }

    fn claim(&self) -> &'static str {
        "At no time do two members acknowledge writes, asked all the time over paths that no fault cuts."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut findings = Findings::default();
        let known: Vec<_> = acks(history).filter(|ack| ack.timeline > 0).collect();
        let frontier = Frontier::new(known.iter().map(told).collect());
        for ack in &known {
            judge_order(ack, &frontier, &mut findings);
        }
        let timelines = judge_owners(&known, &mut findings);
        let is_probe = |request: &Request| matches!(request, Request::Probe { .. });
        let probes = history.operations.iter();
        let probes = probes.filter(|operation| is_probe(&operation.request));
        findings.count("probes", probes.count());
        let acknowledged = known.iter().filter(|ack| is_probe(&ack.operation.request));
        findings.count("probes acknowledged", acknowledged.count());
        findings.count("timelines that acknowledged", timelines);
        if known.is_empty() && is_selected(history, &["writes"]) {
            findings.too_little("no acknowledgement names its timeline");
        }
        findings.verdict()
    }
}

fn told<'a>(ack: &Ack<'a>) -> Told<'a> {
    Told {
        at: ack.at,
        epoch: ack.timeline,
        member: Some(ack.member),
        by: Source::Operation(ack.operation),
    }
}

fn judge_order(ack: &Ack<'_>, frontier: &Frontier<'_>, findings: &mut Findings) {
    let Some(later) = frontier.before(ack.operation.invoked) else {
        return;
    };
    if later.epoch > ack.timeline {
        findings.broke(
            ack.at,
            format!(
                "{} acknowledged {} on timeline {}, invoked at {}; {} had acknowledged {} on timeline {} at {}",
                ack.member,
                named(ack.operation),
                ack.timeline,
                moment(ack.operation.invoked),
                later.member.unwrap_or("another"),
                later.by,
                later.epoch,
                moment(later.at),
            ),
        );
    }
}

/// One member per timeline; returns how many timelines there were.
fn judge_owners(known: &[Ack<'_>], findings: &mut Findings) -> usize {
    let mut owners: BTreeMap<u32, &Ack<'_>> = BTreeMap::new();
    for ack in known {
        let owner = owners.entry(ack.timeline).or_insert(ack);
        if owner.member != ack.member {
            findings.broke(
                ack.at,
                format!(
                    "{} acknowledged {} on timeline {}, on which {} acknowledged {}",
                    ack.member,
                    named(ack.operation),
                    ack.timeline,
                    owner.member,
                    named(owner.operation),
                ),
            );
        }
    }
    owners.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::build::{Build, is_caught, passes, probe, shows_nothing, write, written},
        history::Answer,
    };

    fn two_primaries(old_invoked: u64) -> Build {
        Build::new()
            .ok(write(1), 0, 10, written(1))
            .ok(write(2), 100, 120, written(2))
            .ok(probe("paris", 3), old_invoked, 150, written(1))
    }

    #[test]
    fn writes_of_two_primaries_that_overlap_prove_nothing() {
        passes(&DoublePrimary, &two_primaries(119));
        passes(&DoublePrimary, &two_primaries(120));
    }

    #[test]
    fn an_old_primary_that_acknowledges_after_its_successor_is_caught() {
        let text = "paris acknowledged probe of paris with row 3 (operation 2) on timeline 1, invoked at 0.121 s; tokyo had acknowledged";
        is_caught(&DoublePrimary, &two_primaries(121), text);
    }

    #[test]
    fn an_acknowledgement_long_before_is_remembered() {
        let mut build = two_primaries(119);
        for row in 10..20 {
            build = build.ok(write(row), 200, 210, written(3));
        }
        build = build.ok(write(30), 900, 910, written(2));
        is_caught(&DoublePrimary, &build, "on timeline 2, invoked at 0.900 s");
    }

    #[test]
    fn two_members_on_one_timeline_are_caught() {
        let twin = Answer::Written {
            member: "lima".to_owned(),
            timeline: 1,
        };
        let build = two_primaries(119).ok(write(4), 5, 15, twin);
        is_caught(&DoublePrimary, &build, "lima acknowledged write of row 4");
    }

    #[test]
    fn acknowledgements_without_a_timeline_show_nothing() {
        let blind = Answer::Written {
            member: "paris".to_owned(),
            timeline: 0,
        };
        shows_nothing(&DoublePrimary, &Build::new().ok(write(1), 0, 1, blind));
        shows_nothing(&DoublePrimary, &Build::new());
    }
}
