//! What has to go on while something is down and all else is well.
//!
//! Without the quorum nobody may stop a primary that is well (guarantee D): not
//! its own agent, and not what a node that is left believes. Asked by the
//! probes, which need neither names nor checks. Without one member, and with a
//! quorum, somebody has to serve again.

use super::{
    Checker, Verdict,
    facts::acks,
    findings::{Findings, millis, moment, span},
};
use crate::history::{Fault, History, Nanos, Request};

/// Faults that take the quorum away and leave the members alone.
pub const QUORUM_LOST: &str = "quorum-lost";
/// Faults that take one member away, with a quorum and two members left.
pub const MEMBER_LOST: &str = "member-lost";
/// Enough for a member that diverged to be made anew on a busy machine.
pub const AGAIN_MS: u64 = 20_000;
/// A primary that acknowledged this shortly before was well.
const WELL_MS: u64 = 1_500;
/// Far more than one that is well takes for a write, on a busy machine too.
const PAUSE_MS: u64 = 4_000;

pub struct ServesOn;

impl Checker for ServesOn {
    fn name(&self) -> &'static str {
        "serves-on"
    }

    fn claim(&self) -> &'static str {
        "Losing the quorum stops no primary that is well, and losing one member stops nobody for long."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut findings = Findings::default();
        let probes: Vec<Nanos> = acks(history)
            .filter(|ack| matches!(ack.operation.request, Request::Probe { .. }))
            .map(|ack| ack.at)
            .collect();
        let lost = history
            .faults
            .iter()
            .filter(|fault| fault.name == QUORUM_LOST);
        let judged: Vec<_> = lost
            .filter_map(|fault| longest_pause(fault, &probes))
            .collect();
        for (from, to) in &judged {
            if to - from > millis(PAUSE_MS) {
                let (length, at) = (span(*from, *to), moment(*from));
                let text = format!(
                    "without a quorum no probe was acknowledged for {length} from {at} on, though \
                     the primary was well"
                );
                findings.broke(*from, text);
            }
        }
        let lost = history.faults.iter();
        for fault in lost.filter(|fault| fault.name == MEMBER_LOST) {
            judge_loss(history, fault, &mut findings);
        }
        findings.count(
            "times without a quorum beside a primary that was well",
            judged.len(),
        );
        findings.verdict_of_a_bystander()
    }
}

fn judge_loss(history: &History, fault: &Fault, findings: &mut Findings) {
    let limit = fault.began + millis(AGAIN_MS);
    // It ends with the first acknowledgement.
    let lasted = fault.ended.is_some_and(|ended| ended > limit);
    if lasted && !acks(history).any(|ack| (fault.began..limit).contains(&ack.at)) {
        let at = moment(fault.began);
        findings.broke(
            fault.began,
            format!("nobody acknowledged a write for 20 s from {at} on, with one member down and all else well"),
        );
    }
}

/// The longest time without an acknowledged probe within the fault, if the
/// primary was well when it began.
fn longest_pause(fault: &Fault, probes: &[Nanos]) -> Option<(Nanos, Nanos)> {
    let ended = fault.ended?;
    let before = probes
        .iter()
        .copied()
        .filter(|at| *at < fault.began)
        .max()?;
    if fault.began - before > millis(WELL_MS) {
        return None;
    }
    let mut within: Vec<_> = probes
        .iter()
        .copied()
        .filter(|at| (fault.began..ended).contains(at))
        .chain([fault.began, ended])
        .collect();
    within.sort_unstable();
    let pauses = within.windows(2).map(|pair| (pair[0], pair[1]));
    pauses.max_by_key(|(from, to)| to - from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::build::{Build, is_caught, passes, probe, written};

    /// The quorum is lost from 10 s to 20 s; probes are acknowledged until `last`.
    fn until(last: u64) -> Build {
        let build = Build::new().fault(QUORUM_LOST, 10_000, 20_000, &[]);
        (0..)
            .map(|n| 9_000 + n * 500)
            .take_while(|at| *at <= last)
            .fold(build, |build, at| {
                let row = i64::try_from(at).unwrap();
                build.ok(probe("tokyo", row), at, at + 5, written(2))
            })
    }

    #[test]
    fn a_primary_that_serves_on_passes() {
        passes(&ServesOn, &until(20_500));
    }

    #[test]
    fn a_primary_that_stops_without_the_quorum_is_caught() {
        is_caught(
            &ServesOn,
            &until(12_000),
            "no probe was acknowledged for 7.9",
        );
    }

    #[test]
    fn a_group_that_serves_nobody_without_one_member_is_caught() {
        let lost = |until| Build::new().fault(MEMBER_LOST, 10_000, until, &[]);
        let served = |build: Build| build.ok(probe("tokyo", 1), 14_000, 14_005, written(2));
        is_caught(&ServesOn, &lost(31_000), "nobody acknowledged");
        passes(&ServesOn, &served(lost(31_000)));
        passes(&ServesOn, &lost(15_000));
    }

    #[test]
    fn a_primary_that_was_not_well_before_is_not_judged() {
        passes(&ServesOn, &until(8_000));
    }
}
