//! Every way in which a lease can go, within bounds: renewed, acknowledged,
//! left to run out, fenced by time and granted anew; and what clients may be
//! told meanwhile of who is primary.
//!
//! What runs is the product's own: `Holder`, `Lessor`, `CheckWindows`, and
//! `State::apply` for expiries, hard renewals, the empty set, failovers and
//! grants. Modelled around it are time, messages, elections, and the loops
//! that carry the one to the other (`src/leader.rs`, `src/leader/renewals.rs`,
//! the agent). Of that the product has no loop yet for hard renewals, for an
//! asynchronous group and for windows: it refuses groups that ask for them.
//! The model says how they have to be.
//!
//! **Time** goes in equal steps, and things happen at their ends. A state holds
//! no time of day, only what is left on the clock of whoever counts it, so time
//! is not bounded.
//!
//! **Clocks** may go at any rate within ±ρ, and most scenes have one rate for
//! each: the slowest for a holder and a client, the fastest for leaders. That
//! is enough. All that a clock decides is whether enough of it passed since
//! some moment, and never by comparison with another clock. A leader on a
//! slower clock does later what it may do later anyhow; a holder on a faster
//! one stops earlier, which it may do at any time. Two scenes choose each rate
//! anew at each step, to show that nothing was overlooked here. Of a process's
//! two clocks a leader takes the smaller, which goes no faster than the faster
//! of them, so it is one clock here. A holder's are two where its host may be
//! suspended, which stops one of them.
//!
//! **Pauses, delay, loss** need nothing of their own: nobody but the fuse ever
//! has to act, so any process may be paused and any message late for good. The
//! fuse has stopped a hard holder `fence_budget` after the deadline, unless it
//! is itself frozen across it, which the design leaves to a watchdog: a
//! suspended host is back before its deadline here. Renewals are doubled and
//! reordered; a new one takes the place of one that is lost.
//!
//! **Raft** is trusted: two nodes that may lead and a third that votes. A round
//! of the quorum succeeds while nobody else was elected. What a deposed leader
//! proposed comes into its successor's log or not, and if it does, it is
//! applied before that one takes office; after that it is gone for good.

mod actions;
mod checks;
mod clockwork;
mod holding;
mod invariants;
mod leading;
mod quorum;
mod record;
mod scene;
mod state;
mod tell;

use self::{
    actions::Leases,
    scene::{Protection, Scene},
};
use super::search::{Found, explore};
use crate::domain::Durability;

/// One renewal at a time, and two leaderships.
const BASE: Scene = Scene {
    name: "base",
    durability: Durability::Async,
    terms: 2,
    epochs: 2,
    renewals: 1,
    soft: false,
    proposals: 2,
    checks: false,
    released: false,
    ttl: 4,
    fence_budget: 1,
    window: 0,
    holder_rates: &[9],
    node_rates: &[11],
    clocks_apart: None,
    suspensions: 0,
    levelled: true,
    without: None,
};

/// Clients ask, and the primary may change at any time.
const CHECKS: Scene = Scene {
    name: "checks",
    checks: true,
    released: true,
    window: 3,
    renewals: 0,
    terms: 3,
    ..BASE
};

/// The primary may come to acknowledge alone, once a hard renewal was taken.
const AVAILABLE: Scene = Scene {
    durability: Durability::Available,
    soft: true,
    ..BASE
};

const ANY_RATE: &[u8] = &[9, 10, 11];

/// The holder's clock that misses suspension is ahead, by more than a step.
const SUSPENDED: Scene = Scene {
    clocks_apart: Some(-12),
    suspensions: 1,
    holder_rates: &[9, 11],
    ..BASE
};

fn scenes() -> Vec<Scene> {
    // Debug builds are some twenty times slower.
    let renewals = if cfg!(debug_assertions) { 1 } else { 2 };
    let two = Scene { renewals, ..BASE };
    vec![
        Scene {
            name: "lease: three leaderships, two renewals",
            terms: 3,
            ..two
        },
        Scene {
            name: "lease: two grants, two renewals",
            epochs: 3,
            terms: 1,
            ..two
        },
        Scene {
            name: "lease: two grants, two leaderships",
            epochs: 3,
            ..BASE
        },
        Scene {
            name: "lease: soft and hard, two renewals",
            renewals,
            terms: 1,
            ..AVAILABLE
        },
        Scene {
            name: "lease: soft and hard, three leaderships",
            terms: 3,
            ..AVAILABLE
        },
        Scene {
            name: "lease: clocks at any rate, two renewals",
            holder_rates: &[9, 11],
            node_rates: &[9, 11],
            terms: 1,
            ..two
        },
        Scene {
            name: "lease: clocks at any rate, two leaderships",
            holder_rates: ANY_RATE,
            node_rates: ANY_RATE,
            ..BASE
        },
        Scene {
            name: "lease: two clocks, suspended once",
            ..SUSPENDED
        },
        Scene {
            name: "lease: finer steps, two renewals",
            ttl: 8,
            fence_budget: 2,
            terms: 1,
            ..two
        },
        Scene {
            name: "lease: a TTL that drift takes a whole step of",
            ttl: 11,
            ..BASE
        },
        Scene {
            name: "lease: two renewals, nothing levelled",
            levelled: false,
            ..two
        },
        Scene {
            name: "lease: checks beside renewals",
            checks: true,
            window: 2,
            ..BASE
        },
        Scene {
            name: "checks: three leaderships",
            ..CHECKS
        },
        Scene {
            name: "checks: finer steps",
            window: 6,
            ttl: 8,
            ..CHECKS
        },
        Scene {
            name: "checks: clocks at any rate",
            holder_rates: ANY_RATE,
            node_rates: ANY_RATE,
            ..CHECKS
        },
    ]
}

