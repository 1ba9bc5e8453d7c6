//! Kills, -9, and restarts: each part alone, and a whole region.

use std::time::Duration;

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};

use super::{Field, Nemesis};
use crate::{
    clock,
    fleet::{Place, Service},
    ground::processes::{Found, Kind},
};

const KILL: Duration = Duration::from_secs(20);

pub fn all() -> Vec<Box<dyn Nemesis>> {
    vec![
        Box::new(Node),
        Box::new(Agent),
        Box::new(Fuse),
        Box::new(Postgres),
        Box::new(Region),
    ]
}

struct Node;

impl Nemesis for Node {
    fn name(&self) -> &'static str {
        "kill-node"
    }

    fn about(&self) -> &'static str {
        "kill -9 of a quorum node, which is started again after a while"
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let place = field.place(random);
        kill_service(
            self.name(),
            field,
            random,
            place,
            Service::Server,
            Kind::Server,
        )
    }
}

struct Agent;

impl Nemesis for Agent {
    fn name(&self) -> &'static str {
        "kill-agent"
    }

    fn about(&self) -> &'static str {
        "kill -9 of an agent; its fuse and PostgreSQL live on"
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let place = field.member(random);
        kill_service(
            self.name(),
            field,
            random,
            place,
            Service::Agent,
            Kind::Agent,
        )
    }
}

fn kill_service(
    name: &str,
    field: &Field,
    random: &mut Rng,
    place: &Place,
    service: Service,
    kind: Kind,
) -> anyhow::Result<()> {
    let what = format!("kill -9 the {} of {}", service.name(), place.region);
    let stroke = field.stroke(name, what, &[place]);
    field.fleet.hold(place, service);
    let processes = field.fleet.processes(place);
    let killed = processes.kill(&[kind], clock::now() + KILL);
    if killed.as_ref().is_ok_and(|killed| !killed.is_empty()) {
        stroke.effect("it is gone");
    }
    field.hold(random, 0.1..6.0);
    field.fleet.release(place, service);
    killed?;
    Ok(())
}

struct Fuse;

impl Nemesis for Fuse {
    fn name(&self) -> &'static str {
        "kill-fuse"
    }

    fn about(&self) -> &'static str {
        "kill -9 of a fuse, which takes its PostgreSQL with it"
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        once(self.name(), field, field.member(random), Kind::Fuse, "fuse")
    }
}

struct Postgres;

impl Nemesis for Postgres {
    fn name(&self) -> &'static str {
        "kill-postgres"
    }

    fn about(&self) -> &'static str {
        "kill -9 of a postmaster; its backends are left behind"
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        once(
            self.name(),
            field,
            field.member(random),
            Kind::Postgres,
            "postmaster",
        )
    }
}

/// Kills the first of its kind: of PostgreSQL's processes the postmaster, whose
/// parent is none of them. The agent brings it back.
fn once(name: &str, field: &Field, place: &Place, kind: Kind, called: &str) -> anyhow::Result<()> {
    let what = format!("kill -9 the {called} of {}", place.region);
    let stroke = field.stroke(name, what, &[place]);
    let there = field.fleet.processes(place).find(&[kind]);
    let is_first = |it: &&Found| !there.iter().any(|other| other.pid == it.parent);
    let pid = there
        .iter()
        .find(is_first)
        .and_then(|it| Pid::from_raw(it.pid));
    if pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok()) {
        stroke.effect(format!("1 of {} killed", there.len()));
    }
    Ok(())
}

struct Region;

impl Nemesis for Region {
    fn name(&self) -> &'static str {
        "kill-region"
    }

    fn about(&self) -> &'static str {
        "kill -9 of everything in a region, which comes back after a while"
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let place = field.place(random);
        let stroke = field.stroke(
            self.name(),
            format!("kill -9 all of {}", place.region),
            &[place],
        );
        let killed = field.fleet.kill_region(place)?;
        stroke.effect(format!("{killed} killed"));
        field.hold(random, 0.5..8.0);
        field.fleet.release_region(place);
        Ok(())
    }
}
