//! Decisions, and nothing else.
//!
//! Pure and total: no I/O, no clock, no randomness, no runtime. What changes
//! the answer to "who is primary?" goes through [`State::apply`], which
//! refuses whatever is unsafe whoever asks.
//!
//! In reading order: words ([`Epoch`], [`Lsn`], [`Incarnation`]), what is asked
//! for ([`GroupSpec`]), what is known ([`Group`]), when a grant is legal
//! (`grant`), and what each member is told to be ([`Instruction`]).

mod candidate;
mod command;
mod epoch;
mod event;
#[cfg(test)]
pub mod fixtures;
mod grant;
mod group;
mod group_state;
mod instruction;
mod lease;
mod lineage;
mod lsn;
mod names;
mod refusal;
mod report;
pub mod rule;
mod state;
mod sync_config;

pub use candidate::{Blocked, Choice};
pub use command::{Barrier, Change, Command, Outcome};
pub use epoch::{Epoch, InstructionOrder, Revision};
pub use event::{Cause, Event, EventKind};
pub use group::{Control, Durability, GroupSpec, MemberSpec, SpecError};
pub use group_state::Group;
pub use instruction::{Instruction, Peer, PrimaryOrder, Rejoin, StandbyOrder, Stop, Urgency};
pub use lease::{Failover, Lease};
pub use lineage::{Lineage, Verdict};
pub use lsn::{Lsn, NotAnLsn, Position, Timeline};
pub use names::{GroupName, Incarnation, MemberName, NotAName, Region};
pub use refusal::Refusal;
pub use report::{
    BarrierReport, Fenced, Postgres, Promised, Receiving, Report, Role, Running, Trouble,
};
pub use state::State;
pub use sync_config::{OnRecord, SyncConfig};
