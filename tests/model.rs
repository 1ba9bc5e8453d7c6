//! Every state that the decisions can be brought into, within bounds.
//!
//! `cargo test --release --test model -- --nocapture` explores all of it and
//! prints how much that was. A debug build explores less (see `scenes`).
//!
//! What runs is the product's own code, compiled into this test by path:
//! `State::apply`, `Group::instruction`, `promise::admit`,
//! `reconcile::next_step`, `Lineage::verdict` and the lease arithmetic of
//! `Holder`. That sets `cfg(test)` for these files, so `domain::rule` can take
//! one rule out at a time: each must then lead to a counterexample, or it
//! would not be needed, or the search could not see why.
//!
//! There are two models. What follows is of the sync protocol, where no clock
//! is part of the argument; `model/lease.rs` is of the lease, where time is
//! all that matters, and says there what it stands for. Both are explored by
//! one search (`search`), to exhaustion.
//!
//! Modelled around it, in `tests/model/`: three or four members with their
//! PostgreSQL (`log`, `member`, `steps`) and everything that can happen to
//! them (`actions`). Guarantees are checked in every state (`invariants`).
//! States that differ only in what the standbys are called are one (`mirror`).
//!
//! Who proposes is not trusted. Any command may come at any time, from the
//! present leader or a deposed one, with any candidate and any sync set; only
//! what a command says of a member is true when it is said. An instruction
//! once derived may arrive at any later time, any number of times, in any
//! order or never. Quorum nodes crash without a trace: what they committed
//! is kept (Raft is trusted here), and what they had not committed nobody has
//! acted upon, for instructions are derived from applied state only.
//!
//! Left out, and why that hides nothing:
//! - A promise and the step that follows are taken as one: a promise alone
//!   changes nothing for others, and a crash in between is the same as an
//!   instruction that comes again after it.
//! - A report reaches the record at the moment it is true or not at all.
//!   A fence, a promotion and a barrier stay true while their epoch is open,
//!   and `apply` refuses them once it is not.
//! - A standby's acknowledgement arrives with the record. One that is late
//!   speaks of log that was there when the standby was fenced.
//! - A promotion may be cut off by a crash, or end after its agent has turned
//!   to another instruction; both use up a crash of the scene's. A rewind may
//!   be cut off by a crash, which leaves a wreck. `pg_rewind` and streaming go
//!   by timeline number, as PostgreSQL does.
//! - A deadline passes at any time. `ExpireLease` comes only after the holder
//!   of a hard lease stopped: `model/lease.rs` explores whether it does.
//! - All walsenders of a primary go by a new sync configuration at once, but
//!   in the scenes with a `Mixture`: there each goes by its own until it has
//!   read the new one, and a barrier is through once all have.
//! - An instruction names the incarnation that it is for (`Directive`).
//!
//! Four members are explored with `ANY 2`, in fewer epochs, writes and changes
//! at a time than three.
//!
//! Not modelled: an operator's `--accept-data-loss` and `--host-is-dead`,
//! cascading standbys, a whole host rolled back, the first `initdb`.
#![allow(
    dead_code,
    unused_imports,
    reason = "the product's files, compiled whole and used in part"
)]

#[path = "../src/domain/mod.rs"]
mod domain;

#[path = "../src/agent"]
mod agent {
    pub mod holder;
    pub mod promise;
    pub mod reconcile;
}

#[path = "../src/control"]
mod control {
    pub mod check_window;
    pub mod lessor;
}

mod model {
    pub mod actions;
    pub mod commands;
    pub mod fixture;
    pub mod hash;
    pub mod invariants;
    pub mod kept;
    mod lease;
    pub mod log;
    pub mod member;
    pub mod mirror;
    pub mod mixture;
    pub mod scene;
    pub mod search;
    pub mod space;
    pub mod steps;
    pub mod trace;
    pub mod world;
}

use std::{sync::Mutex, thread};

use domain::{
    Durability,
    rule::{Rule, take_out},
};
use model::{
    scene::{Mixture, Scene},
    search::Found,
    space::explore_scene,
};

/// The least that a scene bounds; each scene says what it adds.
const BASE: Scene = Scene {
    name: "base",
    members: 3,
    durability: Durability::Strict,
    k: 1,
    epochs: 2,
    writes: 1,
    sync_changes: 0,
    crashes: 0,
    rebirths: 0,
    switchover: false,
    mixture: Mixture::None,
    first_set: &[1, 2],
};

