//! Many random worlds, each made by one seed and replayable from it.
//!
//! `make soak SEEDS=100000` runs many, with progress, and stops at the first
//! that fails; `make test` runs as many as half a minute allows. A failure
//! prints the seed, the command that replays it, the faults, and what led up
//! to it.
//!
//! What runs is the product's own code, compiled into this test by path:
//! `State::apply`, `Group::instruction`, `Lessor`, the detector, `Reconciler`,
//! `promise::admit`, `reconcile::next_step` and `Holder`. That sets `cfg(test)`
//! for these files, so `domain::rule` can take one rule out at a time.
//! `tests/sim/` drives them as `src/leader.rs`, `src/agent/run.rs` and
//! `src/agent/session.rs` do, on one thread, under virtual time. Simulated
//! around them:
//!
//! - a quorum of three or five nodes with a small Raft of its own, whose
//!   messages go through the simulated network and whose crashes lose what was
//!   not on disk yet (`raft`, `node`, `reads`);
//! - a network whose links delay, lose, double, overtake and are cut one way
//!   (`net`), and clocks that drift and jump (`time`);
//! - agents that are killed, paused, wiped, and told late and twice (`agent`,
//!   `session`, `turn`, `steps`, `barrier`);
//! - a PostgreSQL of log, timelines, walsenders that read their configuration
//!   each in its own time, and crashes that show what nobody acknowledged
//!   (`postgres`, `server`, `replication`, `wal`);
//! - clients that ask who is primary and write there (`client`).
//!
//! A world has a storm of faults (`faults`), then everything heals, and a
//! sealed primary must acknowledge writes within `plan::LIVENESS`. Two worlds
//! in ten have no faults, or only restarts of quorum nodes: there nothing may
//! fail over. What must be true at every moment is in `invariants/`, a file for each.
//!
//! Not simulated: the async group (no part of the product yet), checks with a
//! window, cascading standbys, a directory that is rolled back, operators that
//! accept a loss, `openraft` itself and PostgreSQL itself.
#![allow(
    dead_code,
    unused_imports,
    reason = "the product's files, compiled whole and used in part"
)]

#[path = "../src/domain/mod.rs"]
mod domain;

#[path = "../src/control/mod.rs"]
mod control;

#[path = "../src/clock"]
mod clock {
    pub mod elapsed;
}

#[path = "../src/agent"]
mod agent {
    pub mod holder;
    pub mod promise;
    pub mod reconcile;
}

mod sim {
    pub mod agent;
    pub mod barrier;
    pub mod beside;
    pub mod client;
    pub mod dispatch;
    pub mod event;
    pub mod faults;
    pub mod history;
    pub mod hooks;
    pub mod invariants;
    pub mod leader;
    pub mod mutant;
    pub mod net;
    pub mod node;
    pub mod plan;
    pub mod postgres;
    pub mod raft;
    pub mod reads;
    pub mod replication;
    pub mod rng;
    pub mod run;
    pub mod server;
    pub mod session;
    pub mod soak;
    pub mod standby_steps;
    pub mod steps;
    pub mod time;
    pub mod turn;
    pub mod wal;
    pub mod world;
}

use std::{collections::BTreeSet, time::Duration};

use domain::rule::{Rule, take_out};
use sim::{
    mutant::Mutant,
    plan::{Kind, Weather},
    run::{Case, Outcome},
    soak::Soak,
};

