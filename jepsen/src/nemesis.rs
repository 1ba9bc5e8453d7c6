//! What is done to the fleet.
//!
//! A new one is one file in `nemesis/` and one line in `all`. Each stroke is on
//! record before it is made, shows its own effect, and is taken back by itself:
//! a fault that shows no effect is reported as such, and a run of which no
//! fault had one fails.

mod ahead;
mod checkpointer;
mod clock;
mod cpu;
mod disk;
mod false_alarm;
mod field;
mod kill;
mod link;
mod partition;
mod pause;
mod power;
mod quorum_lost;
mod raft_port;
mod scheduler;
mod stale_primary;
mod two_failures;

use fastrand::Rng;

pub use field::Field;
pub use scheduler::torture;

pub trait Nemesis: Send + Sync {
    /// `kill-agent`, `power-cut`.
    fn name(&self) -> &'static str;

    /// What it does, in a sentence.
    fn about(&self) -> &'static str;

    /// Whether no other may strike meanwhile: it could take back what is not
    /// its own, or leave a disk in a state that no power cut leaves.
    fn alone(&self) -> bool {
        false
    }

    /// Strikes once: makes the fault, holds it, takes it back. An error says
    /// that the fault could not be made, never that the fleet suffered from it.
    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()>;
}

/// Every nemesis, in the order in which they are listed.
#[must_use]
pub fn all() -> Vec<Box<dyn Nemesis>> {
    let mut all: Vec<Box<dyn Nemesis>> = Vec::new();
    all.extend(kill::all());
    all.extend(pause::all());
    all.extend(partition::all());
    all.extend(link::all());
    all.extend(clock::all());
    all.extend(disk::all());
    all.extend(power::all());
    all.push(Box::new(cpu::Starvation));
    all.push(Box::new(stale_primary::StalePrimary));
    all.push(Box::new(two_failures::TwoFailures));
    all.push(Box::new(false_alarm::FalseAlarm));
    all.push(Box::new(quorum_lost::QuorumLost));
    all.extend(raft_port::all());
    all.push(Box::new(checkpointer::SleepingCheckpointer));
    all.push(Box::new(ahead::AheadOfTheFork));
    all
}
