//! H5 b: a walreceiver that PostgreSQL's own view does not show.

use primacy::{domain::Epoch, postgres::FenceMethod};
use rustix::process::Signal;

use crate::{
    not_acked, pid_of, signal, support,
    support::{BUDGET, Group, eventually, session},
};

const RECEIVER: &str = "select pid from pg_stat_activity where backend_type = 'walreceiver'";
const VIEW: &str = "select pid from pg_stat_wal_receiver";

#[test]
fn a_fence_ends_a_receiver_that_is_still_connecting() {
    support::run(
        "receiver::a_fence_ends_a_receiver_that_is_still_connecting",
        || async {
            let mut group = Group::new();
            let [old, one, two] = group.trio(&[]).await;
            two.fence(Epoch(1), BUDGET).await.expect("fenced");
            let postmaster = old.fuse().status().await.expect("status").pid;
            let postmaster = postmaster.expect("running").cast_signed();
            // Accepted by the kernel, answered by nobody.
            signal(postmaster, Signal::STOP);
            let first = pid_of(&one, RECEIVER).await;
            signal(first, Signal::TERM);
            let asked = session(&one).await;
            eventually("a receiver connects, and is not shown", async || {
                let running = asked.query(RECEIVER, &[]).await.expect("listed");
                let connects = running.iter().any(|it| it.get::<_, i32>(0) != first);
                connects && asked.query(VIEW, &[]).await.expect("listed").is_empty()
            })
            .await;
            let fenced = one.fence(Epoch(1), BUDGET).await.expect("fenced");
            assert_eq!(fenced.method, FenceMethod::Running);
            let left = asked.query(RECEIVER, &[]).await.expect("listed");
            assert!(left.is_empty(), "a receiver survived the fence");
            signal(postmaster, Signal::CONT);
            not_acked(&old, "insert into w values (1)").await;
            let now = one.own_end_of_wal().await.expect("readable");
            assert_eq!(now.position, fenced.end.position, "a fenced standby moved");
        },
    );
}
