//! Breadth-first search: every state once, the shortest way to a violation.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::BuildHasherDefault,
    time::{Duration, Instant},
};

use super::hash::AsIs;

/// What can be explored.
pub trait Space {
    type State: Copy;
    type Action: Copy;
    type Violation: Clone + fmt::Display;

    fn start(&mut self) -> Self::State;
    /// Fills `out`, always in the same order, with all that may come next: a
    /// state, or the guarantee that fails on the way there.
    fn next(&mut self, state: &Self::State, out: &mut Vec<Next<Self>>);
    /// The first guarantee that does not hold in `state`.
    fn violation(&self, state: &Self::State) -> Option<Self::Violation>;
    /// The same for states that nothing tells apart but names.
    fn print(&mut self, state: &Self::State) -> u128;
    /// A step in words.
    fn tell(
        &mut self,
        before: &Self::State,
        action: Self::Action,
        after: Option<&Self::State>,
    ) -> String;
    /// How often what the guarantees are about came up so far.
    fn seen(&self) -> Seen;
}

pub type Next<S> = (
    <S as Space>::Action,
    Result<<S as Space>::State, <S as Space>::Violation>,
);

/// Kinds of things, and how often each was met.
pub type Seen = BTreeMap<&'static str, usize>;

/// What an exploration found.
#[derive(Debug)]
pub struct Found {
    pub scene: &'static str,
    pub states: usize,
    pub transitions: usize,
    pub depth: usize,
    pub took: Duration,
    pub seen: Seen,
    /// The shortest way to a violation, in words; `None` if every state that
    /// can be reached was seen, and none violates anything.
    pub counterexample: Option<Counterexample>,
}

#[derive(Debug)]
pub struct Counterexample {
    pub violation: String,
    pub steps: Vec<String>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scene,
            states,
            transitions,
            depth,
            took,
            ..
        } = self;
        write!(
            f,
            "{scene}: {states} states, {transitions} transitions, depth {depth}, {took:.1?}"
        )
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "{number:>3}. {step}")?;
        }
        write!(f, "  => {}", self.violation)
    }
}

struct Search<'a, S: Space> {
    space: &'a mut S,
    seen: HashMap<u128, (), BuildHasherDefault<AsIs>>,
    /// Of each state, which it was first reached from, and as which successor.
    parents: Vec<(u32, u16)>,
}

/// Explores until everything was seen or a guarantee fails.
#[allow(
    clippy::disallowed_methods,
    reason = "what a search took is shown, never acted upon"
)]
pub fn explore<S: Space>(scene: &'static str, space: &mut S) -> Found {
    let began = Instant::now();
    let mut search = Search {
        space,
        seen: HashMap::default(),
        parents: Vec::new(),
    };
    let (transitions, depth, counterexample) = search.run();
    Found {
        scene,
        states: search.parents.len(),
        transitions,
        depth,
        took: began.elapsed(),
        seen: search.space.seen(),
        counterexample,
    }
}

impl<S: Space> Search<'_, S> {
    fn run(&mut self) -> (usize, usize, Option<Counterexample>) {
        let start = self.space.start();
        self.is_new(&start, (0, 0));
        let mut layer = vec![(0_u32, start)];
        let (mut transitions, mut depth, mut out) = (0, 0, Vec::new());
        while !layer.is_empty() {
            let mut next_layer = Vec::new();
            for (index, state) in &layer {
                out.clear();
                self.space.next(state, &mut out);
                transitions += out.len();
                for (number, (_, next)) in (0..).zip(&out) {
                    let violation = match next {
                        Err(violation) => Some(violation.clone()),
                        Ok(next) if self.is_new(next, (*index, number)) => {
                            next_layer.push((self.parents.len() as u32 - 1, *next));
                            self.space.violation(next)
                        }
                        Ok(_) => None,
                    };
                    if let Some(violation) = violation {
                        let steps = self.tell((*index, number));
                        let violation = violation.to_string();
                        let found = Counterexample { violation, steps };
                        return (transitions, depth + 1, Some(found));
                    }
                }
            }
            layer = next_layer;
            depth += 1;
        }
        (transitions, depth, None)
    }

    fn is_new(&mut self, state: &S::State, parent: (u32, u16)) -> bool {
        let print = self.space.print(state);
        let new = self.seen.insert(print, ()).is_none();
        if new {
            self.parents.push(parent);
        }
        new
    }

    /// The way to a state and the step that follows, in words.
    fn tell(&mut self, last: (u32, u16)) -> Vec<String> {
        let mut way = vec![last];
        while let Some((index, _)) = way.last().filter(|(index, _)| *index != 0) {
            way.push(self.parents[*index as usize]);
        }
        let mut state = self.space.start();
        let mut steps = Vec::new();
        for (_, number) in way.into_iter().rev() {
            let mut out = Vec::new();
            self.space.next(&state, &mut out);
            let (action, next) = out.swap_remove(number.into());
            steps.push(self.space.tell(&state, action, next.as_ref().ok()));
            state = next.unwrap_or(state);
        }
        steps
    }
}
