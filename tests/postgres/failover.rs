//! One whole failover, from a busy primary to everybody back in place.

use std::{fs, path::Path};

use primacy::{
    domain::{Epoch, Lineage, Revision, Timeline, Verdict},
    fuse::StopMode,
    postgres::{Error, FenceMethod, LocalPostgres, Rewound},
};

use crate::{
    helpers::{caught_up, is_acknowledged, still_at},
    support::{BUDGET, Group, any_one, eventually, promote, rows, run, upstream, writer},
};

#[test]
fn a_failover_keeps_every_acknowledged_row() {
    run(
        "failover::a_failover_keeps_every_acknowledged_row",
        || async {
            let mut group = Group::new();
            let [old, one, two] = group.trio(&[]).await;
            let acked = writer(&old).await;
            acked.at_least(50).await;

            let first = one.fence(Epoch(4), BUDGET).await.expect("fenced");
            let second = two.fence(Epoch(4), BUDGET).await.expect("fenced");
            println!("fenced in {:?} and {:?}", first.took, second.took);
            assert_eq!(
                (first.method, second.method),
                (FenceMethod::Running, FenceMethod::Running)
            );
            assert!(
                !is_acknowledged(&old, -1).await,
                "a fenced primary acknowledged"
            );
            let acknowledged = acked.rows();
            still_at(&one, &first.end).await;
            still_at(&two, &second.end).await;

            let (new, other, behind) = if first.end.position >= second.end.position {
                (&one, &two, second.end)
            } else {
                (&two, &one, first.end)
            };
            let set = any_one(&[other]);
            let promotion = promote(new, Epoch(5), &set).await.expect("promoted");
            println!("promoted in {:?}", promotion.took);
            assert_eq!(promotion.lineage.timeline, Timeline(5));
            let again = promote(new, Epoch(5), &set).await.expect("promoted before");
            assert_eq!(
                (again.fork, again.lineage),
                (promotion.fork, promotion.lineage.clone())
            );
            let refused = promote(new, Epoch(6), &set).await;
            assert!(matches!(
                refused,
                Err(Error::WrongTimeline {
                    found: Timeline(5),
                    ..
                })
            ));

            let fork = promotion.fork.expect("a parent");
            let verdict = behind
                .lineage
                .verdict(behind.position.lsn, &promotion.lineage);
            assert_eq!(verdict, Verdict::Follow);
            let members = [&old, &one, &two].map(|it| it.instance().incarnation);
            new.ensure_members(&members).await.expect("slots");
            let begun = tokio::time::Instant::now();
            other
                .follow(&upstream(new, Epoch(5)), BUDGET)
                .await
                .expect("following");
            let repointed = begun.elapsed();
            let barrier = new
                .barrier(Epoch(5), Revision(1), &set, BUDGET)
                .await
                .expect("acknowledged");
            println!(
                "repointed in {repointed:?}, barrier after {:?}",
                begun.elapsed()
            );
            assert!(barrier.position.timeline == Timeline(5) && barrier.position.lsn > fork.lsn);
            eventually("the standby's agent confirms it", async || {
                other.probe().await.expect("answers").position >= barrier.position
            })
            .await;
            assert_eq!(acked.rows(), acknowledged, "acknowledged after the fence");
            let survived = rows(new).await;
            assert!(
                acknowledged.iter().all(|it| survived.contains(it)),
                "an acknowledged row is gone"
            );

            bring_back(&old, new, &promotion.lineage).await;
            passwords_are_nowhere(&group, &[&old, &one, &two]);
        },
    );
}

/// The old primary crashed with rows that nobody else has.
async fn bring_back(old: &LocalPostgres, new: &LocalPostgres, lineage: &Lineage) {
    old.fuse().kill(BUDGET).await.expect("killed");
    let own = old.own_end_of_wal().await.expect("readable");
    let verdict = own.lineage.verdict(own.position.lsn, lineage);
    assert!(matches!(verdict, Verdict::Diverged { .. }));
    let source = upstream(new, Epoch(5));
    let rewound = old
        .rewind(&source, &own, lineage, BUDGET)
        .await
        .expect("rewound");
    println!("{rewound:?}");
    assert!(matches!(rewound, Rewound::Done { .. }));
    old.follow(&source, BUDGET).await.expect("following");
    old.wait_streaming(&source, BUDGET)
        .await
        .expect("streaming");
    caught_up(new, old).await;
    assert_eq!(rows(old).await, rows(new).await);
    let begun = tokio::time::Instant::now();
    old.stop(StopMode::Fast, BUDGET).await.expect("stopped");
    println!("standby stopped in {:?}", begun.elapsed());
}

/// Neither the secret nor a password made from it, where others may look.
fn passwords_are_nowhere(group: &Group, members: &[&LocalPostgres]) {
    let mut passwords = Vec::new();
    for member in members {
        for name in names(&member.instance().state) {
            if name.starts_with("passfile-") {
                let line =
                    fs::read_to_string(member.instance().state.join(name)).expect("own file");
                passwords.push(
                    line.trim()
                        .rsplit(':')
                        .next()
                        .expect("a password")
                        .to_owned(),
                );
            }
        }
    }
    assert!(!passwords.is_empty(), "nothing to look for");
    let mut places: Vec<_> = members.iter().map(|it| it.instance().log()).collect();
    places.extend(
        members
            .iter()
            .map(|it| it.instance().state.join("fuse.log")),
    );
    places.extend(
        names(Path::new("/proc"))
            .iter()
            .map(|it| format!("/proc/{it}/cmdline").into()),
    );
    for place in places {
        let text = fs::read(&place).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let leaked =
            passwords.iter().any(|it| text.contains(it)) || text.contains("SCRAM-SHA-256$");
        assert!(!leaked, "a password is in {}", place.display());
    }
    assert!(group.path().exists());
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("listed");
    entries
        .filter_map(|it| it.ok()?.file_name().into_string().ok())
        .collect()
}
