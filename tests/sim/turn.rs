//! One turn of an agent: look, say, obey.

use std::{rc::Rc, time::Duration};

use crate::{
    agent::{
        promise,
        reconcile::{Actual, Directory, Step, next_step},
    },
    domain::{
        Epoch, Incarnation, Instruction, Lineage, Lsn, Postgres, Promised, Receiving, Report, Role,
        Running,
    },
};

use super::{
    agent::{Directive, Failing},
    event::{Event, Process},
    mutant::Mutant,
    postgres,
    time::{At, MS},
    world::World,
};

const CALM: At = 500 * MS;
/// Looks are rarer than the product's, for speed; they only come later.
const WATCHFUL: At = 20 * MS;
const WEARY: At = 50 * MS;
const ALERT: Duration = Duration::from_secs(5);
pub const RETRY_FIRST: Duration = Duration::from_millis(50);
pub const RETRY_MOST: Duration = Duration::from_secs(5);
const DEAF: Duration = Duration::from_secs(2);

/// A standby that streams from somebody the agent does not remember.
const UNKNOWN: (Epoch, Incarnation) = (Epoch::NONE, Incarnation(uuid::Uuid::nil()));

/// One look at PostgreSQL.
#[derive(Debug, Clone)]
pub struct Observed {
    pub directory: Directory,
    pub postgres: Postgres,
    pub lineage: Option<Lineage>,
    pub system: Option<u64>,
    pub cut_off: bool,
}

impl World {
    pub fn boottime_of(&self, member: usize) -> Duration {
        self.clocks[self.host_of(Process::Agent(member))].boottime(self.now)
    }

    pub fn wake_agent(&mut self, member: usize, delay: At) {
        let agent = &mut self.members[member].agent;
        if agent.act.is_none() {
            agent.turn += 1;
            let turn = agent.turn;
            self.after(Process::Agent(member), delay, Event::Turn(turn));
        }
    }

    pub fn turn(&mut self, member: usize, number: u64) {
        let agent = &self.members[member].agent;
        if agent.turn != number || agent.act.is_some() {
            return;
        }
        let rest = self.look_and_act(member);
        self.wake_agent(member, rest);
    }

    fn look_and_act(&mut self, member: usize) -> At {
        self.follow_barrier(member);
        let Some(observed) = self.observe(member) else {
            return self.wait_for_an_answer(member);
        };
        self.members[member].agent.unanswered = None;
        self.say_observed(member, &observed, None);
        let agent = &self.members[member].agent;
        let mine = |directive: &&Rc<Directive>| directive.incarnation == agent.incarnation();
        let Some(directive) = agent.directive.as_ref().filter(mine).cloned() else {
            return CALM;
        };
        if directive.instruction == Instruction::Hold {
            return CALM;
        }
        self.beside(member, &directive, &observed);
        if self.is_forsaken(member, &observed) {
            return self.do_step(member, Step::StopImmediate, &directive, &observed);
        }
        let step = match self.admit(member, &directive.instruction) {
            true => {
                let actual = self.actual(member, &observed);
                let promised = self.members[member].agent.promised();
                next_step(promised, &directive.instruction, &actual)
            }
            false => Step::Nothing,
        };
        self.do_step(member, step, &directive, &observed)
    }

    /// Persists the promise that the instruction asks for. False: it is late.
    pub fn admit(&mut self, member: usize, instruction: &Instruction) -> bool {
        let promised = self.members[member].agent.promised();
        match promise::admit(promised, instruction) {
            Ok(promised) => {
                self.promise(member, promised);
                true
            }
            Err(_) => false,
        }
    }

    pub fn promise(&mut self, member: usize, promised: Promised) {
        let forgets = self.mutant == Some(Mutant::PromiseNotPersisted);
        let agent = &mut self.members[member].agent;
        agent.memory.promised = promised;
        if !forgets {
            agent.disk.promised = promised;
        }
        self.promised_now(member);
    }

    // Looking.

