//! The same with the standbys under other names.
//!
//! Nothing tells the members but `A` apart, so a state leads to the same as
//! every state that differs from it by their names only. One of all these is
//! explored.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{Group, Incarnation, Instruction, SyncConfig};

use super::{
    fixture::{Inc, MOST, address, name},
    hash::Fast,
    world::{ConfigId, GroupId, MixId, OrderId, SentId, World},
};

/// What each member is called instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Renaming {
    number: u8,
    names: [u8; MOST],
}

/// All renamings that change something, and what they were found to make.
#[derive(Debug)]
pub struct Mirrors {
    all: Arc<[Renaming]>,
    groups: HashMap<(u8, GroupId), GroupId, Fast>,
    orders: HashMap<(u8, OrderId), OrderId, Fast>,
    sents: HashMap<(u8, SentId), SentId, Fast>,
    configs: HashMap<(u8, ConfigId), ConfigId, Fast>,
    mixes: HashMap<(u8, MixId), MixId, Fast>,
}

impl Mirrors {
    pub fn new(members: usize) -> Self {
        let mut orders = vec![vec![0]];
        for member in 1..members as u8 {
            let places = |order: Vec<u8>| {
                (1..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, member);
                    longer
                })
            };
            orders = orders.into_iter().flat_map(places).collect();
        }
        let changes = |names: &Vec<u8>| !names.is_sorted();
        let renaming = |(number, names): (u8, Vec<u8>)| Renaming {
            number,
            names: std::array::from_fn(|i| names.get(i).copied().unwrap_or(i as u8)),
        };
        Self {
            all: (0..)
                .zip(orders.into_iter().filter(changes))
                .map(renaming)
                .collect(),
            groups: HashMap::default(),
            orders: HashMap::default(),
            sents: HashMap::default(),
            configs: HashMap::default(),
            mixes: HashMap::default(),
        }
    }
}

impl Renaming {
    pub fn inc(self, inc: Inc) -> Inc {
        let member = self.names[usize::from(inc.member)];
        Inc { member, ..inc }
    }

    fn id(self, id: Incarnation) -> Incarnation {
        self.inc(Inc::of(id)).id()
    }

    fn config(self, config: &SyncConfig) -> SyncConfig {
        SyncConfig {
            k: config.k,
            set: config.set.iter().map(|id| self.id(*id)).collect(),
        }
    }
}

impl World {
    pub fn renamings(&self) -> Arc<[Renaming]> {
        Arc::clone(&self.mirrors.all)
    }

    pub fn rename_group(&mut self, id: GroupId, to: Renaming) -> GroupId {
        if let Some(known) = self.mirrors.groups.get(&(to.number, id)) {
            return *known;
        }
        let mut group = Group::clone(self.group(id));
        group.incarnations = group
            .incarnations
            .values()
            .map(|id| to.id(*id))
            .map(|id| (name(Inc::of(id).member.into()), id))
            .collect();
        if let Some(lease) = &mut group.lease {
            lease.holder = to.id(lease.holder);
            lease.member = name(Inc::of(lease.holder).member.into());
        }
        for entry in &mut group.record {
            entry.holder = to.id(entry.holder);
            entry.config = to.config(&entry.config);
        }
        if let Some(failover) = &mut group.failover {
            let fences = failover.fences.iter();
            failover.fences = fences.map(|(id, at)| (to.id(*id), *at)).collect();
        }
        let renamed = self.keep_group(group);
        self.mirrors.groups.insert((to.number, id), renamed);
        renamed
    }

    pub fn rename_config(&mut self, id: ConfigId, to: Renaming) -> ConfigId {
        if let Some(known) = self.mirrors.configs.get(&(to.number, id)) {
            return *known;
        }
        let renamed = to.config(self.config(id));
        let renamed = self.keep_config(renamed);
        self.mirrors.configs.insert((to.number, id), renamed);
        renamed
    }

    pub fn rename_mix(&mut self, id: MixId, to: Renaming) -> MixId {
        if let Some(known) = self.mirrors.mixes.get(&(to.number, id)) {
            return *known;
        }
        let list = Arc::clone(self.mix_of(id));
        let list = list.iter().map(|it| self.rename_config(*it, to)).collect();
        let renamed = self.keep_mix(list);
        self.mirrors.mixes.insert((to.number, id), renamed);
        renamed
    }

    pub fn rename_sent(&mut self, id: SentId, to: Renaming) -> SentId {
        if let Some(known) = self.mirrors.sents.get(&(to.number, id)) {
            return *known;
        }
        let list = Arc::clone(self.sent(id));
        let list = list.iter().map(|o| self.rename_order(*o, to)).collect();
        let renamed = self.keep_sent(list);
        self.mirrors.sents.insert((to.number, id), renamed);
        renamed
    }

    fn rename_order(&mut self, id: OrderId, to: Renaming) -> OrderId {
        if let Some(known) = self.mirrors.orders.get(&(to.number, id)) {
            return *known;
        }
        let mut order = Instruction::clone(self.order(id));
        match &mut order {
            Instruction::Primary(primary) => primary.sync = to.config(&primary.sync),
            Instruction::Standby(standby) => {
                let upstream = &mut standby.upstream;
                upstream.incarnation = to.id(upstream.incarnation);
                let member = Inc::of(upstream.incarnation).member.into();
                upstream.member = name(member);
                upstream.address = address(member);
            }
            Instruction::Hold | Instruction::Fence { .. } => {}
        }
        let renamed = self.keep_order(order);
        self.mirrors.orders.insert((to.number, id), renamed);
        renamed
    }
}
