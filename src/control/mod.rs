//! The leader's hands: when to doubt, when to act, what to propose.
//!
//! No I/O, no clock: `now` is handed in and proposals are handed back. Nothing
//! here can make a grant unsafe; `domain` refuses those. What is decided here
//! is whether the database comes back in half a second or in ten.

pub mod check_window;
pub mod detector;
pub mod lessor;
pub mod reconciler;
pub mod sync_set;
