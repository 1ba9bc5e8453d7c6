//! The product's own clockwork, asked what it says from now on.
//!
//! A state of the model knows no time of day, only how long ago something was
//! and how much is left, each on the clock of whoever counts it, in tenths of
//! a step. Here that is made into the product's structs at one fixed moment,
//! the product's code is run, and what it says is read back.
//!
//! What is left is rounded up for a holder and down for a leader, so rounding
//! hides nothing.

use std::{collections::HashMap, time::Duration};

use crate::{
    agent::holder::{Holder, Renewal},
    control::{check_window::CheckWindows, lessor::Lessor},
    domain::{Epoch, State},
};

use super::{
    super::{fixture::group_name, hash::Fast},
    scene::{Protection, Scene},
};

/// A tenth of a step of real time.
pub const TENTH: Duration = Duration::from_millis(10);
const NOW: Duration = Duration::from_secs(3600);

/// What a holder knows of its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    pub left: u8,
    pub hard: bool,
}

/// What a lessor knows of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deadline {
    pub epoch: u32,
    pub left: u8,
    pub closed: bool,
}

/// What a lessor is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ask {
    Renew { epoch: u32, receipt: u8 },
    Expire,
}

#[derive(Debug)]
pub struct Clockwork {
    without: Option<Protection>,
    ttl: Duration,
    fence_budget: Duration,
    window: Duration,
    /// The group under each epoch.
    states: HashMap<u32, State, Fast>,
    asked: HashMap<(Deadline, Ask), Option<Deadline>, Fast>,
    /// For how long a lease is held that is acknowledged at once.
    pub lease: u8,
    /// What a leader waits for at most.
    pub full: u8,
}

impl Clockwork {
    pub fn new(scene: &Scene) -> Self {
        let step = TENTH * 10;
        let mut clockwork = Self {
            without: scene.without,
            ttl: step * scene.ttl.into(),
            fence_budget: step * scene.fence_budget.into(),
            window: step * scene.window.into(),
            states: HashMap::default(),
            asked: HashMap::default(),
            lease: 0,
            full: u8::MAX,
        };
        let fresh = clockwork.acknowledged(Epoch(1), None, 0, true);
        clockwork.lease = fresh.map_or(0, |held| held.left);
        clockwork
    }

    fn has(&self, protection: Protection) -> bool {
        self.without != Some(protection)
    }

    // The holder.

    fn holder(&self, epoch: Epoch, held: Option<Held>) -> Holder {
        let mut holder = Holder::default();
        if let Some(Held { left, hard }) = held {
            // As if acknowledged just then, with nothing to leave out.
            let kept = self.kept_of_all();
            let sent = NOW + span(left) - kept;
            let renewal = Renewal { epoch, hard, sent };
            holder.acknowledged(renewal, self.ttl, Duration::ZERO);
        }
        holder
    }

    fn kept_of_all(&self) -> Duration {
        let mut holder = Holder::default();
        let renewal = Renewal {
            epoch: Epoch(1),
            hard: true,
            sent: NOW,
        };
        holder.acknowledged(renewal, self.ttl, Duration::ZERO);
        holder.until(Epoch(1)).expect("just acknowledged") - NOW
    }

    /// What is held after the acknowledgement of a renewal that was sent `age` ago.
    pub fn acknowledged(
        &self,
        epoch: Epoch,
        held: Option<Held>,
        age: u8,
        hard: bool,
    ) -> Option<Held> {
        let mut sent = NOW - span(age);
        if !self.has(Protection::CountFromSending) {
            sent = NOW;
        }
        if !self.has(Protection::DriftOfHolder) {
            sent += self.ttl - self.kept_of_all();
        }
        let budget = match self.has(Protection::FenceBudget) {
            true => self.fence_budget,
            false => Duration::ZERO,
        };
        let mut holder = self.holder(epoch, held);
        let before = holder.until(epoch);
        holder.acknowledged(Renewal { epoch, hard, sent }, self.ttl, budget);
        let until = holder.until(epoch)?;
        let taken = before != Some(until);
        let left = until
            .saturating_sub(NOW)
            .as_nanos()
            .div_ceil(TENTH.as_nanos());
        let in_the_end = holder.must_stop(NOW * 2);
        Some(Held {
            left: u8::try_from(left).expect("short spans"),
            hard: match self.has(Protection::StaysHard) || !taken {
                true => in_the_end,
                false => hard,
            },
        })
    }

    /// Whether the holder has to stop now.
    pub fn must_stop(&self, epoch: Epoch, held: Option<Held>) -> bool {
        self.holder(epoch, held).must_stop(NOW)
    }

    // The lessor.

