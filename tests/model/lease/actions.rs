//! Everything that can happen next to a lease.
//!
//! Nobody has to act in time but the fuse: what a leader or an agent may do
//! now it may do at any later moment, or never. That is what a pause is, and
//! a message that is late or lost, and a clock that is slow for a leader.

use crate::domain::{Durability, Epoch};

use super::{
    super::{
        hash::fingerprint,
        search::{Next, Seen, Space},
    },
    clockwork::{Clockwork, TENTH},
    invariants::Violation,
    record::{Entry, Record},
    scene::{Protection, Scene},
    state::{Check, CheckStage, HOLDERS, Holding, NODES, Office, Passed, Proposal, State},
    tell,
};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Time {
        passed: Passed,
        suspended: bool,
    },
    // A holder.
    Send {
        holder: u8,
        hard: bool,
    },
    Take {
        holder: u8,
        hard: bool,
        age: u8,
    },
    Serve {
        holder: u8,
    },
    Stop {
        holder: u8,
    },
    // A node that believes that it leads.
    Receive {
        node: u8,
        copy: bool,
    },
    Confirm {
        node: u8,
    },
    Acknowledge {
        node: u8,
        hard: bool,
    },
    Decide {
        node: u8,
        entry: Entry,
    },
    ReceiveCheck {
        node: u8,
    },
    Answer {
        node: u8,
    },
    // The quorum.
    Elect {
        node: u8,
    },
    Open {
        node: u8,
        carried: [Option<Entry>; 2],
    },
    Apply {
        entry: Entry,
        proposed_in: u8,
    },
    // A client.
    AskWho,
}

pub struct Leases {
    pub scene: Scene,
    pub record: Record,
    pub clockwork: Clockwork,
    /// How often each kind of thing came about that the guarantees are about.
    pub(super) noted: Seen,
    /// Real time, while a counterexample is told.
    pub(super) steps: u32,
}

impl Leases {
    pub fn new(scene: &Scene) -> Self {
        Self {
            scene: scene.clone(),
            record: Record::new(scene.released),
            clockwork: Clockwork::new(scene),
            noted: Seen::new(),
            steps: 0,
        }
    }

    pub(super) fn note(&mut self, what: &'static str) {
        *self.noted.entry(what).or_default() += 1;
    }

    /// Every way in which the clocks may go in one step.
    fn rates(&self) -> Vec<Passed> {
        let scene = &self.scene;
        let mut rates = Vec::new();
        for (m, n) in pairs(scene.node_rates) {
            let holder = pairs(scene.holder_rates);
            let holder = holder.filter(|(a, b)| a == b || scene.clocks_apart.is_some());
            rates.extend(holder.map(|holder| Passed {
                holder,
                nodes: [m, n],
                client: scene.holder_rates[0],
            }));
        }
        rates
    }

    fn time(&mut self, state: &State, out: &mut Vec<Next<Self>>) {
        for passed in self.rates() {
            if !state.stay_near(passed.holder) {
                continue;
            }
            let later = state.later(passed, &self.scene, &self.clockwork);
            let serves = |state: &State| state.holders.iter().filter(|h| h.serves).count();
            if serves(&later) < serves(state) {
                self.note("stop at the deadline");
            }
            self.push(
                out,
                Action::Time {
                    passed,
                    suspended: false,
                },
                later,
            );
            if state.suspended < self.scene.suspensions
                && let Some(later) = state.later_suspended(passed, &self.scene, &self.clockwork)
            {
                self.note("suspension");
                self.push(
                    out,
                    Action::Time {
                        passed,
                        suspended: true,
                    },
                    later,
                );
            }
        }
    }
}

fn pairs(rates: &[u8]) -> impl Iterator<Item = (u8, u8)> {
    let all = rates.iter();
    all.flat_map(|a| rates.iter().map(|b| (*a, *b)))
}

impl Space for Leases {
    type State = State;
    type Action = Action;
    type Violation = Violation;

    fn start(&mut self) -> State {
        self.steps = 0;
        let scene = &self.scene;
        let step_ms = u64::try_from(TENTH.as_millis()).expect("short") * 10;
        let ttl_ms = step_ms * u64::from(scene.ttl);
        let window_ms = step_ms * u64::from(scene.window);
        let group = self.record.first(scene.durability, ttl_ms, window_ms);
        self.clockwork.learn(1, &self.record.state(group));
        let (_, deadline) = self.clockwork.take_office(1, None);
        let office = Office {
            term: 1,
            ready: true,
            saw_hard: false,
            suspects: false,
            windows: 0,
        };
        let alone = self.scene.durability == Durability::Async;
        State {
            group,
            term: 1,
            leader: 0,
            opened: 1,
            offices: [Some(office), None],
            lessors: [Some(deadline), None],
            holders: [Holding::default(); HOLDERS],
            renewals: [None; 2],
            proposals: [None; 2],
            check: None,
            apart: self.scene.clocks_apart.unwrap_or_default(),
            suspended: 0,
            hard_acknowledged: 0,
            told_empty: u8::from(alone) << 1,
        }
    }

    fn next(&mut self, state: &State, out: &mut Vec<Next<Self>>) {
        self.time(state, out);
        if self.scene.checks {
            self.checks(state, out);
        }
        if !self.scene.released {
            self.holders(state, out);
            self.renewals(state, out);
        }
        self.decisions(state, out);
        self.elections(state, out);
        self.openings(state, out);
        self.applications(state, out);
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        self.broken(state)
    }

    fn print(&mut self, state: &State) -> u128 {
        fingerprint(state).min(fingerprint(&state.swapped()))
    }

    fn tell(&mut self, before: &State, action: Action, after: Option<&State>) -> String {
        if let Action::Time { .. } = action {
            self.steps += 1;
        }
        tell::tell(self, before, action, after)
    }

    fn seen(&self) -> Seen {
        self.noted.clone()
    }
}

impl Leases {
    pub(super) fn push(&self, out: &mut Vec<Next<Self>>, action: Action, mut next: State) {
        if self.scene.levelled {
            next.forget_unread(&self.record.facts(next.group));
        }
        out.push((action, Ok(next.sorted())));
    }
}
