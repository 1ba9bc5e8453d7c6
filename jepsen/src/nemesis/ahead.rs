//! A standby that is ahead of the fork when another is promoted.
//!
//! It received what was never acknowledged. Were it to follow the new primary
//! as it is, its reports would release commits that it does not have.

use std::{fs, time::Duration};

use fastrand::Rng;

use super::{Field, Nemesis};
use crate::{
    check::{AGAIN_MS, MEMBER_LOST},
    clock,
    fleet::{GROUP, Place, Service},
    ground::processes::Kind,
};

const KILL: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(15);

pub struct AheadOfTheFork;

impl Nemesis for AheadOfTheFork {
    fn name(&self) -> &'static str {
        "ahead-of-the-fork"
    }

    fn about(&self) -> &'static str {
        "the standby that nobody waits for has more than the one that is promoted, which is lost next"
    }

    fn alone(&self) -> bool {
        true
    }

    fn strike(&self, field: &Field, random: &mut Rng) -> anyhow::Result<()> {
        let Some(first) = field.primary() else {
            return Ok(());
        };
        let others: Vec<&Place> = field
            .fleet
            .members()
            .filter(|it| it.index != first.index)
            .collect();
        let [waited_for, ahead] = others[..] else {
            return Ok(());
        };
        let what = format!(
            "only {} is waited for and gets nothing, {} gets all; kill -9 the member {}",
            waited_for.region, ahead.region, first.region
        );
        let stroke = field.stroke(self.name(), what, &others);
        apply(field, Some(waited_for))?;
        let set = format!("ANY 1 ({})", waited_for.region);
        let only = field.wait(PATIENCE, || {
            let group = field.fleet.group();
            group.is_ok_and(|group| {
                group["sync"]
                    .as_array()
                    .is_some_and(|it| *it == [set.as_str()])
            })
        });
        let done = match only {
            true => self.get_ahead(field, random, [first, waited_for, ahead], &stroke),
            false => Ok(()),
        };
        field.fleet.network.heal_all();
        apply(field, None)?;
        done
    }
}

impl AheadOfTheFork {
    fn get_ahead(
        &self,
        field: &Field,
        random: &mut Rng,
        [first, waited_for, ahead]: [&Place; 3],
        stroke: &super::field::Stroke,
    ) -> anyhow::Result<()> {
        let (fleet, epoch) = (&field.fleet, field.epoch());
        let network = &fleet.network;
        network.cut(first.region, waited_for.region)?;
        // Writes wait now, and lie in the log of the one that is not waited for.
        field.hold(random, 1.0..2.0);
        for other in [first, waited_for] {
            network.cut(ahead.region, other.region)?;
            network.cut(other.region, ahead.region)?;
        }
        // Its node stays: without it there were no quorum.
        fleet.hold(first, Service::Agent);
        let member = [Kind::Agent, Kind::Fuse, Kind::Postgres, Kind::Tool];
        let killed = fleet.processes(first).kill(&member, clock::now() + KILL);
        network.heal(first.region, waited_for.region)?;
        // Unsealed: the only one that it could wait for is cut off.
        if field.wait(PATIENCE, || field.granted_after(epoch).is_some()) {
            stroke.effect(format!("{} was promoted", waited_for.region));
        }
        for other in [first, waited_for] {
            network.heal(ahead.region, other.region)?;
            network.heal(other.region, ahead.region)?;
        }
        // Whoever is left has to be waited for: the one that was is primary now.
        apply(field, None)?;
        let what = format!("the member {} is down, all else is well", first.region);
        let one_lost = field.stroke(MEMBER_LOST, what, &[first]);
        one_lost.effect("it is gone");
        let since = field.recorder.now();
        let bound = Duration::from_millis(AGAIN_MS + 2_000);
        field.wait(bound, || field.acknowledged_since(since));
        drop(one_lost);
        field.hold(random, 0.5..3.0);
        let lost = fleet.kill_region(waited_for);
        field.hold(random, 0.5..1.5);
        fleet.release(first, Service::Agent);
        field.hold(random, 3.0..6.0);
        fleet.release_region(waited_for);
        killed?;
        lost?;
        Ok(())
    }
}

/// The group's file again, with this standby as the only one waited for.
fn apply(field: &Field, only: Option<&Place>) -> anyhow::Result<()> {
    let text = fs::read_to_string(field.fleet.group_file())?;
    let sync = only.map(|it| format!("[sync]\nk = 1\nmembers = [\"{}\"]\n", it.region));
    let file = field.fleet.group_file().with_extension("changed.toml");
    fs::write(&file, text + &sync.unwrap_or_default())?;
    let path = file.display().to_string();
    let applied = || field.fleet.ctl(&["group", "apply", "-f", &path]).is_ok();
    let _given_up = field.fleet.wait_for(GROUP, PATIENCE, applied);
    Ok(())
}
