//! The checkpointer of a new primary sleeps.
//!
//! PostgreSQL leaves it to the checkpointer to tell the backends that commits
//! wait for standbys. One that is slow after a promotion must not let the first
//! commits through: they would be on one machine only, which is lost next.

use std::{fs, time::Duration};

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};

use super::{Field, Nemesis};
use crate::{fleet::Place, ground::processes::Kind};

const FAILOVER: Duration = Duration::from_secs(20);

pub struct SleepingCheckpointer;

impl Nemesis for SleepingCheckpointer {
    fn name(&self) -> &'static str {
        "sleeping-checkpointer"
    }

    fn about(&self) -> &'static str {
        "a standby whose checkpointer stands still is promoted, cut off from the other, and lost"
    }

    fn alone(&self) -> bool {
        true
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let Some(first) = field.primary() else {
            return Ok(());
        };
        let fleet = &field.fleet;
        let epoch = field.epoch();
        let standbys: Vec<&Place> = fleet
            .members()
            .filter(|it| it.index != first.index)
            .collect();
        let what = format!(
            "the standbys' checkpointers stand still, kill -9 all of {}",
            first.region
        );
        let stroke = field.stroke(self.name(), what, &standbys);
        let find = |it: &&Place| Some((it.index, checkpointer(field, it)?));
        let sleeping: Vec<(usize, Pid)> = standbys.iter().filter_map(find).collect();
        let send = |signal, but: Option<usize>| {
            for (_, pid) in sleeping.iter().filter(|(index, _)| Some(*index) != but) {
                let _gone = kill_process(*pid, signal);
            }
        };
        send(Signal::STOP, None);
        let killed = fleet.kill_region(first);
        field.wait(FAILOVER, || field.granted_after(epoch).is_some());
        // The other one has to follow, and may have to be restarted for it.
        send(Signal::CONT, field.granted_after(epoch).map(|it| it.index));
        let replaced = field.wait(FAILOVER, || field.epoch() > epoch);
        let second = field.primary().filter(|it| it.index != first.index);
        let third = standbys
            .iter()
            .find(|it| second.is_some_and(|second| second.index != it.index));
        if let (true, Some(second), Some(third)) = (replaced, second, third) {
            let pairs = [(second.region, third.region), (third.region, second.region)];
            for (from, to) in pairs {
                fleet.network.cut(from, to)?;
            }
            // Clients find the new primary, and write what only it can have.
            field.hold(random, 1.5..3.0);
            let lost = fleet.kill_region(second);
            for (from, to) in pairs {
                fleet.network.heal(from, to)?;
            }
            stroke.effect(format!("{}, then {}", first.region, second.region));
            send(Signal::CONT, None);
            fleet.release_region(first);
            field.wait(FAILOVER, || field.epoch() > epoch + 1);
            fleet.release_region(second);
            lost?;
        } else {
            send(Signal::CONT, None);
            fleet.release_region(first);
        }
        killed?;
        Ok(())
    }
}

/// PostgreSQL's processes say on their command line what they are.
fn checkpointer(field: &Field, place: &Place) -> Option<Pid> {
    let found = field.fleet.processes(place).find(&[Kind::Postgres]);
    let is_one = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("checkpointer")
    };
    let pid = found.iter().map(|it| it.pid).find(|pid| is_one(*pid))?;
    Pid::from_raw(pid)
}
