//! What watchers were sent, against the group's history of record.
//!
//! A stream asked for from a revision on must be the record from there, event
//! by event, without a gap, a repetition or a change, as far as it went. The
//! next stream of the same watcher goes on from what it asks for: events that
//! lie between are lost, events before are repeated by its own wish.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Checker, Verdict,
    facts::{Record, is_selected},
    findings::Findings,
};
use crate::history::{Event, History, Nanos, Seen, Sight};

pub struct Watch;

impl Checker for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn claim(&self) -> &'static str {
        "Watchers are sent every event of the history once, in order, across reconnections."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut findings = Findings::default();
        let mut watchers: BTreeMap<u64, Watcher<'_>> = BTreeMap::new();
        let record = Record::of(&history.events);
        for seen in &history.seen {
            watchers
                .entry(seen.watcher)
                .or_insert_with(|| Watcher::new(history, &record))
                .judge(seen, &mut findings);
        }
        judge_unsent(history, &watchers, &mut findings);
        let sum = |of: fn(&Watcher<'_>) -> usize| watchers.values().map(of).sum();
        let events = sum(|watcher| watcher.events);
        findings.count("watchers", watchers.len());
        findings.count("streams", sum(|watcher| watcher.streams));
        findings.count("streams begun anew", sum(|watcher| watcher.anew));
        findings.count("events sent", events);
        findings.count("events on record", history.events.len());
        if is_selected(history, &["watch"]) {
            if history.events.is_empty() {
                findings.too_little("the group's history was not read");
            }
            if events == 0 {
                findings.too_little("no watcher was sent an event");
            }
        }
        findings.verdict()
    }
}

/// A node may have to begin anew, and to say so; an event of which none of the
/// nodes told any watcher was in no stream, though it is on record.
fn judge_unsent(history: &History, watchers: &BTreeMap<u64, Watcher<'_>>, findings: &mut Findings) {
    let sent: BTreeSet<usize> = watchers.values().flat_map(|it| &it.sent).copied().collect();
    let (Some(first), Some(last)) = (sent.first(), sent.last()) else {
        return;
    };
    let unsent: Vec<usize> = (*first..*last)
        .filter(|index| !sent.contains(index))
        .collect();
    if let Some(from) = unsent.first() {
        findings.broke(
            0,
            format!(
                "{} events on record, from {:?} at revision {} on, were sent to no watcher at any node",
                unsent.len(),
                history.events[*from].kind,
                history.events[*from].revision
            ),
        );
    }
}

/// Where a watcher is on the record.
struct Watcher<'a> {
    events: usize,
    /// Events on record that it was sent, by index.
    sent: BTreeSet<usize>,
    streams: usize,
    /// Streams that asked for what comes from then on.
    anew: usize,
    record: &'a [Event],
    published: &'a Record,
    /// The workloads' end: the record was read later.
    quiet: Nanos,
    /// Index of the next event; unset until the stream says where it begins.
    next: Option<usize>,
    /// Everything up to here was said to be sent.
    caught_up: u64,
}

impl<'a> Watcher<'a> {
    fn new(history: &'a History, published: &'a Record) -> Self {
        Self {
            events: 0,
            sent: BTreeSet::new(),
            streams: 0,
            anew: 0,
            record: &history.events,
            published,
            quiet: history.phases.quiet,
            next: None,
            caught_up: 0,
        }
    }

    fn judge(&mut self, seen: &Seen, findings: &mut Findings) {
        let found = match &seen.what {
            Sight::Opened { from_revision } => self.opened(*from_revision),
            Sight::Event(event) => self.sent(event, seen.at),
            Sight::CaughtUp { revision } => self.caught_up(*revision),
            Sight::Current { primary, revision } => {
                let said = primary.as_ref().map(|who| (who.epoch, who.member.as_str()));
                let on_record = self.published.published_at(*revision);
                let same = said == on_record || self.record.is_empty();
                (!same).then(|| {
                    format!(
                        "was told {said:?} as of revision {revision}, the record has {on_record:?}"
                    )
                })
            }
            Sight::Closed { .. } => None,
        };
        if let Some(found) = found {
            let Seen {
                watcher, stream, ..
            } = seen;
            findings.broke(
                seen.at,
                format!("watcher {watcher} (stream {stream}) {found}"),
            );
        }
    }