    /// Makes the group known as it is under its epoch.
    pub fn learn(&mut self, epoch: u32, state: &State) {
        self.states.entry(epoch).or_insert_with(|| state.clone());
        if self.full == u8::MAX {
            let (_, fresh) = self.take_office(epoch, None);
            self.full = fresh.left;
        }
    }

    /// What a new leader knows of the lease, and what it waits for because of
    /// its predecessor's windows. `former`: what it knew when it last led.
    pub fn take_office(&self, epoch: u32, former: Option<Deadline>) -> (u8, Deadline) {
        let state = &self.states[&epoch];
        let mut lessor = former.map_or_else(Lessor::default, |former| self.lessor(former));
        match self.has(Protection::FullTtl) {
            true => lessor.take_office(self.full_from(NOW), state),
            false => lessor.observe(self.full_from(NOW), state),
        }
        let mut windows = CheckWindows::default();
        windows.take_office(NOW, state);
        let wait = match self.has(Protection::WindowOfPredecessor) {
            true => windows.remaining(&group_name(), NOW),
            false => Duration::ZERO,
        };
        (tenths(wait), self.read(&lessor))
    }

    /// What the leader knows once a lease of `epoch` was granted.
    pub fn observe(&self, epoch: u32, known: Deadline) -> Deadline {
        let mut lessor = self.lessor(known);
        lessor.observe(self.full_from(NOW), &self.states[&epoch]);
        self.read(&lessor)
    }

    /// `None`: the renewal is not acknowledged.
    pub fn renew(&mut self, known: Deadline, epoch: u32, receipt: u8) -> Option<Deadline> {
        let mut known = known;
        if !self.has(Protection::ClosedOnceExpired) {
            known.closed = false;
        }
        self.ask(known, Ask::Renew { epoch, receipt })
    }

    /// `None`: the lease is not due.
    pub fn expire(&mut self, known: Deadline) -> Option<Deadline> {
        self.ask(known, Ask::Expire)
    }

    fn ask(&mut self, known: Deadline, ask: Ask) -> Option<Deadline> {
        if let Some(answer) = self.asked.get(&(known, ask)) {
            return *answer;
        }
        let mut lessor = self.lessor(known);
        let done = match ask {
            Ask::Renew { epoch, receipt } => {
                let receipt = self.full_from(NOW - span(receipt));
                let ttl_ms = u64::try_from(self.ttl.as_millis()).expect("short");
                lessor.renew(&group_name(), Epoch(epoch), receipt, ttl_ms)
            }
            Ask::Expire => !lessor.expire(NOW).is_empty(),
        };
        let answer = done.then(|| self.read(&lessor));
        self.asked.insert((known, ask), answer);
        answer
    }

    /// The moment from which a leader counts a TTL that begins at `moment`.
    fn full_from(&self, moment: Duration) -> Duration {
        match self.has(Protection::DriftOfLessor) {
            true => moment,
            false => moment - self.ttl / 10,
        }
    }

    fn lessor(&self, known: Deadline) -> Lessor {
        let state = &self.states[&known.epoch];
        let mut lessor = Lessor::default();
        lessor.observe(NOW, state);
        let full = self.left(&lessor);
        lessor = Lessor::default();
        lessor.observe(NOW + span(known.left) - full, state);
        if known.closed {
            lessor.expire(NOW + span(known.left));
        }
        lessor
    }

    fn read(&self, lessor: &Lessor) -> Deadline {
        let left = self.left(lessor);
        let (_, epoch) = lessor.clone().expire(NOW + left)[0];
        let mut tried = lessor.clone();
        let renewed = tried.renew(&group_name(), epoch, Duration::ZERO, 0);
        Deadline {
            epoch: epoch.0,
            left: tenths(left),
            closed: !renewed,
        }
    }

    /// How long it takes until `lessor` finds the lease due.
    fn left(&self, lessor: &Lessor) -> Duration {
        (0..=u8::MAX)
            .map(span)
            .find(|left| !lessor.clone().expire(NOW + *left).is_empty())
            .expect("a lease that ends")
    }

    // Check windows.

    /// What the leader waits for after it gave out one more window.
    pub fn give(&self, left: u8) -> u8 {
        let group = group_name();
        let mut windows = CheckWindows::default();
        windows.give(&group, NOW, self.window);
        let whole = windows.remaining(&group, NOW);
        let mut windows = CheckWindows::default();
        windows.give(&group, NOW + span(left) - whole, self.window);
        match self.has(Protection::DriftOfWindow) {
            true => windows.give(&group, NOW, self.window),
            false => windows.give(&group, NOW + self.window - whole, self.window),
        }
        tenths(windows.remaining(&group, NOW))
    }
}

fn span(tenths: u8) -> Duration {
    TENTH * tenths.into()
}

fn tenths(span: Duration) -> u8 {
    u8::try_from(span.as_nanos() / TENTH.as_nanos()).expect("short spans")
}