/// What has to have come about for a scene to say anything.
fn asked_for(scene: &Scene) -> Vec<&'static str> {
    let mut kinds = match scene.released {
        true => vec!["grant after a release"],
        false => vec![
            "renewal acknowledged",
            "lease held",
            "stop at the deadline",
            "lease expired",
            "grant by time fence",
        ],
    };
    kinds.extend(scene.checks.then_some("answer relied on"));
    kinds.extend((scene.suspensions > 0).then_some("suspension"));
    kinds
}

#[test]
fn with_every_protection_in_force_no_lease_is_ever_outlived() {
    let mut states = 0;
    for scene in scenes() {
        let found = look(&scene);
        println!("{found} {:?}", found.seen);
        if let Some(counterexample) = &found.counterexample {
            panic!("{found}\n{counterexample}");
        }
        for kind in asked_for(&scene) {
            assert!(found.seen.contains_key(kind), "{}: no {kind}", scene.name);
        }
        states += found.states;
    }
    println!("leases together: {states} states");
    if cfg!(not(debug_assertions)) {
        assert!(states >= 1_000_000, "only {states} states");
    }
}

fn look(scene: &Scene) -> Found {
    explore(scene.name, &mut Leases::new(scene))
}

/// Shows that something goes wrong in `scene` without `protection`, and what.
fn needed(protection: Protection, scene: &Scene) {
    let scene = Scene {
        without: Some(protection),
        levelled: false,
        ..scene.clone()
    };
    let found = look(&scene);
    let Some(counterexample) = &found.counterexample else {
        panic!("without {protection:?} nothing went wrong: {found}");
    };
    println!("Without {protection:?} ({found}):\n{counterexample}\n");
}

#[test]
fn a_holder_that_counts_from_the_reply_outlives_its_lease() {
    needed(Protection::CountFromSending, &BASE);
}

#[test]
fn a_leader_that_inherits_its_deadlines_expires_what_another_renewed() {
    needed(Protection::FullTtl, &Scene { terms: 3, ..BASE });
}

#[test]
fn without_read_index_a_deposed_leader_renews_what_its_successor_expires() {
    needed(Protection::ReadIndex, &BASE);
}

#[test]
fn a_round_of_another_term_confirms_a_renewal_that_is_expired_meanwhile() {
    needed(Protection::RoundOfOwnTerm, &Scene { terms: 3, ..BASE });
}

#[test]
fn an_expiry_passed_on_to_the_next_leader_meets_what_that_one_renewed() {
    needed(Protection::ProposalOfOwnTerm, &BASE);
}

#[test]
fn an_expiry_without_its_epoch_ends_the_next_lease() {
    let scene = Scene {
        epochs: 3,
        terms: 1,
        ..BASE
    };
    needed(Protection::EpochOfExpiry, &scene);
}

#[test]
fn a_renewal_acknowledged_after_its_expiry_was_proposed_is_worth_nothing() {
    needed(Protection::ClosedOnceExpired, &BASE);
}

#[test]
fn a_time_fence_after_a_soft_renewal_meets_a_holder_that_serves_on() {
    needed(Protection::HardFirst, &AVAILABLE);
}

#[test]
fn a_lease_that_a_late_soft_renewal_softens_has_no_end() {
    let scene = Scene {
        soft: true,
        renewals: 2,
        terms: 1,
        ..BASE
    };
    needed(Protection::StaysHard, &scene);
}

#[test]
fn a_slow_holder_that_trusts_its_clock_outlives_its_lease() {
    needed(Protection::DriftOfHolder, &BASE);
}

#[test]
fn a_fast_lessor_that_trusts_its_clock_expires_too_early() {
    let scene = Scene {
        ttl: 11,
        terms: 1,
        ..BASE
    };
    needed(Protection::DriftOfLessor, &scene);
}

#[test]
fn a_holder_that_stops_from_its_deadline_on_stops_too_late() {
    needed(Protection::FenceBudget, &BASE);
}

#[test]
fn the_larger_of_two_totals_misses_a_suspension() {
    needed(
        Protection::LargerStep,
        &Scene {
            terms: 1,
            ..SUSPENDED
        },
    );
}

#[test]
fn a_leader_that_waits_for_no_window_grants_under_its_predecessors() {
    needed(Protection::WindowOfPredecessor, &CHECKS);
}

#[test]
fn a_window_noted_after_the_round_is_too_late_for_a_grant() {
    needed(Protection::WindowBeforeRound, &CHECKS);
}

#[test]
fn a_window_given_for_a_suspect_outlasts_the_grant() {
    needed(Protection::NoneForSuspect, &CHECKS);
}

#[test]
fn a_client_on_a_slow_clock_relies_on_a_window_that_was_not_stretched() {
    needed(Protection::DriftOfWindow, &CHECKS);
}

#[test]
fn without_read_index_a_deposed_leader_answers_for_a_former_primary() {
    needed(Protection::ReadIndex, &CHECKS);
}

#[test]
fn a_grant_passed_on_to_the_next_leader_breaks_the_windows_of_that_one() {
    needed(Protection::ProposalOfOwnTerm, &CHECKS);
}
