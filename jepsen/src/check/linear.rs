//! Whether a concurrent history could have been a sequential one.
//!
//! Wing and Gong's search with Lowe's memoisation: place one call after the
//! other, each only while nothing that is not placed yet had returned before it
//! was made; remember every (set of placed calls, state) that was met. A read
//! that may be next and agrees is placed at once: it changes no state, so no
//! order that is legal with it later becomes illegal with it here.
//!
//! The set is remembered as a hash of 128 bits, so that a long window costs no
//! more than a short one. Two sets that share one could turn an answer into
//! *not linearizable*; never the other way.

use std::{collections::HashSet, hash::Hash};

use crate::history::Nanos;

/// States remembered before the search gives up.
const MOST_STATES: usize = 4_000_000;

/// What the calls were made on, as it would behave without concurrency.
pub trait Model {
    type State: Clone + Eq + Hash;
    type Op;

    fn initial(&self) -> Self::State;

    /// The state after `op`; unset where `op` cannot have had its result.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Whether `op` leaves every state as it is. A write of the value that is
    /// there does not: it could undo another later.
    fn is_read(&self, op: &Self::Op) -> bool;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<Op> {
    pub op: Op,
    pub invoked: Nanos,
    /// Unset: it may have taken effect at any time since, or never.
    pub completed: Option<Nanos>,
}

impl<Op> Call<Op> {
    fn deadline(&self) -> Nanos {
        self.completed.unwrap_or(Nanos::MAX)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    Linearizable,
    /// However the calls are ordered, one comes too late: of the longest
    /// order found, the call that `stuck` is the index of.
    NotLinearizable {
        stuck: usize,
    },
    /// More states than can be remembered.
    TooHard,
}

/// Judges `calls`, given in any order.
pub fn judge<M: Model>(model: &M, calls: &[Call<M::Op>]) -> Judgement {
    Search::new(model, calls).run()
}

struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Call<M::Op>],
    waiting: Waiting,
    /// Calls in the order in which they are placed for now.
    placed: Vec<usize>,
    /// Calls with a result that are not placed.
    open: usize,
    /// Hash of the set of placed calls.
    set: u128,
    met: HashSet<(u128, M::State)>,
    longest: usize,
    stuck: usize,
}

