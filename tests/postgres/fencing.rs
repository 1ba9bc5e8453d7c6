//! After a fence nothing is received any more, whatever state the member is in.

use std::{fs, time::Duration};

use primacy::{
    domain::Epoch,
    fuse::StopMode,
    postgres::{Error, FenceMethod, LocalPostgres, SyncNames},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    helpers::{is_acknowledged, pause_replay, still_at},
    support::{BUDGET, Group, eventually, promote, rows, run, session, upstream, writer},
};

#[test]
fn a_fence_ends_reception_while_replay_is_paused() {
    run(
        "fencing::a_fence_ends_reception_while_replay_is_paused",
        || async {
            let mut group = Group::new();
            let [old, one, two] = group.trio(&[]).await;
            let acked = writer(&old).await;
            acked.at_least(5).await;
            pause_replay(&one).await;
            pause_replay(&two).await;
            acked.at_least(acked.count() + 50).await;
            let first = one.fence(Epoch(1), BUDGET).await.expect("fenced");
            let second = two.fence(Epoch(1), BUDGET).await.expect("fenced");
            println!("fenced in {:?} and {:?}", first.took, second.took);
            assert_eq!(
                (first.method, second.method),
                (FenceMethod::Running, FenceMethod::Running)
            );
            assert!(first.end.replay.expect("running") < first.end.position.lsn);
            assert!(
                !is_acknowledged(&old, -1).await,
                "a fenced primary acknowledged"
            );
            still_at(&one, &first.end).await;
            still_at(&two, &second.end).await;
            let best = if first.end.position >= second.end.position {
                &one
            } else {
                &two
            };
            promote(best, Epoch(2), &SyncNames::Nobody)
                .await
                .expect("promoted");
            let survived = rows(best).await;
            assert!(
                acked.rows().iter().all(|it| survived.contains(it)),
                "a row is gone"
            );
        },
    );
}

#[test]
fn a_fenced_standby_reads_no_archive() {
    run("fencing::a_fenced_standby_reads_no_archive", || async {
        let mut group = Group::new();
        let archive = group.path().join("archive");
        fs::create_dir(&archive).expect("created");
        let store = format!("cp %p {}/%f", archive.display());
        let old = group
            .primary(&[("archive_mode", "on"), ("archive_command", &store)])
            .await;
        let one = group.standby(&old, &[]).await;
        let mut instance = one.instance().clone();
        instance.restore_command = Some(format!("cp {}/%f %p", archive.display()));
        let one = LocalPostgres::new(instance, one.fuse().clone());
        one.follow(&upstream(&old, Epoch(1)), BUDGET)
            .await
            .expect("following");
        let fenced = one.fence(Epoch(1), BUDGET).await.expect("fenced");
        assert!(one.probe().await.expect("answers").cut_off);

        let session = session(&old).await;
        session
            .batch_execute("insert into w values (1)")
            .await
            .expect("asynchronous");
        let row = session
            .query_one("select pg_walfile_name(pg_switch_wal())", &[])
            .await;
        let segment = archive.join(row.expect("switched").get::<_, &str>(0));
        eventually("the segment is archived", async || segment.exists()).await;
        // Longer than the interval at which a standby looks.
        tokio::time::sleep(Duration::from_millis(300)).await;
        still_at(&one, &fenced.end).await;
    });
}

