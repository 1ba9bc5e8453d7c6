//! How a member comes to follow: from behind the fork, rewound, or cloned.

use std::fs;

use primacy::{
    domain::{Epoch, Lsn, Position, Timeline, Verdict},
    fuse::StopMode,
    postgres::{Error, Replaced, Rewound, SyncNames},
};

use crate::{
    helpers::{caught_up, is_acknowledged, replay_is_at},
    support::{BUDGET, Group, eventually, promote, rows, run, session, upstream},
};

#[test]
fn a_standby_ahead_of_the_fork_is_told_from_one_behind() {
    run(
        "joining::a_standby_ahead_of_the_fork_is_told_from_one_behind",
        || async {
            let mut group = Group::new();
            let [old, one, two] = group.trio(&[]).await;
            let fenced = one.fence(Epoch(1), BUDGET).await.expect("fenced");
            for id in 0..20 {
                assert!(
                    is_acknowledged(&old, id).await,
                    "the other standby acknowledges"
                );
            }
            let ahead = two.fence(Epoch(1), BUDGET).await.expect("fenced");
            assert!(ahead.end.position > fenced.end.position);
            // Breaks the rule that the candidate has everything; that is the point.
            let promotion = promote(&one, Epoch(2), &SyncNames::Off)
                .await
                .expect("promoted");
            let own = two.own_end_of_wal().await.expect("readable");
            let fork = promotion.fork.expect("a parent");
            let verdict = own.lineage.verdict(own.position.lsn, &promotion.lineage);
            assert_eq!(verdict, Verdict::Diverged { from: fork });

            let members = [&old, &one, &two].map(|it| it.instance().incarnation);
            one.ensure_members(&members).await.expect("slots");
            let source = upstream(&one, Epoch(2));
            let running = two.rewind(&source, &own, &promotion.lineage, BUDGET).await;
            assert!(matches!(running, Err(Error::Running)));
            two.stop(StopMode::Fast, BUDGET).await.expect("stopped");
            let own = two.own_end_of_wal().await.expect("readable");
            let rewound = two.rewind(&source, &own, &promotion.lineage, BUDGET).await;
            println!("{:?}", rewound.expect("rewound"));
            two.follow(&source, BUDGET).await.expect("following");
            two.wait_streaming(&source, BUDGET)
                .await
                .expect("streaming");
            caught_up(&one, &two).await;
            assert_eq!(rows(&two).await, rows(&one).await);
        },
    );
}

#[test]
fn a_diverged_member_is_cloned_and_its_directory_kept() {
    run(
        "joining::a_diverged_member_is_cloned_and_its_directory_kept",
        || async {
            let mut group = Group::new();
            let old = group.primary(&[]).await;
            let one = group.standby(&old, &[]).await;
            one.fence(Epoch(1), BUDGET).await.expect("fenced");
            let promotion = promote(&one, Epoch(2), &SyncNames::Off)
                .await
                .expect("promoted");
            session(&one)
                .await
                .batch_execute("insert into w values (7)")
                .await
                .expect("asynchronous");
            let source = upstream(&old, Epoch(3));
            one.stop(StopMode::Fast, BUDGET).await.expect("stopped");
            let own = one.own_end_of_wal().await.expect("readable");
            // As if both had been promoted to timeline 2: pg_rewind sees no difference.
            let mut same = promotion.lineage.clone();
            same.ancestors[0].lsn = Lsn(1);
            let refused = one.rewind(&source, &own, &same, BUDGET).await;
            assert!(matches!(refused, Err(Error::NeedsClone(_))));

            let mut seen = Vec::new();
            let replaced = one
                .clone_from(&source, true, |it| seen.push(it.percent))
                .await;
            let Replaced::KeptAt(aside) = replaced.expect("cloned") else {
                panic!("the old directory is gone");
            };
            assert!(aside.join("PG_VERSION").exists());
            assert_eq!(seen.last(), Some(&100));
            one.follow(&source, BUDGET).await.expect("following");
            one.wait_streaming(&source, BUDGET)
                .await
                .expect("streaming");
            caught_up(&old, &one).await;
            assert_eq!(rows(&one).await, rows(&old).await);
        },
    );
}

