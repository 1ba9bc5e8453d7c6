//! Things die; what was acknowledged does not.

use std::{fs, time::Duration};

use primacy::demo::fleet::Service;
use rustix::process::{Pid, Signal, kill_process};

use crate::{scene::Scene, stubborn::Stubborn};

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_postgresql_moves_the_primary_and_loses_nothing() {
    let scene = Scene::start(1).await;
    let before = scene.group().await;
    scene.fleet.kill_postgres(scene.primary().await).unwrap();
    let after = scene.epoch_after(before.epoch).await;
    assert_ne!(
        after.holder, before.holder,
        "the standbys had all that was acknowledged"
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_region_is_survived_and_returns_as_a_standby() {
    let mut scene = Scene::start(2).await;
    let (before, lost) = (scene.group().await, scene.primary().await);
    scene.lead_from((lost + 1) % 3).await;
    scene.fleet.kill_region(lost).unwrap();
    let after = scene.epoch_after(before.epoch).await;
    assert_ne!(after.holder, before.holder);
    scene.writes().await;
    scene.fleet.start_region(lost).unwrap();
    let whole = scene.whole().await;
    let returned = whole
        .members
        .iter()
        .find(|member| member.name == before.holder)
        .unwrap();
    assert_eq!(returned.state, "standby");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_lost_together_with_the_raft_leader_is_survived() {
    let mut scene = Scene::start(3).await;
    let (before, lost) = (scene.group().await, scene.primary().await);
    scene.lead_from(lost).await;
    scene.fleet.kill_region(lost).unwrap();
    scene.epoch_after(before.epoch).await;
    scene.writes().await;
    scene.fleet.start_region(lost).unwrap();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_finds_its_postgresql_running() {
    let mut scene = Scene::start(4).await;
    let (before, primary) = (scene.group().await, scene.primary().await);
    let postmaster = scene
        .fleet
        .superuser(primary, "SELECT pg_postmaster_start_time()")
        .unwrap();
    scene.fleet.kill(primary, Service::Agent).unwrap();
    scene.writes().await;
    scene.fleet.start(primary, Service::Agent).unwrap();
    let whole = scene.whole().await;
    assert_eq!((whole.epoch, &whole.holder), (before.epoch, &before.holder));
    let now = scene
        .fleet
        .superuser(primary, "SELECT pg_postmaster_start_time()")
        .unwrap();
    assert_eq!(now, postmaster, "PostgreSQL was restarted");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fuse_that_dies_is_started_again_and_its_member_returns() {
    let scene = Scene::start(7).await;
    let (before, primary) = (scene.group().await, scene.primary().await);
    let region = scene.name(primary);
    let mut processes = scene.fleet.processes().into_iter();
    let (_, _, fuse) = processes
        .find(|(of, service, _)| *of == region && service == "fuse")
        .expect("a fuse");
    kill_process(Pid::from_raw(fuse).expect("a process"), Signal::KILL).expect("killed");
    let after = scene.epoch_after(before.epoch).await;
    assert_ne!(after.holder, before.holder, "PostgreSQL went with its fuse");
    scene.writes().await;
    let whole = scene.whole().await;
    let returned = whole.members.iter().find(|it| it.name == before.holder);
    assert_eq!(returned.expect("the member").state, "standby");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_its_standbys_cannot_reach_is_replaced() {
    let scene = Scene::start_with(9, |options| options.ttl = Duration::from_secs(3)).await;
    let (before, primary) = (scene.group().await, scene.primary().await);
    // As a firewall would: nobody streams any more, and the agent sees nothing of it.
    let hba = scene.fleet.places()[primary].dir.join("state/pg_hba.conf");
    let lines = fs::read_to_string(&hba).unwrap();
    let barred = format!("host replication all all reject\n{lines}");
    fs::write(&hba, barred).unwrap();
    // A session opened after the reload comes after it for everybody: ended
    // before, a standby may be let in again.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication";
    for statement in ["SELECT pg_reload_conf()", end] {
        scene.fleet.superuser(primary, statement).unwrap();
    }
    let after = scene.epoch_after(before.epoch).await;
    assert_ne!(after.holder, before.holder);
    let began = scene.event("failover_began", "none of its standbys").await;
    assert_eq!(began.epoch, before.epoch);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_whose_agent_dies_holds_up_nobody_for_good() {
    let mut scene = Scene::start(8).await;
    let (before, lost) = (scene.group().await, scene.primary().await);
    scene.lead_from((lost + 1) % 3).await;
    scene.fleet.kill_region(lost).unwrap();
    // Whose lease it is now, and whose promotion may be under way.
    let closed = scene.leased_after(before.epoch).await;
    let place = scene.fleet.place(&closed.holder).unwrap().index;
    scene.fleet.kill(place, Service::Agent).unwrap();
    scene.fleet.start(place, Service::Agent).unwrap();
    scene.epoch_after(before.epoch).await;
    scene.writes().await;
    scene.fleet.start_region(lost).unwrap();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_quorum_the_database_serves_on_and_nobody_claims_to_know() {
    let mut scene = Scene::start(5).await;
    let (before, primary) = (scene.group().await, scene.primary().await);
    let others = [(primary + 1) % 3, (primary + 2) % 3];
    // A client that is connected already; names and checks fall silent.
    let address = scene.fleet.places()[primary].postgres();
    let stubborn = Stubborn::start(address, scene.fleet.password());
    wait(|| stubborn.count() > 20).await;
    for index in others {
        scene.fleet.kill(index, Service::Server).unwrap();
    }
    wait_for_silence(&scene).await;
    let at = stubborn.count();
    wait(|| stubborn.count() > at + 20).await;
    for index in others {
        scene.fleet.start(index, Service::Server).unwrap();
    }
    scene.writes().await;
    let after = scene.whole().await;
    assert_eq!((after.epoch, after.holder), (before.epoch, before.holder));
    assert_all_there(&scene, &stubborn.stop()).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_restart_know_what_they_knew() {
    let mut scene = Scene::start(6).await;
    let before = scene.group().await;
    for index in 0..3 {
        scene.fleet.kill(index, Service::Server).unwrap();
    }
    for index in 0..3 {
        scene.fleet.start(index, Service::Server).unwrap();
    }
    scene.writes().await;
    let after = scene.whole().await;
    assert_eq!((after.epoch, after.holder), (before.epoch, before.holder));
    scene.end().await;
}

pub async fn wait(condition: impl Fn() -> bool) {
    let look = || async { Ok(condition().then_some(())) };
    primacy::demo::fleet::wait_for("it", crate::scene::PATIENCE, look)
        .await
        .unwrap();
}

/// No node answers a check any more.
async fn wait_for_silence(scene: &Scene) {
    let look = || async { Ok(scene.api.check().await.is_err().then_some(())) };
    primacy::demo::fleet::wait_for("silence", crate::scene::PATIENCE, look)
        .await
        .unwrap();
}

/// Rows of the stubborn client, looked for on the primary.
pub async fn assert_all_there(scene: &Scene, ids: &[i64]) {
    let group = scene.group().await;
    let primary = scene.fleet.place(&group.holder).unwrap().index;
    let sql = "SELECT id FROM writes WHERE id >= 1000000000";
    let there = scene.fleet.superuser(primary, sql).unwrap();
    let there: std::collections::HashSet<i64> =
        there.lines().map(|line| line.parse().unwrap()).collect();
    let lost: Vec<_> = ids.iter().filter(|id| !there.contains(id)).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged writes are lost",
        lost.len(),
        ids.len()
    );
}
