//! Does an agent's step: begins it, looks how far it has come, ends it.
//!
//! A step takes time, and anything may fail in the middle of it. What
//! PostgreSQL was asked for goes on without its agent; what the agent does
//! itself ends with it.

use std::{rc::Rc, time::Duration};

use crate::{
    agent::{promise, reconcile::Step},
    domain::{
        Epoch, Incarnation, Instruction, PrimaryOrder, Promised, Role, SyncConfig, rule::Rule,
    },
};

use super::{
    agent::{Act, Directive},
    event::{Event, Process},
    time::{At, MS},
    turn::{Observed, RETRY_MOST, end_of},
    world::World,
};

/// The most that a step which waits for somebody else is left alone.
const WAIT_MOST: Duration = Duration::from_millis(500);
const POLL: At = 10 * MS;

/// How far a step has come.
pub enum Progress {
    Done,
    /// Look again after this.
    Again(At),
    Failed,
    /// It waits for somebody else.
    Waits,
}
use Progress::{Again, Done, Failed, Waits};

impl World {
    pub fn begin_step(&mut self, member: usize, step: Step, directive: &Rc<Directive>) {
        let agent = &mut self.members[member].agent;
        agent.acts += 1;
        let number = agent.acts;
        let directive = Rc::clone(directive);
        agent.act = Some(Act {
            number,
            step: step.clone(),
            directive: Rc::clone(&directive),
            stage: 0,
        });
        let progress = self.begin(member, &step, &directive.instruction);
        self.end_or_go_on(member, step, progress);
    }

    pub fn step_done(&mut self, member: usize, number: u64) {
        let act = self.members[member]
            .agent
            .act
            .as_mut()
            .filter(|act| act.number == number);
        let Some(act) = act else { return };
        act.stage += 1;
        let (step, stage, directive) = (act.step.clone(), act.stage, Rc::clone(&act.directive));
        let progress = self.go_on(member, &step, &directive.instruction, stage);
        self.end_or_go_on(member, step, progress);
    }

    fn end_or_go_on(&mut self, member: usize, step: Step, progress: Progress) {
        let most = match progress {
            Again(after) => {
                let number = self.members[member].agent.acts;
                self.after(Process::Agent(member), after, Event::StepDone(number));
                return;
            }
            Done => {
                let agent = &mut self.members[member].agent;
                (agent.act, agent.failing) = (None, None);
                self.wake_agent(member, 0);
                return;
            }
            Failed => RETRY_MOST,
            Waits => WAIT_MOST,
        };
        self.members[member].agent.act = None;
        let pause = self.step_failed(member, step, most);
        self.wake_agent(member, pause);
    }

    /// Leaves what is being done when an instruction came that makes it pointless.
    pub fn interrupt(&mut self, member: usize) {
        let agent = &mut self.members[member].agent;
        let (Some(act), Some(news)) = (&agent.act, &agent.directive) else {
            return;
        };
        let (promised, current) = (agent.memory.promised, &act.directive);
        let mine = news.incarnation == current.incarnation;
        if mine && promise::interrupts(promised, &news.instruction, &current.instruction) {
            agent.act = None;
            agent.forget();
            self.wake_agent(member, 0);
        }
    }

    fn begin(&mut self, member: usize, step: &Step, instruction: &Instruction) -> Progress {
        let takes = self.rng.skewed(5 * MS, 200 * MS);
        match (step, instruction) {
            (Step::Wait(_), _) => Waits,
            (Step::StartPrimary, Instruction::Primary(order)) => {
                self.start_primary(member, order.order.epoch)
            }
            (Step::Promote { sync }, Instruction::Primary(order)) => {
                self.begin_promote(member, order, sync)
            }
            (Step::Continue, Instruction::Primary(order)) => {
                self.open_epoch(member, order.order.epoch);
                self.opened(member);
                Done
            }
            (Step::ApplySync { sync, .. }, _) => {
                self.write_sync(member, sync.clone());
                Again(takes)
            }
            (Step::Barrier { order }, Instruction::Primary(primary)) => {
                self.begin_barrier(member, *order, &primary.sync);
                Done
            }
            (Step::StopFast, _) => self.begin_stop(member),
            (Step::Fence { epoch }, _) => self.begin_fence(member, *epoch, takes),
            (Step::StartAlone, _) => {
                self.members[member].agent.forget();
                self.members[member].database.upstream = None;
                Again(self.start_server(member, Role::Standby))
            }
            (Step::Follow | Step::StartFollowing, Instruction::Standby(order)) => {
                self.begin_follow(member, order)
            }
            (Step::Rewind { .. }, Instruction::Standby(order)) => self.begin_rewind(member, order),
            (Step::Clone { .. }, Instruction::Standby(order)) => self.begin_clone(member, order),
            _ => Again(takes),
        }
    }

