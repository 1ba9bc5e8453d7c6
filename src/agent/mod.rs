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

/// An error with what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
