//! H11: rows that nobody has acknowledged.

use primacy::{
    domain::Epoch,
    fuse::{StartSpec, StopMode},
    postgres::LocalPostgres,
};
use rustix::process::Signal;

use crate::{
    blocked, pid_of, signal, support,
    support::{BUDGET, Group, client, eventually, rows},
};

const WAITING: &str = "select pid from pg_stat_activity where wait_event = 'SyncRep'";

/// Kills the backend of a commit that waits for standbys.
async fn kill_waiting(primary: &LocalPostgres, insert: &'static str) {
    let waiting = blocked(primary, insert).await;
    signal(pid_of(primary, WAITING).await, Signal::KILL);
    eventually("its session ends", async || waiting.is_finished()).await;
}

/// The running postmaster's command line with a crash restart allowed.
async fn restart_with_crash_restart(primary: &LocalPostgres) {
    let pid = primary.fuse().status().await.expect("status").pid;
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.expect("running")));
    let line = String::from_utf8(line.expect("readable")).expect("text");
    let allow = |word: &str| word.replace("restart_after_crash=off", "restart_after_crash=on");
    let mut words = line.trim_end_matches('\0').split('\0').map(allow);
    let spec = StartSpec {
        binary: words.next().expect("a program").into(),
        args: words.collect(),
        env: Vec::new(),
        data: primary.instance().data.clone(),
        log: primary.instance().log(),
    };
    primary.fuse().kill(BUDGET).await.expect("killed");
    primary.fuse().start(spec).await.expect("started");
    primary.wait_until_open(BUDGET).await.expect("open");
}

#[test]
fn a_crash_shows_nobody_what_no_standby_has() {
    support::run(
        "visible::a_crash_shows_nobody_what_no_standby_has",
        || async {
            let mut group = Group::new();
            let [old, one, two] = group.trio(&[]).await;
            for member in [&one, &two] {
                member.fence(Epoch(1), BUDGET).await.expect("fenced");
                member.stop(StopMode::Fast, BUDGET).await.expect("stopped");
            }
            // The attack: PostgreSQL restarts by itself.
            restart_with_crash_restart(&old).await;
            kill_waiting(&old, "insert into w values (1)").await;
            eventually("it restarts itself", async || client(&old).await.is_ok()).await;
            assert_eq!(rows(&old).await, [1], "the attack fails");

            old.fuse().kill(BUDGET).await.expect("killed");
            old.start_primary(&support::any_one(&[&one]), true, BUDGET)
                .await
                .expect("started");
            kill_waiting(&old, "insert into w values (2)").await;
            eventually("all of PostgreSQL is gone", async || {
                !old.is_running().await.expect("status")
            })
            .await;
            // Whether it is opened again is `reconcile`'s to say: it is not.
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            assert!(!old.is_running().await.expect("status"), "it came back");
        },
    );
}
