//! The judges: each reads the whole history and says what was broken.
//!
//! A new one is one file in `check/` and one line here. None of them talks to
//! the fleet: a saved history can be judged again.

mod dns;
mod dns_cuts;
mod double_primary;
mod enough;
mod epochs;
pub mod facts;
pub mod findings;
mod leases;
mod linear;
mod liveness;
pub mod recovery;
mod register;
mod serves_on;
pub mod spurious;
mod watch;
mod writes;

#[cfg(test)]
pub mod build;

pub use dns::server_of as dns_server;

pub use serves_on::{AGAIN_MS, MEMBER_LOST, QUORUM_LOST};

use serde::{Deserialize, Serialize};

use crate::history::{History, Nanos};

pub trait Checker: Send + Sync {
    /// `writes`, `leases`.
    fn name(&self) -> &'static str;

    /// What is promised, in a sentence that a user understands.
    fn claim(&self) -> &'static str;

    fn check(&self, history: &History) -> Verdict;
}

/// What a checker found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was broken, the first first.
    pub violations: Vec<Violation>,
    /// Figures to show, in order: `("writes acknowledged", "2,887")`.
    pub counted: Vec<(String, String)>,
    /// Why this history shows nothing: too little happened.
    pub too_little: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    pub at: Nanos,
    /// In a sentence, with the operations that show it.
    pub text: String,
}

impl Verdict {
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.too_little.is_none()
    }
}

/// Every checker, in the order in which they are shown.
#[must_use]
pub fn all() -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(enough::Enough),
        Box::new(writes::Writes),
        Box::new(double_primary::DoublePrimary),
        Box::new(register::Register),
        Box::new(leases::Leases),
        Box::new(epochs::Epochs),
        Box::new(watch::Watch),
        Box::new(dns::Dns),
        Box::new(liveness::Liveness),
        Box::new(serves_on::ServesOn),
        Box::new(spurious::Spurious),
        Box::new(recovery::Recovery),
    ]
}