#[test]
fn a_restarted_standby_reports_what_it_acknowledged_before() {
    run(
        "fencing::a_restarted_standby_reports_what_it_acknowledged_before",
        || async {
            let mut group = Group::new();
            let [old, one, two] = group.trio(&[]).await;
            two.stop(StopMode::Fast, BUDGET).await.expect("stopped");
            pause_replay(&one).await;
            let acked = writer(&old).await;
            acked.at_least(50).await;
            let fenced = one.fence(Epoch(1), BUDGET).await.expect("fenced");
            one.fuse().kill(BUDGET).await.expect("killed");

            let stopped = one
                .fence(Epoch(1), BUDGET)
                .await
                .expect("fenced while stopped");
            assert_eq!(stopped.method, FenceMethod::Stopped);
            assert_eq!(stopped.end.position, fenced.end.position);

            // Slow replay, so that it has neither received nor replayed it.
            let mut instance = one.instance().clone();
            instance
                .settings
                .insert("recovery_min_apply_delay".to_owned(), "1h".to_owned());
            let delayed = LocalPostgres::new(instance, one.fuse().clone());
            delayed.start_standby(None, BUDGET).await.expect("started");
            let again = delayed
                .fence(Epoch(1), BUDGET)
                .await
                .expect("fenced after the restart");
            assert_eq!(again.end.receive, None);
            assert!(again.end.replay.expect("running") < again.end.position.lsn);
            assert_eq!(again.end.position, fenced.end.position);
            let promotion = promote(&delayed, Epoch(2), &SyncNames::Nobody).await;
            assert_eq!(promotion.expect("promoted").fork, Some(fenced.end.position));
            let survived = rows(&delayed).await;
            assert!(
                acked.rows().iter().all(|it| survived.contains(it)),
                "a row is gone"
            );
        },
    );
}

#[test]
fn a_late_fence_or_follow_is_refused() {
    run("fencing::a_late_fence_or_follow_is_refused", || async {
        let mut group = Group::new();
        let old = group.primary(&[]).await;
        let one = group.standby(&old, &[]).await;
        one.follow(&upstream(&old, Epoch(3)), BUDGET)
            .await
            .expect("following");
        let late = one.fence(Epoch(2), BUDGET).await;
        assert!(matches!(
            late,
            Err(Error::Superseded {
                current: Epoch(3),
                ..
            })
        ));
        let late = one.follow(&upstream(&old, Epoch(2)), BUDGET).await;
        assert!(matches!(
            late,
            Err(Error::Superseded {
                current: Epoch(3),
                ..
            })
        ));
        assert!(matches!(
            old.fence(Epoch(3), BUDGET).await,
            Err(Error::NotStandby(_))
        ));
        assert!(
            old.probe().await.is_ok(),
            "a primary was stopped by a fence"
        );
    });
}

#[test]
fn a_broken_configuration_does_not_stop_a_fence() {
    run(
        "fencing::a_broken_configuration_does_not_stop_a_fence",
        || async {
            let mut group = Group::new();
            let [old, one, two] = group.trio(&[]).await;
            let acked = writer(&old).await;
            acked.at_least(5).await;
            for member in [&one, &two] {
                let file = member.instance().data.join("postgresql.conf");
                let text = fs::read_to_string(&file).expect("readable") + "work_mem = = nonsense\n";
                fs::write(&file, text).expect("written");
            }
            let first = one.fence(Epoch(1), BUDGET).await.expect("fenced");
            let second = two.fence(Epoch(1), BUDGET).await.expect("fenced");
            println!("{:?} in {:?}", first.method, first.took);
            assert_eq!(
                (first.method, second.method),
                (FenceMethod::Stopped, FenceMethod::Stopped)
            );
            assert!(
                !is_acknowledged(&old, -1).await,
                "a fenced primary acknowledged"
            );
        },
    );
}

#[test]
fn a_frozen_postmaster_does_not_stop_a_fence() {
    run(
        "fencing::a_frozen_postmaster_does_not_stop_a_fence",
        || async {
            let mut group = Group::new();
            let [old, one, two] = group.trio(&[]).await;
            let acked = writer(&old).await;
            acked.at_least(5).await;
            two.fence(Epoch(1), BUDGET).await.expect("fenced");
            let status = one.fuse().status().await.expect("status");
            let pid = Pid::from_raw(status.pid.expect("running").cast_signed()).expect("a process");
            kill_process(pid, Signal::STOP).expect("alive");
            acked.at_least(acked.count() + 20).await;
            let fenced = one.fence(Epoch(1), BUDGET).await.expect("fenced");
            println!("{:?} in {:?}", fenced.method, fenced.took);
            assert_eq!(fenced.method, FenceMethod::Restarted);
            assert!(
                !is_acknowledged(&old, -1).await,
                "a fenced primary acknowledged"
            );
            promote(&one, Epoch(2), &SyncNames::Nobody)
                .await
                .expect("promoted");
            let survived = rows(&one).await;
            assert!(
                acked.rows().iter().all(|it| survived.contains(it)),
                "a row is gone"
            );
        },
    );
}
