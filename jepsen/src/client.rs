//! How an application or an operator talks to the fleet.
//!
//! ```text
//! dns ────── who is primary, as a hint       (RFC 1035, 2782, 6891, 8914)
//! grpc ───── who is primary, confirmed; an operator's commands
//! postgres ─ rows
//! ```
//!
//! Each says of a failure what is proven by it, and no more: that nothing
//! happened is said only where the other side said so, or was never reached.
//! Nothing here waits without a limit, and nothing here tries again.

pub mod dns;
pub mod grpc;
pub mod postgres;
