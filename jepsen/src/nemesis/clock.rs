//! Clocks that run too fast or too slow, and clocks that jump, for the node and
//! the agent of a region. PostgreSQL keeps the true time.

use std::time::Duration;

use fastrand::Rng;

use super::{Field, Nemesis, field::Stroke};
use crate::{
    clock,
    fleet::Place,
    ground::{clocks::Which, processes::Kind},
};

const SEEN_WITHIN: Duration = Duration::from_secs(3);

pub fn all() -> Vec<Box<dyn Nemesis>> {
    vec![Box::new(Rate), Box::new(Jump)]
}

struct Rate;

impl Nemesis for Rate {
    fn name(&self) -> &'static str {
        "clock-rate"
    }

    fn about(&self) -> &'static str {
        "the clocks of a region's node and agent run at 0.2 to 5 times their rate"
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let place = field.place(random);
        // No clock is part of the argument, so there is no limit to keep to.
        let rates = [0.2, 0.5, 0.85, 1.15, 2.0, 5.0];
        let rate = rates[random.usize(..rates.len())];
        let what = format!(
            "the clocks of {} run at {rate} times their rate",
            place.region
        );
        let stroke = field.stroke(self.name(), what, &[place]);
        let skewed = field.fleet.clock(place);
        skewed.set_rate(rate)?;
        let seen = assert_seen(field, place, &stroke);
        field.hold(random, 3.0..10.0);
        skewed.set_rate(1.0)?;
        seen
    }
}

struct Jump;

impl Nemesis for Jump {
    fn name(&self) -> &'static str {
        "clock-jump"
    }

    fn about(&self) -> &'static str {
        "the clocks of a region's node and agent jump ahead; wall clocks also back"
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let place = field.place(random);
        let jump = JUMPS[random.usize(..JUMPS.len())];
        let what = format!("in {}, {}", place.region, jump.describe());
        let stroke = field.stroke(self.name(), what, &[place]);
        let skewed = field.fleet.clock(place);
        match jump {
            Leap::All(seconds) => skewed.jump(seconds * 1000, Which::All)?,
            Leap::Wall(seconds) => skewed.jump(seconds * 1000, Which::Wall)?,
            Leap::Suspension(seconds) => skewed.suspend(Duration::from_secs(seconds))?,
        }
        let seen = assert_seen(field, place, &stroke);
        field.hold(random, 1.0..6.0);
        skewed.reset()?;
        seen
    }
}

#[derive(Debug, Clone, Copy)]
enum Leap {
    All(i64),
    Wall(i64),
    /// Counted by the wall clock and `CLOCK_BOOTTIME`, missed by the others.
    Suspension(u64),
}

/// Seconds; ten are a lease.
const JUMPS: [Leap; 6] = [
    Leap::All(3),
    Leap::All(40),
    Leap::Wall(-3600),
    Leap::Wall(7200),
    Leap::Suspension(4),
    Leap::Suspension(60),
];

impl Leap {
    fn describe(self) -> String {
        match self {
            Self::All(seconds) => format!("all clocks jump by {seconds} s"),
            Self::Wall(seconds) => format!("the wall clocks jump by {seconds} s"),
            Self::Suspension(seconds) => format!("{seconds} s pass as if it had been suspended"),
        }
    }
}

/// A skew that no process sees is no fault.
fn assert_seen(field: &Field, place: &Place, stroke: &Stroke) -> anyhow::Result<()> {
    let found = field
        .fleet
        .processes(place)
        .find(&[Kind::Server, Kind::Agent]);
    for process in &found {
        let pid = u32::try_from(process.pid)?;
        field
            .fleet
            .clock(place)
            .assert_seen(pid, clock::now() + SEEN_WITHIN)?;
    }
    if !found.is_empty() {
        stroke.effect(format!("seen by {} processes", found.len()));
    }
    Ok(())
}