/// A number from the environment.
fn set(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_world_breaks_a_guarantee() {
    let soak = Soak {
        from: set("SIM_FROM").unwrap_or(1),
        seeds: set("SIM_SEEDS").unwrap_or(2_000),
        threads: set("SIM_THREADS").unwrap_or(2),
        limit: Duration::from_secs(set("SIM_LIMIT").unwrap_or(25)),
        every: Duration::from_secs(10),
    };
    let sum = soak.run();
    if let Some(failed) = &sum.failed {
        panic!("{failed}");
    }
    let happened = sum.acknowledged > 0 && sum.failed_over > 0;
    assert!(happened, "nothing happened, so nothing was shown");
}

/// `SIM_SEED=7 cargo test --release --test sim -- --nocapture replay_of`
#[test]
fn replay_of_one_seed_breaks_no_guarantee() {
    let Some(seed) = set("SIM_SEED") else { return };
    let outcome = Case::of(seed).run();
    println!("{outcome}");
    assert!(outcome.failure.is_none(), "seed {seed} failed");
}

#[test]
fn a_seed_replays_exactly() {
    let mut fingerprints = BTreeSet::new();
    for seed in 1..=20 {
        let (first, second) = (Case::of(seed).run(), Case::of(seed).run());
        let told = |outcome: &Outcome| (outcome.fingerprint, outcome.events, outcome.lived);
        assert_eq!(told(&first), told(&second), "seed {seed}");
        fingerprints.insert(first.fingerprint);
    }
    assert_eq!(fingerprints.len(), 20, "two seeds made the same world");
}

#[test]
fn in_quiet_worlds_nothing_fails_over() {
    for weather in [Weather::Quiet, Weather::LeaderChanges] {
        for seed in 1..=60 {
            let outcome = Case {
                weather,
                ..Case::of(seed)
            }
            .run();
            assert!(outcome.failure.is_none(), "{outcome}");
            assert_eq!(outcome.grants, 1, "{outcome}");
            assert!(outcome.acknowledged > 50, "{outcome}");
        }
    }
}

// Without a protection something goes wrong, and the right invariant says so.

const COMPLETE: &str = "a grant is complete";
const EXCLUSIVE: &str = "a grant is exclusive";
const ONE: &str = "one can acknowledge";
const LOST: &str = "no acknowledged write is lost";
const PROMISES: &str = "promises never go back";

/// Runs worlds until one goes wrong, and says how.
fn caught(what: &str, most: u64, case: impl Fn(u64) -> Case, by: &[&str]) {
    let expected = |outcome: &Outcome| {
        let failure = outcome.failure.as_ref();
        failure.is_some_and(|failure| by.contains(&failure.violation.invariant))
    };
    // It may stand still before it does harm: that alone is not what is meant.
    let failed = (1..=most).map(|seed| case(seed).run()).find(expected);
    take_out(None);
    let Some(Outcome {
        seed,
        failure: Some(failure),
        ..
    }) = failed
    else {
        panic!("without {what}, none of {by:?} was broken in {most} worlds");
    };
    let violation = failure.violation;
    println!(
        "without {what}, seed {seed}: {}: {}",
        violation.invariant, violation.what
    );
}

fn needed(rule: Rule, most: u64, by: &[&str]) {
    take_out(Some(rule));
    caught(&format!("{rule:?}"), most, Case::of, by);
}

fn harmful(mutant: Mutant, most: u64, by: &[&str]) {
    let case = |seed| Case {
        mutant: Some(mutant),
        ..Case::of(seed)
    };
    caught(&format!("{mutant:?}"), most, case, by);
}

/// A storm of some kinds of faults only, in which nobody watches the promises
/// themselves: what comes of breaking them has to be seen.
fn blind(seed: u64, kinds: &'static [Kind]) -> Case {
    Case {
        weather: Weather::Stormy,
        kinds: Some(kinds),
        blind_to: Some(PROMISES),
        ..Case::of(seed)
    }
}

#[test]
fn without_seal_an_unfinished_epoch_hides_the_one_before() {
    needed(Rule::Seal, 1_000, &[COMPLETE, EXCLUSIVE, LOST]);
}

#[test]
fn without_joint_changes_a_set_off_the_record_acknowledges() {
    needed(Rule::Joint, 4_000, &[COMPLETE, EXCLUSIVE, ONE]);
}

#[test]
fn without_revision_order_a_member_goes_back_to_an_older_set() {
    needed(Rule::RevisionOrder, 200, &[PROMISES]);
}

#[test]
fn without_promises_a_fenced_member_obeys_again() {
    needed(Rule::Promise, 200, &[PROMISES]);
}

#[test]
fn without_promises_a_grant_is_neither_exclusive_nor_complete() {
    const KINDS: &[Kind] = &[
        Kind::LateDirectives,
        Kind::KillAgent,
        Kind::Isolate,
        Kind::KillNode,
        Kind::Partition,
    ];
    let harm = &[COMPLETE, EXCLUSIVE, ONE, LOST, "epochs increase"];
    take_out(Some(Rule::Promise));
    caught("Promise", 500, |seed| blind(seed, KINDS), harm);
}

/// It is not in the set that is waited for, so it does no harm; and as it cannot
/// be rewound while it streams, it never will be, and nobody serves.
#[test]
fn without_the_fork_rule_whoever_is_beyond_it_stays_there() {
    needed(
        Rule::Fork,
        200,
        &[
            "nobody who counts streams from beyond a fork",
            "a primary within a bounded time",
        ],
    );
}

#[test]
fn without_timelines_named_by_epochs_two_promotions_make_the_same_one() {
    needed(Rule::TimelineIsEpoch, 200, &["epochs increase"]);
}

#[test]
fn without_the_fence_count_the_old_primary_keeps_a_quorum_of_its_set() {
    needed(Rule::FenceCount, 200, &[COMPLETE, EXCLUSIVE, ONE]);
}

#[test]
fn a_barrier_that_nobody_awaits_needs_the_reports_of_its_members() {
    take_out(Some(Rule::Barrier));
    let case = |seed| Case {
        mutant: Some(Mutant::BarrierNotAwaited),
        ..Case::of(seed)
    };
    caught(
        "Barrier and its wait",
        4_000,
        case,
        &[COMPLETE, EXCLUSIVE, ONE, LOST],
    );
}

#[test]
fn a_leader_that_asks_no_majority_answers_checks_from_the_past() {
    const KINDS: &[Kind] = &[Kind::Isolate, Kind::Partition, Kind::KillPostgres];
    let case = |seed| Case {
        mutant: Some(Mutant::ReadIndexSkipped),
        weather: Weather::Stormy,
        kinds: Some(KINDS),
        ..Case::of(seed)
    };
    caught(
        "ReadIndex",
        2_000,
        case,
        &["checks are linearizable", "a lease outlives no trust"],
    );
}

#[test]
fn a_new_leader_that_inherits_deadlines_expires_leases_that_are_trusted() {
    harmful(
        Mutant::DeadlinesInherited,
        200,
        &["a lease outlives no trust"],
    );
}

#[test]
fn nodes_that_forget_their_votes_elect_two_leaders() {
    const KINDS: &[Kind] = &[Kind::Isolate, Kind::Partition, Kind::KillNode];
    let case = |seed| Case {
        mutant: Some(Mutant::VoteNotPersisted),
        weather: Weather::Stormy,
        kinds: Some(KINDS),
        ..Case::of(seed)
    };
    caught(
        "votes on disk",
        500,
        case,
        &["one leader for a term", "one log"],
    );
}

#[test]
fn an_agent_that_forgets_its_promise_takes_it_back() {
    harmful(Mutant::PromiseNotPersisted, 200, &[PROMISES]);
}

#[test]
fn a_standby_that_still_receives_fences_nothing() {
    harmful(Mutant::FenceByAsking, 200, &[COMPLETE, EXCLUSIVE, ONE]);
}

#[test]
fn a_list_that_was_empty_lets_the_first_commits_pass_alone() {
    harmful(
        Mutant::SentinelAbsent,
        1_000,
        &[COMPLETE, EXCLUSIVE, ONE, LOST],
    );
}

#[test]
fn a_wiped_member_under_its_old_name_has_forgotten_its_promise() {
    harmful(Mutant::IncarnationReused, 200, &[PROMISES]);
}
