//! H1: a standby that is ahead of the fork.

use primacy::{
    domain::{Epoch, Lineage, Revision, Timeline, Verdict},
    fuse::StopMode,
    postgres::{LocalPostgres, Rewound, SyncNames},
};

use crate::{
    acked_in_time, not_acked, support,
    support::{BUDGET, Group, any_one, eventually, promote, rows, session, upstream},
};

/// An old primary, a new one of epoch 2, and a sibling that took megabytes
/// more from the old one than the new one has.
struct Forked {
    new: LocalPostgres,
    ahead: LocalPostgres,
    lineage: Lineage,
    set: SyncNames,
    _group: Group,
}

async fn fork() -> Forked {
    let mut group = Group::new();
    let [old, new, ahead] = group.trio(&[]).await;
    new.fence(Epoch(1), BUDGET).await.expect("fenced");
    let much = "insert into w select generate_series(1000, 60000)";
    session(&old)
        .await
        .batch_execute(much)
        .await
        .expect("acknowledged by the other standby");
    old.fuse().kill(BUDGET).await.expect("killed");
    // What no grant allows: the sync set names a member not fenced for it.
    let set = any_one(&[&ahead]);
    let promoted = promote(&new, Epoch(2), &set).await;
    let members = [&old, &new, &ahead].map(|it| it.instance().incarnation);
    new.ensure_members(&members).await.expect("slots");
    Forked {
        lineage: promoted.expect("promoted").lineage,
        new,
        ahead,
        set,
        _group: group,
    }
}

#[test]
fn what_a_standby_ahead_of_the_fork_acknowledges_is_not_counted() {
    support::run(
        "ahead::what_a_standby_ahead_of_the_fork_acknowledges_is_not_counted",
        || async {
            let at = fork().await;
            // The attack: pointed at the new primary as it is.
            let source = upstream(&at.new, Epoch(2));
            at.ahead.follow(&source, BUDGET).await.expect("pointed");
            let bogus = "insert into w values (1)";
            assert!(acked_in_time(&at.new, bogus).await, "the attack fails");
            let barrier = at
                .new
                .barrier(Epoch(2), Revision(1), &at.set, BUDGET)
                .await
                .expect("PostgreSQL believes it");
            let own = at.ahead.probe().await.expect("answers");
            assert!(!rows(&at.ahead).await.contains(&1), "it has the row");
            // PostgreSQL counted it; whoever asks its own agent does not.
            assert_eq!(barrier.position.timeline, Timeline(2));
            assert_eq!(own.position.timeline, Timeline(1));
            assert!(own.position < barrier.position);
            // And it acknowledges on although it is gone.
            at.ahead.fuse().kill(BUDGET).await.expect("killed");
            let bogus = "insert into w values (2)";
            assert!(acked_in_time(&at.new, bogus).await, "the poison is gone");
        },
    );
}

#[test]
fn a_standby_ahead_of_the_fork_acknowledges_only_after_a_rewind() {
    support::run(
        "ahead::a_standby_ahead_of_the_fork_acknowledges_only_after_a_rewind",
        || async {
            let at = fork().await;
            at.ahead.fence(Epoch(1), BUDGET).await.expect("fenced");
            let own = at.ahead.own_end_of_wal().await.expect("readable");
            not_acked(&at.new, "insert into w values (1)").await;
            at.ahead.stop(StopMode::Fast, BUDGET).await.expect("down");
            let source = upstream(&at.new, Epoch(2));
            // As `reconcile` decides. `make mutants` takes this rule out.
            if own.lineage.verdict(own.position.lsn, &at.lineage) != Verdict::Follow {
                let rewound = at.ahead.rewind(&source, &own, &at.lineage, BUDGET).await;
                assert!(matches!(rewound, Ok(Rewound::Done { .. })), "{rewound:?}");
            }
            at.ahead.follow(&source, BUDGET).await.expect("following");
            assert!(acked_in_time(&at.new, "insert into w values (2)").await);
            eventually("it has what it acknowledged", async || {
                rows(&at.ahead).await.contains(&2)
            })
            .await;
            assert_eq!(rows(&at.ahead).await, rows(&at.new).await);
        },
    );
}
