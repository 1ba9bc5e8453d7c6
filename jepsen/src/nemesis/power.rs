//! Power cuts: what was not on the disk is gone.

use std::time::Duration;

use fastrand::Rng;

use super::{Field, Nemesis};
use crate::{clock, fleet::Place, ground::processes::Kind};

const LIMIT: Duration = Duration::from_secs(20);

pub fn all() -> Vec<Box<dyn Nemesis>> {
    vec![Box::new(One), Box::new(All)]
}

struct One;

impl Nemesis for One {
    fn name(&self) -> &'static str {
        "power-cut"
    }

    fn about(&self) -> &'static str {
        "a region loses power; what it had not written to its disk is gone"
    }

    fn alone(&self) -> bool {
        true
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let place = field.place(random);
        cut(self.name(), field, random, &[place])
    }
}

struct All;

impl Nemesis for All {
    fn name(&self) -> &'static str {
        "power-cut-all"
    }

    fn about(&self) -> &'static str {
        "all regions lose power at the same moment"
    }

    fn alone(&self) -> bool {
        true
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let places: Vec<&Place> = field.fleet.places.iter().collect();
        cut(self.name(), field, random, &places)
    }
}

fn cut(name: &str, field: &Field, random: &mut Rng, places: &[&Place]) -> anyhow::Result<()> {
    let regions: Vec<_> = places.iter().map(|place| place.region).collect();
    let stroke = field.stroke(name, format!("power cut of {}", regions.join(", ")), places);
    places
        .iter()
        .for_each(|place| field.fleet.hold_region(place));
    let done = take_power(field, places);
    if done.is_ok() {
        stroke.effect("what was not on the disk is gone");
    }
    field.hold(random, 0.5..5.0);
    places
        .iter()
        .for_each(|place| field.fleet.release_region(place));
    done
}

fn take_power(field: &Field, places: &[&Place]) -> anyhow::Result<()> {
    // Nothing writes while the disks are looked at: the copies are of one moment.
    for place in places {
        field
            .fleet
            .processes(place)
            .stop(&Kind::ALL, clock::now() + LIMIT)?;
    }
    for place in places {
        field.fleet.disk(place).cut()?;
    }
    for place in places {
        field
            .fleet
            .processes(place)
            .kill(&Kind::ALL, clock::now() + LIMIT)?;
    }
    for place in places {
        field.fleet.disk(place).restore()?;
    }
    Ok(())
}
