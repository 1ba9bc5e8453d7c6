//! Runs one world from its seed, and says what came of it.

use std::fmt;

use crate::domain::Group;

use super::{
    history::Violation,
    mutant::Mutant,
    plan::{Kind, LIVENESS, Weather},
    time::{At, SECOND},
    world::World,
};

/// What came of a world.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    pub weather: Weather,
    /// How long it lived, in virtual time.
    pub lived: At,
    /// From healing until a sealed primary acknowledged writes, in seconds that
    /// were looked at; `AFTERMATH` at least. None: it did not come to that.
    pub recovered: Option<At>,
    pub events: u64,
    pub grants: u64,
    pub acknowledged: u64,
    pub fingerprint: u64,
    pub failure: Option<Failure>,
}

#[derive(Debug)]
pub struct Failure {
    pub violation: Violation,
    plan: String,
    history: String,
    replay: String,
}

/// Looked at for this long after healing, though all may be well before.
const AFTERMATH: At = SECOND;

/// The weather of a seed: mostly storms.
pub fn weather_of(seed: u64) -> Weather {
    match seed % 10 {
        8 => Weather::LeaderChanges,
        9 => Weather::Quiet,
        _ => Weather::Stormy,
    }
}

/// A world to be, and what is to be wrong with it.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub seed: u64,
    pub weather: Weather,
    pub mutant: Option<Mutant>,
    /// Faults of these kinds only, and more of them.
    pub kinds: Option<&'static [Kind]>,
    pub blind_to: Option<&'static str>,
}

impl Case {
    pub fn of(seed: u64) -> Self {
        Self {
            seed,
            weather: weather_of(seed),
            mutant: None,
            kinds: None,
            blind_to: None,
        }
    }

    pub fn run(&self) -> Outcome {
        let mut world = World::new(self);
        let storm = world.plan.storm;
        world.schedule_fault();
        world.run_until(storm);
        world.heal();
        world.run_until(storm + AFTERMATH);
        let limit = storm + LIVENESS;
        while world.now < limit && !world.is_decided() {
            world.run_until((world.now + SECOND).min(limit));
        }
        world.judge_liveness();
        world.judge_the_end();
        outcome(self, &world)
    }
}

impl World {
    fn has_recovered(&self) -> bool {
        self.history.acknowledged_after_healing > 0 && self.is_settled()
    }

    fn is_decided(&self) -> bool {
        self.has_recovered() || self.history.violation.is_some()
    }

    fn judge_liveness(&mut self) {
        let verdict = match self.has_recovered() {
            true => Ok(()),
            false => Err(format!(
                "{} s after everything healed {} writes were acknowledged; the group: {}",
                LIVENESS / SECOND,
                self.history.acknowledged_after_healing,
                self.describe_group(),
            )),
        };
        self.judge("a primary within a bounded time", verdict);
    }

    fn judge_the_end(&mut self) {
        if let Some((_, holder)) = self.checks.lost_writes.latest() {
            let verdict = self
                .checks
                .lost_writes
                .held_by(&self.members[holder].database);
            self.judge("no acknowledged write is lost", verdict);
        }
    }

    fn describe_group(&self) -> String {
        let node = self.nodes.iter().max_by_key(|node| node.applied);
        let group = node.and_then(|node| node.state.group(&self.plan.group()));
        let members: Vec<String> = self.members.iter().map(describe_member).collect();
        let roles = self
            .nodes
            .iter()
            .map(|node| (node.raft.role, node.raft.hard.term));
        let roles: Vec<_> = roles.collect();
        let group = group.map_or_else(String::new, |group| describe_record(group));
        format!("{group}\nnodes {roles:?}\n{}", members.join("\n"))
    }
}

fn describe_record(group: &Group) -> String {
    let record = group.record.iter().map(|entry| {
        let config = group.describe(&entry.config);
        format!(
            "epoch {} revision {}: {config}",
            entry.epoch, entry.revision
        )
    });
    let record: Vec<String> = record.collect();
    format!(
        "{:?}\n{:?}\n{}",
        group.lease,
        group.failover,
        record.join("\n")
    )
}

fn describe_member(member: &super::world::Member) -> String {
    let (agent, database) = (&member.agent, &member.database);
    let server = database.server.as_ref().map(|server| {
        (
            server.role,
            server.ready,
            server.receiver.map(|r| r.streaming),
            server.senders.len(),
        )
    });
    format!(
        "member {}: {:?} server {server:?} flushed {} of {} upstream {:?} {:?} act {:?} failing {:?}",
        agent.incarnation(),
        database.directory,
        database.flushed,
        database.wal.position(database.wal.end()),
        database
            .upstream
            .map(|upstream| (upstream.epoch, upstream.member)),
        agent.promised(),
        agent.act.as_ref().map(|act| (&act.step, act.stage)),
        agent.failing.as_ref().map(|failing| &failing.step),
    )
}

fn outcome(case: &Case, world: &World) -> Outcome {
    let Case { seed, weather, .. } = *case;
    let history = &world.history;
    let failure = history.violation.clone().map(|violation| Failure {
        violation,
        plan: format!("{:?}", world.plan),
        history: history.to_string(),
        replay: format!("SIM_SEED={seed} cargo test --release --test sim -- --nocapture replay_of"),
    });
    let recovered = world.has_recovered();
    Outcome {
        seed,
        weather,
        lived: world.now,
        recovered: recovered.then(|| world.now.saturating_sub(world.plan.storm)),
        events: history.events,
        grants: history.grants,
        acknowledged: history.acknowledged,
        fingerprint: history.fingerprint(),
        failure,
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {} ({:?}): lived {} s, {} events, {} grants, {} writes acknowledged",
            self.seed,
            self.weather,
            self.lived / SECOND,
            self.events,
            self.grants,
            self.acknowledged
        )?;
        let Some(failure) = &self.failure else {
            return Ok(());
        };
        let Failure {
            violation,
            plan,
            history,
            replay,
        } = failure;
        writeln!(f, "{}: {}", violation.invariant, violation.what)?;
        writeln!(f, "replay: {replay}\nworld: {plan}\n{history}")
    }
}
