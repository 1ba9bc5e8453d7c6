//! Beside one member: keeps its promises, and makes it what it should be.
//!
//! In reading order: `promise` (what may be obeyed), `reconcile` (what to do
//! next), `holder` (until when a lease may be trusted), all three pure;
//! `memory` (what is on disk), `session` (streams to the nodes), `observe`,
//! `act` and `run` (the loop).

mod act;
pub mod holder;
mod knock;
mod member;
pub mod memory;
mod observe;
pub mod promise;
pub mod reconcile;
mod run;
pub mod session;

pub use member::Options;
pub use run::{AgentError, run};
