//! How members come back, also when that goes wrong.

use std::{collections::HashSet, process::Command};

use primacy::demo::fleet::{Service, wait_for};

use crate::{
    losses::assert_all_there,
    scene::{PATIENCE, Scene},
    stubborn::Stubborn,
};

/// Makes the primary hold log that no standby will ever have: its senders are
/// frozen while clients commit. Then everything in its region dies.
async fn lose_with_unsent_log(scene: &mut Scene, lost: usize) -> Vec<i64> {
    let address = scene.fleet.places()[lost].postgres();
    let stubborn = Stubborn::start(address, scene.fleet.password());
    let writes = || async { Ok((stubborn.count() > 20).then_some(())) };
    wait_for("the stubborn client", PATIENCE, writes)
        .await
        .unwrap();
    let senders = "SELECT pid FROM pg_stat_replication";
    let senders = scene.fleet.superuser(lost, senders).unwrap();
    for sender in senders.lines() {
        let frozen = Command::new("kill").args(["-STOP", sender]).status();
        assert!(frozen.unwrap().success());
    }
    let waiting = "SELECT count(*) >= 4 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let stuck = || async { Ok((scene.fleet.superuser(lost, waiting)? == "t").then_some(())) };
    wait_for("commits that wait", PATIENCE, stuck)
        .await
        .unwrap();
    scene.fleet.kill_region(lost).unwrap();
    stubborn.stop()
}

