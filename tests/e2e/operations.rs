//! What operators do, while clients write.

use std::time::Duration;

use primacy::demo::fleet::Service;

use crate::{losses::assert_all_there, scene::Scene, stubborn::Stubborn};

#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_under_load_loses_nothing_and_needs_no_rewind() {
    let scene = Scene::start(20).await;
    let before = scene.group().await;
    let target = scene.group().await.members;
    let target = target
        .into_iter()
        .find(|member| member.name != before.holder)
        .unwrap()
        .name;
    scene.api.switchover(&target).await.unwrap();
    let after = scene.whole().await;
    assert_eq!((after.epoch, after.holder), (before.epoch + 1, target));
    scene.end().await;
}

/// The primary is well and has a client that would not hear of a new one. Its
/// agent is gone, so that nobody stops it either: only the fence keeps it from
/// acknowledging what the new primary lacks. `make mutants` takes that out.
#[tokio::test(flavor = "multi_thread")]
async fn a_false_alarm_under_load_loses_nothing_of_a_client_that_does_not_listen() {
    let mut scene = Scene::start(110).await;
    let (before, primary) = (scene.group().await, scene.primary().await);
    let address = scene.fleet.places()[primary].postgres();
    let stubborn = Stubborn::start(address, scene.fleet.password());
    scene.writes().await;
    scene.fleet.kill(primary, Service::Agent).unwrap();
    let look = async {
        let granted = scene.granted_after(before.epoch).await;
        assert_ne!(granted.holder, before.holder);
        // Time for the old primary to go on, if anybody acknowledges.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_all_there(&scene, &stubborn.acked()).await;
    };
    // Done when sealed, which without a fence may be never.
    let (asked, ()) = tokio::join!(scene.api.failover(), look);
    asked.unwrap();
    scene.epoch_after(before.epoch).await;
    scene.fleet.start(primary, Service::Agent).unwrap();
    scene.whole().await;
    assert_all_there(&scene, &stubborn.stop()).await;
    scene.end().await;
}
