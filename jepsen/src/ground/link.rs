//! One direction between two hosts: what the hub does to its packets.
//!
//! Invariants: when `cut` has returned, no packet passes until it is healed,
//! not even one that was on its way. A link that does not reorder keeps the
//! order of packets, however often its rule changes.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How a link treats what it carries.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LinkRule {
    pub delay: Duration,
    /// Up to this much more, evenly drawn for each packet.
    pub jitter: Duration,
    /// Whether jitter may let packets overtake each other.
    pub reorder: bool,
    /// Share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// Share of packets that arrive twice, 0 to 1.
    pub duplication: f64,
}

/// What a link did so far, in packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Given to the receiving host, duplicates too.
    pub forwarded: u64,
    /// Did not get through because it was cut.
    pub cut: u64,
    /// By the rule's `loss`.
    pub lost: u64,
    /// Too many were on their way, or the receiver took no more.
    pub overflowed: u64,
    /// Of those forwarded and on their way, the ones made to wait.
    pub delayed: u64,
    pub duplicated: u64,
}

/// One direction between two hosts.
#[derive(Debug, Default)]
pub struct Link {
    state: Mutex<State>,
    pub(super) counts: Counts,
}

/// Changed by nemeses, and by the hub while it handles a packet.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) rule: LinkRule,
    /// How many want it cut.
    pub(super) cuts: u32,
    /// TCP from and to this port is lost.
    pub(super) shut: Option<u16>,
    /// On their way.
    pub(super) queued: usize,
    /// When the last of those on their way is due.
    pub(super) last_due: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) forwarded: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) overflowed: AtomicU64,
    pub(super) delayed: AtomicU64,
    pub(super) duplicated: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Link {
    /// From the next packet on.
    pub fn set(&self, rule: LinkRule) {
        self.state().rule = rule;
    }

    /// Loses everything. Two that cut the same link must both heal it.
    pub fn cut(&self) {
        self.state().cuts += 1;
    }

    /// Takes one cut back; the rule stays.
    pub fn heal(&self) {
        let mut state = self.state();
        state.cuts = state.cuts.saturating_sub(1);
    }

    /// Loses TCP packets from and to a port, or no longer; counted as cut.
    pub fn shut(&self, port: Option<u16>) {
        self.state().shut = port;
    }

    /// No cut, no rule.
    pub fn restore(&self) {
        let mut state = self.state();
        state.cuts = 0;
        state.shut = None;
        state.rule = LinkRule::default();
    }

    #[must_use]
    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            forwarded: read(&self.counts.forwarded),
            cut: read(&self.counts.cut),
            lost: read(&self.counts.lost),
            overflowed: read(&self.counts.overflowed),
            delayed: read(&self.counts.delayed),
            duplicated: read(&self.counts.duplicated),
        }
    }

    /// Held by the hub until a packet is lost, queued or delivered: that is
    /// what makes a cut certain.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked left a whole number behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