/// Every id of the stubborn client that a member shows.
fn rows(scene: &Scene, index: usize) -> HashSet<i64> {
    let sql = "SELECT id FROM writes WHERE id >= 1000000000";
    let rows = scene.fleet.superuser(index, sql).unwrap();
    rows.lines().map(|line| line.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diverged_primary_is_rewound_and_follows() {
    let mut scene = Scene::start(50).await;
    let (before, lost) = (scene.group().await, scene.primary().await);
    scene.lead_from((lost + 1) % 3).await;
    let acknowledged = lose_with_unsent_log(&mut scene, lost).await;
    let after = scene.epoch_after(before.epoch).await;
    assert_ne!(after.holder, before.holder);
    let of_lost = |group: &primacy_proto::v1::Group| {
        let member = group.members.iter().find(|it| it.name == before.holder);
        member.unwrap().incarnation.clone()
    };
    scene.fleet.start_region(lost).unwrap();
    let whole = scene.whole().await;
    assert_eq!(of_lost(&whole), of_lost(&before), "it was cloned");
    assert_all_there(&scene, &acknowledged).await;
    let now = scene.primary().await;
    let (here, there) = (rows(&scene, lost), rows(&scene, now));
    assert_eq!(here, there, "what was never acknowledged is gone");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewind_whose_source_dies_is_made_good_from_the_next_primary() {
    let mut scene = Scene::start(51).await;
    let (before, lost) = (scene.group().await, scene.primary().await);
    scene.lead_from((lost + 1) % 3).await;
    let acknowledged = lose_with_unsent_log(&mut scene, lost).await;
    let second = scene.epoch_after(before.epoch).await;
    let source = scene.primary().await;
    let rewinding = scene.fleet.places()[lost].state().join("rewinding");
    scene.fleet.start_region(lost).unwrap();
    let begun = async {
        while !rewinding.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    scene.fleet.kill_region(source).unwrap();
    scene.epoch_after(second.epoch).await;
    // The source is still away: the two that are left need nobody else.
    scene.member(&before.holder, |it| it.receiving).await;
    scene.writes().await;
    assert_all_there(&scene, &acknowledged).await;
    scene.fleet.start_region(source).unwrap();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_lost_at_once_are_waited_for_and_the_reason_is_shown() {
    let mut scene = Scene::start(52).await;
    let (before, primary) = (scene.group().await, scene.primary().await);
    let (standby, left) = ((primary + 1) % 3, (primary + 2) % 3);
    scene.lead_from(left).await;
    // The primary's agent first: without it the sync set cannot shrink.
    for index in [primary, standby] {
        scene.fleet.kill(index, Service::Agent).unwrap();
    }
    for index in [primary, standby] {
        scene.fleet.kill_postgres(index).unwrap();
    }
    let blocked = || async {
        let group = scene.api.group().await?;
        Ok((group.failing_over && !group.blocked.is_empty()).then_some(group))
    };
    let blocked = wait_for("the reason", PATIENCE, blocked).await.unwrap();
    assert_eq!(blocked.epoch, before.epoch);
    scene
        .member(&scene.name(left), |it| it.state == "standby")
        .await;
    let (here, missing) = (scene.name(left), scene.name(standby));
    let blocked = || async {
        let group = scene.api.group().await?;
        let unfenced = group.blocked.rsplit("fenced: ").next().unwrap_or_default();
        let names = |name: &str| unfenced.split(", ").any(|it| it == name);
        Ok((names(&missing) && !names(&here)).then_some(group))
    };
    // What is left is fenced; it may still not be primary.
    let blocked = wait_for("who is missing", PATIENCE, blocked).await;
    assert_eq!(blocked.unwrap().epoch, before.epoch);
    let status = scene.ctl(&["status", "orders"]);
    assert!(
        status.contains("not enough of these are fenced"),
        "{status}"
    );
    scene.fleet.start(standby, Service::Agent).unwrap();
    let after = scene.epoch_after(before.epoch).await;
    assert_ne!(after.holder, before.holder);
    assert_eq!(after.blocked, "");
    scene.fleet.start(primary, Service::Agent).unwrap();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_data_directory_is_cloned_as_a_new_incarnation() {
    let mut scene = Scene::start(53).await;
    let before = scene.group().await;
    let wiped = scene.elsewhere().await;
    let name = scene.name(wiped);
    let known = scene.member(&name, |it| it.receiving).await;
    scene.fleet.kill_region(wiped).unwrap();
    std::fs::remove_dir_all(scene.fleet.places()[wiped].data()).unwrap();
    scene.fleet.start_region(wiped).unwrap();
    let is_new = |it: &primacy_proto::v1::Member| it.incarnation != known.incarnation;
    scene.member(&name, is_new).await;
    scene
        .event("member_registered", "with a new data directory")
        .await;
    let whole = scene.whole().await;
    assert_eq!((whole.epoch, whole.holder), (before.epoch, before.holder));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_waits_for_log_which_nobody_has_is_made_anew() {
    let mut scene = Scene::start(55).await;
    let (before, lost) = (scene.group().await, scene.primary().await);
    let (copied, second) = ((lost + 1) % 3, (lost + 2) % 3);
    scene.lead_from(second).await;
    // One is away, to come back as a fresh copy: it has no log of before.
    scene.fleet.kill(copied, Service::Agent).unwrap();
    scene.fleet.kill_postgres(copied).unwrap();
    let alone = [format!("ANY 1 ({})", scene.name(second))];
    let waited_for = || async { Ok((scene.api.group().await?.sync == alone).then_some(())) };
    wait_for("the set of one", PATIENCE, waited_for)
        .await
        .unwrap();
    lose_with_unsent_log(&mut scene, lost).await;
    let unsealed = scene.granted_after(before.epoch).await;
    assert_eq!(unsealed.holder, scene.name(second));
    for sql in ["SELECT pg_switch_wal()", "CHECKPOINT"].repeat(3) {
        let some = "SELECT pg_logical_emit_message(false, 'w', 'beyond')";
        scene.fleet.superuser(second, some).unwrap();
        scene.fleet.superuser(second, sql).unwrap();
    }
    std::fs::remove_dir_all(scene.fleet.places()[copied].data()).unwrap();
    scene.fleet.start(copied, Service::Agent).unwrap();
    scene.epoch_after(before.epoch).await;
    scene.api.switchover(&scene.name(copied)).await.unwrap();
    let now = scene.epoch_after(unsealed.epoch).await;
    assert_eq!(now.holder, scene.name(copied));
    let member = now.members.iter().find(|it| it.name == before.holder);
    let known = member.unwrap().incarnation.clone();
    scene.fleet.start_region(lost).unwrap();
    // Sixteen looks in a row, one a second, have to find it asleep.
    let log = scene.fleet.places()[lost].log(Service::Agent);
    let starved = || async {
        let said = std::fs::read_to_string(&log)?;
        Ok(said
            .contains("log that its upstream does not have")
            .then_some(()))
    };
    wait_for("it to be given up", PATIENCE * 3, starved)
        .await
        .unwrap();
    scene
        .member(&before.holder, |it| it.incarnation != known)
        .await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_to_a_region_takes_its_member() {
    let scene = Scene::start(54).await;
    let before = scene.group().await;
    let to = scene.elsewhere().await;
    let region = scene.fleet.places()[to].region.clone();
    scene.api.switchover_to_region(&region).await.unwrap();
    let after = scene.whole().await;
    let member = after.members.iter().find(|it| it.name == after.holder);
    assert_eq!(
        (after.epoch, &member.unwrap().region),
        (before.epoch + 1, &region)
    );
    scene.end().await;
}