/// pg_rewind brings the pages, and recovery wants the log as well: from the
/// last checkpoint before the fork on. A primary that is a fresh copy never had
/// it, so PostgreSQL waits for good and lets nobody in.
#[test]
fn a_rewind_from_a_copy_without_the_log_since_the_fork_waits_for_nobody() {
    run(
        "joining::a_rewind_from_a_copy_without_the_log_since_the_fork_waits_for_nobody",
        || async {
            let mut group = Group::new();
            let old = group.primary(&[]).await;
            let one = group.standby(&old, &[]).await;
            one.fence(Epoch(1), BUDGET).await.expect("fenced");
            promote(&one, Epoch(2), &SyncNames::Off)
                .await
                .expect("promoted");
            let execute = async |member, sql: &str| {
                let done = session(member).await.batch_execute(sql).await;
                done.expect(sql);
            };
            let beyond_the_fork = "select pg_logical_emit_message(false, 'w', 'beyond')";
            execute(&old, beyond_the_fork).await;
            execute(&old, "select pg_switch_wal()").await;
            old.fuse().kill(BUDGET).await.expect("killed");
            for _ in 0..3 {
                execute(&one, "select txid_current()").await;
                execute(&one, "select pg_switch_wal()").await;
                execute(&one, "checkpoint").await;
            }
            let copy = group.standby(&one, &[]).await;
            caught_up(&one, &copy).await;
            copy.fence(Epoch(2), BUDGET).await.expect("fenced");
            let promotion = promote(&copy, Epoch(3), &SyncNames::Off)
                .await
                .expect("promoted");
            let members = [&old, &one, &copy].map(|it| it.instance().incarnation);
            copy.ensure_members(&members).await.expect("slots");

            let own = old.own_end_of_wal().await.expect("readable");
            let source = upstream(&copy, Epoch(3));
            let rewound = old.rewind(&source, &own, &promotion.lineage, BUDGET).await;
            assert!(matches!(rewound, Ok(Rewound::Done { .. })), "{rewound:?}");
            let _it_does_not_answer = old.follow(&source, BUDGET).await;
            eventually("it waits for nobody", async || {
                let awaited = old.waits_in_vain_for().await;
                awaited.expect("the fuse answers").is_some()
            })
            .await;
            let well = copy.waits_in_vain_for().await;
            assert_eq!(well.expect("the fuse answers"), None);
            old.fuse().kill(BUDGET).await.expect("killed");
            old.condemn().expect("written");
            let refused = old.follow(&source, BUDGET).await;
            assert!(matches!(refused, Err(Error::Wreck(_))), "{refused:?}");
            let replaced = old.clone_from(&source, true, |_| {}).await;
            assert!(matches!(replaced, Ok(Replaced::KeptAt(_))), "{replaced:?}");
            old.follow(&source, BUDGET).await.expect("following");
            old.wait_streaming(&source, BUDGET)
                .await
                .expect("streaming");
        },
    );
}

/// A standby hears of every later timeline, and of some it never gets a byte.
/// Asked for a segment that is not there, pg_waldump waits 5 s.
#[test]
fn timelines_of_which_nothing_came_do_not_delay_the_end_of_the_log() {
    run(
        "joining::timelines_of_which_nothing_came_do_not_delay_the_end_of_the_log",
        || async {
            let mut group = Group::new();
            let old = group.primary(&[]).await;
            let one = group.standby(&old, &[]).await;
            one.fence(Epoch(1), BUDGET).await.expect("fenced");
            one.stop(StopMode::Fast, BUDGET).await.expect("stopped");
            let end = one.own_end_of_wal().await.expect("readable").position;
            for timeline in 2..=5 {
                let file = format!("pg_wal/{timeline:08X}.history");
                let text = format!("1\t{}\tno recovery target specified\n", end.lsn);
                fs::write(one.instance().data.join(file), text).expect("written");
            }
            let again = one.own_end_of_wal().await.expect("within its limit");
            assert_eq!(again.position, end);
        },
    );
}

#[test]
fn a_crash_between_the_renames_of_a_swap_is_completed() {
    run(
        "joining::a_crash_between_the_renames_of_a_swap_is_completed",
        || async {
            let mut group = Group::new();
            let member = group.member(&[]).await;
            let instance = member.instance();
            let fresh = instance.data.with_extension("clone-1");
            fs::create_dir(&fresh).expect("created");
            fs::write(fresh.join("PG_VERSION"), "15\n").expect("written");
            fs::write(instance.state.join("swap"), fresh.display().to_string()).expect("written");
            assert_eq!(instance.finish_swap().expect("finished"), Replaced::Nothing);
            assert!(instance.data.join("PG_VERSION").exists());
            assert_eq!(
                instance.finish_swap().expect("nothing to do"),
                Replaced::Nothing
            );
            primacy::postgres::check_binaries(instance)
                .await
                .expect("of one version");
        },
    );
}

