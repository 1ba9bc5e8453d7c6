//! What name servers said, and when they had to say nothing.
//!
//! The answer was made after it was asked for. What anybody had been told more
//! than `max_staleness` before that is therefore too old to be unknown to it.
//! A server that could complete no quorum round for longer than that has no
//! proof left, and must not answer with data.

use std::collections::BTreeMap;

use super::{
    Checker, Verdict,
    dns_cuts::Cuts,
    facts::{Frontier, Record, granted, is_selected, named},
    findings::{Findings, millis, moment, span},
};
use crate::history::{Answer, History, Nanos, Operation, Outcome, Request, Sight};

/// A clock that a fault slows ages proofs as much too slowly: the bound is by
/// the node's own clock. The slowest that is given to a node runs at a fifth;
/// outside clock faults all clocks here are one.
const SLOW_CLOCK: (u64, u64) = (5, 1);

const NXDOMAIN: u16 = 3;
/// The name is there and says nothing: there is no primary now.
const NO_DATA: u16 = 0;

pub struct Dns;

impl Checker for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn claim(&self) -> &'static str {
        "No name server gives an answer older than the bound; one that is cut off says SERVFAIL."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut findings = Findings::default();
        let court = Court::new(history);
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for operation in &history.operations {
            let Some(server) = server_of(operation) else {
                continue;
            };
            *counts.entry(class(&operation.outcome)).or_default() += 1;
            if let (Outcome::Ok(answer), Some(completed)) =
                (&operation.outcome, operation.completed)
            {
                let answered = Answered {
                    operation,
                    server,
                    answer,
                    completed,
                };
                court.judge(&answered, &mut findings);
            }
        }
        for (what, count) in &counts {
            findings.count(what, *count);
        }
        if is_selected(history, &["dns"]) && !counts.contains_key(DATA) {
            findings.too_little("no name server answered with data");
        }
        findings.verdict()
    }
}

const DATA: &str = "answers with data";

fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Ok(Answer::ServFail { .. }) => "answers SERVFAIL",
        Outcome::Ok(Answer::Refused { code: NO_DATA }) => "answers that name nobody",
        Outcome::Ok(Answer::Refused { .. }) => "other refusals",
        Outcome::Ok(Answer::Addresses { addresses, .. }) if addresses.is_empty() => {
            "answers that name nobody"
        }
        Outcome::Ok(_) => DATA,
        Outcome::Fail(_) | Outcome::Info(_) => "no answer",
    }
}

/// Index of the name server that is asked.
#[must_use]
pub fn server_of(operation: &Operation) -> Option<usize> {
    match operation.request {
        Request::ResolveAddress { server } | Request::ResolveEpoch { server } => Some(server),
        _ => None,
    }
}

struct Answered<'a> {
    operation: &'a Operation,
    server: usize,
    answer: &'a Answer,
    completed: Nanos,
}

struct Court<'a> {
    history: &'a History,
    frontier: Frontier<'a>,
    record: Record,
    /// Whose each address is, as checks and watchers were told.
    members: BTreeMap<&'a str, &'a str>,
    cuts: Cuts<'a>,
}

impl<'a> Court<'a> {
    fn new(history: &'a History) -> Self {
        Self {
            history,
            frontier: Frontier::new(granted(history)),
            record: Record::of(&history.events),
            members: members(history),
            cuts: Cuts::new(history),
        }
    }

    fn judge(&self, answered: &Answered<'_>, findings: &mut Findings) {
        let problem = match answered.answer {
            Answer::ServFail { .. } => return,
            Answer::Refused { code: NO_DATA } => self.is_cut_off(answered),
            Answer::Refused { code } => {
                (*code == NXDOMAIN).then(|| "answered NXDOMAIN for a name that exists".to_owned())
            }
            Answer::Addresses { addresses, .. } => self
                .is_cut_off(answered)
                .or_else(|| self.address_problem(answered, addresses)),
            Answer::Epoch { epoch } => self
                .is_cut_off(answered)
                .or_else(|| self.epoch_problem(answered, *epoch)),
            _ => Some("was answered with something else".to_owned()),
        };
        if let Some(problem) = problem {
            let operation = named(answered.operation);
            findings.broke(answered.completed, format!("{operation} {problem}"));
        }
    }

    fn is_cut_off(&self, answered: &Answered<'_>) -> Option<String> {
        let (invoked, completed) = (answered.operation.invoked, answered.completed);
        let fault = self.cuts.cut_off(answered.server, invoked, completed)?;
        Some(format!(
            "was answered with data at {}, though fault {} had cut the server off from every quorum since {}",
            moment(completed),
            fault.id,
            moment(fault.began),
        ))
    }

    fn address_problem(&self, answered: &Answered<'_>, addresses: &[String]) -> Option<String> {
        let [address] = addresses else {
            let several = addresses.len() > 1;
            return several.then(|| format!("was answered with {} addresses", addresses.len()));
        };
        let Some(member) = self.members.get(address.as_str()) else {
            // It may be of a member that no check ever named.
            let all_known = self.members.len() >= self.history.about.members.len();
            return all_known.then(|| format!("was answered with {address}, which is nobody's"));
        };
        let known = self.known(answered)?;
        let allowed = known.member == Some(member) || self.record.holds_since(known.epoch, member);
        (!allowed).then(|| self.too_old(answered, &format!("the address of {member}"), known))
    }

    fn epoch_problem(&self, answered: &Answered<'_>, epoch: u32) -> Option<String> {
        let known = self.known(answered)?;
        let is_old = epoch > 0 && epoch < known.epoch;
        is_old.then(|| self.too_old(answered, &format!("epoch {epoch}"), known))
    }

    /// What the server cannot have missed.
    fn known(&self, answered: &Answered<'_>) -> Option<&super::facts::Told<'a>> {
        let bound = self.bound(answered);
        let since = answered.operation.invoked.checked_sub(bound)?;
        self.frontier.before(since)
    }

    fn bound(&self, answered: &Answered<'_>) -> Nanos {
        let bound = millis(self.history.about.max_staleness_ms);
        let slow = bound / SLOW_CLOCK.1 * SLOW_CLOCK.0;
        let region = self.history.about.name_servers.get(answered.server);
        let touches = self.history.faults.iter().any(|fault| {
            let here = region.is_none_or(|region| fault.regions.contains(region));
            let from = answered.operation.invoked.saturating_sub(slow);
            let during =
                fault.began <= answered.completed && fault.ended.is_none_or(|ended| ended >= from);
            fault.name.contains("clock") && here && during
        });
        if touches { slow } else { bound }
    }

    fn too_old(
        &self,
        answered: &Answered<'_>,
        what: &str,
        known: &super::facts::Told<'_>,
    ) -> String {
        format!(
            "was answered with {what}, asked {} after {} had shown epoch {} at {}; the bound is {}",
            span(known.at, answered.operation.invoked),
            known.by,
            known.epoch,
            moment(known.at),
            span(0, self.bound(answered)),
        )
    }
}

fn members(history: &History) -> BTreeMap<&str, &str> {
    let checked = history
        .answered()
        .filter_map(|(_, answer, _)| match answer {
            Answer::Checked { primary, .. } => primary.as_ref(),
            _ => None,
        });
    let watched = history.seen.iter().filter_map(|seen| match &seen.what {
        Sight::Current { primary, .. } => primary.as_ref(),
        _ => None,
    });
    checked
        .chain(watched)
        .map(|primary| (primary.address.as_str(), primary.member.as_str()))
        .collect()
}

#[cfg(test)]
#[path = "dns/tests.rs"]
mod tests;
