//! What a history tells every judge: who knew of which epoch, and since when.
//!
//! Invariant: a moment noted here is one at which somebody *had* been told. What
//! was told became true before it, so that whatever is asked later and
//! contradicts it is wrong; nothing here says since when it was true.

use std::{collections::BTreeMap, fmt};

use crate::history::{Answer, Event, History, Nanos, Operation, Request, Seen, Sight};

/// Whether one of these workloads was to run: a judge of another has nothing to miss.
#[must_use]
pub fn is_selected(history: &History, workloads: &[&str]) -> bool {
    let selected = &history.about.workloads;
    let is_one = |name: &String| name == "all" || workloads.contains(&name.as_str());
    selected.is_empty() || selected.iter().any(is_one)
}

/// A write that a member acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Ack<'a> {
    pub operation: &'a Operation,
    pub member: &'a str,
    /// 0 where the session did not ask.
    pub timeline: u32,
    pub at: Nanos,
}

/// Of writes and probes, in the order of their invocation.
pub fn acks(history: &History) -> impl Iterator<Item = Ack<'_>> {
    history.answered().filter_map(|(operation, answer, at)| {
        let Answer::Written { member, timeline } = answer else {
            return None;
        };
        let timeline = *timeline;
        Some(Ack {
            operation,
            member,
            timeline,
            at,
        })
    })
}

/// Somebody was told of an epoch.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    pub at: Nanos,
    pub epoch: u32,
    /// Unset where the epoch came without a name.
    pub member: Option<&'a str>,
    pub by: Source<'a>,
}

#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    Operation(&'a Operation),
    Watcher(&'a Seen),
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(operation) => named(operation).fmt(f),
            Self::Watcher(seen) => write!(f, "watcher {} at node {}", seen.watcher, seen.node),
        }
    }
}

/// An operation as a violation names it: `check of node 2 (operation 17)`.
#[must_use]
pub fn named(operation: &Operation) -> String {
    let what = match &operation.request {
        Request::Write { row } => format!("write of row {row}"),
        Request::ReadBack { member } => format!("reading {member} back"),
        Request::Probe { member, row } => format!("probe of {member} with row {row}"),
        Request::Check { node } => format!("check of node {node}"),
        Request::ResolveAddress { server } => format!("address query to name server {server}"),
        Request::ResolveEpoch { server } => format!("epoch query to name server {server}"),
        Request::Admin { what } => format!("`{what}`"),
    };
    format!("{what} (operation {})", operation.id)
}

/// Who was told that an epoch is published: its barrier is through.
#[must_use]
pub fn published(history: &History) -> Vec<Told<'_>> {
    let answered = history.answered().filter_map(|(operation, answer, at)| {
        let (epoch, member) = match answer {
            Answer::Checked {
                primary: Some(primary),
                ..
            } => (primary.epoch, Some(primary.member.as_str())),
            // Commands that make nobody primary are done without a name.
            Answer::Done { member, epoch } => (
                *epoch,
                Some(member.as_str()).filter(|name| !name.is_empty()),
            ),
            Answer::Epoch { epoch } => (*epoch, None),
            _ => return None,
        };
        let by = Source::Operation(operation);
        Some(Told {
            at,
            epoch,
            member,
            by,
        })
    });
    let watched = history.seen.iter().filter_map(|seen| {
        let (epoch, member) = match &seen.what {
            Sight::Event(event) if event.kind == "epoch_sealed" => (event.epoch, None),
            Sight::Current {
                primary: Some(primary),
                ..
            } => (primary.epoch, Some(primary.member.as_str())),
            _ => return None,
        };
        let (at, by) = (seen.at, Source::Watcher(seen));
        Some(Told {
            at,
            epoch,
            member,
            by,
        })
    });
    answered.chain(watched).filter(is_an_epoch).collect()
}

/// Who was told that an epoch was granted: of a published one, by any event
/// under it, or by an acknowledgement, since its promotion makes its timeline.
#[must_use]
pub fn granted(history: &History) -> Vec<Told<'_>> {
    let mut told = published(history);
    told.extend(history.seen.iter().filter_map(|seen| {
        let Sight::Event(event) = &seen.what else {
            return None;
        };
        Some(Told {
            at: seen.at,
            epoch: event.epoch,
            member: None,
            by: Source::Watcher(seen),
        })
    }));
    told.extend(acks(history).map(|ack| Told {
        at: ack.at,
        epoch: ack.timeline,
        member: Some(ack.member),
        by: Source::Operation(ack.operation),
    }));
    told.retain(is_an_epoch);
    told
}

