//! Hosts lose power; what the quorum acknowledged is on their disks.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use primacy::demo::fleet::{Service, wait_for};
use primacy_proto::v1::Event;

use crate::{
    disk::{self, Disk},
    scene::{PATIENCE, Scene},
};

fn lines(events: &[Event]) -> BTreeSet<(u64, String)> {
    let line = |event: &Event| (event.revision, event.detail_json.clone());
    events.iter().map(line).collect()
}

/// Both nodes of the quorum that acknowledged lose power at once, so that
/// nothing but their disks can know.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_power_cut_of_the_quorum() {
    let mut scene = Scene::start(70).await;
    let before = scene.group().await;
    let first = scene.primary().await;
    let (cut, left_out) = ([first, (first + 1) % 3], (first + 2) % 3);
    let mut disks = Vec::new();
    for index in cut {
        let node = scene.fleet.places()[index].dir.join("node");
        let away = node.with_extension("away");
        scene.fleet.kill(index, Service::Server).unwrap();
        fs::rename(&node, &away).unwrap();
        fs::create_dir(&node).unwrap();
        let disk = Disk::ext4(&node);
        let on_disk = disk.is_some();
        disks.extend(disk);
        disk::copy(&away, &node);
        scene.fleet.own(&node).unwrap();
        scene.fleet.start(index, Service::Server).unwrap();
        scene.lead_from(index).await;
        if !on_disk {
            eprintln!("skipped: an ext4 image cannot be mounted here");
            return scene.end().await;
        }
    }
    // What was copied is on the disks, with nothing left in memory to help.
    rustix::fs::sync();
    scene.fleet.kill(left_out, Service::Server).unwrap();
    scene.lead_from(cut[0]).await;

    // The group is changed again and again until the lights go out.
    let acknowledged = Arc::new(Mutex::new(Vec::<u64>::new()));
    let dark = Arc::new(AtomicBool::new(false));
    let changes = {
        let (api, spec) = (scene.api.clone(), scene.fleet.spec());
        let (acknowledged, dark) = (Arc::clone(&acknowledged), Arc::clone(&dark));
        tokio::spawn(async move {
            for count in 1.. {
                let mut spec = spec.clone();
                spec.max_lag_bytes += count;
                let done = api.apply(spec).await.is_ok();
                if dark.load(Ordering::SeqCst) {
                    return;
                }
                if done {
                    acknowledged.lock().unwrap().push(count);
                }
            }
        })
    };
    let enough = || async { Ok((acknowledged.lock().unwrap().len() > 30).then_some(())) };
    wait_for("changes", PATIENCE, enough).await.unwrap();
    let known = lines(&scene.events().await);
    disks.iter().for_each(Disk::cut);
    dark.store(true, Ordering::SeqCst);
    let last = *acknowledged.lock().unwrap().last().unwrap();
    changes.abort();
    for (index, disk) in cut.into_iter().zip(&disks) {
        scene.fleet.kill(index, Service::Server).unwrap();
        disk.restore();
    }
    for index in cut {
        scene.fleet.start(index, Service::Server).unwrap();
    }
    scene.lead_from(cut[1]).await;

    let there = lines(&scene.events().await);
    let lost: Vec<_> = known.difference(&there).collect();
    assert!(lost.is_empty(), "events are lost: {lost:?}");
    let group = scene.group().await;
    let now = group.spec.unwrap().max_lag_bytes - scene.fleet.spec().max_lag_bytes;
    assert!(
        now >= last,
        "change {last} was acknowledged, {now} is there"
    );
    assert_eq!((group.epoch, &group.holder), (before.epoch, &before.holder));
    scene.fleet.start(left_out, Service::Server).unwrap();
    scene.writes().await;
    for index in cut {
        scene.fleet.kill(index, Service::Server).unwrap();
    }
    // The disks go away with their nodes; the databases are read back all the same.
    let node = |index: usize| scene.fleet.places()[index].dir.join("node");
    let nodes = cut.map(node);
    for (index, node) in cut.into_iter().zip(&nodes) {
        let whole = node.with_extension("whole");
        fs::create_dir(&whole).unwrap();
        disk::copy(node, &whole);
        disks.remove(0);
        fs::remove_dir(node).unwrap();
        fs::rename(&whole, node).unwrap();
        scene.fleet.own(node).unwrap();
        scene.fleet.start(index, Service::Server).unwrap();
    }
    scene.end().await;
}
