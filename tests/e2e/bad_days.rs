//! Mistakes and broken hosts: the one concerned says so, the others go on.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use primacy::{
    demo::fleet::{Place, Service, wait_for},
    domain::{Lsn, Position},
};

use crate::{
    adoption::plain_cluster,
    disk::{self, Disk},
    scene::{PATIENCE, Scene},
};

/// Writes go on, under the epoch and the holder that there were.
async fn assert_unharmed(scene: &Scene, before: &primacy_proto::v1::Group) {
    scene.writes().await;
    let now = scene.group().await;
    assert_eq!((now.epoch, &now.holder), (before.epoch, &before.holder));
    assert!(now.sealed && !now.failing_over);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_for_a_member_is_refused_and_on_record() {
    let scene = Scene::start(61).await;
    let before = scene.group().await;
    let index = scene.elsewhere().await;
    let place = &scene.fleet.places()[index];
    let other = |name: &str| place.dir.join("other").join(name);
    let log = fs::File::create(place.dir.join("other.log")).unwrap();
    let mut second = scene.fleet.command(index);
    second
        .arg("agent")
        .arg("--config")
        .arg(place.config(Service::Agent));
    for (key, name) in [("state_dir", "state"), ("data_dir", "data")] {
        let path = other(name);
        second.args(["--set", &format!("{key}={}", path.display())]);
    }
    fs::create_dir(place.dir.join("other")).unwrap();
    scene.fleet.own(&place.dir.join("other")).unwrap();
    second.stdout(log.try_clone().unwrap()).stderr(log);
    let mut second = second.spawn().unwrap();
    let event = scene.event("incident", "two agents").await;
    assert!(event.detail_json.contains("two_agents"), "{event:?}");
    assert!(!other("data").exists(), "the second agent did something");
    assert_unharmed(&scene, &before).await;
    second.kill().unwrap();
    second.wait().unwrap();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clusters_directory_is_neither_used_nor_replaced() {
    let mut scene = Scene::start(62).await;
    let before = scene.group().await;
    let index = scene.elsewhere().await;
    let data = scene.fleet.places()[index].data();
    let away = data.with_extension("away");
    scene.fleet.kill_region(index).unwrap();
    fs::rename(&data, &away).unwrap();
    plain_cluster(&scene.fleet, index, &data);
    let control = fs::read(data.join("global/pg_control")).unwrap();
    scene.fleet.start_region(index).unwrap();
    let event = scene.event("incident", "belongs to another cluster").await;
    assert!(event.detail_json.contains("wrong_system_identifier"));
    assert_unharmed(&scene, &before).await;
    // A failover counts on nothing that lies there.
    scene.api.failover().await.unwrap();
    let after = scene.epoch_after(before.epoch).await;
    assert_ne!(after.holder, scene.name(index));
    scene.writes().await;
    let now = fs::read(data.join("global/pg_control")).unwrap();
    assert_eq!(now, control, "the other cluster was touched");
    scene.fleet.kill_region(index).unwrap();
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&away, &data).unwrap();
    scene.fleet.start_region(index).unwrap();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_looked_into_is_no_absent_one() {
    let mut scene = Scene::start(63).await;
    let before = scene.group().await;
    let index = scene.elsewhere().await;
    let name = scene.name(index);
    let known = scene.member(&name, |it| it.receiving).await;
    let data = scene.fleet.places()[index].data();
    scene.fleet.kill_region(index).unwrap();
    mode(&data, 0o000);
    scene.fleet.start_region(index).unwrap();
    scene
        .member(&name, |it| it.trouble.contains("PG_VERSION"))
        .await;
    scene.event("incident", "PG_VERSION").await;
    assert_unharmed(&scene, &before).await;
    mode(&data, 0o700);
    let whole = scene.whole().await;
    let member = whole.members.iter().find(|it| it.name == name).unwrap();
    assert_eq!(member.incarnation, known.incarnation, "it was cloned");
    scene.end().await;
}

/// Writes a good deal of log, and waits until a member's agent has noted that
/// it has it.
async fn fill(scene: &Scene, index: usize) {
    let primary = scene.primary().await;
    let sql = "SELECT pg_logical_emit_message(false, 'filler', repeat('x', 4194304))";
    let end = scene.fleet.superuser(primary, sql).unwrap();
    let end: Lsn = end.parse().unwrap();
    let noted = scene.fleet.places()[index].state().join("reached.json");
    let has_it = || async {
        let reached: Option<Position> = serde_json::from_slice(&fs::read(&noted)?)?;
        Ok(reached.filter(|it| it.lsn >= end))
    };
    wait_for("the note of how far it got", PATIENCE, has_it)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_noticed_though_the_log_could_not_be_read_at_first() {
    let mut scene = Scene::start(69).await;
    let index = scene.elsewhere().await;
    let name = scene.name(index);
    scene.member(&name, |it| it.receiving).await;
    let place = scene.fleet.places()[index].clone();
    let (data, backup) = (place.data(), place.dir.join("backup"));
    scene.fleet.kill_region(index).unwrap();
    let copied = Command::new("cp").arg("-a").args([&data, &backup]).status();
    assert!(copied.unwrap().success());
    scene.fleet.start_region(index).unwrap();
    scene.whole().await;
    let known = scene.member(&name, |it| it.receiving).await;
    fill(&scene, index).await;
    scene.fleet.kill_region(index).unwrap();
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&backup, &data).unwrap();
    let control = data.join("global/pg_control");
    mode(&control, 0o000);
    scene.fleet.start_region(index).unwrap();
    scene
        .member(&name, |it| it.trouble.contains("pg_control"))
        .await;
    mode(&control, 0o600);
    scene
        .member(&name, |it| it.incarnation != known.incarnation)
        .await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_disk_that_is_not_there_is_waited_for() {
    let mut scene = Scene::start(64).await;
    let before = scene.group().await;
    let index = scene.elsewhere().await;
    let name = scene.name(index);
    let place = scene.fleet.places()[index].clone();
    // The member's directory is moved to a "disk" of its own.
    let disk = place.dir.join("disk");
    scene.fleet.kill_region(index).unwrap();
    fs::create_dir(&disk).unwrap();
    for file in ["data", "data.primacy"] {
        fs::rename(place.dir.join(file), disk.join(file)).unwrap();
    }
    scene.fleet.own(&disk).unwrap();
    let config = place.config(Service::Agent);
    let text = fs::read_to_string(&config).unwrap();
    let moved = disk.join("data").display().to_string();
    let text = text.replace(&place.data().display().to_string(), &moved);
    fs::write(&config, text).unwrap();
    scene.fleet.start_region(index).unwrap();
    let known = scene.whole().await;
    let incarnation = |group: &primacy_proto::v1::Group| {
        let member = group.members.iter().find(|it| it.name == name);
        member.unwrap().incarnation.clone()
    };
    assert_eq!(incarnation(&known), incarnation(&before));
    // An agent that starts without it says so and ends.
    scene.fleet.kill_region(index).unwrap();
    let away = place.dir.join("away");
    fs::rename(&disk, &away).unwrap();
    let mut agent = scene.fleet.command(index);
    let refused = agent
        .arg("agent")
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let said = [refused.stdout, refused.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains(&disk.display().to_string()), "{said}");
    fs::rename(&away, &disk).unwrap();
    scene.fleet.start_region(index).unwrap();
    let whole = scene.whole().await;
    assert_eq!(incarnation(&whole), incarnation(&before), "it was cloned");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_another_postgresql_is_trouble() {
    let mut scene = Scene::start(65).await;
    let before = scene.group().await;
    let index = scene.elsewhere().await;
    let name = scene.name(index);
    let file = scene.fleet.places()[index].data().join("PG_VERSION");
    scene.fleet.kill_region(index).unwrap();
    let version = fs::read(&file).unwrap();
    fs::write(&file, "9.6\n").unwrap();
    scene.fleet.start_region(index).unwrap();
    scene.member(&name, |it| it.trouble.contains("9.6")).await;
    let event = scene.event("incident", "9.6").await;
    assert!(event.detail_json.contains("wrong_version"), "{event:?}");
    assert_unharmed(&scene, &before).await;
    fs::write(&file, version).unwrap();
    scene.end().await;
}

/// Starts a node that is expected to refuse, and gives its words.
fn refusal(scene: &Scene, place: &Place) -> String {
    let mut server = scene.fleet.command(place.index);
    server
        .arg("server")
        .arg("--config")
        .arg(place.config(Service::Server));
    let output = server.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(!output.status.success(), "it started and stopped: {text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let mut scene = Scene::start(66).await;
    let index = scene.elsewhere().await;
    let place = scene.fleet.places()[index].clone();
    scene.fleet.kill(index, Service::Server).unwrap();
    for address in [place.raft(), place.grpc()] {
        let bind = || async { Ok(TcpListener::bind(address).ok()) };
        let _taken = wait_for("the port", PATIENCE, bind).await.unwrap();
        let said = refusal(&scene, &place);
        assert!(said.contains(&address.to_string()), "{said}");
    }
    scene.fleet.start(index, Service::Server).unwrap();
    scene.end().await;
}

/// The newest file of a node's Raft log.
fn newest_log(place: &Place) -> PathBuf {
    let files = fs::read_dir(place.dir.join("node/log")).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|it| it == "wal"))
        .max()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_log_is_recovered_and_a_damaged_one_is_refused() {
    let mut scene = Scene::start(67).await;
    let index = scene.elsewhere().await;
    let place = scene.fleet.places()[index].clone();
    scene.fleet.kill(index, Service::Server).unwrap();
    let log = newest_log(&place);
    let whole = fs::read(&log).unwrap();
    // Rot in the middle: what was promised there is unknown.
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .open(&log)
        .unwrap();
    let middle = SeekFrom::Start(whole.len() as u64 / 2);
    let mut bytes = [0; 8];
    file.seek(middle).unwrap();
    file.read_exact(&mut bytes).unwrap();
    file.seek(middle).unwrap();
    file.write_all(&bytes.map(|byte| !byte)).unwrap();
    let said = refusal(&scene, &place);
    assert!(said.contains(&log.display().to_string()), "{said}");
    // A record that a crash cut short was never acknowledged.
    let begun = [&whole[..], &whole[..20]].concat();
    fs::write(&log, begun).unwrap();
    scene.fleet.start(index, Service::Server).unwrap();
    scene.lead_from(index).await;
    scene.writes().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_is_full_stops_and_heals_once_there_is_space() {
    let mut scene = Scene::start(68).await;
    let before = scene.group().await;
    let index = scene.elsewhere().await;
    let place = scene.fleet.places()[index].clone();
    let (node, away) = (place.dir.join("node"), place.dir.join("node.away"));
    scene.fleet.kill(index, Service::Server).unwrap();
    fs::rename(&node, &away).unwrap();
    fs::create_dir(&node).unwrap();
    let Some(disk) = Disk::small(&node, "64m") else {
        eprintln!("skipped: a tmpfs cannot be mounted here");
        fs::remove_dir(&node).unwrap();
        fs::rename(&away, &node).unwrap();
        scene.fleet.start(index, Service::Server).unwrap();
        return scene.end().await;
    };
    disk::copy(&away, &node);
    scene.fleet.own(&node).unwrap();
    scene.fleet.start(index, Service::Server).unwrap();
    scene.lead_from(index).await;
    let filler = node.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    for size in [1 << 16, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    // What is asked of the group is on record at the others.
    let mut asked = 0_u64;
    let ended = loop {
        if let Some(ended) = scene.fleet.ended() {
            break ended;
        }
        let mut spec = scene.fleet.spec();
        asked += 1;
        spec.max_lag_bytes += asked % 2;
        let _unsure = scene.api.apply(spec).await;
        assert!(asked < 100_000, "the disk never filled up");
    };
    assert!(ended.contains("server"), "{ended}");
    scene.writes().await;
    let log = fs::read_to_string(place.log(Service::Server)).unwrap();
    assert!(log.contains("storage failed"), "{log}");
    drop(file);
    fs::remove_file(&filler).unwrap();
    scene.fleet.kill(index, Service::Server).unwrap();
    scene.fleet.start(index, Service::Server).unwrap();
    scene.lead_from(index).await;
    assert_unharmed(&scene, &before).await;
    scene.fleet.kill(index, Service::Server).unwrap();
    drop(disk);
    fs::remove_dir(&node).unwrap();
    // The copy from before has forgotten what was promised since, so it stays away.
    scene.end().await;
}