fn is_an_epoch(told: &Told<'_>) -> bool {
    told.epoch > 0
}

/// The greatest epoch that anybody had been told of, at any moment.
#[derive(Debug)]
pub struct Frontier<'a> {
    /// By time, each of a greater epoch than the one before.
    steps: Vec<Told<'a>>,
}

impl<'a> Frontier<'a> {
    #[must_use]
    pub fn new(mut told: Vec<Told<'a>>) -> Self {
        told.sort_by_key(|told| told.at);
        let mut greatest = 0;
        told.retain(|told| {
            let rises = told.epoch > greatest;
            greatest = greatest.max(told.epoch);
            rises
        });
        Self { steps: told }
    }

    /// What was known before `at`.
    #[must_use]
    pub fn before(&self, at: Nanos) -> Option<&Told<'a>> {
        let known = self.steps.partition_point(|told| told.at < at);
        self.steps[..known].last()
    }

    #[must_use]
    pub fn steps(&self) -> &[Told<'a>] {
        &self.steps
    }
}

/// The group's history of record, as far as it says who is primary.
#[derive(Debug)]
pub struct Record {
    holders: BTreeMap<u32, String>,
    /// Revision, and who is published from it on.
    changes: Vec<(u64, Option<(u32, String)>)>,
}

impl Record {
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let mut record = Self {
            holders: BTreeMap::new(),
            changes: Vec::new(),
        };
        for event in events {
            record.add(event);
        }
        record.changes.sort_by_key(|(revision, _)| *revision);
        record
    }

    fn add(&mut self, event: &Event) {
        let holder = holder(event);
        match event.kind.as_str() {
            // Nobody is published between a grant and its seal.
            "lease_granted" => self.changes.push((event.revision, None)),
            "group_deleted" => self.changes.push((event.revision, None)),
            "epoch_sealed" => {
                let published = holder.clone().map(|member| (event.epoch, member));
                self.changes.push((event.revision, published));
            }
            _ => return,
        }
        if let Some(holder) = holder {
            self.holders.entry(event.epoch).or_insert(holder);
        }
    }

    /// Who is published once everything up to `revision` is applied.
    #[must_use]
    pub fn published_at(&self, revision: u64) -> Option<(u32, &str)> {
        let known = self.changes.partition_point(|(at, _)| *at <= revision);
        let (_, published) = self.changes[..known].last()?;
        let (epoch, member) = published.as_ref()?;
        Some((*epoch, member))
    }

    #[must_use]
    pub fn holder(&self, epoch: u32) -> Option<&str> {
        self.holders.get(&epoch).map(String::as_str)
    }

    /// Whether `member` holds this epoch or a later one.
    #[must_use]
    pub fn holds_since(&self, epoch: u32, member: &str) -> bool {
        self.holders
            .range(epoch..)
            .any(|(_, holder)| holder == member)
    }

    /// Who was published, in order.
    pub fn publications(&self) -> impl Iterator<Item = (u32, &str)> {
        let published = self.changes.iter().filter_map(|(_, who)| who.as_ref());
        published.map(|(epoch, member)| (*epoch, member.as_str()))
    }
}

/// Whom the event names as the lease's holder.
#[must_use]
pub fn holder(event: &Event) -> Option<String> {
    field(event, "holder")
}

/// A text field of the event's detail.
#[must_use]
pub fn field(event: &Event, name: &str) -> Option<String> {
    let detail: serde_json::Value = serde_json::from_str(&event.detail).ok()?;
    detail.get(name)?.as_str().map(str::to_owned)
}

/// When each event of the record was first seen by any watcher.
#[must_use]
pub fn first_seen(history: &History) -> BTreeMap<(u64, &str), Nanos> {
    let mut first = BTreeMap::new();
    for seen in &history.seen {
        if let Sight::Event(event) = &seen.what {
            let at: &mut Nanos = first
                .entry((event.revision, event.kind.as_str()))
                .or_insert(seen.at);
            *at = seen.at.min(*at);
        }
    }
    first
}
