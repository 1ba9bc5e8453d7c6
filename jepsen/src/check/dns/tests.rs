//! Answers in time, too late, and from behind a cut.

use super::*;
use crate::check::build::{
    Build, addresses, check, checked, holder, is_caught, passes, shows_nothing,
};

fn address(server: usize) -> Request {
    Request::ResolveAddress { server }
}

fn epoch(server: usize) -> Request {
    Request::ResolveEpoch { server }
}

/// Epoch 1, and epoch 2 from 1 s on.
fn two_epochs() -> Build {
    Build::new()
        .elected(1)
        .elected(2)
        .ok(check(), 0, 10, checked(1))
        .ok(check(), 990, 1_000, checked(2))
        .ok(address(0), 10, 20, addresses(1))
        .ok(address(0), 1_500, 1_510, addresses(2))
}

/// Server 0 is in r1, which exchanges nothing with the others.
fn isolated() -> Build {
    let cut = [("r1", "r2"), ("r3", "r1")];
    two_epochs().fault("partition", 10_000, 30_000, &cut)
}

#[test]
fn an_old_address_within_the_bound_passes() {
    passes(
        &Dns,
        &two_epochs().ok(address(1), 3_000, 3_900, addresses(1)),
    );
    passes(
        &Dns,
        &two_epochs().ok(epoch(1), 3_000, 3_900, Answer::Epoch { epoch: 1 }),
    );
}

#[test]
fn an_old_address_beyond_the_bound_is_caught() {
    let build = two_epochs().ok(address(1), 3_001, 3_010, addresses(1));
    is_caught(
        &Dns,
        &build,
        "the address of paris, asked 2.0 s after check of node 1",
    );
}

#[test]
fn an_old_epoch_beyond_the_bound_is_caught() {
    let build = two_epochs().ok(epoch(1), 3_001, 3_010, Answer::Epoch { epoch: 1 });
    is_caught(&Dns, &build, "answered with epoch 1");
}

#[test]
fn a_grant_that_a_watcher_saw_ages_the_old_address_too() {
    let build = two_epochs()
        .event(29, 3, "lease_granted", holder(3))
        .watched(2_000, 29, 29)
        .ok(address(1), 4_001, 4_010, addresses(2));
    is_caught(&Dns, &build, "had shown epoch 3");
}

#[test]
fn a_slowed_clock_stretches_the_bound_by_as_much_as_it_is_slowed_only() {
    let slow = |at| {
        two_epochs()
            .fault("clock-rate", 0, 20_000, &[])
            .ok(address(0), at, at + 10, addresses(1))
    };
    passes(&Dns, &slow(10_000));
    is_caught(&Dns, &slow(12_000), "the bound is 10");
}

#[test]
fn the_address_of_a_former_holder_that_holds_again_passes() {
    let build = two_epochs()
        .elected(3)
        .elected(4)
        .ok(address(1), 9_000, 9_010, addresses(4));
    passes(&Dns, &build);
}

#[test]
fn two_addresses_nobodys_address_and_nxdomain_are_caught() {
    let two = Answer::Addresses {
        addresses: vec!["10.0.0.1:5432".to_owned(), "10.0.0.2:5432".to_owned()],
        ttl: 1,
    };
    is_caught(
        &Dns,
        &two_epochs().ok(address(0), 1_100, 1_110, two),
        "with 2 addresses",
    );
    let foreign = Answer::Addresses {
        addresses: vec!["10.9.9.9:5432".to_owned()],
        ttl: 1,
    };
    let known = two_epochs().ok(check(), 4_000, 4_010, checked(3));
    is_caught(
        &Dns,
        &known.ok(address(0), 4_000, 4_010, foreign.clone()),
        "nobody's",
    );
    // Lima was never named: it may be hers.
    passes(&Dns, &two_epochs().ok(address(0), 4_000, 4_010, foreign));
    let none = Answer::Refused { code: 3 };
    is_caught(
        &Dns,
        &two_epochs().ok(address(0), 1_100, 1_110, none),
        "NXDOMAIN",
    );
}

#[test]
fn a_server_cut_off_both_ways_or_one_may_say_servfail_only() {
    let fail = Answer::ServFail { extended: Some(24) };
    passes(&Dns, &isolated().ok(address(0), 15_000, 15_010, fail));
    let build = isolated().ok(address(0), 15_000, 15_010, addresses(2));
    is_caught(
        &Dns,
        &build,
        "had cut the server off from every quorum since 10.000 s",
    );
    let epoch = isolated().ok(epoch(0), 15_000, 15_010, Answer::Epoch { epoch: 2 });
    is_caught(&Dns, &epoch, "had cut the server off");
    let nobody = Answer::Refused { code: 0 };
    let nobody = isolated().ok(self::epoch(0), 15_000, 15_010, nobody);
    is_caught(&Dns, &nobody, "had cut the server off");
}

#[test]
fn a_server_just_cut_or_just_joined_may_answer() {
    let build = isolated()
        .ok(address(0), 12_500, 12_510, addresses(2))
        .ok(address(0), 29_500, 29_510, addresses(2))
        .ok(address(1), 20_000, 20_010, addresses(2));
    passes(&Dns, &build);
}

#[test]
fn a_server_that_reaches_a_leader_with_a_majority_may_answer() {
    let build = two_epochs()
        .fault("bridge", 10_000, 30_000, &[("r1", "r2")])
        .ok(address(0), 20_000, 20_010, addresses(2));
    passes(&Dns, &build);
}

#[test]
fn no_data_shows_nothing() {
    shows_nothing(&Dns, &Build::new());
    let fail = Answer::ServFail { extended: None };
    shows_nothing(&Dns, &Build::new().ok(address(0), 0, 10, fail));
}
