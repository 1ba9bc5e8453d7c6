//! Failovers that nobody gave a reason for.
//!
//! When an event happened is not known outside; that it was seen is, and it
//! happened before. A failover seen while a fault lasts, or shortly after one,
//! may be of its making. One that an operator asked for is planned.

use super::{
    Checker, Verdict,
    facts::{field, first_seen, is_selected},
    findings::{Findings, millis, moment},
};
use crate::history::{Event, Fault, History, Nanos, Request};

/// Faults of quorum nodes alone: whoever leads, and however often that changes,
/// the primary is as well as before.
const OF_NODES: [&str; 2] = ["kill-node", "pause-node"];
/// What a fault leaves behind shows within a lease and this: its members come
/// back one by one, and a watcher that was cut off hears of it late.
const AFTERMATH_MS: u64 = 10_000;

pub struct Spurious;

impl Checker for Spurious {
    fn name(&self) -> &'static str {
        "spurious"
    }

    fn claim(&self) -> &'static str {
        "No failover begins in a quiet world: each follows a fault, or was asked for."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut findings = Findings::default();
        let failovers = failovers(history);
        let mut unseen = 0;
        let mut planned = 0;
        for failover in &failovers {
            planned += usize::from(failover.is_planned());
            match failover.seen {
                None => unseen += 1,
                Some(seen) => judge(history, failover, seen, &mut findings),
            }
        }
        findings.count("failovers", failovers.len() - planned);
        findings.count("switchovers", planned);
        findings.count("seen by no watcher", unseen);
        if unseen > 0 && unseen == failovers.len() && is_selected(history, &["watch"]) {
            findings.too_little("no watcher saw any failover begin");
        }
        if history.events.is_empty() {
            findings.too_little("the group's history was not read");
        }
        findings.verdict()
    }
}

/// A failover or switchover on record.
#[derive(Debug, Clone)]
pub struct Failover<'a> {
    pub event: &'a Event,
    /// `silence`, `switchover`.
    pub cause: String,
    /// When a watcher first saw it begin.
    pub seen: Option<Nanos>,
}

impl Failover<'_> {
    #[must_use]
    pub fn is_planned(&self) -> bool {
        ["switchover", "operator"].contains(&self.cause.as_str())
    }
}

/// All that began, as the record has them.
#[must_use]
pub fn failovers(history: &History) -> Vec<Failover<'_>> {
    let seen = first_seen(history);
    let events = history.events.iter();
    let began = events.filter(|event| event.kind == "failover_began");
    let failover = |event| Failover {
        event,
        cause: field(event, "cause").unwrap_or_default(),
        seen: seen.get(&(event.revision, event.kind.as_str())).copied(),
    };
    began.map(failover).collect()
}

fn judge(history: &History, failover: &Failover<'_>, seen: Nanos, findings: &mut Findings) {
    let justified = match failover.is_planned() {
        true => was_asked_for(history, seen),
        false => has_reason(history, seen) || was_held_back(history, seen),
    };
    if !justified {
        let why = match failover.is_planned() {
            true => "and nobody asked for it",
            false => "and no fault had been near",
        };
        findings.broke(
            seen,
            format!(
                "a failover (cause: {}, revision {}) was seen at {}, {why}",
                failover.cause,
                failover.event.revision,
                moment(seen)
            ),
        );
    }
}

fn was_asked_for(history: &History, seen: Nanos) -> bool {
    let asked = |request: &Request| matches!(request, Request::Admin { .. });
    let mut operations = history.operations.iter();
    operations.any(|operation| asked(&operation.request) && operation.invoked <= seen)
}

/// Whether a fault lasted then, or had ended shortly before. One whose end was
/// not noted may last until all are taken back.
fn has_reason(history: &History, seen: Nanos) -> bool {
    let after = millis(AFTERMATH_MS + history.about.ttl_ms);
    let healed = history.phases.healed;
    let of_members = |fault: &&Fault| !OF_NODES.contains(&fault.name.as_str());
    history.faults.iter().filter(of_members).any(|fault| {
        let ended = fault.ended.unwrap_or(healed.max(fault.began));
        (fault.began..=ended.saturating_add(after)).contains(&seen)
    })
}

