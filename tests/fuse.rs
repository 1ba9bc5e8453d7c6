//! The fuse, with a real PostgreSQL below it.

mod support;

use std::{fs, path::Path, time::Duration};

use primacy::{
    fuse::{Event, FuseClient, FuseError, Reading, StopMode, descendants},
    postgres::{LocalPostgres, SyncNames},
};
use rustix::process::{Pid, Signal, kill_process};
use support::{BUDGET, Group, attach, eventually, session};

/// A session that commits in a loop inside the server, as an orphaned backend
/// would go on doing.
async fn busy_backend(member: &LocalPostgres) {
    let client = session(member).await;
    client
        .batch_execute("create table if not exists busy(n int)")
        .await
        .expect("created");
    let watcher = session(member).await;
    tokio::spawn(async move {
        let busy = "do $$ begin loop insert into busy values (1); commit; end loop; end $$";
        client.batch_execute(busy).await
    });
    eventually("the backend commits", async || {
        let row = watcher
            .query_one("select exists (select from busy)", &[])
            .await;
        row.expect("readable").get(0)
    })
    .await;
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
    kill_process(pid, Signal::KILL).expect("alive");
}

/// The process that serves a state directory.
fn fuse_pid(state: &Path) -> u32 {
    let state = state.display().to_string();
    let is_fuse = |pid: &u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("\0fuse\0") && line.contains(&state)
    };
    descendants(1)
        .expect("/proc")
        .into_iter()
        .find(is_fuse)
        .expect("a fuse")
}

#[test]
fn a_killed_postmaster_leaves_no_descendant() {
    support::run("a_killed_postmaster_leaves_no_descendant", || async {
        let mut group = Group::new();
        let primary = group.primary(&[]).await;
        busy_backend(&primary).await;
        let mut events = primary.fuse().subscribe().await.expect("subscribed");
        let postmaster = primary
            .fuse()
            .status()
            .await
            .expect("status")
            .pid
            .expect("running");
        kill(postmaster);
        let begun = tokio::time::Instant::now();
        loop {
            if let Event::Exited {
                exit,
                all_gone: true,
            } = events.next().await.expect("event")
            {
                assert_eq!((exit.pid, exit.signal), (postmaster, Some(9)));
                break;
            }
        }
        println!("all gone after {:?}", begun.elapsed());
        let fuse = fuse_pid(&primary.instance().state);
        assert_eq!(descendants(fuse).expect("/proc"), [0_u32; 0]);
        let off = SyncNames::Off;
        primary
            .start_primary(&off, true, BUDGET)
            .await
            .expect("started over a stale pid file");
    });
}

#[test]
fn kill_returns_when_nothing_is_left() {
    support::run("kill_returns_when_nothing_is_left", || async {
        let mut group = Group::new();
        let primary = group.primary(&[]).await;
        busy_backend(&primary).await;
        let took = primary.fuse().kill(BUDGET).await.expect("killed");
        println!("killed in {took:?}");
        let fuse = fuse_pid(&primary.instance().state);
        assert_eq!(descendants(fuse).expect("/proc"), [0_u32; 0]);
        assert!(!primary.is_running().await.expect("status"));
    });
}

#[test]
fn a_restarted_agent_finds_postgresql_running() {
    support::run("a_restarted_agent_finds_postgresql_running", || async {
        let mut group = Group::new();
        let primary = group.primary(&[]).await;
        let before = primary.fuse().status().await.expect("status").pid;
        let instance = primary.instance().clone();
        drop(primary);
        let again = LocalPostgres::new(instance.clone(), attach(&instance.state).await);
        assert_eq!(again.fuse().status().await.expect("status").pid, before);
        again.probe().await.expect("answers");
        again.stop(StopMode::Fast, BUDGET).await.expect("stopped");
        let rss = fs::read_to_string(format!("/proc/{}/status", fuse_pid(&instance.state)));
        let rss = rss.expect("status");
        println!(
            "{}",
            rss.lines()
                .find(|it| it.starts_with("VmRSS"))
                .expect("a size")
        );
    });
}

#[test]
fn a_hard_deadline_kills_and_keeps_postgresql_down() {
    support::run(
        "a_hard_deadline_kills_and_keeps_postgresql_down",
        || async {
            let mut group = Group::new();
            let primary = group.primary(&[]).await;
            let fuse = primary.fuse();
            let now = Reading::now();
            fuse.set_deadline(now, Duration::from_secs(60), true)
                .await
                .expect("set");
            let mut events = fuse.subscribe().await.expect("subscribed");
            fuse.set_deadline(now, Duration::ZERO, true)
                .await
                .expect("set");
            while !matches!(
                events.next().await.expect("event"),
                Event::DeadlinePassed { hard: true }
            ) {}
            assert!(!primary.is_running().await.expect("status"));
            let refused = primary.start_primary(&SyncNames::Off, true, BUDGET).await;
            assert!(refused.is_err(), "started after its deadline");
            fuse.clear_deadline().await.expect("cleared");
            primary
                .start_primary(&SyncNames::Off, true, BUDGET)
                .await
                .expect("started");
        },
    );
}

#[test]
fn one_state_directory_has_one_fuse() {
    support::run("one_state_directory_has_one_fuse", || async {
        let mut group = Group::new();
        let primary = group.primary(&[]).await;
        let second = tokio::process::Command::new(env!("CARGO_BIN_EXE_primacy"))
            .args(["fuse", "--state"])
            .arg(&primary.instance().state)
            .output()
            .await
            .expect("executed");
        assert!(!second.status.success());
        assert!(String::from_utf8_lossy(&second.stderr).contains("another fuse"));
        let refused = primary.fuse().shutdown().await;
        assert!(
            matches!(refused, Err(FuseError::Refused(_))),
            "ended above a PostgreSQL"
        );
    });
}

#[test]
fn a_killed_fuse_takes_postgresql_with_it() {
    support::run("a_killed_fuse_takes_postgresql_with_it", || async {
        let mut group = Group::new();
        let primary = group.primary(&[]).await;
        let postmaster = primary
            .fuse()
            .status()
            .await
            .expect("status")
            .pid
            .expect("running");
        let state = &primary.instance().state;
        kill(fuse_pid(state));
        eventually("the postmaster ends", async || {
            fs::metadata(format!("/proc/{postmaster}")).is_err()
        })
        .await;
        let fuse: FuseClient = attach(state).await;
        assert!(!fuse.status().await.expect("status").running);
    });
}

#[test]
fn a_directory_that_another_service_runs_is_refused() {
    support::run(
        "a_directory_that_another_service_runs_is_refused",
        || async {
            let mut group = Group::new();
            let primary = group.primary(&[]).await;
            primary.stop(StopMode::Fast, BUDGET).await.expect("stopped");
            let data = &primary.instance().data;
            let mut squatter = std::process::Command::new("sleep")
                .arg("60")
                .current_dir(data)
                .spawn()
                .expect("sleep");
            let refused = primary.start_primary(&SyncNames::Off, true, BUDGET).await;
            squatter.kill().expect("killed");
            squatter.wait().expect("reaped");
            let refused = refused.expect_err("started beside another").to_string();
            assert!(refused.contains("not started by this fuse"), "{refused}");
        },
    );
}
