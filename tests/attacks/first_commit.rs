//! H2, H11 ii: who decides whether the first commit waits.

use primacy::{
    domain::Epoch,
    postgres::{Error, LocalPostgres},
};
use rustix::process::Signal;

use crate::{
    acked_in_time, not_acked, pid_of, signal, support,
    support::{BUDGET, Group, any_one, eventually, promote, session},
};

async fn stop_checkpointer(member: &LocalPostgres) {
    let pid = pid_of(
        member,
        "select pid from pg_stat_activity where backend_type = 'checkpointer'",
    );
    signal(pid.await, Signal::STOP);
}

/// Puts a sync set in force past the product's own hands.
async fn write_sync(member: &LocalPostgres, names: &str) {
    let line = format!("synchronous_standby_names = '{names}'\n");
    std::fs::write(member.instance().state.join("sync.conf"), line).expect("written");
    member.fuse().reload().await.expect("reloaded");
    eventually("the set is in force", async || {
        let shown = session(member).await;
        let row = shown.query_one("show synchronous_standby_names", &[]);
        row.await.expect("shown").get::<_, &str>(0) == names
    })
    .await;
}

#[test]
fn the_first_commit_after_a_promotion_waits_though_the_checkpointer_sleeps() {
    support::run(
        "first_commit::the_first_commit_after_a_promotion_waits_though_the_checkpointer_sleeps",
        || async {
            let mut group = Group::new();
            let old = group.primary(&[]).await;
            let ours = group.standby(&old, &[]).await;
            let bare = group.standby(&old, &[]).await;
            ours.fence(Epoch(1), BUDGET).await.expect("fenced");
            bare.fence(Epoch(1), BUDGET).await.expect("fenced");

            // The sentinel, in force since its first start.
            stop_checkpointer(&ours).await;
            let set = any_one(&[&bare]);
            promote(&ours, Epoch(2), &set).await.expect("promoted");
            not_acked(&ours, "insert into w values (1)").await;

            // The attack: an empty list until just before the promotion.
            write_sync(&bare, "").await;
            let set = any_one(&[&ours]);
            let refused = promote(&bare, Epoch(2), &set).await;
            assert!(matches!(refused, Err(Error::SyncWasEmpty)), "{refused:?}");
            // Longer than the checkpointer takes to follow a reload.
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            stop_checkpointer(&bare).await;
            write_sync(&bare, "ANY 1 (nobody)").await;
            let raw = session(&bare).await;
            raw.query("select pg_promote()", &[]).await.expect("asked");
            assert!(
                acked_in_time(&bare, "insert into w values (1)").await,
                "the attack fails"
            );
        },
    );
}
