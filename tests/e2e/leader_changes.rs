//! The Raft leader dies in the middle of a failover, at every step of it.

use primacy::demo::fleet::Service;

use crate::scene::Scene;

/// What is on record when the leader dies, in the order of a failover.
const STEPS: [&str; 6] = [
    "failover_began",
    "member_fenced",
    "fence_complete",
    "lease_granted",
    "promoted",
    "sync_proposed",
];

async fn a_leader_that_dies_after(step: &str, number: u8) {
    let mut scene = Scene::start(number).await;
    let (before, primary) = (scene.group().await, scene.primary().await);
    let leader = (primary + 1) % 3;
    scene.lead_from(leader).await;
    let revision = scene.revision().await;
    scene.fleet.kill_postgres(primary).unwrap();
    scene.newer_event(step, revision).await;
    scene.fleet.kill(leader, Service::Server).unwrap();
    // The next leader has no memory of it, and goes on from the record.
    let after = scene.epoch_after(before.epoch).await;
    assert_ne!(after.holder, before.holder);
    scene.writes().await;
    scene.fleet.start(leader, Service::Server).unwrap();
    let events = scene.events().await;
    let grants = events
        .iter()
        .filter(|event| event.revision > revision && event.kind == "lease_granted");
    assert_eq!(grants.count(), 1, "the next leader began anew: {events:#?}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_goes_on_when_its_leader_dies_after_it_began() {
    a_leader_that_dies_after(STEPS[0], 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_goes_on_when_its_leader_dies_after_the_first_fence() {
    a_leader_that_dies_after(STEPS[1], 41).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_goes_on_when_its_leader_dies_after_the_fence_is_complete() {
    a_leader_that_dies_after(STEPS[2], 42).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_goes_on_when_its_leader_dies_after_the_grant() {
    a_leader_that_dies_after(STEPS[3], 43).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_goes_on_when_its_leader_dies_before_the_seal() {
    a_leader_that_dies_after(STEPS[4], 44).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_change_goes_on_when_its_leader_dies_in_the_middle() {
    a_leader_that_dies_after(STEPS[5], 45).await;
}
