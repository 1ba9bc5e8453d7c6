//! What one exploration ranges over: its bounds and its start.

use std::sync::Arc;

use crate::{
    agent::reconcile::Directory,
    domain::{Durability, Epoch, InstructionOrder, Promised, Revision, Role, SyncConfig},
};

use super::{
    fixture::{self, Inc, MOST},
    log::Log,
    member::Member,
    mirror::Renaming,
    world::{ConfigId, GroupId, Lives, SentId, World},
};

/// The bounds of an exploration. What is not bounded here is unbounded.
#[derive(Debug, Clone)]
pub struct Scene {
    pub name: &'static str,
    pub members: usize,
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
    /// Whether each walsender reads a new sync configuration for itself, and
    /// whether a grant accounts for what that may do.
    pub mixture: Mixture,
    /// Members of the first sync set.
    pub first_set: &'static [u8],
}

/// How far the walsenders of a primary may differ in what they release by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixture {
    /// All of them change at once.
    None,
    /// Each for itself.
    Judged,
    /// Each for itself, and `apply` asks of every configuration on record, but
    /// not of what may be released on the way from one to the next.
    Ignored,
}

/// A state of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node<const N: usize> {
    pub group: GroupId,
    pub members: [Member; N],
    /// Instructions to the member's present incarnation that may still arrive.
    pub sent: [SentId; N],
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
    pub fn configs(&self, world: &mut World, holder: Inc, lives: Lives) -> Arc<Vec<ConfigId>> {
        world.imagine(holder, lives, || {
            let lives = lives.into_iter().flatten();
            let others: Vec<_> = lives.filter(|inc| *inc != holder).collect();
            let set = |mask: u8| {
                let chosen = (0..others.len()).filter(|i| mask >> i & 1 == 1);
                SyncConfig::any(self.k, chosen.map(|i| others[i].id()).collect())
            };
            let alone = (self.durability != Durability::Strict).then(SyncConfig::asynchronous);
            (0..1 << others.len()).map(set).chain(alone).collect()
        })
    }

    /// `A` is the primary of a sealed epoch, the others stream from it.
    pub fn start<const N: usize>(&self, world: &mut World) -> Node<N> {
        let life = |member| Inc { member, life: 0 };
        let set = self.first_set.iter().map(|member| life(*member).id());
        let sync = SyncConfig::any(self.k, set.collect());
        let spec = fixture::spec(N, self.durability, self.k);
        let group = world.keep_group(fixture::first_group(spec, &sync));
        let log = world.keep_log(Log::new());
        let sync = world.keep_config(sync);
        let order = InstructionOrder {
            epoch: Epoch(1),
            revision: Revision(2),
        };
        let mut members = std::array::from_fn(|member| Member::blank(life(member as u8), log));
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
            sent: std::array::from_fn(|member| told[member]),
            protected: 0,
            used: Used::default(),
        }
    }
}

impl<const N: usize> Node<N> {
    pub fn lives(&self) -> Lives {
        let mut lives = [None; MOST];
        let present = self.members.iter().map(|member| Some(member.inc));
        lives
            .iter_mut()
            .zip(present)
            .for_each(|(life, inc)| *life = inc);
        lives
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
        for (number, told) in told.into_iter().take(N).enumerate() {
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

    /// The same state with its members renamed.
    pub fn renamed(&self, world: &mut World, renaming: Renaming) -> Self {
        let mut node = *self;
        node.group = world.rename_group(self.group, renaming);
        for number in 0..N {
            let mut member = self.members[number];
            let (sync, promoting) = (member.sync, member.promoting);
            member.inc = renaming.inc(member.inc);
            member.following = member.following.map(|(e, inc)| (e, renaming.inc(inc)));
            member.sync = sync.map(|(order, id)| (order, world.rename_config(id, renaming)));
            member.mixed = member.mixed.map(|id| world.rename_mix(id, renaming));
            member.promoting =
                promoting.map(|(order, id)| (order, world.rename_config(id, renaming)));
            let place = usize::from(member.inc.member);
            node.members[place] = member;
            node.sent[place] = world.rename_sent(self.sent[number], renaming);
        }
        node
    }
}