/// A state from which several calls could be next.
struct Fork<State> {
    state: State,
    placed: usize,
    /// The most urgent last.
    choices: Vec<usize>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, calls: &'a [Call<M::Op>]) -> Self {
        let mut order: Vec<usize> = (0..calls.len()).collect();
        order.sort_by_key(|index| calls[*index].invoked);
        Self {
            model,
            calls,
            waiting: Waiting::new(&order),
            placed: Vec::with_capacity(calls.len()),
            open: calls.iter().filter(|call| call.completed.is_some()).count(),
            set: 0,
            met: HashSet::new(),
            longest: 0,
            stuck: order.first().copied().unwrap_or(0),
        }
    }

    fn run(mut self) -> Judgement {
        let mut state = self.model.initial();
        let mut forks: Vec<Fork<M::State>> = Vec::new();
        loop {
            self.place_reads(&state);
            if self.open == 0 {
                return Judgement::Linearizable;
            }
            if self.met.len() >= MOST_STATES {
                return Judgement::TooHard;
            }
            if self.met.insert((self.set, state.clone())) {
                let choices = self.choices(&state);
                let placed = self.placed.len();
                forks.push(Fork {
                    state,
                    placed,
                    choices,
                });
            }
            match self.next(&mut forks) {
                Some(next) => state = next,
                None => return Judgement::NotLinearizable { stuck: self.stuck },
            }
        }
    }

    /// Takes the next choice of the last fork that has one.
    fn next(&mut self, forks: &mut Vec<Fork<M::State>>) -> Option<M::State> {
        loop {
            let fork = forks.last_mut()?;
            self.take_back(fork.placed);
            while let Some(index) = fork.choices.pop() {
                if let Some(next) = self.model.step(&fork.state, &self.calls[index].op) {
                    self.place(index);
                    return Some(next);
                }
            }
            forks.pop();
        }
    }

    /// In one pass: a call placed only lets later ones in, which come later.
    fn place_reads(&mut self, state: &M::State) {
        let mut soonest = Nanos::MAX;
        let mut next = self.waiting.first();
        while let Some(index) = next {
            let call = &self.calls[index];
            if call.invoked > soonest {
                return;
            }
            next = self.waiting.after(index);
            // A read without a result need not be placed at all.
            let is_read = call.completed.is_some() && self.model.is_read(&call.op);
            if is_read && self.model.step(state, &call.op).is_some() {
                self.place(index);
            } else {
                soonest = soonest.min(call.deadline());
            }
        }
    }

    /// The calls that may be next, the most urgent last; notes how far it got.
    fn choices(&mut self, state: &M::State) -> Vec<usize> {
        let mut soonest = Nanos::MAX;
        let mut choices = Vec::new();
        let mut urgent = None;
        let mut next = self.waiting.first();
        while let Some(index) = next {
            let call = &self.calls[index];
            if call.invoked > soonest {
                break;
            }
            if call.deadline() < soonest {
                soonest = call.deadline();
                urgent = Some(index);
            }
            if self.model.step(state, &call.op).is_some() {
                choices.push(index);
            }
            next = self.waiting.after(index);
        }
        if self.placed.len() >= self.longest {
            self.longest = self.placed.len();
            self.stuck = urgent.unwrap_or(self.stuck);
        }
        choices.sort_by_key(|index| std::cmp::Reverse(self.calls[*index].deadline()));
        choices
    }

    fn place(&mut self, index: usize) {
        self.waiting.remove(index);
        self.placed.push(index);
        self.set ^= key(index);
        self.open -= usize::from(self.calls[index].completed.is_some());
    }

    fn take_back(&mut self, placed: usize) {
        while self.placed.len() > placed {
            let Some(index) = self.placed.pop() else {
                return;
            };
            self.waiting.restore(index);
            self.set ^= key(index);
            self.open += usize::from(self.calls[index].completed.is_some());
        }
    }
}

/// The calls that are not placed, in the order of their invocation: a list in
/// which what is taken out remembers its neighbours. Restored in the opposite
/// order of removal, everything is as it was.
struct Waiting {
    /// The last element is the list's head, and its end.
    after: Vec<usize>,
    before: Vec<usize>,
}

impl Waiting {
    fn new(order: &[usize]) -> Self {
        let head = order.len();
        let mut list = Self {
            after: vec![head; head + 1],
            before: vec![head; head + 1],
        };
        let mut last = head;
        for index in order {
            list.after[last] = *index;
            list.before[*index] = last;
            last = *index;
        }
        list.after[last] = head;
        list.before[head] = last;
        list
    }

    fn first(&self) -> Option<usize> {
        self.after(self.after.len() - 1)
    }

    fn after(&self, index: usize) -> Option<usize> {
        let next = self.after[index];
        (next + 1 < self.after.len()).then_some(next)
    }

    fn remove(&mut self, index: usize) {
        let (before, after) = (self.before[index], self.after[index]);
        self.after[before] = after;
        self.before[after] = before;
    }

    fn restore(&mut self, index: usize) {
        let (before, after) = (self.before[index], self.after[index]);
        self.after[before] = index;
        self.before[after] = index;
    }
}

/// A number of its own for each call (`SplitMix64`, twice).
fn key(index: usize) -> u128 {
    let index = index as u64;
    let high = mix(index.wrapping_mul(2));
    let low = mix(index.wrapping_mul(2).wrapping_add(1));
    (u128::from(high) << 64) | u128::from(low)
}

fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
#[path = "linear/tests.rs"]
mod tests;
