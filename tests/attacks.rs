//! Known attacks on a failover, replayed on real PostgreSQL.
//!
//! Each test first shows, where that is cheap, that the attack works on
//! PostgreSQL alone, and then that it does not work here.
//!
//! | attack | where it is tried |
//! |---|---|
//! | a standby ahead of the fork acknowledges what it lacks | `ahead`; `postgres::joining::a_standby_ahead_of_the_fork_is_told_from_one_behind`; the model's rule `Fork` |
//! | the sync set of a grant names a member not fenced for it | the model's rule `FenceCount` |
//! | the first commit after a promotion does not wait | `first_commit`; back from asynchronous: `postgres::serving::return_from_asynchronous_replication_is_seen_to_wait` |
//! | two promotions take one timeline | `timelines`; `postgres::joining::a_diverged_member_is_cloned_and_its_directory_kept`; the model's rule `TimelineIsEpoch` |
//! | an old sync set is put back | the model's rule `RevisionOrder` |
//! | a fenced standby receives on: replay paused | `postgres::fencing::a_fence_ends_reception_while_replay_is_paused` |
//! | … its receiver is connecting, and hidden | `receiver` |
//! | … its configuration is broken, its postmaster frozen | `postgres::fencing::a_broken_configuration_does_not_stop_a_fence`, `postgres::fencing::a_frozen_postmaster_does_not_stop_a_fence` |
//! | … it reads the archive | `postgres::fencing::a_fenced_standby_reads_no_archive` |
//! | … it forgot by a restart what it acknowledged | `postgres::fencing::a_restarted_standby_reports_what_it_acknowledged_before` |
//! | a member is replaced, and counted as before | the model's rule `Incarnation` |
//! | backends outlive their postmaster | `fuse::a_killed_postmaster_leaves_no_descendant`, `fuse::kill_returns_when_nothing_is_left` |
//! | another client bears a standby's name | `voters::a_name_alone_makes_nobody_a_voter` |
//! | one standby is counted twice | `voters::a_standby_that_comes_again_counts_once` |
//! | a crashed primary has what nobody else has | `postgres::joining::a_crashed_primary_hands_over_what_nobody_else_has` |
//! | a crash shows rows that wait | `visible`; `reconcile`: `what_went_down_under_its_own_epoch_is_opened_only_by_a_later_one` |
//! | a voter by an earlier set releases the barrier | `voters::a_barrier_ends_voters_of_an_earlier_set` |
//!
//! `make mutants` takes protections out and expects these tests to fail.

mod support;

#[path = "attacks/ahead.rs"]
mod ahead;
#[path = "attacks/first_commit.rs"]
mod first_commit;
#[path = "attacks/receiver.rs"]
mod receiver;
#[path = "attacks/timelines.rs"]
mod timelines;
#[path = "attacks/visible.rs"]
mod visible;
#[path = "attacks/voters.rs"]
mod voters;

use std::time::Duration;

use primacy::postgres::LocalPostgres;
use rustix::process::{Pid, Signal, kill_process};
use support::{client, eventually, session};
use tokio::task::JoinHandle;

/// Long against the 2 ms that a commit takes here.
const BLOCKED: Duration = Duration::from_millis(500);

fn begin(primary: &LocalPostgres, statement: &'static str) -> JoinHandle<bool> {
    let primary = primary.clone();
    tokio::spawn(async move {
        let client = client(&primary).await.expect("let in");
        client.execute(statement, &[]).await.is_ok()
    })
}

/// Whether a client's statement is acknowledged, standbys being given time to
/// connect. One that is not goes on waiting.
async fn acked_in_time(primary: &LocalPostgres, statement: &'static str) -> bool {
    let limit = Duration::from_secs(10);
    let acked = tokio::time::timeout(limit, begin(primary, statement)).await;
    acked.is_ok_and(|told| told.expect("no panic"))
}

/// Begins a statement that waits for standbys.
async fn blocked(primary: &LocalPostgres, statement: &'static str) -> JoinHandle<bool> {
    let waiting = begin(primary, statement);
    eventually("the commit waits", async || {
        let query = "select from pg_stat_activity where wait_event = 'SyncRep' and query = $1";
        let found = session(primary).await.query(query, &[&statement]).await;
        assert!(!waiting.is_finished(), "{statement} was acknowledged");
        !found.expect("listed").is_empty()
    })
    .await;
    waiting
}

async fn not_acked(primary: &LocalPostgres, statement: &'static str) {
    let waiting = blocked(primary, statement).await;
    tokio::time::sleep(BLOCKED).await;
    assert!(!waiting.is_finished(), "{statement} was acknowledged");
}

/// A process of PostgreSQL, as a query finds it.
async fn pid_of(member: &LocalPostgres, query: &str) -> i32 {
    let found = session(member).await.query_one(query, &[]).await;
    found.expect("one process").get(0)
}

fn signal(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process");
    kill_process(pid, signal).expect("alive");
}
