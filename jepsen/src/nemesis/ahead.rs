//! A standby that is ahead of the fork when another is promoted.
//!
//! It received what was never acknowledged. Were it to follow the new primary
//! as it is, its reports would release commits that it does not have.

use std::{fs, time::Duration};

use anyhow::Context as _;
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
        // An operator who changes the sync set himself would undo this one.
        let Some(_hands) = field.operate() else {
            return Ok(());
        };
        let Some(first) = field.primary() else {
            return Ok(());
        };
        let others = field.fleet.members().filter(|it| it.index != first.index);
        // The first of all cannot be the only one: it could not wait for itself.
        let others: Vec<&Place> = others.collect();
        let [ahead, waited_for] = others[..] else {
            return Ok(());
        };
        let what = format!(
            "only {} is waited for and gets nothing, {} gets all; kill -9 the member {}",
            waited_for.region, ahead.region, first.region
        );
        let stroke = field.stroke(self.name(), what, &others);
        let asked = apply(field, Some(waited_for));
        let places = [first, waited_for, ahead];
        let done = match asked.is_ok() && field.wait(PATIENCE, || are_set(field, places)) {
            true => self.get_ahead(field, random, places, &stroke),
            false => asked,
        };
        field.fleet.network.heal_all();
        let restored = apply(field, None);
        done.and(restored)
    }
}

/// Whether all else is well, and one of two standbys is waited for alone.
fn are_set(field: &Field, [first, waited_for, ahead]: [&Place; 3]) -> bool {
    let Ok(group) = field.fleet.group() else {
        return false;
    };
    let set = format!("ANY 1 ({})", waited_for.region);
    let alone = |sync: &Vec<serde_json::Value>| *sync == [set.as_str()];
    let member = |place: &Place| {
        let members = group["members"].as_array().into_iter().flatten();
        members.into_iter().find(|it| it["name"] == place.region)
    };
    let streams = |place| member(place).is_some_and(|it| it["receiving"] == true);
    group["sync"].as_array().is_some_and(alone)
        && group["holder"] == first.region
        && group["paused"] == false
        && streams(waited_for)
        && streams(ahead)
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
        let deadline = clock::now() + KILL;
        let network = &fleet.network;
        let mut done: Vec<anyhow::Result<()>> = Vec::new();
        // The failover is not told of what it has.
        fleet.hold(ahead, Service::Agent);
        let agent = fleet.processes(ahead).kill(&[Kind::Agent], deadline);
        done.push(agent.map(|_| ()).context("kill the agent"));
        let cut = network.cut(first.region, waited_for.region);
        done.push(cut.context("cut"));
        // Writes wait now, and lie in the log of the one that is not waited for.
        field.hold(random, 1.0..2.0);
        done.push(fleet.kill_region(first).map(|_| ()));
        // Cut until then: the kernel would still send what the dead had written.
        let promoted = field.wait(PATIENCE, || field.granted_after(epoch).is_some());
        if promoted {
            stroke.effect(format!("{} was promoted", waited_for.region));
        }
        let healed = network.heal(first.region, waited_for.region);
        done.push(healed.context("heal"));
        fleet.release(first, Service::Server);
        fleet.release(ahead, Service::Agent);
        // Whoever is left has to be waited for: the one that was is primary now.
        let restored = apply(field, None);
        if promoted && restored.is_ok() {
            await_service_without(field, first);
        }
        done.push(restored);
        field.hold(random, 0.5..3.0);
        done.push(fleet.kill_region(waited_for).map(|_| ()));
        field.hold(random, 0.5..1.5);
        fleet.release(first, Service::Agent);
        field.hold(random, 3.0..6.0);
        fleet.release_region(waited_for);
        done.into_iter().collect()
    }
}

/// One member is down, and all else is well: somebody has to serve again.
fn await_service_without(field: &Field, lost: &Place) {
    let what = format!("the member {} is down, all else is well", lost.region);
    let one_lost = field.stroke(MEMBER_LOST, what, &[lost]);
    one_lost.effect("it is gone");
    let since = field.recorder.now();
    let bound = Duration::from_millis(AGAIN_MS + 2_000);
    field.wait(bound, || field.acknowledged_since(since));
}

/// The group's file again, with this standby as the only one waited for.
///
/// # Errors
/// What the last try was answered.
fn apply(field: &Field, only: Option<&Place>) -> anyhow::Result<()> {
    let text = fs::read_to_string(field.fleet.group_file())?;
    let sync = only.map(|it| format!("[sync]\nk = 1\nmembers = [\"{}\"]\n", it.region));
    let file = field.fleet.group_file().with_extension("changed.toml");
    fs::write(&file, text + &sync.unwrap_or_default())?;
    let path = file.display().to_string();
    let mut answer = Ok(serde_json::Value::Null);
    let applied = || {
        answer = field.fleet.ctl(&["group", "apply", "-f", &path]);
        answer.is_ok()
    };
    let _given_up = field.fleet.wait_for(GROUP, PATIENCE, applied);
    answer.map(|_| ())
}
