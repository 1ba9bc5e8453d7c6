//! Asks every member, all the time, whether it acknowledges a write.
//!
//! It believes neither names nor quorum, so that it sees a second primary that
//! neither knows of. One connection at a time for each member, dropped when
//! it is of no use: nobody is terminated, and the server itself gives up what
//! hangs there.

use std::{ops::Range, time::Duration};

use async_trait::async_trait;

use super::{
    Ground, Workload,
    pace::Pace,
    process::{Ended, Process},
    rows, together,
    writes::insert,
};
use crate::{
    client::postgres::{Login, Session, chain},
    history::{Outcome, Request},
    targets::Member,
};

const PACE: Duration = Duration::from_millis(100);
const CONNECT: Duration = Duration::from_secs(1);
/// Ends at the server before the client gives up, unless the server hangs.
const STATEMENT: Duration = Duration::from_secs(1);
const ASK: Duration = Duration::from_millis(2_500);

pub struct Probe;

#[async_trait]
impl Workload for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn about(&self) -> &'static str {
        "asks every member directly, all the time, whether it acknowledges a write"
    }

    async fn run(&self, ground: Ground) -> anyhow::Result<()> {
        let members = ground.targets.members.iter().enumerate();
        let probes = members.map(|(index, member)| MemberProbe::new(index, member, &ground).run());
        together(probes).await
    }

    fn observes(&self) -> bool {
        true
    }
}

struct MemberProbe {
    process: Process,
    pace: Pace,
    member: String,
    login: Login,
    rows: Range<i64>,
}

impl MemberProbe {
    fn new(index: usize, member: &Member, ground: &Ground) -> Self {
        let rng = ground.seed.stream(&format!("probe {}", member.name));
        Self {
            process: Process::new(&ground.recorder, "probe"),
            pace: Pace::new(rng, ground.stop.clone()),
            member: member.name.clone(),
            login: Login {
                address: member.postgres,
                user: "probe",
                password: ground.targets.password.clone(),
                table: "probes",
                statement_timeout: STATEMENT,
            },
            rows: rows::of_probe(index),
        }
    }

    async fn run(mut self) {
        let mut session = None;
        while self.pace.wait(PACE).await {
            let Some(row) = self.rows.next() else {
                return;
            };
            let request = Request::Probe {
                member: self.member.clone(),
                row,
            };
            let probe = probe(&self.login, &self.member, &mut session, row);
            if self.process.ask(request, ASK, probe).await == Ended::Info {
                session = None;
            }
        }
    }
}

/// Connects where that has to be done first: no connection, no row.
async fn probe(login: &Login, member: &str, session: &mut Option<Session>, row: i64) -> Outcome {
    let open = match session.take() {
        Some(open) => open,
        None => match Session::open(login, CONNECT).await {
            Ok(open) => open,
            Err(error) => return Outcome::Fail(format!("no session: {}", chain(error.as_ref()))),
        },
    };
    let outcome = insert(&open, member, row).await;
    // A standby's refusal leaves the session as it was, a broken one is no use.
    if !matches!(outcome, Outcome::Info(_)) {
        *session = Some(open);
    }
    outcome
}
