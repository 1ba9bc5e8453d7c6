//! Breadth-first search: every state once, the shortest way to a violation.

use std::{
    collections::HashMap,
    fmt,
    hash::BuildHasherDefault,
    time::{Duration, Instant},
};

use super::{
    actions::Successors,
    hash::{AsIs, fingerprint},
    invariants::Violation,
    scene::{Node, Scene},
    trace,
    world::World,
};

/// What an exploration found.
#[derive(Debug)]
pub struct Found {
    pub scene: &'static str,
    pub states: usize,
    pub transitions: usize,
    pub depth: usize,
    pub took: Duration,
    /// The shortest way to a violation, in words; `None` if every state that
    /// can be reached was seen, and none violates anything.
    pub counterexample: Option<Counterexample>,
}

#[derive(Debug)]
pub struct Counterexample {
    pub violation: Violation,
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

struct Search {
    world: World,
    seen: HashMap<u128, (), BuildHasherDefault<AsIs>>,
    /// Of each state, which it was first reached from, and as which successor.
    parents: Vec<(u32, u16)>,
}

/// Explores until everything was seen or a guarantee fails.
#[allow(
    clippy::disallowed_methods,
    reason = "what a search took is shown, never acted upon"
)]
pub fn explore(scene: &Scene) -> Found {
    let began = Instant::now();
    let mut search = Search {
        world: World::default(),
        seen: HashMap::default(),
        parents: Vec::new(),
    };
    let (transitions, depth, counterexample) = search.run(scene);
    Found {
        scene: scene.name,
        states: search.parents.len(),
        transitions,
        depth,
        took: began.elapsed(),
        counterexample,
    }
}

impl Search {
    fn run(&mut self, scene: &Scene) -> (usize, usize, Option<Counterexample>) {
        let start = scene.start(&mut self.world);
        self.is_new(&start, (0, 0));
        let mut layer = vec![(0_u32, start)];
        let (mut transitions, mut depth, mut out) = (0, 0, Vec::new());
        while !layer.is_empty() {
            let mut next_layer = Vec::new();
            for (index, node) in &layer {
                let mut successors = Successors {
                    world: &mut self.world,
                    scene,
                    out,
                };
                successors.of(node);
                out = successors.out;
                transitions += out.len();
                for (number, (_, next)) in (0..).zip(&out) {
                    let violation = match next {
                        Err(violation) => Some(violation.clone()),
                        Ok(next) if self.is_new(next, (*index, number)) => {
                            next_layer.push((self.parents.len() as u32 - 1, *next));
                            next.violation(&self.world)
                        }
                        Ok(_) => None,
                    };
                    if let Some(violation) = violation {
                        let steps = self.tell(scene, (*index, number));
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

    /// Remembers a state, taking one and its mirror image for the same.
    fn is_new(&mut self, node: &Node, parent: (u32, u16)) -> bool {
        let mirrored = node.swapped(&mut self.world);
        let print = fingerprint(node).min(fingerprint(&mirrored));
        let new = self.seen.insert(print, ()).is_none();
        if new {
            self.parents.push(parent);
        }
        new
    }

    /// The way to a state and the step that follows, in words.
    fn tell(&mut self, scene: &Scene, last: (u32, u16)) -> Vec<String> {
        let mut way = vec![last];
        while let Some((index, _)) = way.last().filter(|(index, _)| *index != 0) {
            way.push(self.parents[*index as usize]);
        }
        let mut node = scene.start(&mut self.world);
        let mut steps = Vec::new();
        for (_, number) in way.into_iter().rev() {
            let mut successors = Successors {
                world: &mut self.world,
                scene,
                out: Vec::new(),
            };
            successors.of(&node);
            let (action, next) = successors.out.swap_remove(number.into());
            steps.push(trace::tell(&self.world, &node, action, next.as_ref().ok()));
            node = next.unwrap_or(node);
        }
        steps
    }
}
