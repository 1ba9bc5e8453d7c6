//! Everything that can happen next.
//!
//! Nobody here is wise: a failover begins for no reason, a grant is tried for
//! every member with every sync set, messages arrive in any order. What keeps
//! the world safe is only what `State::apply` and the agents refuse.

use crate::{
    agent::reconcile::Directory,
    domain::{Change, Durability, Revision, rule::Rule},
};

use super::{
    fixture::{Inc, name},
    invariants::Violation,
    member::Member,
    scene::{Node, Scene},
    steps::{self, End},
    world::{ConfigId, Facts, LogId, OrderId, Proposal, World},
};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    // A leader, present or deposed, gets a command through.
    BeginFailover { planned: bool },
    RecordFence(Inc),
    Grant(Inc, ConfigId),
    RecordPromotion(Inc),
    ProposeSync(ConfigId),
    ConfirmSync(Revision),
    SealEpoch(Revision),
    RecordHardRenewal,
    ExpireLease,
    // A member.
    Obey(Inc, OrderId),
    FailWhileObeying(Inc, OrderId),
    TurnAwayFrom(Inc, OrderId),
    PromotionEnds(Inc),
    AllRead(Inc),
    Write(Inc),
    Stream(Inc),
    Crash(Inc),
    Rebirth(Inc),
    HardRenewalArrives(Inc),
    SoftRenewalArrives(Inc),
    StopAtDeadline(Inc),
}

/// A state that may come next, or the guarantee that fails on the way there.
pub type Next<const N: usize> = (Action, Result<Node<N>, Violation>);

pub struct Successors<'a, const N: usize> {
    pub world: &'a mut World,
    pub scene: &'a Scene,
    pub out: &'a mut Vec<Next<N>>,
}

impl<const N: usize> Successors<'_, N> {
    /// Fills `out` with every state that may follow `node`.
    pub fn of(&mut self, node: &Node<N>) {
        self.commands(node);
        for number in 0..N {
            self.orders(node, number);
            self.postgres(node, number);
        }
        if self.scene.durability != Durability::Strict {
            self.lease(node);
        }
    }

    pub(super) fn push(&mut self, action: Action, before: &Node<N>, mut node: Node<N>) {
        node.settle(self.world, self.scene, before);
        self.out.push((action, Ok(node)));
    }

    // Members.

    fn orders(&mut self, node: &Node<N>, number: usize) {
        let sent = std::sync::Arc::clone(self.world.sent(node.sent[number]));
        let inc = node.members[number].inc;
        for order in sent.iter().copied() {
            if let Some(next) = node.obey(self.world, number, order, End::Done)
                && next.used.rebirths <= self.scene.rebirths
            {
                self.push(Action::Obey(inc, order), node, next);
            }
            if node.used.crashes >= self.scene.crashes {
                continue;
            }
            if let Some(next) = node.obey(self.world, number, order, End::Crash) {
                self.push(Action::FailWhileObeying(inc, order), node, next);
            }
            if let Some(next) = node.obey(self.world, number, order, End::Cut) {
                self.push(Action::TurnAwayFrom(inc, order), node, next);
            }
        }
    }

    fn postgres(&mut self, node: &Node<N>, number: usize) {
        let member = node.members[number];
        if member.is_primary() && node.used.writes < self.scene.writes {
            let mut next = *node;
            next.members[number].log = self.world.written(member.log, node.used.writes);
            next.used.writes += 1;
            self.push(Action::Write(member.inc), node, next);
        }
        if let Some((order, sync)) = member.promoting {
            let mut next = *node;
            steps::promote(self.world, &mut next.members[number], order, sync);
            self.push(Action::PromotionEnds(member.inc), node, next);
        }
        if member.mixed.is_some() {
            let mut next = *node;
            next.members[number].mixed = None;
            self.push(Action::AllRead(member.inc), node, next);
        }
        if let Some(log) = node.received(self.world, number) {
            let mut next = *node;
            next.members[number].log = log;
            self.push(Action::Stream(member.inc), node, next);
        }
        if matches!(member.directory, Directory::Running(_))
            && node.used.crashes < self.scene.crashes
        {
            let mut next = *node;
            next.members[number].stop(false);
            next.used.crashes += 1;
            self.push(Action::Crash(member.inc), node, next);
        }
        if node.used.rebirths < self.scene.rebirths {
            let mut next = *node;
            if next.rebirth(self.world, number).is_some() {
                self.push(Action::Rebirth(member.inc), node, next);
            }
        }
    }

    // The lease, where a primary that asks nobody makes it matter.

    fn lease(&mut self, node: &Node<N>) {
        let Facts {
            epoch,
            holder,
            expired,
            ..
        } = self.world.facts(node.group);
        let number = usize::from(holder.member);
        let member = node.alive(holder).copied();
        for stale in node
            .members
            .iter()
            .filter(|m| m.is_primary() && m.held.is_some())
        {
            let mut next = *node;
            next.members[usize::from(stale.inc.member)].stop(false);
            self.push(Action::StopAtDeadline(stale.inc), node, next);
        }
        let serves_past = member.is_some_and(|m| m.is_primary() && m.held.is_some());
        if !serves_past {
            self.propose(node, Action::ExpireLease, holder, 0, |_| {
                Change::ExpireLease { epoch }
            });
        }
        let renews = |m: &Member| m.is_primary() && m.promised.accepted.epoch == epoch;
        let Some(member) = member.filter(renews).filter(|_| !expired) else {
            return;
        };
        self.propose(node, Action::RecordHardRenewal, holder, 0, |_| {
            Change::RecordHardRenewal { epoch }
        });
        for (hard, action) in [
            (true, Action::HardRenewalArrives(holder)),
            (false, Action::SoftRenewalArrives(holder)),
        ] {
            let mut next = *node;
            next.members[number].acknowledge_renewal(epoch, hard);
            if (hard || member.soft_sent) && next.members[number].held != member.held {
                self.push(action, node, next);
            }
        }
    }
}

