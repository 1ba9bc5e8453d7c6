//! Whole fleets on real PostgreSQL, sockets and files, hurt on purpose.
//!
//! Every test ends by reading back, from every member, each write that was
//! acknowledged. One fleet runs at a time: the machine is small, and what is
//! shown here is safety, not speed.
#![allow(clippy::unwrap_used)]

#[path = "e2e/disk.rs"]
mod disk;
#[path = "e2e/scene.rs"]
mod scene;
#[path = "e2e/stubborn.rs"]
mod stubborn;

#[path = "e2e/adoption.rs"]
mod adoption;
#[path = "e2e/bad_days.rs"]
mod bad_days;
#[path = "e2e/leader_changes.rs"]
mod leader_changes;
#[path = "e2e/losses.rs"]
mod losses;
#[path = "e2e/operations.rs"]
mod operations;
#[path = "e2e/partitions.rs"]
mod partitions;
#[path = "e2e/power_cut.rs"]
mod power_cut;
#[path = "e2e/rejoin.rs"]
mod rejoin;
