//! Both cores are taken away by others who spin.

use fastrand::Rng;

use super::{Field, Nemesis};
use crate::ground::cpu::Burners;

/// More than there are cores: the fleet gets the crumbs.
const BURNERS: usize = 8;

pub struct Starvation;

impl Nemesis for Starvation {
    fn name(&self) -> &'static str {
        "cpu-starvation"
    }

    fn about(&self) -> &'static str {
        "other processes, of higher priority, take nearly all of the processor"
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let what = format!("{BURNERS} processes spin");
        let stroke = field.stroke(self.name(), what, &[]);
        let burners = Burners::start(BURNERS)?;
        field.hold(random, 2.0..8.0);
        let burnt = burners.stop()?;
        if !burnt.is_zero() {
            stroke.effect(format!(
                "{:.1} s of processor time taken",
                burnt.as_secs_f64()
            ));
        }
        Ok(())
    }
}
