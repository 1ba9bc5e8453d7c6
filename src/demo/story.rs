//! The disasters, one after the other, each with what has to follow.

use std::time::Duration;

use anyhow::{bail, ensure};
use primacy_proto::v1::Group;
use tokio::time;

use super::{
    fleet::{Api, Fleet, Service, wait_for},
    measure::Row,
    screen::Screen,
    writer::{SCHEMA, Writer},
};
use crate::clock;

/// Three databases are made and cloned.
const BEGIN: Duration = Duration::from_secs(90);
/// A failover, from the fault to the next acknowledged write.
const FAIL_OVER: Duration = Duration::from_secs(30);
/// A restart, a rewind and the way back into the sync set.
const RETURN: Duration = Duration::from_secs(60);
const HAND_OVER: Duration = Duration::from_secs(20);
/// A switchover may end in the old primary again, where the new one was slow.
const TRIES: u32 = 3;
/// How long the writer is watched when nothing is wrong.
const CALM: Duration = Duration::from_secs(2);
/// Events are written behind the state.
const HISTORY_LAG: Duration = Duration::from_millis(100);

pub(super) struct Story<'a> {
    pub fleet: &'a mut Fleet,
    pub api: Api,
    pub screen: Screen,
}

/// When something was done to the fleet.
struct Fault {
    at: Duration,
    wall_ms: u64,
    /// The history so far ends before it.
    revision: u64,
    epoch: u32,
}

