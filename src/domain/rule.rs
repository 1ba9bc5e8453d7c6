//! The protections, by name, so that a test can take one out.
//!
//! In the product every rule holds and the compiler removes the question.
//! Only model and simulation, which compile these files themselves, can take a
//! rule out, to show what goes wrong without it; and the mutants of the server,
//! by a compiler's flag that they alone set. No feature or setting reaches this.

/// One rule of the safety argument (design, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// An epoch's configurations stay on record until its successor is sealed.
    Seal,
    /// A sync change is on record before the primary may apply it.
    Joint,
    /// A sync change is confirmed only by a barrier that its own set holds.
    Barrier,
    /// A member refuses a sync revision below the greatest that it has seen.
    RevisionOrder,
    /// A fenced member obeys nothing of the epoch it was fenced for, or before.
    Promise,
    /// Nobody follows a primary from beyond its fork.
    Fork,
    /// A promotion under epoch E makes timeline E.
    TimelineIsEpoch,
    /// Sets, fences and promises name incarnations, not members.
    Incarnation,
    /// `|fenced ∩ S| ≥ |S| − k + 1` for every configuration on record.
    FenceCount,
    /// Exclusive is shown for every configuration on record, the empty set too.
    ExclusiveForEvery,
}

impl Rule {
    /// Whether the rule is in force: always, in the product.
    #[cfg(not(test))]
    #[inline]
    #[must_use]
    pub const fn holds(self) -> bool {
        match self {
            Self::Fork => !cfg!(primacy_mutant = "fork"),
            Self::Promise | Self::RevisionOrder => !cfg!(primacy_mutant = "epoch"),
            _ => true,
        }
    }

    /// Whether the rule is in force: unless this thread's test took it out.
    #[cfg(test)]
    #[must_use]
    pub fn holds(self) -> bool {
        TAKEN_OUT.get() != Some(self)
    }
}

#[cfg(test)]
thread_local! {
    static TAKEN_OUT: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// Takes `rule` out for everything this thread runs from now on.
#[cfg(test)]
pub fn take_out(rule: Option<Rule>) {
    TAKEN_OUT.set(rule);
}
