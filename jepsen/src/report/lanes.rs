//! What each lane of the timeline shows, taken from the history.

use std::collections::BTreeMap;

use crate::{
    check::{dns_server, facts},
    history::{Answer, Fault, History, Nanos, Outcome, Request},
};

/// Answers further apart than this are not one stretch: they were not asked
/// for meanwhile, or not given.
const APART: Nanos = 2_000_000_000;

/// Something that went on from one moment to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch<Kind> {
    pub from: Nanos,
    pub to: Nanos,
    pub kind: Kind,
}

/// Lengthens the last stretch, or begins another.
fn extend<Kind: PartialEq>(stretches: &mut Vec<Stretch<Kind>>, at: Nanos, kind: Kind) {
    match stretches.last_mut() {
        Some(last) if last.kind == kind && at.saturating_sub(last.to) <= APART => last.to = at,
        _ => stretches.push(Stretch {
            from: at,
            to: at,
            kind,
        }),
    }
}

/// Faults of one nemesis, in rows within which none overlaps another.
pub struct FaultLane<'a> {
    pub name: &'a str,
    pub rows: Vec<Vec<&'a Fault>>,
}

/// Until when a fault is shown: an instant is a moment.
#[must_use]
pub fn ended(fault: &Fault) -> Nanos {
    fault.ended.unwrap_or(fault.began)
}

/// By nemesis, in the order of their first stroke.
#[must_use]
pub fn faults(history: &History) -> Vec<FaultLane<'_>> {
    let mut lanes: Vec<FaultLane<'_>> = Vec::new();
    for fault in &history.faults {
        let known = lanes.iter().position(|lane| lane.name == fault.name);
        let index = known.unwrap_or(lanes.len());
        if known.is_none() {
            lanes.push(FaultLane {
                name: &fault.name,
                rows: Vec::new(),
            });
        }
        let rows = &mut lanes[index].rows;
        let is_free =
            |row: &&mut Vec<&Fault>| row.last().is_none_or(|last| ended(last) < fault.began);
        match rows.iter_mut().find(is_free) {
            Some(row) => row.push(fault),
            None => rows.push(vec![fault]),
        }
    }
    lanes
}

/// Each epoch from when somebody first knew that it was granted.
#[must_use]
pub fn epochs(history: &History, end: Nanos) -> Vec<Stretch<(u32, Option<String>)>> {
    let frontier = facts::Frontier::new(facts::granted(history));
    let record = facts::Record::of(&history.events);
    let steps = frontier.steps();
    let next = steps.iter().skip(1).map(|told| told.at).chain([end]);
    let stretches = steps.iter().zip(next).map(|(told, to)| Stretch {
        from: told.at,
        to,
        kind: (told.epoch, record.holder(told.epoch).map(str::to_owned)),
    });
    stretches.collect()
}

/// When this member acknowledged, by timeline.
#[must_use]
pub fn acknowledged(history: &History, member: &str) -> Vec<Stretch<u32>> {
    let mut acks: Vec<_> = facts::acks(history)
        .filter(|ack| ack.member == member)
        .collect();
    acks.sort_by_key(|ack| ack.at);
    let mut stretches = Vec::new();
    for ack in acks {
        extend(&mut stretches, ack.at, ack.timeline);
    }
    stretches
}

/// When checks named this member, by epoch.
#[must_use]
pub fn checked(history: &History, member: &str) -> Vec<Stretch<u32>> {
    let mut answers: Vec<(Nanos, u32)> = history
        .answered()
        .filter_map(|(_, answer, at)| match answer {
            Answer::Checked {
                primary: Some(primary),
                ..
            } if primary.member == member => Some((at, primary.epoch)),
            _ => None,
        })
        .collect();
    answers.sort_unstable();
    let mut stretches = Vec::new();
    for (at, epoch) in answers {
        extend(&mut stretches, at, epoch);
    }
    stretches
}

/// When writes were acknowledged, in order.
#[must_use]
pub fn writes(history: &History) -> Vec<Nanos> {
    let writes =
        facts::acks(history).filter(|ack| matches!(ack.operation.request, Request::Write { .. }));
    let mut writes: Vec<_> = writes.map(|ack| ack.at).collect();
    writes.sort_unstable();
    writes
}

/// Pauses of the writers that are longer than `least`.
#[must_use]
pub fn gaps(writes: &[Nanos], least: Nanos) -> Vec<Stretch<()>> {
    let pairs = writes.windows(2).filter(|pair| pair[1] - pair[0] > least);
    pairs
        .map(|pair| Stretch {
            from: pair[0],
            to: pair[1],
            kind: (),
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Data,
    /// The name has no address now.
    Nobody,
    ServFail,
    Nothing,
}

/// What each name server said, by its index.
#[must_use]
pub fn names(history: &History) -> BTreeMap<usize, Vec<Stretch<Said>>> {
    let mut said: BTreeMap<usize, Vec<(Nanos, Said)>> = BTreeMap::new();
    for operation in &history.operations {
        let Some(server) = dns_server(operation) else {
            continue;
        };
        let what = match &operation.outcome {
            Outcome::Ok(Answer::Addresses { addresses, .. }) if addresses.is_empty() => {
                Said::Nobody
            }
            // An epoch of nobody is told by the address question already.
            Outcome::Ok(Answer::Epoch { epoch: 0 } | Answer::Refused { code: 0 }) => continue,
            Outcome::Ok(Answer::ServFail { .. } | Answer::Refused { .. }) => Said::ServFail,
            Outcome::Ok(_) => Said::Data,
            Outcome::Fail(_) | Outcome::Info(_) => Said::Nothing,
        };
        said.entry(server)
            .or_default()
            .push((operation.invoked, what));
    }
    let stretches = said.into_iter().map(|(server, mut said)| {
        said.sort_by_key(|(at, _)| *at);
        let mut stretches = Vec::new();
        for (at, what) in said {
            extend(&mut stretches, at, what);
        }
        (server, stretches)
    });
    stretches.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::build::{Build, write, written};

    #[test]
    fn faults_that_overlap_get_rows_of_their_own() {
        let build = Build::new()
            .fault("kill", 0, 1_000, &[])
            .fault("kill", 500, 2_000, &[])
            .fault("pause", 600, 700, &[])
            .fault("kill", 1_500, 1_600, &[]);
        let lanes = faults(&build.0);
        let rows: Vec<Vec<usize>> = lanes
            .iter()
            .map(|lane| lane.rows.iter().map(Vec::len).collect())
            .collect();
        assert_eq!(rows, [vec![2, 1], vec![1]]);
    }

    #[test]
    fn acknowledgements_far_apart_or_of_another_timeline_are_other_stretches() {
        let mut build = Build::new();
        for at in [0, 1_000, 2_000, 9_000] {
            build = build.ok(write(1), at, at, written(1));
        }
        build = build.ok(write(2), 9_100, 9_100, written(4));
        let kinds: Vec<_> = acknowledged(&build.0, "paris")
            .into_iter()
            .map(|stretch| {
                (
                    stretch.from / 1_000_000,
                    stretch.to / 1_000_000,
                    stretch.kind,
                )
            })
            .collect();
        assert_eq!(kinds, [(0, 2_000, 1), (9_000, 9_000, 1), (9_100, 9_100, 4)]);
    }

    #[test]
    fn only_long_pauses_are_gaps() {
        let gaps = gaps(&[0, 10, 500, 510], 100);
        assert_eq!(gaps.len(), 1);
        assert_eq!((gaps[0].from, gaps[0].to), (10, 500));
    }
}