    fn go_on(
        &mut self,
        member: usize,
        step: &Step,
        instruction: &Instruction,
        stage: u32,
    ) -> Progress {
        match (step, instruction) {
            (Step::Create, Instruction::Primary(order)) if stage == 1 => {
                self.create_cluster(member);
                self.start_primary(member, order.order.epoch)
            }
            (Step::Create | Step::StartPrimary, Instruction::Primary(order)) => {
                self.await_primary(member, order)
            }
            (Step::Promote { sync }, Instruction::Primary(order)) => {
                self.await_promotion(member, order, sync)
            }
            (Step::ApplySync { order, sync }, _) => {
                let primary = self.members[member].database.is_primary();
                self.members[member].agent.known.sync = Some((*order, sync.clone()));
                if primary { Done } else { Failed }
            }
            (Step::Open | Step::Close, _) => self.let_clients(member, *step == Step::Open),
            (Step::StopFast, _) => match self.members[member].database.server {
                Some(_) => Again(POLL),
                None => Done,
            },
            (Step::StopImmediate, _) => {
                self.members[member].agent.forget();
                self.end_server(member, false);
                Done
            }
            (Step::Fence { epoch }, _) => self.fence(member, *epoch),
            (Step::CountStopped { epoch }, _) => self.count_stopped(member, *epoch),
            (Step::StartAlone, _) => self.await_ready(member),
            (Step::ReadEnd, _) => {
                let database = &self.members[member].database;
                if database.may_receive() && database.server.is_some() {
                    return Failed;
                }
                self.members[member].agent.known.end = Some(end_of(database));
                Done
            }
            (Step::Follow | Step::StartFollowing, _) => self.await_following(member),
            (Step::Rewind { .. }, Instruction::Standby(order)) if stage == 1 => {
                self.rewind(member, order)
            }
            (Step::Clone { .. }, Instruction::Standby(order)) if stage == 1 => {
                self.clone_from(member, order)
            }
            (Step::Rewind { .. } | Step::Clone { .. }, _) => self.await_following(member),
            _ => Done,
        }
    }

    // As primary.

    fn open_epoch(&mut self, member: usize, epoch: Epoch) {
        let promised = Promised {
            opened: epoch,
            ..self.members[member].agent.promised()
        };
        self.promise(member, promised);
    }

    fn start_primary(&mut self, member: usize, epoch: Epoch) -> Progress {
        self.open_epoch(member, epoch);
        let agent = &mut self.members[member].agent;
        agent.forget();
        agent.open = false;
        self.members[member].database.sync = SyncConfig::nobody();
        Again(self.start_server(member, Role::Primary))
    }

    fn await_primary(&mut self, member: usize, order: &PrimaryOrder) -> Progress {
        let ready = self.await_ready(member);
        if matches!(ready, Done) {
            self.admit(member, &Instruction::Primary(order.clone()));
            self.give_slots(member, order);
            self.note(format!("postgres {member} is primary"));
            self.opened(member);
        }
        ready
    }

    pub fn await_ready(&self, member: usize) -> Progress {
        match &self.members[member].database.server {
            None => Failed,
            Some(server) if server.ready => Done,
            Some(_) => Again(POLL),
        }
    }

    fn begin_promote(
        &mut self,
        member: usize,
        order: &PrimaryOrder,
        sync: &SyncConfig,
    ) -> Progress {
        self.open_epoch(member, order.order.epoch);
        self.members[member].agent.open = false;
        if !self.members[member].database.is_primary() {
            self.begin_promotion(member, order.order.epoch, sync.clone());
        }
        Again(POLL)
    }

    fn await_promotion(
        &mut self,
        member: usize,
        order: &PrimaryOrder,
        sync: &SyncConfig,
    ) -> Progress {
        let database = &self.members[member].database;
        if database.server.is_none() {
            return Failed;
        }
        if !database.is_primary() {
            return Again(POLL);
        }
        if database.wal.timeline() != order.order.epoch.timeline() && Rule::TimelineIsEpoch.holds()
        {
            self.end_server(member, false);
            return Failed;
        }
        let agent = &mut self.members[member].agent;
        agent.forget();
        agent.known.sync = Some((order.order, sync.clone()));
        self.give_slots(member, order);
        Done
    }

    /// Roles and slots of members that came since the promotion.
    pub fn admit_peers(&mut self, member: usize, instruction: &Instruction, observed: &Observed) {
        let Instruction::Primary(order) = instruction else {
            return;
        };
        let opened = self.members[member].agent.promised().opened == order.order.epoch;
        let primary =
            observed.directory == crate::agent::reconcile::Directory::Running(Role::Primary);
        if opened && primary {
            self.give_slots(member, order);
        }
    }

    fn give_slots(&mut self, member: usize, order: &PrimaryOrder) {
        if let Some(server) = &mut self.members[member].database.server {
            server.slots = order.peers.iter().map(|peer| peer.incarnation).collect();
        }
    }

    fn let_clients(&mut self, member: usize, open: bool) -> Progress {
        let Some(server) = &mut self.members[member].database.server else {
            return Failed;
        };
        server.open = open;
        self.members[member].agent.open = open;
        Done
    }

    fn begin_stop(&mut self, member: usize) -> Progress {
        self.members[member].agent.forget();
        let database = &mut self.members[member].database;
        let run = database.run;
        if let Some(server) = &mut database.server {
            server.stopping = true;
            self.after(Process::Postgres(member), 30 * MS, Event::Stopping(run));
        }
        Again(POLL)
    }

    /// A server that stops waits until its standbys have everything.
    pub fn stopping(&mut self, member: usize, run: u64) {
        let database = &self.members[member].database;
        let Some(server) = database.server.as_ref().filter(|_| database.run == run) else {
            return;
        };
        let end = database.wal.end();
        let reached = |sender: &super::postgres::Sender| sender.ahead || sender.flush >= end;
        if database.flushed == end && server.senders.values().all(reached) {
            self.end_server(member, true);
            return;
        }
        self.after(Process::Postgres(member), POLL, Event::Stopping(run));
    }

    pub fn new_incarnation(&mut self) -> Incarnation {
        let (high, low) = (self.rng.next(), self.rng.next());
        Incarnation(uuid::Uuid::from_u128(
            u128::from(high) << 64 | u128::from(low),
        ))
    }
}
