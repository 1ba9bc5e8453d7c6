//! What must be true of every world, one file for each.

pub mod acknowledgers;
pub mod answers;
pub mod epochs;
pub mod forks;
pub mod grants;
pub mod leases;
pub mod lost_writes;
pub mod promises;
pub mod quorum;

/// Why an invariant does not hold.
pub type Verdict = Result<(), String>;

/// What the invariants remember of a world.
#[derive(Debug, Default)]
pub struct Checks {
    pub answers: answers::Answers,
    pub epochs: epochs::Epochs,
    pub grants: grants::Grants,
    pub lost_writes: lost_writes::LostWrites,
    pub promises: promises::Promises,
    pub quorum: quorum::Quorum,
}
