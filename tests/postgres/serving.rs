//! What a primary acknowledges, to whom, and under whose settings.

use std::time::Duration;

use primacy::{
    domain::{Epoch, Revision},
    fuse::StopMode,
    postgres::{Error, SyncNames},
};

use crate::{
    helpers::{is_acknowledged, replay_is_at},
    support::{BUDGET, Group, any_one, client, eventually, run, session},
};

#[test]
fn return_from_asynchronous_replication_is_seen_to_wait() {
    run(
        "serving::return_from_asynchronous_replication_is_seen_to_wait",
        || async {
            let mut group = Group::new();
            let primary = group.primary(&[]).await;
            assert!(is_acknowledged(&primary, 1).await);
            let nobody = SyncNames::Nobody;
            primary.set_sync(&nobody, BUDGET).await.expect("set");
            assert!(!is_acknowledged(&primary, 2).await, "did not wait");
            let one = group.standby(&primary, &[]).await;
            let short = Duration::from_millis(300);
            let late = primary.barrier(Epoch(1), Revision(1), &nobody, short).await;
            assert!(
                matches!(late, Err(Error::Late { .. })),
                "a barrier that nobody acknowledged"
            );
            let set = any_one(&[&one]);
            let other = primary.barrier(Epoch(1), Revision(2), &set, short).await;
            assert!(matches!(other, Err(Error::NotInForce { .. })));
            primary.set_sync(&set, BUDGET).await.expect("set");
            primary
                .barrier(Epoch(1), Revision(2), &set, BUDGET)
                .await
                .expect("acknowledged");
            primary
                .set_sync(&SyncNames::Off, BUDGET)
                .await
                .expect("set");
            primary.set_sync(&set, BUDGET).await.expect("set");
            assert!(is_acknowledged(&primary, 3).await);
        },
    );
}

#[test]
fn alter_system_and_copied_settings_do_not_win() {
    run(
        "serving::alter_system_and_copied_settings_do_not_win",
        || async {
            let mut group = Group::new();
            let primary = group.primary(&[]).await;
            let one = group.standby(&primary, &[]).await;
            let session = session(&primary).await;
            for setting in [
                "synchronous_standby_names = 'anybody'",
                "restart_after_crash = on",
            ] {
                session
                    .batch_execute(&format!("alter system set {setting}"))
                    .await
                    .expect("set");
            }
            let set = any_one(&[&one]);
            primary
                .set_sync(&set, BUDGET)
                .await
                .expect("set all the same");
            let row = session
                .query_one("show restart_after_crash", &[])
                .await
                .expect("shown");
            assert_eq!(row.get::<_, &str>(0), "off");
            assert_eq!(
                primary.probe().await.expect("answers").sync_names,
                set.to_string()
            );
        },
    );
}

#[test]
fn clients_are_let_in_only_while_open() {
    run("serving::clients_are_let_in_only_while_open", || async {
        let mut group = Group::new();
        let primary = group.primary(&[]).await;
        primary.let_clients(false).await.expect("closed");
        eventually("clients are refused", async || {
            client(&primary).await.is_err()
        })
        .await;
        primary.let_clients(true).await.expect("open");
        eventually("clients are let in", async || {
            client(&primary).await.is_ok()
        })
        .await;
    });
}

#[test]
fn a_primary_is_never_made_by_starting_a_standby() {
    run(
        "serving::a_primary_is_never_made_by_starting_a_standby",
        || async {
            let mut group = Group::new();
            let primary = group.primary(&[]).await;
            let one = group.standby(&primary, &[]).await;
            one.stop(StopMode::Fast, BUDGET).await.expect("stopped");
            let refused = one.start_primary(&SyncNames::Off, true, BUDGET).await;
            assert!(matches!(refused, Err(Error::NotPrimary(_))));
            // A crashed primary recovers alone, as a standby of nobody.
            primary.fuse().kill(BUDGET).await.expect("killed");
            let end = primary.own_end_of_wal().await.expect("readable").position;
            primary
                .start_standby(None, BUDGET)
                .await
                .expect("recovered");
            eventually("it replays its own WAL", async || {
                replay_is_at(&primary, end.lsn).await
            })
            .await;
            assert_eq!(primary.probe().await.expect("answers").position, end);
            let control = primary.instance().control_data().await.expect("readable");
            control
                .check_system(control.system_identifier)
                .expect("itself");
            assert!(control.check_system(1).is_err());
        },
    );
}
