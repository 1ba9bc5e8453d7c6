//! Protections that are not the domain's rules, and that a test can take out.

/// What a world does wrong, to see that somebody notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A leader answers reads and renewals without asking a majority.
    ReadIndexSkipped,
    /// A new leader lets leases run out as if it had seen every renewal.
    DeadlinesInherited,
    /// A node forgets in a crash whom it voted for, and in which term.
    VoteNotPersisted,
    /// An agent forgets in a crash what it promised.
    PromiseNotPersisted,
    /// A standby that still receives is asked where it stands.
    FenceByAsking,
    /// A primary reports its barrier without waiting for it.
    BarrierNotAwaited,
    /// Standbys carry no sync configuration before their promotion.
    SentinelAbsent,
    /// A member that lost its directory comes back under its old name.
    IncarnationReused,
}
