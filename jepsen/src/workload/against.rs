//! Workloads against a fleet that runs already, by hand:
//!
//! ```text
//! primacy demo --keep --base 127.0.77.0      prints app's password
//! create role probe with that password, and probes(id bigint primary key)
//! JEPSEN_BASE=127.0.77.0 JEPSEN_PASSWORD=… JEPSEN_WORKLOADS=writes,probe JEPSEN_SECONDS=20 \
//!     cargo test --release -p jepsen -- --ignored --nocapture a_fleet_that_runs
//! ```
//!
//! Prints what was recorded, in numbers and by reason; breaking the fleet
//! meanwhile is left to whoever looks.

use std::{collections::BTreeMap, env, net::Ipv4Addr, time::Duration};

use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{Ground, all, together};
use crate::{
    history::{History, Outcome, Recorder, Request},
    seed::Seed,
    targets::{Member, Node, Targets},
};

const REGIONS: [&str; 3] = ["paris", "tokyo", "lima"];
/// Every workload ends so soon after it is asked to.
const GRACE: Duration = Duration::from_secs(60);

fn targets(base: Ipv4Addr, password: String) -> Targets {
    let address =
        |number: u16, port: u16| (Ipv4Addr::from(u32::from(base) + u32::from(number)), port).into();
    let regions = (1_u16..).zip(REGIONS);
    let node = |(number, _): (u16, &str)| Node {
        id: number.into(),
        grpc: address(number, 7400),
        dns: address(number, 5299 + number),
    };
    let member = |(number, region): (u16, &str)| Member {
        name: region.to_owned(),
        postgres: address(number, 5500 + number),
    };
    Targets {
        group: "orders".to_owned(),
        zone: "db.example".to_owned(),
        nodes: regions.clone().map(node).collect(),
        members: regions.map(member).collect(),
        password,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a fleet: see above"]
async fn a_fleet_that_runs_answers_every_workload() {
    let set = |name| env::var(name).unwrap_or_else(|_| panic!("set {name}"));
    let recorder = Recorder::new();
    let ground = Ground {
        operator: std::sync::Arc::default(),
        targets: targets(set("JEPSEN_BASE").parse().unwrap(), set("JEPSEN_PASSWORD")),
        recorder: recorder.clone(),
        seed: Seed(env::var("JEPSEN_SEED").map_or(1, |seed| seed.parse().unwrap())),
        stop: CancellationToken::new(),
    };
    let chosen = set("JEPSEN_WORKLOADS");
    let chosen: Vec<_> = chosen.split(',').collect();
    let workloads = all();
    let workloads = workloads
        .into_iter()
        .filter(|it| chosen == ["all"] || chosen.contains(&it.name()));
    let running = workloads.map(|workload| {
        let ground = ground.clone();
        async move { workload.run(ground).await.unwrap() }
    });
    let running = tokio::spawn(together(running.collect::<Vec<_>>()));
    time::sleep(Duration::from_secs(set("JEPSEN_SECONDS").parse().unwrap())).await;
    ground.stop.cancel();
    let ended = time::timeout(GRACE, running).await;
    show(&recorder.history());
    ended.unwrap().unwrap().unwrap();
    if let Ok(path) = env::var("JEPSEN_OUT") {
        let text = serde_json::to_string(&*recorder.history()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn show(history: &History) {
    let mut counts = BTreeMap::<String, usize>::new();
    for operation in &history.operations {
        let who = match &operation.request {
            Request::Probe { member, .. } => format!("probe {member}"),
            Request::Admin { what } => format!("admin {what}"),
            _ => operation.workload.clone(),
        };
        let what = match &operation.outcome {
            Outcome::Ok(answer) => {
                let text = format!("{answer:?}");
                let kind = text.split(['{', ' ']).next().unwrap_or_default();
                format!("ok    {kind}")
            }
            Outcome::Fail(why) => format!("fail  {why}"),
            Outcome::Info(why) => format!("info  {why}"),
        };
        *counts.entry(format!("{who:28} {what}")).or_default() += 1;
    }
    for seen in &history.seen {
        let text = format!("{:?}", seen.what);
        let kind = text.split(['(', '{', ' ']).next().unwrap_or_default();
        let who = format!("watcher {}", seen.watcher);
        *counts.entry(format!("{who:28} {kind}")).or_default() += 1;
    }
    for (what, count) in counts {
        println!("{count:7}  {what}");
    }
}
