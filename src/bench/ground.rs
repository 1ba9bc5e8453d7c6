//! A fleet with a writer; one fault at a time, and what follows it.

use std::time::Duration;

use anyhow::Context as _;
use primacy_proto::v1::Group;
use tokio::time;

use super::{Told, idle, scenario::Scenario, spread::Figures};
use crate::{
    clock,
    demo::{
        fleet::{Api, Fleet, Network, Options, Service, wait_for},
        measure::Row,
        verdict::read_back,
        writer::{SCHEMA, Writer},
    },
};

/// Far beyond what anything here takes on a machine that is not overwhelmed.
const PATIENCE: Duration = Duration::from_secs(120);
/// All is calm for this long before the next fault.
const SETTLE: Duration = Duration::from_secs(1);
/// Events are written behind the state.
const HISTORY_LAG: Duration = Duration::from_millis(100);

pub(super) struct Ground {
    fleet: Fleet,
    api: Api,
    // Dropped after the fleet, whose processes are in it.
    network: Option<Network>,
}

impl Ground {
    /// Builds a fleet, does to it what is `wanted`, and counts its rows.
    pub(super) async fn measure(
        options: Options,
        network: Option<Network>,
        wanted: &[Scenario],
        trials: u32,
    ) -> anyhow::Result<Told> {
        let fleet = Fleet::prepare(options).await?;
        let api = fleet.api()?;
        let mut ground = Self {
            fleet,
            api,
            network,
        };
        let mut told = Told::default();
        ground.begin().await?;
        if wanted.contains(&Scenario::Idle) {
            println!("idle: measured for {} s", idle::WATCH.as_secs());
            told.idle = idle::watch(&ground.fleet).await?;
        }
        let faults = wanted.iter().filter(|it| **it != Scenario::Idle);
        let faults: Vec<_> = faults.copied().collect();
        if faults.is_empty() {
            return Ok(told);
        }
        let writer = Writer::start(&ground.fleet)?;
        for scenario in faults {
            let mut figures = Figures::new(scenario);
            for trial in 1..=trials {
                let row = ground.trial(&writer, scenario).await?;
                println!("{}", super::spread::line(&row, trial));
                figures.add(&row);
            }
            told.figures.push(figures);
        }
        let primary = ground.primary(&ground.whole().await?)?;
        let ledger = writer.finish().await?;
        told.writes = read_back(&ground.fleet, primary, &ledger).await?;
        Ok(told)
    }

    /// From empty directories to a primary with two synchronous standbys.
    async fn begin(&mut self) -> anyhow::Result<()> {
        for index in 0..self.fleet.places().len() {
            self.fleet.start_region(index)?;
        }
        let leader = || async { Ok(self.api.leader().await.ok()) };
        wait_for("a Raft leader", PATIENCE, leader).await?;
        self.api.apply(self.fleet.spec()).await?;
        let group = self.whole().await?;
        self.fleet.create_client(self.primary(&group)?, SCHEMA)
    }

    async fn whole(&self) -> anyhow::Result<Group> {
        self.api.whole(PATIENCE).await
    }

    fn primary(&self, group: &Group) -> anyhow::Result<usize> {
        Ok(self.fleet.place(&group.holder)?.index)
    }

    /// Makes one fault, measures, and puts all back in place.
    async fn trial(&mut self, writer: &Writer, scenario: Scenario) -> anyhow::Result<Row> {
        let primary = self.primary(&self.whole().await?)?;
        if let Some(inside) = scenario.leader_inside() {
            self.lead(primary, inside).await?;
        }
        time::sleep(SETTLE).await;
        let group = self.whole().await?;
        let settled = clock::boottime();
        let written = || async { Ok(writer.acked_since(settled).then_some(())) };
        wait_for("writes", PATIENCE, written).await?;
        let revision = self.api.cluster().await?.applied + 1;
        let (at, wall_ms) = (clock::boottime(), clock::wall_ms());
        self.strike(scenario, &group, primary).await?;
        let sealed = || async {
            let now = self.api.group().await?;
            Ok((now.epoch > group.epoch && now.sealed).then_some(()))
        };
        wait_for("a new primary", PATIENCE, sealed).await?;
        let sealed = clock::boottime();
        let written = || async { Ok(writer.acked_since(sealed).then_some(())) };
        wait_for("a write at the new primary", PATIENCE, written).await?;
        time::sleep(HISTORY_LAG).await;
        let events = self.api.events(revision).await?;
        let row = Row::new(scenario.name(), String::new());
        let mut row = row.measure(wall_ms, &events);
        let gap = writer.ledger().longest_gap(at, clock::boottime());
        row.write_gap_ms = gap.and_then(|gap| u64::try_from(gap.as_millis()).ok());
        self.restore(scenario, primary)?;
        self.whole().await.context("after a trial")?;
        Ok(row)
    }

    async fn strike(
        &mut self,
        scenario: Scenario,
        group: &Group,
        primary: usize,
    ) -> anyhow::Result<()> {
        match scenario {
            Scenario::Idle => Ok(()),
            Scenario::PostgresCrash => self.fleet.kill_postgres(primary),
            Scenario::RegionLoss | Scenario::RegionAndLeaderLoss => self.fleet.kill_region(primary),
            Scenario::SilentRegionLoss => self.net()?.cut_off(primary),
            Scenario::Switchover => {
                let mut others = group.members.iter().map(|member| &member.name);
                let other = others.find(|name| **name != group.holder);
                self.api.switchover(other.context("nobody else")?).await
            }
        }
    }

    fn restore(&mut self, scenario: Scenario, lost: usize) -> anyhow::Result<()> {
        match scenario {
            Scenario::RegionLoss | Scenario::RegionAndLeaderLoss => Service::ALL
                .iter()
                .try_for_each(|service| self.fleet.start(lost, *service)),
            Scenario::SilentRegionLoss => self.net()?.heal(),
            Scenario::Idle | Scenario::PostgresCrash | Scenario::Switchover => Ok(()),
        }
    }

    fn net(&self) -> anyhow::Result<&Network> {
        self.network.as_ref().context("this fleet has no hub")
    }

    /// Moves Raft leadership into a region, or out of it.
    async fn lead(&self, index: usize, inside: bool) -> anyhow::Result<()> {
        let places = self.fleet.places();
        let to = match inside {
            true => index,
            false => (index + 1) % places.len(),
        };
        let to = places[to].id;
        let there = || async {
            let leader = self.api.leader().await?;
            if (leader == places[index].id) == inside {
                return Ok(Some(()));
            }
            self.api.transfer_leader(to).await?;
            Ok(None)
        };
        wait_for("Raft leadership to move", PATIENCE, there).await
    }
}
