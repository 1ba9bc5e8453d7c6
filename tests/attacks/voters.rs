//! H9, H12: who is counted, and how often.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use primacy::{
    domain::{Epoch, Revision},
    fuse::StopMode,
    postgres::{Error, LocalPostgres, SyncNames},
};
use rustix::process::Signal;

use crate::{
    acked_in_time, blocked, not_acked, pid_of, signal, support,
    support::{BUDGET, Group, any_one, eventually, session},
};

/// Whoever flushes WAL under a standby's name.
struct Impostor(Child);

impl Impostor {
    fn start(dir: &Path, primary: &LocalPostgres, user: &str, name: &str) -> Self {
        let instance = primary.instance();
        let _new = std::fs::create_dir(dir.join("stolen"));
        let conninfo = format!(
            "host={} port={} user={user} application_name={name} passfile=/dev/null",
            instance.address, instance.port
        );
        let child = Command::new(instance.bin_dir.join("pg_receivewal"))
            .args(["--no-loop", "--no-password", "--synchronous", "--directory"])
            .arg(dir.join("stolen"))
            .args(["--dbname", &conninfo])
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("started"))
    }

    fn refused(mut self) -> bool {
        !self.0.wait().expect("waited for").success()
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn a_name_alone_makes_nobody_a_voter() {
    support::run("voters::a_name_alone_makes_nobody_a_voter", || async {
        let mut group = Group::new();
        let [old, one, two] = group.trio(&[]).await;
        for member in [&one, &two] {
            member.stop(StopMode::Fast, BUDGET).await.expect("stopped");
        }
        let name = two.instance().identifier();
        not_acked(&old, "insert into w values (1)").await;
        for user in ["postgres", "app", &name] {
            let impostor = Impostor::start(group.path(), &old, user, &name);
            assert!(impostor.refused(), "{user} may stream");
        }
        not_acked(&old, "insert into w values (2)").await;

        // The attack: replication that trusts.
        let hba = old.instance().state.join("pg_hba.conf");
        let text = std::fs::read_to_string(&hba).expect("readable");
        let trust = format!("host replication all all trust\n{text}");
        std::fs::write(&hba, trust).expect("written");
        old.fuse().reload().await.expect("reloaded");
        let _impostor = Impostor::start(group.path(), &old, "postgres", &name);
        assert!(
            acked_in_time(&old, "insert into w values (3)").await,
            "the attack fails"
        );
    });
}

/// One that has not begun counts for nobody; it may be about to be refused.
const SENDERS: &str = "select pid from pg_stat_replication where state <> 'startup' \
    order by backend_start";
const RECEIVER: &str = "select pid from pg_stat_activity where backend_type = 'walreceiver'";

async fn senders(primary: &LocalPostgres) -> usize {
    let found = session(primary).await.query(SENDERS, &[]).await;
    found.expect("listed").len()
}

/// Both ends of `standby`'s connection go their own ways: the primary's does
/// not notice (it is stopped), the standby's comes again.
async fn half_open(primary: &LocalPostgres, standby: &LocalPostgres) -> i32 {
    let sender = pid_of(primary, SENDERS).await;
    signal(sender, Signal::STOP);
    signal(pid_of(standby, RECEIVER).await, Signal::TERM);
    sender
}

#[test]
fn a_standby_that_comes_again_counts_once() {
    support::run("voters::a_standby_that_comes_again_counts_once", || async {
        let mut group = Group::new();
        let [old, one, two] = group.trio(&[]).await;
        two.stop(StopMode::Fast, BUDGET).await.expect("stopped");
        eventually("its walsender is gone", async || senders(&old).await == 1).await;
        let both = SyncNames::Any {
            k: 2,
            members: [&one, &two].map(|it| it.instance().incarnation).into(),
        };
        old.set_sync(&both, BUDGET).await.expect("set");
        let waiting = blocked(&old, "insert into w values (1)").await;
        let sender = half_open(&old, &one).await;
        // Ten attempts to reconnect; the slot has one walsender.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(senders(&old).await, 1);
        assert!(!waiting.is_finished(), "one standby counted for two");
        signal(sender, Signal::CONT);
        eventually("it streams again", async || {
            let now = session(&old).await.query(SENDERS, &[]).await;
            now.expect("listed")
                .first()
                .is_some_and(|it| it.get::<_, i32>(0) != sender)
        })
        .await;

        // The attack: the same without a slot.
        let file = one.instance().state.join("upstream.conf");
        let text = std::fs::read_to_string(&file).expect("readable");
        let slotless = text + "primary_slot_name = ''\n";
        std::fs::write(&file, slotless).expect("written");
        one.fuse().reload().await.expect("reloaded");
        eventually("it streams without a slot", async || {
            let active = "select active_pid from pg_replication_slots where active";
            let streams = "select pid from pg_stat_replication where state = 'streaming' \
                and flush_lsn >= pg_current_wal_flush_lsn()";
            let session = session(&old).await;
            session.query(active, &[]).await.expect("listed").is_empty()
                && !session
                    .query(streams, &[])
                    .await
                    .expect("listed")
                    .is_empty()
        })
        .await;
        half_open(&old, &one).await;
        eventually("one standby counts for two", async || waiting.is_finished()).await;
        assert_eq!(senders(&old).await, 2);
    });
}

#[test]
fn a_barrier_ends_voters_of_an_earlier_set() {
    support::run(
        "voters::a_barrier_ends_voters_of_an_earlier_set",
        || async {
            let mut group = Group::new();
            let [old, one, two] = group.trio(&[]).await;
            one.stop(StopMode::Fast, BUDGET).await.expect("stopped");
            eventually("its walsender is gone", async || senders(&old).await == 1).await;
            // A walsender that has not read the new set votes by the old one.
            let sender = pid_of(&old, SENDERS).await;
            signal(sender, Signal::STOP);
            let set = any_one(&[&one]);
            old.set_sync(&set, BUDGET).await.expect("set");
            let primary = old.clone();
            let barrier = tokio::spawn(async move {
                let limit = Duration::from_secs(1);
                primary.barrier(Epoch(1), Revision(1), &set, limit).await
            });
            tokio::time::sleep(Duration::from_millis(200)).await;
            signal(sender, Signal::CONT);
            let late = barrier.await.expect("no panic");
            assert!(matches!(late, Err(Error::Late { .. })), "{late:?}");
            let log = std::fs::read_to_string(old.instance().log()).expect("readable");
            assert!(
                log.contains("terminating walsender process due to administrator command")
                    || log.contains("terminating connection due to administrator command"),
                "the old voter was not ended"
            );
            drop(two);
        },
    );
}
