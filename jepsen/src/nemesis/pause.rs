//! SIGSTOP, and SIGCONT after a while: a process that is there and does nothing,
//! as under a frozen virtual machine, and that goes on as if no time had passed.

use std::time::Duration;

use fastrand::Rng;

use super::{Field, Nemesis};
use crate::{clock, ground::processes::Kind};

const LIMIT: Duration = Duration::from_secs(10);

pub fn all() -> Vec<Box<dyn Nemesis>> {
    let pause = |name, about, kinds, called| -> Box<dyn Nemesis> {
        Box::new(Pause {
            name,
            about,
            kinds,
            called,
        })
    };
    vec![
        pause(
            "pause-node",
            "a quorum node stands still",
            &[Kind::Server],
            "the node",
        ),
        pause(
            "pause-agent",
            "an agent stands still",
            &[Kind::Agent],
            "the agent",
        ),
        pause(
            "pause-fuse",
            "a fuse stands still",
            &[Kind::Fuse],
            "the fuse",
        ),
        pause(
            "pause-postgres",
            "every process of a PostgreSQL stands still",
            &[Kind::Postgres],
            "PostgreSQL",
        ),
        pause(
            "pause-region",
            "a whole region stands still",
            &Kind::ALL,
            "all",
        ),
    ]
}

struct Pause {
    name: &'static str,
    about: &'static str,
    kinds: &'static [Kind],
    called: &'static str,
}

impl Nemesis for Pause {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let place = field.member(random);
        let what = format!("SIGSTOP {} of {}", self.called, place.region);
        let stroke = field.stroke(self.name, what, &[place]);
        let processes = field.fleet.processes(place);
        let stopped = processes.stop(self.kinds, clock::now() + LIMIT);
        if let Ok(stopped) = &stopped
            && !stopped.is_empty()
        {
            stroke.effect(format!("{} stopped", stopped.len()));
        }
        field.hold(random, 0.5..8.0);
        processes.resume(self.kinds, clock::now() + LIMIT)?;
        stopped?;
        Ok(())
    }
}
