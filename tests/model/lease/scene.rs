//! What one exploration of the lease ranges over, and what it may be without.

use crate::domain::Durability;

/// A protection that can be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// A holder counts from before it sent the renewal.
    CountFromSending,
    /// A new leader gives every lease a full TTL.
    FullTtl,
    /// A renewal is acknowledged, and a check answered, after a quorum's
    /// confirmation that was begun after it came.
    ReadIndex,
    /// That confirmation is of the same leadership that took the renewal.
    RoundOfOwnTerm,
    /// What a leader decides is proposed in its own term or not at all.
    ProposalOfOwnTerm,
    /// An expiry names the epoch that it is for.
    EpochOfExpiry,
    /// No renewal is acknowledged after its expiry was proposed.
    ClosedOnceExpired,
    /// A time fence counts, and the empty set is applied, under a hard lease.
    HardFirst,
    /// A lease that was hard stays so, whatever renewal was on its way.
    StaysHard,
    /// The holder allows for a clock that is slow.
    DriftOfHolder,
    /// The lessor allows for a clock that is fast.
    DriftOfLessor,
    /// The holder leaves itself the time that it takes to stop.
    FenceBudget,
    /// Of two clocks the one counts that went further *since*, not in total.
    LargerStep,
    /// A new leader waits for one whole window.
    WindowOfPredecessor,
    /// A window is noted before the round that confirms the answer.
    WindowBeforeRound,
    /// None is given out once a grant was decided.
    NoneForSuspect,
    /// A window is stretched by what two clocks may differ.
    DriftOfWindow,
}

/// The bounds of an exploration. Time is not bounded: whatever is old enough
/// is as old as can be. Lengths are in steps of real time.
#[derive(Debug, Clone)]
pub struct Scene {
    pub name: &'static str,
    pub durability: Durability,
    /// Leaderships that there may be.
    pub terms: u8,
    /// The greatest epoch that is granted.
    pub epochs: u32,
    /// Renewals that may be on their way at once; a new one replaces one.
    pub renewals: usize,
    /// Whether some renewals are soft.
    pub soft: bool,
    /// Entries that may be proposed and not yet applied at once.
    pub proposals: usize,
    /// Whether clients check who is primary.
    pub checks: bool,
    /// Whether every failover finds the former holder stopped, so that the
    /// lease does not matter.
    pub released: bool,
    pub ttl: u8,
    pub fence_budget: u8,
    pub window: u8,
    /// How far a clock may go in one step of real time, in tenths of a step.
    pub holder_rates: &'static [u8],
    pub node_rates: &'static [u8],
    /// By how much the holder's one clock, which counts suspension, is ahead
    /// of the other at the start, in tenths; `None`: it has one clock.
    pub clocks_apart: Option<i8>,
    /// Steps for which the holder's whole host may be suspended.
    pub suspensions: u8,
    /// Whether states are taken for one that differ only in what can have no
    /// effect any more. With a protection taken out it might have.
    pub levelled: bool,
    pub without: Option<Protection>,
}

impl Scene {
    pub fn has(&self, protection: Protection) -> bool {
        self.without != Some(protection)
    }
}