/// What is explored with every rule in force, the longest first.
///
/// Of all bounds these multiply most: sync changes, then epochs, then what
/// `available` adds. So no scene has the most of each. Debug builds, some
/// twenty times slower, leave out one sync change, crash or rebirth.
fn scenes() -> Vec<Scene> {
    let less = u8::from(cfg!(debug_assertions));
    let strict = Scene { epochs: 3, ..BASE };
    vec![
        Scene {
            name: "ANY 1, three epochs, two sync changes",
            sync_changes: 2 - less,
            ..strict
        },
        Scene {
            name: "ANY 2, three epochs, two writes, sync change",
            k: 2,
            writes: 2,
            sync_changes: 1 - less,
            ..strict
        },
        Scene {
            name: "available, to the empty set and back",
            durability: Durability::Available,
            sync_changes: 2 - less,
            ..BASE
        },
        Scene {
            name: "available, three epochs",
            durability: Durability::Available,
            epochs: 3 - u32::from(less),
            ..BASE
        },
        Scene {
            name: "ANY 1, three epochs, rebirth and crash",
            rebirths: 1,
            crashes: 1 - less,
            ..strict
        },
        Scene {
            name: "ANY 1, three epochs, two writes, crash",
            writes: 2,
            crashes: 1 - less,
            ..strict
        },
        Scene {
            name: "ANY 1, switchovers and crash",
            switchover: true,
            crashes: 1 - less,
            ..strict
        },
        Scene {
            name: "ANY 1 of one standby, three epochs, two writes",
            first_set: &[1],
            writes: 2,
            sync_changes: 1 - less,
            ..strict
        },
    ]
}

/// Four members, of whose three standbys two have to have a commit.
const FOUR: Scene = Scene {
    name: "four members",
    members: 4,
    k: 2,
    first_set: &[1, 2, 3],
    ..BASE
};

/// Each walsender reads a new sync configuration for itself.
const MIXED: Scene = Scene {
    name: "mixture",
    k: 2,
    sync_changes: 1,
    mixture: Mixture::Judged,
    ..BASE
};

fn scenes_of_four() -> Vec<Scene> {
    let less = u8::from(cfg!(debug_assertions));
    vec![
        Scene {
            name: "four members, ANY 2, three epochs",
            epochs: 3 - u32::from(less),
            ..FOUR
        },
        Scene {
            name: "four members, ANY 2, two sync changes",
            sync_changes: 2 - less,
            ..FOUR
        },
        Scene {
            name: "four members, ANY 2, sync change and crash",
            sync_changes: 1,
            crashes: 1 - less,
            ..FOUR
        },
        Scene {
            name: "four members, ANY 2, two writes, sync change",
            writes: 2 - less,
            sync_changes: 1,
            ..FOUR
        },
    ]
}

fn scenes_of_mixture() -> Vec<Scene> {
    let less = u8::from(cfg!(debug_assertions));
    vec![
        Scene {
            name: "mixture, four members, ANY 2, two sync changes",
            members: 4,
            first_set: &[1, 2, 3],
            sync_changes: 2 - less,
            ..MIXED
        },
        Scene {
            name: "mixture, four members, ANY 2, two writes",
            members: 4,
            first_set: &[1, 2, 3],
            writes: 2 - less,
            ..MIXED
        },
        Scene {
            name: "mixture, ANY 2 of one standby, two sync changes",
            first_set: &[1],
            sync_changes: 2,
            ..MIXED
        },
        Scene {
            name: "mixture, ANY 1, two sync changes",
            k: 1,
            sync_changes: 2,
            ..MIXED
        },
    ]
}

#[test]
fn with_every_rule_in_force_no_guarantee_is_ever_broken() {
    let all = [scenes(), scenes_of_four(), scenes_of_mixture()].concat();
    let found = explore_all(all);
    let states: usize = found.iter().map(|found| found.states).sum();
    println!("together: {states} states");
    for found in &found {
        if let Some(counterexample) = &found.counterexample {
            panic!("{found}\n{counterexample}");
        }
        for (kind, times) in &found.seen {
            assert!(*times > 0, "{}: no {kind}", found.scene);
        }
    }
    let most = found.iter().map(|found| found.states).max();
    if cfg!(not(debug_assertions)) {
        assert!(
            most >= Some(1_000_000),
            "the greatest scene has only {most:?} states"
        );
    }
}

