//! The same with members `B` and `C` exchanged.
//!
//! Nothing tells the two apart but their names, so a state and its mirror
//! image lead to the same, mirrored. One of the two is explored.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{Group, Incarnation, Instruction, SyncConfig};

use super::{
    fixture::{Inc, address, name},
    hash::Fast,
    world::{ConfigId, GroupId, OrderId, SentId, World},
};

/// Mirror images found already.
#[derive(Debug, Default)]
pub struct Mirror {
    groups: HashMap<GroupId, GroupId, Fast>,
    orders: HashMap<OrderId, OrderId, Fast>,
    sents: HashMap<SentId, SentId, Fast>,
    configs: HashMap<ConfigId, ConfigId, Fast>,
}

impl World {
    pub fn swap_group(&mut self, id: GroupId) -> GroupId {
        if let Some(known) = self.mirror.groups.get(&id) {
            return *known;
        }
        let mut group = Group::clone(self.group(id));
        group.incarnations = group
            .incarnations
            .values()
            .map(|id| swap_id(*id))
            .map(|id| (name(Inc::of(id).member.into()), id))
            .collect();
        if let Some(lease) = &mut group.lease {
            lease.holder = swap_id(lease.holder);
            lease.member = name(Inc::of(lease.holder).member.into());
        }
        for entry in &mut group.record {
            entry.holder = swap_id(entry.holder);
            entry.config = swap_config(&entry.config);
        }
        if let Some(failover) = &mut group.failover {
            let fences = failover.fences.iter();
            failover.fences = fences.map(|(id, at)| (swap_id(*id), *at)).collect();
        }
        let swapped = self.keep_group(group);
        self.mirror.groups.insert(id, swapped);
        swapped
    }

    pub fn swap_config(&mut self, id: ConfigId) -> ConfigId {
        if let Some(known) = self.mirror.configs.get(&id) {
            return *known;
        }
        let swapped = swap_config(self.config(id));
        let swapped = self.keep_config(swapped);
        self.mirror.configs.insert(id, swapped);
        swapped
    }

    pub fn swap_sent(&mut self, id: SentId) -> SentId {
        if let Some(known) = self.mirror.sents.get(&id) {
            return *known;
        }
        let list = Arc::clone(self.sent(id));
        let list = list.iter().map(|order| self.swap_order(*order)).collect();
        let swapped = self.keep_sent(list);
        self.mirror.sents.insert(id, swapped);
        swapped
    }

    fn swap_order(&mut self, id: OrderId) -> OrderId {
        if let Some(known) = self.mirror.orders.get(&id) {
            return *known;
        }
        let mut order = Instruction::clone(self.order(id));
        match &mut order {
            Instruction::Primary(primary) => primary.sync = swap_config(&primary.sync),
            Instruction::Standby(standby) => {
                let upstream = &mut standby.upstream;
                upstream.incarnation = swap_id(upstream.incarnation);
                let member = Inc::of(upstream.incarnation).member.into();
                upstream.member = name(member);
                upstream.address = address(member);
            }
            Instruction::Hold | Instruction::Fence { .. } => {}
        }
        let swapped = self.keep_order(order);
        self.mirror.orders.insert(id, swapped);
        swapped
    }
}

fn swap_id(id: Incarnation) -> Incarnation {
    swap_inc(Inc::of(id)).id()
}

pub fn swap_inc(inc: Inc) -> Inc {
    let member = [0, 2, 1][usize::from(inc.member)];
    Inc { member, ..inc }
}

fn swap_config(config: &SyncConfig) -> SyncConfig {
    SyncConfig {
        k: config.k,
        set: config.set.iter().map(|id| swap_id(*id)).collect(),
    }
}