    fn first_from(&self, revision: u64) -> usize {
        self.record
            .partition_point(|event| event.revision < revision)
    }

    fn opened(&mut self, from: u64) -> Option<String> {
        self.streams += 1;
        self.caught_up = 0;
        if from == 0 {
            self.anew += 1;
            self.next = None;
            return None;
        }
        let next = self.first_from(from);
        let expected = self.next.replace(next)?;
        let skipped = next.checked_sub(expected).filter(|skipped| *skipped > 0)?;
        Some(format!(
            "resumed from revision {from}: {skipped} events from revision {} on were never sent",
            self.record[expected].revision
        ))
    }

    fn caught_up(&mut self, revision: u64) -> Option<String> {
        let after = self.first_from(revision.saturating_add(1));
        let before = std::mem::replace(&mut self.caught_up, revision);
        let expected = *self.next.get_or_insert(after);
        self.next = Some(after.max(expected));
        if revision < before {
            return Some(format!(
                "was caught up at revision {before}, then at {revision}"
            ));
        }
        (after > expected).then(|| {
            format!(
                "was said to be caught up at revision {revision} without {} events from revision {} on",
                after - expected,
                self.record[expected].revision
            )
        })
    }

    fn sent(&mut self, event: &Event, at: Nanos) -> Option<String> {
        self.events += 1;
        let expected = self.next.unwrap_or_else(|| self.first_from(event.revision));
        if self
            .record
            .get(expected)
            .is_some_and(|on_record| is_same(on_record, event))
        {
            self.next = Some(expected + 1);
            self.sent.insert(expected);
            return None;
        }
        let last = self.record.last().map_or(0, |event| event.revision);
        if event.revision > last && at >= self.quiet && self.quiet > 0 {
            // It happened after the record was read.
            return None;
        }
        let revision = event.revision;
        let Some(found) = self.record.iter().position(|other| is_same(other, event)) else {
            return Some(format!(
                "was sent {:?} at revision {revision}, which is not on record",
                event.kind
            ));
        };
        self.next = Some(expected.max(found + 1));
        self.sent.insert(found);
        match found.checked_sub(expected) {
            Some(missed) => Some(format!(
                "was sent revision {revision} with {missed} events before it missing, from revision {} on",
                self.record[expected].revision
            )),
            None => Some(format!(
                "was sent {:?} at revision {revision} again, or out of order",
                event.kind
            )),
        }
    }
}