#[test]
fn a_wreck_is_never_started() {
    run("joining::a_wreck_is_never_started", || async {
        let mut group = Group::new();
        let primary = group.primary(&[]).await;
        primary.stop(StopMode::Fast, BUDGET).await.expect("stopped");
        fs::write(primary.instance().state.join("rewinding"), "").expect("written");
        assert!(primacy::postgres::is_wreck(primary.instance()));
        let refused = primary.start_primary(&SyncNames::Off, true, BUDGET).await;
        assert!(matches!(refused, Err(Error::Wreck(_))));
        let refused = primary.start_standby(None, BUDGET).await;
        assert!(matches!(refused, Err(Error::Wreck(_))));
    });
}

#[test]
fn a_crashed_primary_hands_over_what_nobody_else_has() {
    run(
        "joining::a_crashed_primary_hands_over_what_nobody_else_has",
        || async {
            let mut group = Group::new();
            let old = group.primary(&[]).await;
            let one = group.standby(&old, &[]).await;
            one.fence(Epoch(1), BUDGET).await.expect("fenced");
            for id in 0..20 {
                assert!(is_acknowledged(&old, id).await, "asynchronous");
            }
            old.fuse().kill(BUDGET).await.expect("killed");
            let end = old.own_end_of_wal().await.expect("readable").position;
            old.start_standby(None, BUDGET).await.expect("recovered");
            one.follow(&upstream(&old, Epoch(2)), BUDGET)
                .await
                .expect("following");
            eventually("the candidate has all of it", async || {
                replay_is_at(&one, end.lsn).await
            })
            .await;
            let fenced = one.fence(Epoch(2), BUDGET).await.expect("fenced");
            assert_eq!(fenced.end.position, end);
            promote(&one, Epoch(3), &SyncNames::Off)
                .await
                .expect("promoted");
            assert_eq!(rows(&one).await, (0..20).collect::<Vec<i64>>());
        },
    );
}

#[test]
fn histories_without_a_gap_lead_an_old_standby_through_two_promotions() {
    run(
        "joining::histories_without_a_gap_lead_an_old_standby_through_two_promotions",
        || async {
            let mut group = Group::new();
            let [old, one, two] = group.trio(&[]).await;
            one.stop(StopMode::Fast, BUDGET).await.expect("stopped");
            caught_up(&old, &two).await;
            two.fence(Epoch(3), BUDGET).await.expect("fenced");
            promote(&two, Epoch(4), &SyncNames::Off)
                .await
                .expect("promoted");
            let members = [&old, &one, &two].map(|it| it.instance().incarnation);
            two.ensure_members(&members).await.expect("slots");
            old.fuse().kill(BUDGET).await.expect("killed");
            let (own, source) = (old.own_end_of_wal().await, upstream(&two, Epoch(4)));
            let own = own.expect("readable");
            let lineage = two.probe().await.expect("answers").lineage;
            let rewound = old.rewind(&source, &own, &lineage, BUDGET).await;
            assert_eq!(rewound.expect("behind the fork"), Rewound::NotNeeded);
            old.follow(&upstream(&two, Epoch(4)), BUDGET)
                .await
                .expect("following");
            old.wait_streaming(&upstream(&two, Epoch(4)), BUDGET)
                .await
                .expect("streaming");
            two.fuse().kill(BUDGET).await.expect("killed");
            old.fence(Epoch(6), BUDGET).await.expect("fenced");
            promote(&old, Epoch(7), &SyncNames::Off)
                .await
                .expect("promoted");
            old.ensure_members(&members).await.expect("slots");
            // Seen by nobody since timeline 1.
            one.follow(&upstream(&old, Epoch(7)), BUDGET)
                .await
                .expect("following");
            one.wait_streaming(&upstream(&old, Epoch(7)), BUDGET)
                .await
                .expect("streaming");
            caught_up(&old, &one).await;
            let position: Position = one.probe().await.expect("answers").position;
            assert_eq!(position.timeline, Timeline(7));
            one.stop(StopMode::Fast, BUDGET).await.expect("stopped");
            one.follow(&upstream(&old, Epoch(7)), BUDGET)
                .await
                .expect("restarted");
            one.wait_streaming(&upstream(&old, Epoch(7)), BUDGET)
                .await
                .expect("streaming");
        },
    );
}