/// Whether failovers were paused, and resumed shortly before: what was not
/// acted on at `seen` may have had its reason when the pause began, or since.
fn was_held_back(history: &History, seen: Nanos) -> bool {
    let after = millis(AFTERMATH_MS + history.about.ttl_ms);
    let admin = |word: &'static str| {
        let operations = history.operations.iter();
        operations.filter(move |operation| {
            matches!(&operation.request, Request::Admin { what } if what.starts_with(word))
        })
    };
    admin("resume").any(|resume| {
        let until = resume.completed.unwrap_or(seen).saturating_add(after);
        let paused = admin("pause").filter(|pause| pause.invoked < resume.invoked);
        let since = paused.map(|pause| pause.invoked).max();
        let mut faults = history.faults.iter();
        (resume.invoked..=until).contains(&seen)
            && since.is_some_and(|since| {
                faults.any(|fault| {
                    let ended = fault.ended.unwrap_or(seen).saturating_add(after);
                    fault.began <= resume.invoked && ended >= since
                })
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::build::{Build, is_caught, passes, shows_nothing};
    use crate::history::{Answer, Outcome};

    /// A fault from 10 s to 20 s, healed at 20 s, and a failover seen at `at`.
    fn failover_at(at: u64) -> Build {
        Build::new()
            .phases(10_000, 20_000, 60_000)
            .fault("kill", 10_000, 20_000, &[])
            .elected(2)
            .watched(at, 0, 30)
    }

    fn switchover(at: u64) -> Build {
        let mut build = failover_at(at);
        build.0.events[0].detail = "{\"holder\":\"paris\",\"cause\":\"switchover\"}".to_owned();
        build
    }

    #[test]
    fn a_failover_during_a_fault_or_shortly_after_passes() {
        passes(&Spurious, &failover_at(10_500));
        passes(&Spurious, &failover_at(33_000));
    }

    #[test]
    fn a_failover_after_the_loss_of_a_node_alone_is_caught() {
        let build = Build::new()
            .phases(10_000, 20_000, 60_000)
            .fault("kill-node", 10_000, 20_000, &[])
            .elected(2)
            .watched(10_500, 0, 30);
        is_caught(&Spurious, &build, "no fault had been near");
    }

    #[test]
    fn a_failover_before_any_fault_is_caught() {
        is_caught(
            &Spurious,
            &failover_at(9_999),
            "cause: silence, revision 18",
        );
    }

    #[test]
    fn a_failover_long_after_the_last_fault_is_caught() {
        is_caught(&Spurious, &failover_at(33_001), "no fault had been near");
    }

    #[test]
    fn a_failover_that_a_pause_held_back_passes_once_resumed() {
        let admin = |build: Build, what: &str, at| {
            let what = what.to_owned();
            let done = Answer::Done {
                member: String::new(),
                epoch: 0,
            };
            build.ok(Request::Admin { what }, at, at + 10, done)
        };
        let paused = admin(failover_at(41_000), "pause", 15_000);
        is_caught(&Spurious, &paused, "no fault had been near");
        passes(&Spurious, &admin(paused, "resume", 40_000));
        let late = admin(
            admin(failover_at(41_000), "pause", 35_000),
            "resume",
            40_000,
        );
        is_caught(&Spurious, &late, "no fault had been near");
    }

    #[test]
    fn the_first_of_several_sights_counts() {
        passes(&Spurious, &failover_at(12_000).watched(50_000, 0, 30));
    }

    #[test]
    fn a_switchover_needs_somebody_who_asked_for_it() {
        is_caught(&Spurious, &switchover(5_000), "nobody asked for it");
        let what = Request::Admin {
            what: "switchover tokyo".to_owned(),
        };
        let done = Outcome::Ok(Answer::Done {
            member: "tokyo".to_owned(),
            epoch: 2,
        });
        passes(
            &Spurious,
            &switchover(5_000).add(1, what, 4_000, None, done),
        );
    }

    #[test]
    fn failovers_that_nobody_saw_show_nothing() {
        shows_nothing(&Spurious, &Build::new().elected(2));
        shows_nothing(&Spurious, &Build::new());
        let mut unwatched = Build::new().elected(2);
        unwatched.0.about.workloads = vec!["writes".to_owned()];
        passes(&Spurious, &unwatched);
    }
}
