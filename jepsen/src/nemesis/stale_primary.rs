//! A primary that comes back believing that it is primary.
//!
//! Its whole region stands still until another is primary, and then goes on
//! where it was: with its backends, its connections and its clients.

use std::time::Duration;

use fastrand::Rng;

use super::{Field, Nemesis};
use crate::{clock, ground::processes::Kind};

const LIMIT: Duration = Duration::from_secs(10);
/// A failover from a silent region takes a second or two.
const FAILOVER: Duration = Duration::from_secs(25);

pub struct StalePrimary;

impl Nemesis for StalePrimary {
    fn name(&self) -> &'static str {
        "stale-primary"
    }

    fn about(&self) -> &'static str {
        "the primary's region stands still until another is primary, and goes on"
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let Some(place) = field.primary() else {
            return Ok(());
        };
        let epoch = field.epoch();
        let what = format!(
            "SIGSTOP all of {}, the primary, until it is replaced",
            place.region
        );
        let stroke = field.stroke(self.name(), what, &[place]);
        let processes = field.fleet.processes(place);
        let stopped = processes.stop(&Kind::ALL, clock::now() + LIMIT);
        let replaced = field.wait(FAILOVER, || field.epoch() > epoch);
        if replaced {
            stroke.effect(format!("replaced under epoch {}", field.epoch()));
            // Clients of the new one are at work when the old one wakes up.
            field.hold(random, 0.0..3.0);
        }
        // PostgreSQL alone first, at times: nobody is there to stop it.
        let kinds = [
            Kind::Postgres,
            Kind::Fuse,
            Kind::Agent,
            Kind::Server,
            Kind::Tool,
        ];
        let first = random.usize(..=kinds.len());
        let resumed = processes.resume(&kinds[..first], clock::now() + LIMIT);
        field.hold(random, 0.0..2.0);
        processes.resume(&Kind::ALL, clock::now() + LIMIT)?;
        resumed?;
        stopped?;
        Ok(())
    }
}
