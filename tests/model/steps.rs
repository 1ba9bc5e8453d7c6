//! What an instruction makes an agent do, and what that does to PostgreSQL.
//!
//! Which step is due is the product's own decision (`promise::admit`,
//! `reconcile::next_step`); what a step does is modelled here.

use crate::{
    agent::reconcile::{Directory, Step},
    domain::{Epoch, Fenced, Incarnation, Instruction, InstructionOrder, Timeline, rule::Rule},
};

use super::{
    fixture::Inc,
    member::Member,
    scene::Node,
    world::{ConfigId, OrderId, World},
};

/// How a step ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Done,
    /// The machine fails in the middle of it.
    Crash,
    /// The agent turns to another instruction; PostgreSQL goes on.
    Cut,
}

impl<const N: usize> Node<N> {
    /// The state after the member took `order` and did the one step that is
    /// due. `None`: it refused, or nothing came of it.
    ///
    /// Taking and doing are one: a promise alone changes nothing for others.
    pub fn obey(&self, world: &mut World, number: usize, order: OrderId, end: End) -> Option<Self> {
        let due = world.due(&self.members[number], order)?;
        let order = world.order(order).clone();
        let mut node = *self;
        let member = &mut node.members[number];
        if due.promised.accepted.epoch != member.promised.accepted.epoch {
            member.soft_sent = false;
        }
        member.promised = due.promised;
        node.carry_out(world, number, &order, &due.step, end)?;
        Some(node).filter(|node| node != self)
    }

    /// `None` when the step cannot be done now.
    fn carry_out(
        &mut self,
        world: &mut World,
        number: usize,
        order: &Instruction,
        step: &Step,
        end: End,
    ) -> Option<()> {
        match end {
            End::Done => {}
            End::Crash => return self.fail_during(number, order, step),
            End::Cut => return self.leave_promoting(world, number, order, step),
        }
        let source = upstream(order).and_then(|inc| self.alive(inc)).copied();
        let source = source.filter(Member::is_primary);
        let follow = upstream(order).map(|inc| (order.epoch(), inc));
        let member = &mut self.members[number];
        match step {
            Step::Nothing | Step::Barrier { .. } | Step::Wait(_) | Step::ReadEnd => {}
            Step::Open | Step::Close => {}
            Step::Create | Step::StartPrimary => {
                let sync = primary_sync(world, order)?;
                member.open(world, primary_order(order)?, sync);
            }
            Step::Promote { .. } => {
                let sync = primary_sync(world, order)?;
                promote(world, member, primary_order(order)?, sync);
            }
            Step::Continue => member.promised.opened = order.epoch(),
            Step::ApplySync { order, sync } => {
                if sync.is_asynchronous() && !member.stops_at_deadline(order.epoch) {
                    return None;
                }
                let next = world.keep_config(sync.clone());
                let before = member.sync.map(|(_, config)| config);
                member.mixed = world.mix(member.mixed, before, next);
                member.sync = Some((*order, next));
            }
            Step::StopFast => member.stop(true),
            Step::StopImmediate => member.stop(false),
            Step::Fence { epoch } => {
                member.following = None;
                member.fenced = fenced(world, member, *epoch, true);
            }
            Step::CountStopped { epoch } => {
                let clean = member.directory == Directory::Stopped { clean: true };
                member.fenced = fenced(world, member, *epoch, clean);
            }
            Step::StartAlone => member.stand_by(None),
            Step::Follow | Step::StartFollowing => member.stand_by(follow),
            Step::Rewind { .. } => {
                let log = world.log(member.log).rewound_to(world.log(source?.log));
                member.log = world.keep_log(log);
                member.stop(true);
            }
            Step::Clone { keep_old: false } => {
                member.log = source?.log;
                member.stop(true);
            }
            // The agent keeps the old directory aside and begins a new life.
            Step::Clone { keep_old: true } => self.rebirth(world, number)?,
        }
        Some(())
    }

    /// A machine that fails while it promotes has persisted that it opened;
    /// one that fails while it rewinds leaves a directory of no use.
    fn fail_during(&mut self, number: usize, order: &Instruction, step: &Step) -> Option<()> {
        let member = &mut self.members[number];
        match step {
            Step::Promote { .. } => {
                member.promised.opened = order.epoch();
                member.stop(false);
            }
            Step::Rewind { .. } => {
                member.stop(false);
                member.directory = Directory::Wreck;
            }
            _ => return None,
        }
        self.used.crashes += 1;
        Some(())
    }
}

/// Ends recovery on a new timeline, with a sync configuration in force that
/// was written before.
pub fn promote(world: &mut World, member: &mut Member, order: InstructionOrder, sync: ConfigId) {
    let log = world.log(member.log);
    let timeline = if Rule::TimelineIsEpoch.holds() {
        order.epoch.timeline()
    } else {
        Timeline(log.timeline().0 + 1)
    };
    let log = log.promote(timeline, order.epoch);
    member.log = world.keep_log(log);
    member.open(world, order, sync);
}

impl<const N: usize> Node<N> {
    /// Opened is persisted, no upstream is left, and PostgreSQL promotes when
    /// it comes to it.
    fn leave_promoting(
        &mut self,
        world: &mut World,
        number: usize,
        order: &Instruction,
        step: &Step,
    ) -> Option<()> {
        let Step::Promote { .. } = step else {
            return None;
        };
        let sync = primary_sync(world, order)?;
        let member = &mut self.members[number];
        member.promised.opened = order.epoch();
        member.stand_by(None);
        member.promoting = Some((primary_order(order)?, sync));
        self.used.crashes += 1;
        Some(())
    }
}

fn fenced(world: &World, member: &Member, epoch: Epoch, known: bool) -> Option<Fenced> {
    let position = known.then(|| world.log(member.log).position());
    Some(Fenced { epoch, position })
}

fn upstream(order: &Instruction) -> Option<Inc> {
    match order {
        Instruction::Standby(standby) => Some(standby.upstream.incarnation),
        _ => None,
    }
    .map(|id: Incarnation| Inc::of(id))
}

fn primary_order(order: &Instruction) -> Option<InstructionOrder> {
    match order {
        Instruction::Primary(primary) => Some(primary.order),
        _ => None,
    }
}

fn primary_sync(world: &mut World, order: &Instruction) -> Option<ConfigId> {
    match order {
        Instruction::Primary(primary) => Some(world.keep_config(primary.sync.clone())),
        _ => None,
    }
}
