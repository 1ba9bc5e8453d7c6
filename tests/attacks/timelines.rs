//! H3: two promotions that know nothing of each other.

use std::process::Command;

use primacy::{
    domain::{Epoch, Timeline, Verdict},
    fuse::StopMode,
    postgres::{LocalPostgres, Rewound, SyncNames},
};

use crate::{
    support,
    support::{BUDGET, Group, eventually, promote, rows, session, upstream},
};

/// Two fenced standbys that have the same log; the primary is dead.
async fn twins(group: &mut Group) -> [LocalPostgres; 2] {
    let [old, one, two] = group.trio(&[]).await;
    old.stop(StopMode::Fast, BUDGET).await.expect("stopped");
    let [first, second] = [&one, &two].map(|it| it.fence(Epoch(1), BUDGET));
    let [first, second] = [first.await, second.await].map(|it| it.expect("fenced").end.position);
    assert_eq!(first, second, "a clean stop waits for its standbys");
    [one, two]
}

async fn write(member: &LocalPostgres, id: i64) {
    let insert = "insert into w values ($1)";
    let written = session(member).await.execute(insert, &[&id]).await;
    written.expect("asynchronous");
}

#[test]
fn promotions_without_reserved_numbers_share_a_timeline_unseen() {
    support::run(
        "timelines::promotions_without_reserved_numbers_share_a_timeline_unseen",
        || async {
            let mut group = Group::new();
            let twins = twins(&mut group).await;
            for (member, id) in twins.iter().zip([1, 2]) {
                let raw = session(member).await;
                let sync = "synchronous_standby_names = ''\n";
                std::fs::write(member.instance().state.join("sync.conf"), sync).expect("written");
                member.fuse().reload().await.expect("reloaded");
                raw.query("select pg_promote()", &[]).await.expect("asked");
                eventually("it takes writes", async || {
                    let row = raw.query_one("select pg_is_in_recovery()", &[]).await;
                    !row.expect("told").get::<_, bool>(0)
                })
                .await;
                write(member, id).await;
                let probe = member.probe().await.expect("answers");
                assert_eq!(probe.position.timeline, Timeline(2));
                // pg_rewind reads timelines from the control file.
                member.checkpoint().await.expect("written");
            }
            let [one, two] = &twins;
            assert_ne!(rows(one).await, rows(two).await);
            for member in [one, two] {
                member.stop(StopMode::Fast, BUDGET).await.expect("stopped");
            }
            let said = Command::new(one.instance().bin_dir.join("pg_rewind"))
                .arg("--target-pgdata")
                .arg(&one.instance().data)
                .arg("--source-pgdata")
                .arg(&two.instance().data)
                .output()
                .expect("run");
            let said = String::from_utf8_lossy(&said.stderr).into_owned()
                + &String::from_utf8_lossy(&said.stdout);
            assert!(said.contains("no rewind required"), "{said}");
        },
    );
}

#[test]
fn promotions_under_two_epochs_make_two_timelines_and_are_told_apart() {
    support::run(
        "timelines::promotions_under_two_epochs_make_two_timelines_and_are_told_apart",
        || async {
            let mut group = Group::new();
            let [one, two] = twins(&mut group).await;
            let mut lineages = Vec::new();
            for (member, epoch) in [(&one, 2), (&two, 3)] {
                let promoted = promote(member, Epoch(epoch), &SyncNames::Off).await;
                let lineage = promoted.expect("promoted").lineage;
                assert_eq!(lineage.timeline, Timeline(epoch));
                lineages.push(lineage);
                write(member, i64::from(epoch)).await;
            }
            let members = [&one, &two].map(|it| it.instance().incarnation);
            two.ensure_members(&members).await.expect("slots");
            one.fuse().kill(BUDGET).await.expect("killed");
            let own = one.own_end_of_wal().await.expect("readable");
            let verdict = own.lineage.verdict(own.position.lsn, &lineages[1]);
            assert!(matches!(verdict, Verdict::Diverged { .. }), "{verdict:?}");
            let source = upstream(&two, Epoch(3));
            let rewound = one.rewind(&source, &own, &lineages[1], BUDGET).await;
            assert!(matches!(rewound, Ok(Rewound::Done { .. })), "{rewound:?}");
            one.follow(&source, BUDGET).await.expect("following");
            eventually("it has the other's rows", async || rows(&one).await == [3]).await;
        },
    );
}
