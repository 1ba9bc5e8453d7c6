//! Two failures in a row: the new primary is lost while the old one is still
//! being brought back.

use std::time::Duration;

use fastrand::Rng;

use super::{Field, Nemesis};

const FAILOVER: Duration = Duration::from_secs(25);

pub struct TwoFailures;

impl Nemesis for TwoFailures {
    fn name(&self) -> &'static str {
        "two-failures"
    }

    fn about(&self) -> &'static str {
        "the primary's region is killed, and then the next primary's, before all is well"
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let Some(first) = field.primary() else {
            return Ok(());
        };
        let epoch = field.epoch();
        let what = format!("kill -9 all of {}, then of the next primary", first.region);
        let stroke = field.stroke(self.name(), what, &[first]);
        let killed = field.fleet.kill_region(first);
        let replaced = field.wait(FAILOVER, || field.epoch() > epoch);
        let second = field.primary().filter(|place| place.index != first.index);
        if let (true, Some(second)) = (replaced, second) {
            // Before the first is back, or while it is rewound from the second.
            let early = random.bool();
            if !early {
                field.fleet.release_region(first);
            }
            field.hold(random, 0.0..3.0);
            let killed = field.fleet.kill_region(second);
            stroke.effect(format!("{}, then {}", first.region, second.region));
            field.hold(random, 0.0..3.0);
            if early {
                field.fleet.release_region(first);
            }
            field.hold(random, 0.0..2.0);
            field.fleet.release_region(second);
            killed?;
            return Ok(());
        }
        field.fleet.release_region(first);
        killed?;
        Ok(())
    }
}
