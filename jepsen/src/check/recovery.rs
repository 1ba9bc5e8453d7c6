//! How long each fault was felt. Measures, and judges nothing.
//!
//! Times are those at which somebody outside knew: the writer by its
//! acknowledgements, a watcher by the events that it was sent.

use super::{
    Checker, Verdict,
    facts::{acks, first_seen, holder},
    findings::{Findings, millis, span},
    spurious::failovers,
};
use crate::history::{Event, Fault, History, Nanos, Request};

/// A fault's effects are looked for until this long after its end, or until
/// the next begins.
const AFTER_MS: u64 = 10_000;
/// Faults closer than this are one blow: each shows what it did.
const ONE_BLOW_MS: u64 = 1_000;
/// A pause that a writer would notice.
const NOTICED_MS: u64 = 500;

pub struct Recovery;

impl Checker for Recovery {
    fn name(&self) -> &'static str {
        "recovery"
    }

    fn claim(&self) -> &'static str {
        "How long faults were felt: measured, not promised."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut findings = Findings::default();
        let rows = rows(history);
        let mut gaps: Vec<Nanos> = rows.iter().filter_map(Row::gap_length).collect();
        gaps.sort_unstable();
        let felt = gaps.iter().filter(|gap| **gap > millis(NOTICED_MS));
        findings.count("faults", rows.len());
        findings.count("felt by the writer", felt.count());
        findings.count(
            "followed by a failover",
            rows.iter().filter(|row| row.detected.is_some()).count(),
        );
        if let (Some(middle), Some(longest)) = (gaps.get(gaps.len() / 2), gaps.last()) {
            findings.show("median of the longest pauses", span(0, *middle));
            findings.show("longest pause", span(0, *longest));
        }
        findings.verdict()
    }
}

/// What followed a fault.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    pub fault: &'a Fault,
    /// The writer's longest pause that touches it: last acknowledgement
    /// before, first after; the latter unset where none came any more.
    pub gap: Option<(Nanos, Option<Nanos>)>,
    /// A failover was seen to begin.
    pub detected: Option<Nanos>,
    /// Its grant was seen.
    pub granted: Option<Nanos>,
    /// Its primary was seen published.
    pub published: Option<Nanos>,
    /// Who was granted.
    pub primary: Option<String>,
}

impl Row<'_> {
    /// Length of the pause, where it ended.
    #[must_use]
    pub fn gap_length(&self) -> Option<Nanos> {
        let (from, to) = self.gap?;
        Some(to?.saturating_sub(from))
    }
}

/// One row per fault, in their order.
#[must_use]
pub fn rows(history: &History) -> Vec<Row<'_>> {
    let mut acks: Vec<Nanos> = acks(history)
        .filter(|ack| matches!(ack.operation.request, Request::Write { .. }))
        .map(|ack| ack.at)
        .collect();
    acks.sort_unstable();
    let faults = history.faults.iter();
    faults.map(|fault| row(history, fault, &acks)).collect()
}

fn row<'a>(history: &'a History, fault: &'a Fault, acks: &[Nanos]) -> Row<'a> {
    let end = felt_until(history, fault);
    let mut row = Row {
        fault,
        gap: longest_gap(acks, fault.began, end, history.phases.quiet),
        detected: None,
        granted: None,
        published: None,
        primary: None,
    };
    let during = fault.began..=end;
    let is_of_it = |seen: Option<Nanos>| seen.is_some_and(|at| during.contains(&at));
    let mut failovers = failovers(history).into_iter();
    let failover = failovers.find(|failover| !failover.is_planned() && is_of_it(failover.seen));
    if let Some(failover) = failover {
        row.detected = failover.seen;
        follow(&mut row, history, failover.event.revision);
    }
    row
}

/// Finds the grant and the publication that a failover led to.
fn follow(row: &mut Row<'_>, history: &History, began: u64) {
    let seen = first_seen(history);
    let mut after = history.events.iter().filter(|event| event.revision > began);
    let at = |event: &Event| seen.get(&(event.revision, event.kind.as_str())).copied();
    let Some(granted) = after.find(|event| event.kind == "lease_granted") else {
        return;
    };
    row.granted = at(granted);
    row.primary = holder(granted);
    let mut sealed = after.take_while(|event| event.epoch == granted.epoch);
    let sealed = sealed.find(|event| event.kind == "epoch_sealed");
    row.published = sealed.and_then(at);
}

fn felt_until(history: &History, fault: &Fault) -> Nanos {
    let blow = fault.began + millis(ONE_BLOW_MS);
    let next = history.faults.iter().map(|other| other.began);
    let next = next.filter(|began| *began > blow).min();
    let over = fault.ended.unwrap_or(fault.began) + millis(AFTER_MS);
    next.map_or(over, |next| next.min(over)).max(blow)
}

/// The pause between acknowledgements that lasted longest within `from..end`.
/// After the last, one goes on until the workloads end, at `quiet`.
fn longest_gap(
    acks: &[Nanos],
    from: Nanos,
    end: Nanos,
    quiet: Nanos,
) -> Option<(Nanos, Option<Nanos>)> {
    let first = acks.partition_point(|at| *at <= from).checked_sub(1)?;
    let touching = (first..acks.len()).take_while(|index| acks[*index] < end);
    let gaps = touching.map(|index| (acks[index], acks.get(index + 1).copied()));
    gaps.max_by_key(|(began, ended)| {
        let ended = ended.unwrap_or(quiet).min(end);
        ended.saturating_sub(from.max(*began))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::build::{Build, passes, write, written};

    /// Acknowledged every 100 ms, except from 10 s to 13 s.
    fn interrupted() -> Build {
        let mut build = Build::new().elected(1).elected(2);
        for at in (0..20_000).step_by(100) {
            if !(10_000..13_000).contains(&at) {
                build = build.ok(write(1), at, at, written(1));
            }
        }
        build
            .fault("kill", 9_950, 12_000, &[])
            .watched(10_800, 18, 18)
            .watched(11_500, 19, 19)
            .watched(12_500, 20, 20)
    }

    #[test]
    fn a_fault_is_charged_with_the_pause_that_it_began() {
        let build = interrupted();
        let rows = rows(&build.0);
        let gap = (millis(9_900), Some(millis(13_000)));
        assert_eq!(rows[0].gap, Some(gap));
        assert_eq!(rows[0].detected, Some(millis(10_800)));
        assert_eq!(rows[0].granted, Some(millis(11_500)));
        assert_eq!(rows[0].published, Some(millis(12_500)));
        assert_eq!(rows[0].primary.as_deref(), Some("tokyo"));
        passes(&Recovery, &build);
    }

    #[test]
    fn a_fault_is_not_charged_with_what_follows_the_next() {
        let build = Build::new().fault("pause", 7_000, 7_100, &[]);
        let mut all = interrupted();
        all.0.faults.insert(0, build.0.faults[0].clone());
        let rows = rows(&all.0);
        assert_eq!(rows[0].gap_length(), Some(millis(100)));
        assert_eq!(
            (rows[0].detected, rows[1].gap_length()),
            (None, Some(millis(3_100)))
        );
    }

    #[test]
    fn a_pause_that_never_ends_has_no_length() {
        let mut build = interrupted().phases(5_000, 15_000, 20_000);
        let end = millis(10_000);
        build
            .0
            .operations
            .retain(|operation| operation.invoked < end);
        let rows = rows(&build.0);
        assert_eq!(rows[0].gap, Some((millis(9_900), None)));
        assert_eq!(rows[0].gap_length(), None);
    }
}
