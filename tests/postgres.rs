//! The steps of a failover, on real PostgreSQL.

mod support;

#[path = "postgres/failover.rs"]
mod failover;
#[path = "postgres/fencing.rs"]
mod fencing;
#[path = "postgres/helpers.rs"]
mod helpers;
#[path = "postgres/joining.rs"]
mod joining;
#[path = "postgres/serving.rs"]
mod serving;
