//! What one exploration ranges over: its bounds and its start.

use std::sync::Arc;

use crate::{
    agent::reconcile::Directory,
    domain::{Durability, Epoch, InstructionOrder, Promised, Revision, Role, SyncConfig},
};

use super::{
    fixture::{self, Inc, MEMBERS},
    log::Log,
    member::Member,
    mirror,
    world::{ConfigId, GroupId, SentId, World},
};

/// The bounds of an exploration. What is not bounded here is unbounded.
#[derive(Debug, Clone)]
pub struct Scene {
    pub name: &'static str,
    pub durability: Durability,
    pub k: u32,
    /// The greatest epoch that is granted.
    pub epochs: u32,
    pub writes: u8,
    pub sync_changes: u8,
    pub crashes: u8,
    pub rebirths: u8,
    /// Whether failovers may be planned ones as well.
    pub switchover: bool,
    /// Members of the first sync set.
    pub first_set: &'static [u8],
}

/// A state of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    pub group: GroupId,
    pub members: [Member; MEMBERS],
    /// Instructions to the member's present incarnation that may still arrive.
    pub sent: [SentId; MEMBERS],
    /// Writes that no later holder may be without.
    pub protected: u8,
    pub used: Used,
}

/// How much of each bound was used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Used {
    pub writes: u8,
    pub sync_changes: u8,
    pub crashes: u8,
    pub rebirths: u8,
}

impl Scene {
    /// Sync configurations that a proposer may think of for this primary.
    pub fn configs(
        &self,
        world: &mut World,
        holder: Inc,
        lives: [Inc; MEMBERS],
    ) -> Arc<Vec<ConfigId>> {
        world.imagine(holder, lives, || {
            let others: Vec<_> = lives.into_iter().filter(|inc| *inc != holder).collect();
            let set = |mask: u8| {
                let chosen = (0..others.len()).filter(|i| mask >> i & 1 == 1);
                SyncConfig::any(self.k, chosen.map(|i| others[i].id()).collect())
            };
            let alone = (self.durability != Durability::Strict).then(SyncConfig::asynchronous);
            (0..1 << others.len()).map(set).chain(alone).collect()
        })
    }

    /// `A` is the primary of a sealed epoch, `B` and `C` stream from it.
    pub fn start(&self, world: &mut World) -> Node {
        let life = |member| Inc { member, life: 0 };
        let set = self.first_set.iter().map(|member| life(*member).id());
        let sync = SyncConfig::any(self.k, set.collect());
        let spec = fixture::spec(self.durability, self.k);
        let group = world.keep_group(fixture::first_group(spec, &sync));
        let log = world.keep_log(Log::new());
        let sync = world.keep_config(sync);
        let order = InstructionOrder {
            epoch: Epoch(1),
            revision: Revision(2),
        };
        let mut members = [0, 1, 2].map(|member| Member::blank(life(member), log));
        for member in &mut members {
            member.stand_by(Some((Epoch(1), life(0))));
            member.promised.accepted.epoch = Epoch(1);
        }
        members[0].promised = Promised {
            accepted: order,
            ..Promised::default()
        };
        members[0].directory = Directory::Running(Role::Standby);
        members[0].open(world, order, sync);
        members[0].soft_sent = self.durability != Durability::Strict;
        let told = world.told(group);
        Node {
            group,
            members,
            sent: told,
            protected: 0,
            used: Used::default(),
        }
    }
}

impl Node {
    pub fn lives(&self) -> [Inc; MEMBERS] {
        self.members.map(|member| member.inc)
    }

    /// The member that lives as `inc`, if it still does.
    pub fn alive(&self, inc: Inc) -> Option<&Member> {
        let member = &self.members[usize::from(inc.member)];
        (member.inc == inc).then_some(member)
    }

    /// Adds what leaders say of the present group to what is on its way, and
    /// forgets what would be refused: a promise only rises, so it is refused
    /// for good.
    pub fn tell(&mut self, world: &mut World, before: &Self, keep_all: bool) {
        let told = world.told(self.group);
        for (number, told) in told.into_iter().enumerate() {
            let promised = self.members[number].promised;
            let unchanged = (self.group, self.sent[number], promised)
                == (
                    before.group,
                    before.sent[number],
                    before.members[number].promised,
                );
            if !unchanged {
                let sent = self.sent[number];
                self.sent[number] = world.deliverable(sent, told, promised, keep_all);
            }
        }
    }

    /// The same state with members `B` and `C` exchanged.
    pub fn swapped(&self, world: &mut World) -> Self {
        let mut node = *self;
        node.group = world.swap_group(self.group);
        node.members.swap(1, 2);
        node.sent.swap(1, 2);
        for member in &mut node.members {
            member.inc = mirror::swap_inc(member.inc);
            let promoting = member.promoting;
            member.promoting = promoting.map(|(order, id)| (order, world.swap_config(id)));
            member.following = member.following.map(|(e, inc)| (e, mirror::swap_inc(inc)));
            member.sync = member
                .sync
                .map(|(order, id)| (order, world.swap_config(id)));
        }
        node.sent = node.sent.map(|sent| world.swap_sent(sent));
        node
    }
}