    /// `None`: it runs and does not answer.
    pub fn observe(&self, member: usize) -> Option<Observed> {
        let database = &self.members[member].database;
        let Some(server) = &database.server else {
            return Some(look_at_directory(database));
        };
        if !server.ready || self.is_paused(Process::Postgres(member)) {
            return None;
        }
        let streams = server.receiver.is_some_and(|receiver| receiver.streaming);
        let receiving = if streams {
            Receiving::Streaming
        } else {
            Receiving::No
        };
        let position = database.wal.position(database.flushed);
        let running = Running {
            role: server.role,
            position,
            replayed: position.lsn,
            receiving,
            open: self.members[member].agent.open,
        };
        Some(Observed {
            directory: Directory::Running(server.role),
            postgres: Postgres::Running(running),
            lineage: Some(database.wal.lineage()),
            system: database.system,
            cut_off: !database.may_receive(),
        })
    }

    pub fn actual(&self, member: usize, observed: &Observed) -> Actual {
        let agent = &self.members[member].agent;
        let known = &agent.known;
        let receives = observed.directory == Directory::Running(Role::Standby) && !observed.cut_off;
        let asking = self.mutant == Some(Mutant::FenceByAsking);
        let under_way = agent.barrier.as_ref().map(|barrier| barrier.order);
        Actual {
            directory: observed.directory,
            lineage: match observed.directory {
                Directory::Running(Role::Primary) => observed.lineage.clone(),
                _ => known.end.as_ref().map(|end| end.1.clone()),
            },
            end: known
                .end
                .as_ref()
                .map(|end| end.0.lsn)
                .filter(|_| !receives),
            fenced: known.fenced.filter(|_| asking || !receives),
            following: agent
                .memory
                .following
                .filter(|_| receives)
                .or(receives.then_some(UNKNOWN)),
            sync: known.sync.clone(),
            barrier: known.barrier.map(|barrier| barrier.order).max(under_way),
            open: agent.open,
        }
    }

    // Saying.

    pub fn say_observed(&mut self, member: usize, observed: &Observed, busy: Option<&str>) {
        let postgres = busy.map(|doing| Postgres::Busy {
            doing: doing.to_owned(),
        });
        let report = self.report(member, observed, postgres);
        let promised = self.members[member].agent.promised();
        let renew = is_renewable(promised, observed).then_some(promised.opened);
        self.say(member, report, renew);
    }

    fn report(&self, member: usize, observed: &Observed, postgres: Option<Postgres>) -> Report {
        let agent = &self.members[member].agent;
        let receives = observed.directory == Directory::Running(Role::Standby) && !observed.cut_off;
        let is_primary = observed.directory == Directory::Running(Role::Primary);
        let asking = self.mutant == Some(Mutant::FenceByAsking);
        Report {
            group: self.plan.group(),
            member: self.plan.member_name(member),
            incarnation: agent.incarnation(),
            system_identifier: observed.system,
            promised: agent.promised(),
            postgres: postgres.unwrap_or_else(|| observed.postgres.clone()),
            lineage: observed.lineage.clone(),
            fenced: agent
                .known
                .fenced
                .filter(|_| (asking || !receives) && !is_primary),
            barrier: agent.known.barrier.filter(|_| is_primary),
            upstream_answers: agent.knocks.as_ref().and_then(|knocks| knocks.latest),
            checkpointed: agent.checkpoint,
            trouble: None,
        }
    }

    fn say_busy(&mut self, member: usize, doing: &str) {
        let Some(said) = self.members[member].agent.said.clone() else {
            return;
        };
        let postgres = Postgres::Busy {
            doing: doing.to_owned(),
        };
        let report = Report {
            postgres,
            ..Report::clone(&said)
        };
        self.say(member, report, None);
    }

    /// PostgreSQL runs and does not answer. A standby that should be
    /// another's is stopped after a while: it may wait for good.
    fn wait_for_an_answer(&mut self, member: usize) -> At {
        self.say_busy(member, "starting or stopping");
        let now = self.boottime_of(member);
        let is_standby = self.members[member].database.is_standby;
        let agent = &mut self.members[member].agent;
        let since = *agent.unanswered.get_or_insert(now);
        let Some(directive) = agent.directive.clone() else {
            return WATCHFUL;
        };
        let other = match &directive.instruction {
            Instruction::Fence { .. } => true,
            Instruction::Standby(order) => {
                agent.memory.following != Some((order.epoch, order.upstream.incarnation))
            }
            Instruction::Primary(_) | Instruction::Hold => false,
        };
        let mine = directive.incarnation == agent.incarnation();
        let deaf = now.saturating_sub(since) > DEAF;
        if mine && deaf && other && is_standby && self.admit(member, &directive.instruction) {
            return self.do_step(member, Step::StopImmediate, &directive, &unknown());
        }
        WATCHFUL
    }

