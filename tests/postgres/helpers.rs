//! What several scenes ask of a member.

use std::time::Duration;

use primacy::{
    domain::Lsn,
    postgres::{EndOfWal, LocalPostgres, Role},
};

use crate::support::{client, eventually, session};

/// Commits one row, unless nobody acknowledges it.
pub async fn is_acknowledged(primary: &LocalPostgres, id: i64) -> bool {
    let client = client(primary).await.expect("let in");
    let insert = async {
        client
            .execute("insert into w values ($1)", &[&id])
            .await
            .is_ok()
    };
    // Long against the 2 ms that a commit takes here.
    let limit = Duration::from_millis(300);
    tokio::time::timeout(limit, insert).await.unwrap_or(false)
}

pub async fn replay_is_at(member: &LocalPostgres, lsn: Lsn) -> bool {
    match member.probe().await.expect("answers").role {
        Role::Standby { replay, .. } => replay >= lsn,
        Role::Primary { .. } => false,
    }
}

pub async fn caught_up(primary: &LocalPostgres, member: &LocalPostgres) {
    let lsn = primary.probe().await.expect("answers").position.lsn;
    eventually("the standby replays", async || {
        replay_is_at(member, lsn).await
    })
    .await;
}

pub async fn pause_replay(member: &LocalPostgres) {
    let session = session(member).await;
    session
        .batch_execute("select pg_wal_replay_pause()")
        .await
        .expect("asked");
    eventually("replay pauses", async || {
        let row = session
            .query_one("select pg_get_wal_replay_pause_state()", &[])
            .await;
        row.expect("state").get::<_, &str>(0) == "paused"
    })
    .await;
}

pub async fn still_at(member: &LocalPostgres, fenced: &EndOfWal) {
    let now = member.own_end_of_wal().await.expect("readable");
    assert_eq!(now.position, fenced.position, "a fenced standby moved");
}
