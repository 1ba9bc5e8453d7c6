//! Which name servers no proof of freshness could reach.
//!
//! A proof is a round from the server to a leader and back, and from that
//! leader to a majority and back. So a server may be cut from most nodes and
//! yet have proofs, through a leader that is not. It has none only where
//! neither it nor any node that it exchanges messages with can reach a
//! majority both ways.

use super::findings::millis;
use crate::history::{Fault, History, Nanos};

/// A cut is noted before it is made, and healed before that is noted; rounds
/// under way end meanwhile, on a machine that is busy.
const MARGIN_MS: u64 = 1_000;

#[derive(Debug)]
pub struct Cuts<'a> {
    regions: &'a [String],
    faults: Vec<&'a Fault>,
    max_staleness: Nanos,
}

impl<'a> Cuts<'a> {
    #[must_use]
    pub fn new(history: &'a History) -> Self {
        let faults = history.faults.iter();
        Self {
            regions: &history.about.name_servers,
            faults: faults.filter(|fault| !fault.cut.is_empty()).collect(),
            max_staleness: millis(history.about.max_staleness_ms),
        }
    }

    /// The fault that kept every proof from the server for so long before
    /// `invoked`, and until after `completed`, that none is fresh.
    #[must_use]
    pub fn cut_off(&self, server: usize, invoked: Nanos, completed: Nanos) -> Option<&'a Fault> {
        let margin = millis(MARGIN_MS);
        let since = invoked.checked_sub(self.max_staleness + margin)?;
        let until = completed.saturating_add(margin);
        let lasting: Vec<&Fault> = self
            .faults
            .iter()
            .copied()
            .filter(|fault| fault.began <= since && fault.ended.is_none_or(|end| end >= until))
            .collect();
        let last = *lasting.last()?;
        (!self.may_prove(server, &lasting)).then_some(last)
    }

    fn may_prove(&self, server: usize, faults: &[&Fault]) -> bool {
        let nodes = 0..self.regions.len();
        let majority = self.regions.len() / 2 + 1;
        let reached = |from| {
            nodes
                .clone()
                .filter(move |to| self.joined(from, *to, faults))
        };
        reached(server).any(|leader| reached(leader).count() >= majority)
    }

    /// Whether messages go both ways.
    fn joined(&self, one: usize, other: usize, faults: &[&Fault]) -> bool {
        let (Some(one), Some(other)) = (self.regions.get(one), self.regions.get(other)) else {
            return true;
        };
        let cut = |from: &String, to: &String| {
            let mut pairs = faults.iter().flat_map(|fault| &fault.cut);
            pairs.any(|(a, b)| a == from && b == to)
        };
        one == other || !(cut(one, other) || cut(other, one))
    }
}
