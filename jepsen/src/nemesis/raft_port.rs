//! One node loses the others and keeps its agents: a firewall's mistake.
//!
//! A leader that is deposed like that does not learn of it, and goes on telling
//! the agents that still hear it what to be.

use std::time::Duration;

use fastrand::Rng;

use super::{Field, Nemesis, quorum_lost::without};
use crate::{
    clock,
    fleet::{Place, Service},
    ground::processes::Kind,
};

const RAFT: u16 = 7401;
const KILL: Duration = Duration::from_secs(10);
const FAILOVER: Duration = Duration::from_secs(20);

pub fn all() -> Vec<Box<dyn Nemesis>> {
    vec![Box::new(RaftPort), Box::new(LateLeader)]
}

struct RaftPort;

impl Nemesis for RaftPort {
    fn name(&self) -> &'static str {
        "raft-port"
    }

    fn about(&self) -> &'static str {
        "a node's Raft port is shut; agents and applications still reach it"
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let place = leader(field).unwrap_or_else(|| field.place(random));
        let what = format!("shut the Raft port of {}", place.region);
        let stroke = field.stroke(self.name(), what, &[place]);
        let before = lost(field, place);
        shut(field, place, Some(RAFT))?;
        field.hold(random, 1.0..8.0);
        shut(field, place, None)?;
        let lost = lost(field, place) - before;
        if lost > 0 {
            stroke.effect(format!("{lost} packets lost"));
        }
        Ok(())
    }
}

struct LateLeader;

impl Nemesis for LateLeader {
    fn name(&self) -> &'static str {
        "late-leader"
    }

    fn about(&self) -> &'static str {
        "after a failover without it, agents started anew hear nobody but a deposed leader"
    }

    fn alone(&self) -> bool {
        true
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let (Some(late), Some(first)) = (leader(field), field.primary()) else {
            return Ok(());
        };
        let fleet = &field.fleet;
        let epoch = field.epoch();
        let what = format!(
            "shut the Raft port of {}, which leads; kill PostgreSQL of {}; then leave nobody but \
             the old leader",
            late.region, first.region
        );
        let stroke = field.stroke(self.name(), what, &[late, first]);
        shut(field, late, Some(RAFT))?;
        field.hold(random, 1.5..2.5);
        let primary = fleet.processes(first);
        let killed = primary.kill(&[Kind::Postgres], clock::now() + KILL);
        let replaced = field.wait(FAILOVER, || field.epoch() > epoch);
        let others: Vec<&Place> = fleet
            .places
            .iter()
            .filter(|it| it.index != late.index)
            .collect();
        if replaced {
            field.hold(random, 3.0..5.0);
            stroke.effect(format!("replaced under epoch {}", field.epoch()));
            without(field, &others, |field| {
                for place in fleet.members() {
                    fleet.hold(place, Service::Agent);
                    let agent = fleet.processes(place);
                    // One that is not killed has not forgotten the term.
                    let _left = agent.kill(&[Kind::Agent], clock::now() + KILL);
                    fleet.release(place, Service::Agent);
                }
                field.hold(random, 9.0..12.0);
            })?;
        }
        shut(field, late, None)?;
        killed?;
        Ok(())
    }
}

/// The Raft leader's place, as the quorum says.
fn leader(field: &Field) -> Option<&Place> {
    let status = field.fleet.ctl(&["cluster", "status"]).ok()?;
    let leader = status["leader"].as_u64()?;
    field.fleet.places.iter().find(|place| place.id == leader)
}

/// Both ways, to and from all other regions.
fn shut(field: &Field, place: &Place, port: Option<u16>) -> anyhow::Result<()> {
    for other in field
        .fleet
        .places
        .iter()
        .filter(|it| it.index != place.index)
    {
        field
            .fleet
            .network
            .link(place.region, other.region)?
            .shut(port);
        field
            .fleet
            .network
            .link(other.region, place.region)?
            .shut(port);
    }
    Ok(())
}

fn lost(field: &Field, place: &Place) -> u64 {
    let network = &field.fleet.network;
    let others = field
        .fleet
        .places
        .iter()
        .filter(|it| it.index != place.index);
    let pairs = others.flat_map(|it| [(place.region, it.region), (it.region, place.region)]);
    let counters = pairs.filter_map(|(from, to)| network.counters(from, to).ok());
    counters.map(|counters| counters.cut).sum()
}