impl Story<'_> {
    /// From empty directories to a primary with two synchronous standbys.
    pub(super) async fn begin(&mut self) -> anyhow::Result<Writer> {
        for index in 0..self.fleet.places().len() {
            self.fleet.start_region(index)?;
        }
        let api = self.api.clone();
        wait_for("a Raft leader", HAND_OVER, || async {
            Ok(api.leader().await.ok())
        })
        .await?;
        self.api.apply(self.fleet.spec()).await?;
        self.screen.show(self.api.clone())?;
        self.screen
            .say("three nodes agree; the first database is made, two are cloned from it");
        let group = self.whole(BEGIN).await?;
        let index = self.index(&group.holder)?;
        self.fleet.create_client(index, SCHEMA)?;
        Writer::start(self.fleet)
    }

    pub(super) async fn tell(&mut self, writer: &Writer) -> anyhow::Result<Vec<Row>> {
        self.steady(writer).await?;
        let mut rows = vec![self.crash(writer).await?];
        rows.push(self.lose_region(writer, false).await?);
        rows.push(self.bring_back(writer).await?);
        rows.push(self.lose_region(writer, true).await?);
        rows.push(self.bring_back(writer).await?);
        rows.push(self.go_home(writer).await?);
        Ok(rows)
    }

    async fn steady(&self, writer: &Writer) -> anyhow::Result<()> {
        let began = clock::boottime();
        wait_for("a first write", FAIL_OVER, || async {
            Ok(writer.acked_since(began).then_some(()))
        })
        .await?;
        time::sleep(CALM).await;
        let group = self.api.group().await?;
        let (count, median) = {
            let ledger = writer.ledger();
            (ledger.acked.len(), ledger.median())
        };
        self.screen.say(&format!(
            "steady: {} is primary, epoch {}, waits for {}; {count} writes, median {:.1} ms",
            group.holder,
            group.epoch,
            group.sync.join(" and "),
            median.as_secs_f64() * 1e3,
        ));
        Ok(())
    }

    /// Only PostgreSQL dies; its host is well.
    async fn crash(&mut self, writer: &Writer) -> anyhow::Result<Row> {
        let group = self.whole(RETURN).await?;
        let holder = group.holder.clone();
        self.screen
            .say(&format!("kill -9: PostgreSQL of {holder}, the primary"));
        let fault = self.fault(&group).await?;
        self.fleet.kill_postgres(self.index(&holder)?)?;
        let label = format!("PostgreSQL of {holder} killed");
        let row = self
            .recover(writer, fault, Row::new("postgres_crash", label))
            .await?;
        let began = clock::boottime();
        self.whole(RETURN).await?;
        self.screen
            .say(&format!("{holder} follows again after {}", since(began)));
        Ok(row)
    }

    /// Everything in the primary's region dies, the Raft leader among it or not.
    async fn lose_region(&mut self, writer: &Writer, with_leader: bool) -> anyhow::Result<Row> {
        let group = self.whole(RETURN).await?;
        let holder = group.holder.clone();
        let index = self.index(&holder)?;
        self.lead(index, with_leader).await?;
        let (name, also) = match with_leader {
            true => ("region_and_leader_loss", ", and the Raft leader with it"),
            false => ("region_loss", ""),
        };
        self.screen.say(&format!(
            "kill -9: all of {holder}, the primary's region{also}"
        ));
        let fault = self.fault(&group).await?;
        self.fleet.kill_region(index)?;
        let label = format!("region {holder} lost{also}");
        self.recover(writer, fault, Row::new(name, label)).await
    }

    /// Moves Raft leadership into a region, or out of it.
    async fn lead(&self, index: usize, inside: bool) -> anyhow::Result<()> {
        let places = self.fleet.places();
        let leader = self.api.leader().await?;
        if (leader == places[index].id) == inside {
            return Ok(());
        }
        let to = match inside {
            true => index,
            false => (index + 1) % places.len(),
        };
        self.api.transfer_leader(places[to].id).await?;
        let moved = || async { Ok((self.api.leader().await? == places[to].id).then_some(())) };
        wait_for("Raft leadership to move", HAND_OVER, moved).await?;
        self.screen
            .say(&format!("Raft leadership moved to {}", places[to].region));
        // The new leader hears from every agent again.
        self.whole(RETURN).await.map(|_| ())
    }

    /// What a failover has to end in: a new epoch, published, that is written to.
    async fn recover(&self, writer: &Writer, fault: Fault, row: Row) -> anyhow::Result<Row> {
        let group = wait_for("a new primary", FAIL_OVER, || async {
            let group = self.api.group().await?;
            Ok((group.epoch > fault.epoch && group.sealed).then_some(group))
        })
        .await?;
        let sealed = clock::boottime();
        let written = || async { Ok(writer.acked_since(sealed).then_some(())) };
        wait_for("a write at the new primary", FAIL_OVER, written).await?;
        time::sleep(HISTORY_LAG).await;
        let events = self.api.events(fault.revision).await?;
        let mut row = row.measure(fault.wall_ms, &events);
        row.write_gap_ms = self.gap(writer, fault.at);
        self.screen.say(&format!(
            "{} is primary, epoch {}; no write for {} ms",
            group.holder,
            group.epoch,
            row.write_gap_ms.unwrap_or_default(),
        ));
        Ok(row)
    }

    fn gap(&self, writer: &Writer, since: Duration) -> Option<u64> {
        let gap = writer.ledger().longest_gap(since, clock::boottime())?;
        u64::try_from(gap.as_millis()).ok()
    }

    /// The lost region returns; its old primary becomes a standby.
    async fn bring_back(&mut self, writer: &Writer) -> anyhow::Result<Row> {
        let group = self.api.group().await?;
        let away = group.members.iter().find(|member| !member.agent_connected);
        let away = away.map(|member| member.name.clone()).unwrap_or_default();
        let index = self.index(&away)?;
        self.screen.say(&format!(
            "{away} returns, with the directory that it died with"
        ));
        let began = clock::boottime();
        for service in Service::ALL {
            self.fleet.start(index, service)?;
        }
        self.whole(RETURN).await?;
        let node = || async { Ok(self.api.node(self.fleet.places()[index].id).await.ok()) };
        wait_for("its node", RETURN, node).await?;
        self.screen.say(&format!(
            "{away} follows again and is in the sync set after {}",
            since(began)
        ));
        time::sleep(CALM / 2).await;
        let mut row = Row::new("rejoin", format!("{away} returned"));
        row.write_gap_ms = self.gap(writer, began);
        Ok(row)
    }

    async fn go_home(&mut self, writer: &Writer) -> anyhow::Result<Row> {
        let mut group = self.whole(RETURN).await?;
        let regions = self.fleet.options().regions.clone();
        let [home, away, ..] = &regions[..] else {
            bail!("a fleet of one region has nowhere to go");
        };
        if group.holder == *home {
            self.screen
                .say(&format!("{home} is primary already: to {away} first"));
            self.api.switchover(away).await?;
            group = self.whole(RETURN).await?;
        }
        let fault = self.switch_over(group, home).await?;
        let label = format!("switchover to {home}");
        let mut row = self
            .recover(writer, fault, Row::new("switchover", label))
            .await?;
        // Nothing failed: what came before the stop was preparation.
        row.detect_ms = None;
        let now = self.whole(RETURN).await?;
        ensure!(now.holder == *home, "{} is primary, not {home}", now.holder);
        Ok(row)
    }

    /// Asks for a switchover, again if it was undone; returns when the last began.
    async fn switch_over(&self, mut group: Group, home: &str) -> anyhow::Result<Fault> {
        for tries in 1.. {
            self.screen
                .say(&format!("switchover: {} to {home}", group.holder));
            let fault = self.fault(&group).await?;
            match self.api.switchover(home).await {
                Ok(()) => return Ok(fault),
                Err(error) if tries == TRIES => return Err(error),
                Err(error) => self.screen.say(&format!("{error:#}; once more")),
            }
            group = self.whole(RETURN).await?;
        }
        bail!("no try was made")
    }

    async fn whole(&self, limit: Duration) -> anyhow::Result<Group> {
        self.api.whole(limit).await
    }

    async fn fault(&self, group: &Group) -> anyhow::Result<Fault> {
        let revision = self.api.cluster().await?.applied + 1;
        Ok(Fault {
            at: clock::boottime(),
            wall_ms: clock::wall_ms(),
            revision,
            epoch: group.epoch,
        })
    }

    fn index(&self, region: &str) -> anyhow::Result<usize> {
        Ok(self.fleet.place(region)?.index)
    }
}

fn since(began: Duration) -> String {
    let took = clock::boottime().saturating_sub(began);
    format!("{:.1} s", took.as_secs_f64())
}
