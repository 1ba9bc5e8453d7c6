//! A moment of the world, without a time of day, and what time does to it.

use super::{
    clockwork::{Clockwork, Deadline, Held},
    record::{Entry, Facts, GroupId},
    scene::{Protection, Scene},
};

/// Nodes that may lead. A third one, which only votes, is in the rules of
/// `actions`.
pub const NODES: usize = 2;
/// Holders, by epoch: of the first and of the second.
pub const HOLDERS: usize = 2;

/// How far a holder's two clocks may part, in tenths of a step: a step, and
/// what drift adds to it. What is more makes no other difference.
const APART: i8 = 14;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    pub group: GroupId,
    /// The greatest term in which a leader was elected, and who that was.
    pub term: u8,
    pub leader: u8,
    /// The greatest term whose leader saw its own first entry applied.
    pub opened: u8,
    pub offices: [Option<Office>; NODES],
    pub lessors: [Option<Deadline>; NODES],
    pub holders: [Holding; HOLDERS],
    pub renewals: [Option<Message>; 2],
    pub proposals: [Option<Proposal>; 2],
    pub check: Option<Check>,
    /// The holder's clock that counts suspension, less the one that does not.
    pub apart: i8,
    pub suspended: u8,
    /// Epochs in which a hard renewal was acknowledged, as a bit mask.
    pub hard_acknowledged: u8,
    /// Epochs in which the empty set was ever on record, as a bit mask.
    pub told_empty: u8,
}

/// A leadership that a node believes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Office {
    pub term: u8,
    pub ready: bool,
    /// It acknowledged a renewal that has to go on record as hard.
    pub saw_hard: bool,
    /// It decided on a grant.
    pub suspects: bool,
    /// What is left of the windows that it has to wait for.
    pub windows: u8,
}

/// A holder: what it knows, and what its PostgreSQL does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Holding {
    pub held: Option<Held>,
    /// It acknowledges writes, and asks nobody.
    pub serves: bool,
    /// Steps since it had to stop.
    pub due: u8,
}

/// A renewal, from the holder and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    pub epoch: u32,
    pub hard: bool,
    /// Since before it was sent, by the holder's clock.
    pub age: u8,
    pub stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Sent,
    Received(Receipt),
    /// A quorum confirmed the leader since.
    Confirmed(Receipt),
    Acknowledged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt {
    pub node: u8,
    pub term: u8,
    /// Since it came, by the node's clock.
    pub age: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proposal {
    pub entry: Entry,
    pub term: u8,
}

/// A client's question who is primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Check {
    /// Since before it was sent, by the client's clock.
    pub age: u8,
    pub stage: CheckStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckStage {
    Sent,
    Received { node: u8, term: u8, epoch: u32 },
    Answered { epoch: u32 },
}

/// How far each clock went in one step of real time, in tenths of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// The one that counts suspension, and the one that does not. Equal where
    /// a holder has one clock.
    pub holder: (u8, u8),
    pub nodes: [u8; NODES],
    pub client: u8,
}

impl State {
    /// The state one step of real time later.
    pub fn later(&self, passed: Passed, scene: &Scene, clockwork: &Clockwork) -> Self {
        let mut next = *self;
        let read = next.read_clocks(passed.holder, scene);
        let was_due: Vec<bool> = (0..HOLDERS).map(|h| self.must_stop(h, clockwork)).collect();
        next.messages_age(read, passed.nodes, clockwork);
        for (holding, was_due) in next.holders.iter_mut().zip(was_due) {
            if let Some(held) = &mut holding.held {
                held.left = held.left.saturating_sub(read);
            }
            holding.due = if was_due { holding.due + 1 } else { 0 };
            if holding.due >= scene.fence_budget {
                *holding = Holding::default();
            }
        }
        next.leaders_wait(passed.nodes);
        if let Some(check) = &mut next.check {
            check.age = check.age.saturating_add(passed.client);
        }
        // Nobody relies on an answer that is so old.
        let window = scene.window * 10;
        next.check = next.check.filter(|check| check.age < window);
        next
    }

    /// The state after a step in which the holder's host was suspended. Only
    /// one clock counts it. `None`: a deadline would pass meanwhile, which a
    /// watchdog has to cover.
    pub fn later_suspended(
        &self,
        passed: Passed,
        scene: &Scene,
        clockwork: &Clockwork,
    ) -> Option<Self> {
        let ends = |holding: &Holding| holding.held.is_some_and(|h| h.left <= passed.holder.0);
        if self.holders.iter().any(|h| h.serves && ends(h)) {
            return None;
        }
        let holder = (passed.holder.0, 0);
        let mut next = self.later(Passed { holder, ..passed }, scene, clockwork);
        next.suspended += 1;
        Some(next)
    }