/// Equal in all, where the detail counts for what it says, not how it is spelt.
fn is_same(one: &Event, other: &Event) -> bool {
    let detail = |event: &Event| serde_json::from_str::<serde_json::Value>(&event.detail).ok();
    let (mut plain, mut detailed) = (one.clone(), other.clone());
    plain.detail.clear();
    detailed.detail.clear();
    plain == detailed && (one.detail == other.detail || detail(one) == detail(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::build::{Build, event, is_caught, passes, primary, shows_nothing};

    fn opened(from_revision: u64) -> Sight {
        Sight::Opened { from_revision }
    }

    fn up_to(revision: u64) -> Sight {
        Sight::CaughtUp { revision }
    }

    /// Revisions 9, 10, 18, 19, 20, 28, 29, 30.
    fn record() -> Build {
        Build::new()
            .elected(1)
            .elected(2)
            .elected(3)
            .sees(1, 1, 1, opened(1))
    }

    #[test]
    fn every_event_once_over_two_streams_passes() {
        let build = record()
            .watched(10, 0, 18)
            .sees(11, 1, 1, up_to(18))
            .sees(20, 1, 2, opened(19))
            .watched(30, 19, 29);
        passes(&Watch, &build);
    }

    #[test]
    fn a_stream_from_now_on_begins_after_what_it_was_told() {
        let current = Sight::Current {
            primary: Some(primary(2)),
            revision: 25,
        };
        let build = Build::new()
            .elected(1)
            .elected(2)
            .elected(3)
            .sees(1, 1, 1, opened(0))
            .sees(2, 1, 1, current)
            .sees(3, 1, 1, up_to(25))
            .watched(10, 28, 30);
        passes(&Watch, &build);
    }

    #[test]
    fn a_gap_is_caught_at_the_next_event_or_mark() {
        let gap = record().watched(10, 0, 10).watched(20, 19, 20);
        is_caught(&Watch, &gap, "1 events before it missing, from revision 18");
        let mark = record().watched(10, 0, 10).sees(20, 1, 1, up_to(20));
        is_caught(&Watch, &mark, "without 3 events from revision 18");
    }

    #[test]
    fn a_gap_between_streams_is_caught() {
        let build = record()
            .watched(10, 0, 10)
            .sees(20, 1, 2, opened(19))
            .watched(30, 19, 30);
        is_caught(&Watch, &build, "resumed from revision 19: 1 events");
    }

    #[test]
    fn a_repetition_is_caught_unless_it_was_asked_for() {
        let twice = record().watched(10, 0, 18).watched(20, 18, 18);
        is_caught(&Watch, &twice, "again, or out of order");
        let asked = record()
            .watched(10, 0, 18)
            .sees(15, 1, 2, opened(18))
            .watched(20, 18, 30);
        passes(&Watch, &asked);
    }

    #[test]
    fn a_changed_event_is_caught() {
        let mut changed = event(9, 1, "lease_granted", "paris");
        changed.text = "something else".to_owned();
        let build = record().sees(10, 1, 1, Sight::Event(changed));
        is_caught(&Watch, &build, "which is not on record");
    }

    #[test]
    fn a_changed_detail_is_caught_and_its_spelling_does_not_matter() {
        let with = |detail: &str| {
            let mut event = event(9, 1, "lease_granted", "paris");
            event.detail = detail.to_owned();
            record().sees(10, 1, 1, Sight::Event(event))
        };
        passes(&Watch, &with("{ \"holder\": \"paris\" }"));
        is_caught(&Watch, &with("{\"holder\":\"tokyo\"}"), "not on record");
    }

    #[test]
    fn an_event_that_is_on_no_record_is_caught_unless_it_came_after_it() {
        let late = event(99, 3, "paused", "");
        let build = record().watched(10, 0, 30).phases(1, 2, 50);
        passes(
            &Watch,
            &build.clone().sees(60, 1, 1, Sight::Event(late.clone())),
        );
        is_caught(
            &Watch,
            &build.sees(40, 1, 1, Sight::Event(late)),
            "not on record",
        );
    }

    #[test]
    fn a_snapshot_other_than_the_record_is_caught() {
        let current = Sight::Current {
            primary: Some(primary(2)),
            revision: 30,
        };
        let build = record().watched(10, 0, 30).sees(20, 2, 1, current);
        is_caught(&Watch, &build, "as of revision 30");
    }

    #[test]
    fn an_event_that_no_node_sent_is_caught_however_streams_began() {
        let lost = record()
            .watched(10, 0, 10)
            .sees(20, 1, 2, opened(0))
            .sees(21, 1, 2, up_to(20))
            .watched(30, 28, 30);
        is_caught(
            &Watch,
            &lost,
            "3 events on record, from \"failover_began\" at revision 18",
        );
        let mut other = lost.clone();
        for event in &lost.0.events[2..5] {
            other = other.sees(40, 2, 1, Sight::Event(event.clone()));
        }
        passes(&Watch, &other);
    }

    #[test]
    fn marks_that_go_back_are_caught() {
        let build = record()
            .watched(10, 0, 20)
            .sees(11, 1, 1, up_to(20))
            .sees(12, 1, 1, up_to(18));
        is_caught(&Watch, &build, "caught up at revision 20, then at 18");
    }

    #[test]
    fn no_event_or_no_record_shows_nothing() {
        shows_nothing(&Watch, &Build::new());
        shows_nothing(&Watch, &record());
    }
}
