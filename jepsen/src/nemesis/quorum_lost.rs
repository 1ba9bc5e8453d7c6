//! The quorum is lost, and nothing else.

use std::time::Duration;

use fastrand::Rng;

use super::{Field, Nemesis};
use crate::{
    check::QUORUM_LOST,
    clock,
    fleet::{Place, Service},
    ground::processes::Kind,
};

const KILL: Duration = Duration::from_secs(10);

pub struct QuorumLost;

impl Nemesis for QuorumLost {
    fn name(&self) -> &'static str {
        QUORUM_LOST
    }

    fn about(&self) -> &'static str {
        "kill -9 of most nodes; the members are left alone, and the primary has to serve on"
    }

    fn alone(&self) -> bool {
        true
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let mut places: Vec<&Place> = field.fleet.places.iter().collect();
        random.shuffle(&mut places);
        let down = &places[..places.len() / 2 + 1];
        without(field, down, |field| field.hold(random, 5.0..14.0))
    }
}

/// Takes these nodes away for as long as `meanwhile` takes.
pub fn without(
    field: &Field,
    down: &[&Place],
    meanwhile: impl FnOnce(&Field),
) -> anyhow::Result<()> {
    let regions: Vec<_> = down.iter().map(|place| place.region).collect();
    let what = format!("kill -9 the nodes of {}", regions.join(", "));
    let stroke = field.stroke(QUORUM_LOST, what, down);
    let mut killed = Ok(Vec::new());
    for place in down {
        field.fleet.hold(place, Service::Server);
        let processes = field.fleet.processes(place);
        killed = killed.and(processes.kill(&[Kind::Server], clock::now() + KILL));
    }
    if killed.is_ok() {
        stroke.effect("no quorum is left");
    }
    meanwhile(field);
    // What comes back may fail over at once: the fault ends before.
    drop(stroke);
    down.iter()
        .for_each(|place| field.fleet.release(place, Service::Server));
    killed?;
    Ok(())
}
