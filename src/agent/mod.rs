//! Beside one member: keeps its promises, and makes it what it should be.
//!
//! In reading order: `promise` (what may be obeyed), `reconcile` (what to do
//! next), `holder` (until when a lease may be trusted), all three pure.

pub mod holder;
pub mod promise;
pub mod reconcile;