impl<const N: usize> Node<N> {
    fn received(&self, world: &mut World, number: usize) -> Option<LogId> {
        let standby = &self.members[number];
        let (_, upstream) = standby.following?;
        let primary = self.alive(upstream).filter(|member| member.is_primary())?;
        world.received(standby.log, primary.log)
    }

    /// The member loses its directory and its agent's memory, and presents
    /// itself anew. `None`: its last life has not left anything to lose.
    pub fn rebirth(&mut self, world: &mut World, number: usize) -> Option<()> {
        let old = self.members[number].inc;
        let inc = if Rule::Incarnation.holds() {
            old.next_life()
        } else {
            old
        };
        let empty = world.keep_log(super::log::Log::new());
        self.members[number] = Member::blank(inc, empty);
        self.used.rebirths += 1;
        if inc == old {
            return Some(());
        }
        // Instructions name the incarnation that they are for.
        self.sent[number] = world.keep_sent(Vec::new());
        let key = Proposal {
            kind: u8::MAX,
            by: inc,
            number: 0,
        };
        let register = Change::RegisterMember {
            member: name(number),
            incarnation: inc.id(),
            system_identifier: None,
        };
        self.group = world.apply(self.group, key, |_| register)?;
        Some(())
    }

    /// Brings everything that follows by itself up to date.
    fn settle(&mut self, world: &mut World, scene: &Scene, before: &Self) {
        let keep_all = !Rule::Incarnation.holds();
        if Rule::Promise.holds() && Rule::RevisionOrder.holds() {
            self.members.iter_mut().for_each(Member::forget_unread);
        }
        self.tell(world, before, keep_all);
        self.protect_acknowledged(world);
        if scene.durability == Durability::Strict {
            return;
        }
        for member in &mut self.members {
            let waits = member.is_primary() && !member.asks_nobody(world);
            member.soft_sent |= waits;
        }
    }
}
