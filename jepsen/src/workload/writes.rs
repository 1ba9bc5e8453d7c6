//! Applications that write, each row once.
//!
//! An operation begins when its row is about to be sent: a client that finds
//! no primary asks nothing and has nothing to say.

use std::{ops::Range, time::Duration};

use async_trait::async_trait;

use super::{
    Ground, Workload,
    directory::Directory,
    pace::Pace,
    process::{Ended, Process},
    rows, together,
};
use crate::{
    client::postgres::{InsertError, Login, Session},
    clock,
    history::{Answer, Outcome, Request},
};

const CLIENTS: usize = 4;
/// Between two rows of a client.
const PACE: Duration = Duration::from_millis(40);
/// Between two tries to find a primary.
const RETRY: Duration = Duration::from_millis(100);
/// After a row of unknown outcome: each leaves a session at the server.
const BREATH: Duration = Duration::from_millis(500);
const CONNECT: Duration = Duration::from_secs(1);
const INSERT: Duration = Duration::from_millis(1_500);
/// Longer than a client waits, and short enough that sessions do not add up.
const STATEMENT: Duration = Duration::from_secs(10);
/// A session lives so long: names and quorum are asked again and again.
const LIFE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));

pub struct Writes;

#[async_trait]
impl Workload for Writes {
    fn name(&self) -> &'static str {
        "writes"
    }

    fn about(&self) -> &'static str {
        "inserts unique rows at whom DNS and the lease check call primary"
    }

    async fn run(&self, ground: Ground) -> anyhow::Result<()> {
        let directory = Directory::new(&ground.targets)?;
        let clients = (0..CLIENTS).map(|index| Writer::new(index, &ground, &directory).run());
        together(clients).await
    }
}

struct Writer {
    process: Process,
    pace: Pace,
    directory: Directory,
    password: String,
    rows: Range<i64>,
}

/// A session with whoever was primary when it was opened.
struct Open {
    session: Session,
    member: String,
    /// Time since boot.
    until: Duration,
}

impl Writer {
    fn new(index: usize, ground: &Ground, directory: &Directory) -> Self {
        let rng = ground.seed.stream(&format!("writes {index}"));
        Self {
            process: Process::new(&ground.recorder, "writes"),
            pace: Pace::new(rng, ground.stop.clone()),
            directory: directory.clone(),
            password: ground.targets.password.clone(),
            rows: rows::of_writer(index),
        }
    }

    async fn run(mut self) {
        let mut open = None;
        let mut wait = PACE;
        while self.pace.wait(wait).await {
            let Some(current) = open.take_if(|it: &mut Open| clock::now() < it.until) else {
                open = self.open().await.ok();
                wait = if open.is_some() { PACE } else { RETRY };
                continue;
            };
            let Some(row) = self.rows.next() else {
                return;
            };
            match self.write(&current, row).await {
                Ended::Ok => (open, wait) = (Some(current), PACE),
                Ended::Fail => wait = RETRY,
                Ended::Info => wait = BREATH,
            }
        }
    }

    async fn open(&mut self) -> anyhow::Result<Open> {
        let found = self.directory.find(self.pace.rng()).await?;
        let login = Login {
            address: found.address,
            user: "app",
            password: self.password.clone(),
            table: "writes",
            statement_timeout: STATEMENT,
        };
        Ok(Open {
            session: Session::open(&login, CONNECT).await?,
            member: found.member,
            until: clock::now() + self.pace.between(LIFE.0, LIFE.1),
        })
    }

    async fn write(&mut self, open: &Open, row: i64) -> Ended {
        let insert = insert(&open.session, &open.member, row);
        self.process
            .ask(Request::Write { row }, INSERT, insert)
            .await
    }
}

/// Inserts a row, and says what is known of it then.
pub async fn insert(session: &Session, member: &str, row: i64) -> Outcome {
    match session.insert(row).await {
        Ok(timeline) => Outcome::Ok(Answer::Written {
            member: member.to_owned(),
            timeline,
        }),
        Err(InsertError::Refused(why)) => Outcome::Fail(why),
        Err(InsertError::Unknown(why)) => Outcome::Info(why),
    }
}
