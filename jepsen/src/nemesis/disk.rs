//! Disks that are full, and disks that refuse every write and fsync.

use std::time::Duration;

use fastrand::Rng;

use super::{Field, Nemesis};
use crate::{clock, ground::processes::Kind};

const LIMIT: Duration = Duration::from_secs(20);

pub fn all() -> Vec<Box<dyn Nemesis>> {
    vec![Box::new(Full), Box::new(Failing)]
}

struct Full;

impl Nemesis for Full {
    fn name(&self) -> &'static str {
        "full-disk"
    }

    fn about(&self) -> &'static str {
        "no byte is left on a region's disk"
    }

    fn alone(&self) -> bool {
        true
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let place = field.member(random);
        let stroke = field.stroke(
            self.name(),
            format!("fill the disk of {}", place.region),
            &[place],
        );
        let filled = field.fleet.disk(place).fill();
        if filled.is_ok() {
            stroke.effect("no space left on device");
        }
        field.hold(random, 2.0..8.0);
        field.fleet.disk(place).unfill()?;
        filled?;
        Ok(())
    }
}

struct Failing;

impl Nemesis for Failing {
    fn name(&self) -> &'static str {
        "failing-fsync"
    }

    fn about(&self) -> &'static str {
        "a region's disk fails every write and fsync, and comes back with what was synced"
    }

    fn alone(&self) -> bool {
        true
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let place = field.member(random);
        let what = format!("every write on the disk of {} fails", place.region);
        let stroke = field.stroke(self.name(), what, &[place]);
        let fleet = &field.fleet;
        let failed = fleet.disk(place).fail_writes();
        if failed.is_ok() {
            stroke.effect("EIO");
        }
        field.hold(random, 1.0..6.0);
        // A disk like that is exchanged; nobody goes on on it.
        fleet.hold_region(place);
        let killed = fleet
            .processes(place)
            .kill(&Kind::ALL, clock::now() + LIMIT);
        let mounted = fleet.disk(place).restore();
        fleet.release_region(place);
        mounted?;
        killed?;
        failed?;
        Ok(())
    }
}
