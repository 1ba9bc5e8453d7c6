//! A false alarm under load: the primary is well, and is replaced.
//!
//! Its agent is dead, so nobody tells it; its clients hold on to their
//! connections and write on. Only the fence at the standbys keeps what it
//! acknowledges from being lost.

use std::time::Duration;

use fastrand::Rng;

use super::{Field, Nemesis};
use crate::{
    clock,
    fleet::{GROUP, Service},
    ground::processes::Kind,
    history::{Answer, Request},
};

const KILL: Duration = Duration::from_secs(10);
/// Until clients hear of it.
const TOLD: Duration = Duration::from_secs(5);

pub struct FalseAlarm;

impl Nemesis for FalseAlarm {
    fn name(&self) -> &'static str {
        "false-alarm"
    }

    fn about(&self) -> &'static str {
        "the primary's agent is killed and an operator fails over, while the primary serves on"
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let Some(place) = field.primary() else {
            return Ok(());
        };
        let epoch = field.epoch();
        let what = format!(
            "kill -9 the agent of {} and fail over from it",
            place.region
        );
        let stroke = field.stroke(self.name(), what, &[place]);
        let fleet = &field.fleet;
        fleet.hold(place, Service::Agent);
        let killed = fleet
            .processes(place)
            .kill(&[Kind::Agent], clock::now() + KILL);
        let request = Request::Admin {
            what: "failover".to_owned(),
        };
        let asked = field
            .recorder
            .begin("admin", field.recorder.process(), request);
        // Whether it was done shows in the epoch, whatever the command says.
        match fleet.ctl(&["failover", GROUP, "--timeout", "5s"]) {
            Ok(_) => asked.ok(Answer::Done {
                member: String::new(),
                epoch: 0,
            }),
            Err(error) => asked.info(format!("{error:#}")),
        }
        if field.wait(TOLD, || field.epoch() > epoch) {
            stroke.effect(format!("replaced under epoch {}", field.epoch()));
        }
        field.hold(random, 1.0..4.0);
        fleet.release(place, Service::Agent);
        killed?;
        Ok(())
    }
}
