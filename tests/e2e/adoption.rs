//! A cluster that was there before primacy.

use std::{fs, path::Path, process::Command};

use primacy::demo::fleet::{Fleet, wait_for};

use crate::scene::{PATIENCE, Ready};

fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

fn tool(fleet: &Fleet, index: usize, name: &str, data: &Path) -> Command {
    let mut command = fleet.postgres_command(index, name);
    command.arg("--pgdata").arg(data);
    command
}

/// Makes a cluster as anybody would, and gives its system identifier.
pub fn plain_cluster(fleet: &Fleet, index: usize, data: &Path) -> u64 {
    let mut initdb = tool(fleet, index, "initdb", data);
    initdb.args(["--username=postgres", "--auth=trust", "--no-sync"]);
    run(initdb);
    let control = run(tool(fleet, index, "pg_controldata", data));
    let line = control
        .lines()
        .find(|line| line.starts_with("Database system identifier"));
    let number = line.unwrap().rsplit(' ').next().unwrap();
    number.parse().unwrap()
}

/// Lets an adopted-to-be cluster serve for a moment.
fn use_it(fleet: &Fleet, index: usize, data: &Path, sql: &str) {
    let socket = fleet.places()[index].dir.clone();
    let options = format!("-h '' -k {} -p 5599", socket.display());
    let mut start = tool(fleet, index, "pg_ctl", data);
    start.args(["start", "--wait", "--options", &options]);
    start.arg("--log").arg(socket.join("plain.log"));
    // It would hold on to a pipe for as long as PostgreSQL runs.
    start.stdout(std::process::Stdio::null());
    start.stderr(std::process::Stdio::null());
    assert!(start.status().unwrap().success());
    let mut psql = fleet.postgres_command(index, "psql");
    psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
    psql.args(["-d", "postgres", "-p", "5599", "-h"])
        .arg(&socket);
    psql.args(["-c", sql]);
    run(psql);
    let mut stop = tool(fleet, index, "pg_ctl", data);
    stop.args(["stop", "--wait", "--mode=fast"]);
    run(stop);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_cluster_is_adopted_once_the_operator_names_it() {
    let mut ready = Ready::new(60, |_| {}).await;
    let data = ready.fleet.places()[0].data();
    let system = plain_cluster(&ready.fleet, 0, &data);
    let rows = "CREATE TABLE old AS SELECT g AS id FROM generate_series(1, 1000) g";
    use_it(&ready.fleet, 0, &data, rows);
    let control = fs::read(data.join("global/pg_control")).unwrap();

    // Not named: nothing is done to it, and the reason is in the history.
    ready.run().await;
    let mut spec = ready.fleet.spec();
    ready.api.apply(spec.clone()).await.unwrap();
    let refused = || async {
        let events = ready.api.events(0).await?;
        let mut incidents = events.into_iter().filter(|event| event.kind == "incident");
        Ok(incidents.find(|it| it.detail_json.contains("directory_not_empty")))
    };
    let refused = wait_for("a refusal", PATIENCE, refused).await.unwrap();
    assert!(
        refused.text.contains(&system.to_string()),
        "{}",
        refused.text
    );
    assert_eq!(ready.api.group().await.unwrap().holder, "");
    assert!(!data.join("postmaster.pid").exists());
    let now = fs::read(data.join("global/pg_control")).unwrap();
    assert_eq!(now, control, "the directory was touched");

    // Named: it is the first primary, and the others are copies of it.
    spec.system_identifier = Some(system);
    let scene = ready.begin(spec).await;
    let group = scene.group().await;
    assert_eq!(group.system_identifier, Some(system));
    assert_eq!(group.holder, scene.name(0));
    for index in 0..3 {
        let there = scene.fleet.superuser(index, "SELECT sum(id) FROM old");
        assert_eq!(there.unwrap(), "500500", "at {}", scene.name(index));
    }
    scene.end().await;
}