    /// Whether a holder's two clocks do not part further than is explored.
    pub fn stay_near(&self, (counts_all, misses): (u8, u8)) -> bool {
        let apart = self.apart + counts_all as i8 - misses as i8;
        apart.abs() <= APART
    }

    /// By how much the reading goes up that the holder counts on.
    fn read_clocks(&mut self, (counts_all, misses): (u8, u8), scene: &Scene) -> u8 {
        if scene.clocks_apart.is_none() {
            return counts_all;
        }
        let before = self.apart;
        self.apart += counts_all as i8 - misses as i8;
        if scene.has(Protection::LargerStep) {
            return counts_all.max(misses);
        }
        // The larger of two totals.
        let (before, after) = (before.max(0), self.apart.max(0));
        (i16::from(misses) + i16::from(after) - i16::from(before)) as u8
    }

    fn messages_age(&mut self, read: u8, nodes: [u8; NODES], clockwork: &Clockwork) {
        for message in self.renewals.iter_mut().flatten() {
            message.age = message.age.saturating_add(read).min(clockwork.lease);
            if let Stage::Received(receipt) | Stage::Confirmed(receipt) = &mut message.stage {
                let passed = nodes[usize::from(receipt.node)];
                receipt.age = receipt.age.saturating_add(passed).min(clockwork.full);
            }
        }
    }

    fn leaders_wait(&mut self, nodes: [u8; NODES]) {
        for (node, passed) in nodes.into_iter().enumerate() {
            if let Some(deadline) = &mut self.lessors[node] {
                deadline.left = deadline.left.saturating_sub(passed);
            }
            if let Some(office) = &mut self.offices[node] {
                office.windows = office.windows.saturating_sub(passed);
            }
        }
    }

    pub fn must_stop(&self, holder: usize, clockwork: &Clockwork) -> bool {
        let holding = self.holders[holder];
        let epoch = crate::domain::Epoch(holder as u32 + 1);
        holding.serves && clockwork.must_stop(epoch, holding.held)
    }

    /// Levels what can have no effect any more, so that fewer states differ: a
    /// leader that another has followed gets nothing confirmed and nothing
    /// through, and acknowledges only what was confirmed before.
    pub fn forget_unread(&mut self, facts: &Facts) {
        for slot in &mut self.renewals {
            let Some(message) = slot else { continue };
            let is_lost = match message.stage {
                Stage::Sent => message.epoch < facts.epoch || facts.expired,
                Stage::Received(receipt) => {
                    receipt.term < self.term || message.epoch < facts.epoch || facts.expired
                }
                Stage::Confirmed(receipt) => !leads(&self.offices, receipt),
                Stage::Acknowledged => false,
            };
            if is_lost {
                *slot = None;
            }
        }
        for (node, office) in self.offices.iter_mut().enumerate() {
            let Some(Office { term, saw_hard, .. }) = office else {
                continue;
            };
            *saw_hard &= !facts.hard;
            let confirmed = |message: &Message| match message.stage {
                Stage::Confirmed(receipt) => receipt.term == *term,
                _ => false,
            };
            if *term < self.opened && !self.renewals.iter().flatten().any(confirmed) {
                (*office, self.lessors[node]) = (None, None);
            }
        }
        if let Some(Check {
            stage: CheckStage::Received { term, .. },
            ..
        }) = self.check
            && term < self.term
        {
            self.check = None;
        }
    }

    /// The order of what is under way says nothing; free places come last.
    pub fn sorted(mut self) -> Self {
        self.renewals.sort_unstable_by(|a, b| b.cmp(a));
        self.proposals.sort_unstable_by(|a, b| b.cmp(a));
        self
    }

    /// The same with the two nodes exchanged, which nothing tells apart.
    pub fn swapped(&self) -> Self {
        let mut next = *self;
        next.leader = 1 - self.leader;
        next.offices.swap(0, 1);
        next.lessors.swap(0, 1);
        for message in next.renewals.iter_mut().flatten() {
            if let Stage::Received(receipt) | Stage::Confirmed(receipt) = &mut message.stage {
                receipt.node = 1 - receipt.node;
            }
        }
        if let Some(Check {
            stage: CheckStage::Received { node, .. },
            ..
        }) = &mut next.check
        {
            *node = 1 - *node;
        }
        next.sorted()
    }
}

fn leads(offices: &[Option<Office>; NODES], receipt: Receipt) -> bool {
    offices[usize::from(receipt.node)].is_some_and(|office| office.term == receipt.term)
}