/// Explores two scenes at a time.
fn explore_all(mut scenes: Vec<Scene>) -> Vec<Found> {
    scenes.reverse();
    let (waiting, done) = (Mutex::new(scenes), Mutex::new(Vec::new()));
    let next = || waiting.lock().expect("no panic").pop();
    let work = || {
        while let Some(scene) = next() {
            let found = explore_scene(&scene);
            println!("{found}");
            done.lock().expect("no panic").push(found);
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    done.into_inner().expect("no panic")
}

/// Shows that something goes wrong in `scene` without `rule`, and what.
fn needed(rule: Rule, scene: &Scene) {
    take_out(Some(rule));
    let found = explore_scene(scene);
    take_out(None);
    let Some(counterexample) = &found.counterexample else {
        panic!("without {rule:?} nothing went wrong: {found}");
    };
    println!("Without {rule:?} ({found}):\n{counterexample}\n");
}

#[test]
fn without_seal_an_unfinished_epoch_hides_the_one_before() {
    needed(Rule::Seal, &Scene { epochs: 3, ..BASE });
}

#[test]
fn without_joint_changes_a_primary_acknowledges_by_a_set_off_the_record() {
    needed(
        Rule::Joint,
        &Scene {
            sync_changes: 1,
            ..BASE
        },
    );
}

#[test]
fn without_a_barrier_a_set_counts_before_it_has_what_was_acknowledged() {
    needed(
        Rule::Barrier,
        &Scene {
            sync_changes: 1,
            ..BASE
        },
    );
}

#[test]
fn without_revision_order_a_late_instruction_brings_a_dropped_set_back() {
    needed(
        Rule::RevisionOrder,
        &Scene {
            sync_changes: 1,
            ..BASE
        },
    );
}

#[test]
fn without_promises_a_fenced_standby_streams_from_the_old_primary_again() {
    needed(Rule::Promise, &BASE);
}

#[test]
fn without_the_fork_rule_a_follower_acknowledges_what_it_does_not_have() {
    let scene = Scene {
        epochs: 3,
        writes: 2,
        first_set: &[1],
        ..BASE
    };
    needed(Rule::Fork, &scene);
}

#[test]
fn without_timelines_named_by_epochs_two_promotions_make_the_same_one() {
    needed(Rule::TimelineIsEpoch, &Scene { epochs: 3, ..BASE });
}

#[test]
fn without_incarnations_a_member_reborn_forgets_that_it_was_fenced() {
    needed(
        Rule::Incarnation,
        &Scene {
            rebirths: 1,
            ..BASE
        },
    );
}

#[test]
fn without_the_fence_count_the_old_primary_keeps_a_quorum_of_its_set() {
    needed(Rule::FenceCount, &BASE);
}

#[test]
fn without_exclusion_of_the_empty_set_a_primary_acknowledges_alone() {
    let scene = Scene {
        durability: Durability::Available,
        sync_changes: 1,
        ..BASE
    };
    needed(Rule::ExclusiveForEvery, &scene);
}

#[test]
fn without_the_fence_count_two_of_four_members_acknowledge_past_a_fence() {
    needed(Rule::FenceCount, &FOUR);
}

#[test]
fn without_the_mixture_a_write_that_only_a_joining_member_has_is_lost() {
    let scene = Scene {
        first_set: &[1],
        mixture: Mixture::Ignored,
        ..MIXED
    };
    lost(&scene);
}

#[test]
fn without_the_mixture_a_write_that_only_a_leaving_member_has_is_lost() {
    let scene = Scene {
        members: 4,
        first_set: &[1, 2, 3],
        mixture: Mixture::Ignored,
        ..MIXED
    };
    lost(&scene);
}

/// Shows that an acknowledged write is lost in `scene`.
fn lost(scene: &Scene) {
    let found = explore_scene(scene);
    let Some(counterexample) = &found.counterexample else {
        panic!("nothing went wrong: {found}");
    };
    println!("Without the mixture ({found}):\n{counterexample}\n");
    assert!(counterexample.violation.contains("acknowledged write"));
}

#[test]
fn a_holder_that_goes_on_may_mix_the_sets_of_two_epochs() {
    let found = explore_scene(&Scene { epochs: 3, ..MIXED });
    println!("{found}");
    if let Some(counterexample) = &found.counterexample {
        panic!("{found}\n{counterexample}");
    }
}