    // Doing.

    fn do_step(
        &mut self,
        member: usize,
        step: Step,
        directive: &Rc<Directive>,
        observed: &Observed,
    ) -> At {
        let now = self.boottime_of(member);
        let agent = &mut self.members[member].agent;
        let failed = agent
            .failing
            .as_ref()
            .filter(|failing| failing.step == step);
        if let Some(rest) = failed.map(|failing| failing.until.saturating_sub(now))
            && !rest.is_zero()
        {
            return u64::try_from(rest.as_micros()).unwrap_or(CALM).min(CALM);
        }
        if step == Step::Nothing {
            agent.failing = None;
            self.admit_peers(member, &directive.instruction, observed);
            return self.rest(member, directive.watchful);
        }
        if let Some(busy) = describe(&step) {
            self.say_observed(member, observed, Some(busy));
        }
        self.members[member].agent.stirred = now;
        self.begin_step(member, step, directive);
        CALM
    }

    /// Notes a failure, and returns how long to leave the step alone.
    pub fn step_failed(&mut self, member: usize, step: Step, most: Duration) -> At {
        let now = self.boottime_of(member);
        let agent = &mut self.members[member].agent;
        let failed = agent
            .failing
            .as_ref()
            .filter(|failing| failing.step == step);
        let pause = failed.map_or(RETRY_FIRST, |failing| (failing.pause * 2).min(most));
        agent.failing = Some(Failing {
            step,
            pause,
            until: now + pause,
        });
        u64::try_from(pause.as_micros()).unwrap_or(CALM)
    }

    fn rest(&self, member: usize, watchful: bool) -> At {
        let since = self
            .boottime_of(member)
            .saturating_sub(self.members[member].agent.stirred);
        match (watchful, since > ALERT) {
            (true, false) => WATCHFUL,
            (true, true) => WEARY,
            (false, _) => CALM,
        }
    }
}

/// What is shown of a step that takes longer than a moment.
fn describe(step: &Step) -> Option<&'static str> {
    match step {
        Step::Create => Some("making the first data directory"),
        Step::StartPrimary | Step::StartAlone | Step::StartFollowing => Some("starting"),
        Step::StopFast | Step::StopImmediate => Some("stopping"),
        Step::Rewind { .. } => Some("rewinding"),
        Step::Clone { .. } => Some("taking a base backup"),
        _ => None,
    }
}

/// Whether this epoch may be renewed: it was opened and runs as primary.
pub fn is_renewable(promised: Promised, observed: &Observed) -> bool {
    observed.directory == Directory::Running(Role::Primary)
        && promised.opened == promised.accepted.epoch
        && promised.opened > promised.fenced
}

fn look_at_directory(database: &postgres::Database) -> Observed {
    let clean = database.clean;
    let (directory, postgres) = match database.directory {
        postgres::Directory::Absent => (Directory::Absent, Postgres::Absent),
        postgres::Directory::Wreck => (Directory::Wreck, Postgres::Wreck),
        postgres::Directory::Present => (Directory::Stopped { clean }, Postgres::Stopped { clean }),
    };
    let system = database
        .system
        .filter(|_| matches!(directory, Directory::Stopped { .. }));
    Observed {
        directory,
        postgres,
        lineage: None,
        system,
        cut_off: true,
    }
}

/// Nothing can be said of the directory.
fn unknown() -> Observed {
    Observed {
        directory: Directory::Absent,
        postgres: Postgres::Busy {
            doing: String::new(),
        },
        lineage: None,
        system: None,
        cut_off: true,
    }
}

/// Where a member's log ends.
pub fn end_of(database: &postgres::Database) -> (crate::domain::Position, Lineage) {
    let position = database.wal.position(database.flushed);
    debug_assert_eq!(position.lsn, Lsn(database.flushed as u64));
    (position, database.wal.lineage())
}
