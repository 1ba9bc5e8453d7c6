//! Where the model meets the real code: groups, instructions and logs are kept
//! once and named by a number, and what `State::apply` answered is remembered,
//! because it is a function of the group and the command.

use std::{collections::HashMap, sync::Arc};

use crate::{
    agent::{
        promise::admit,
        reconcile::{Step, next_step},
    },
    domain::{
        Change, Command, Epoch, Group, Instruction, Outcome, Promised, Rejoin, Revision,
        StandbyOrder, State, SyncConfig, Urgency,
    },
};

use super::{
    fixture::{Inc, MOST, group_name, name},
    hash::Fast,
    kept::Kept,
    log::Log,
    member::Member,
    mirror::Mirrors,
    mixture::grant_one_by_one,
    scene::Mixture,
};

pub type GroupId = u32;
pub type LogId = u16;
pub type ConfigId = u16;
pub type OrderId = u16;
/// A sorted list of sync configurations.
pub type MixId = u8;
/// A sorted list of instructions.
pub type SentId = u32;
/// The present life of each member; none where there is no member.
pub type Lives = [Option<Inc>; MOST];

#[derive(Debug)]
pub struct World {
    members: usize,
    pub(super) mixture: Mixture,
    groups: Kept<Group>,
    logs: Kept<Log>,
    configs: Kept<SyncConfig>,
    orders: Kept<Instruction>,
    sents: Kept<Vec<OrderId>>,
    pub(super) mixes: Kept<Vec<ConfigId>>,
    applied: HashMap<(GroupId, Proposal), Option<GroupId>, Fast>,
    told: HashMap<GroupId, [SentId; MOST], Fast>,
    deliverable: HashMap<(SentId, SentId, Promised), SentId, Fast>,
    facts: HashMap<GroupId, Facts, Fast>,
    steps: HashMap<(Member, OrderId), Option<Arc<Due>>, Fast>,
    written: HashMap<(LogId, u8), LogId, Fast>,
    received: HashMap<(LogId, LogId), Option<LogId>, Fast>,
    imagined: HashMap<(Inc, Lives), Arc<Vec<ConfigId>>, Fast>,
    pub(super) mirrors: Mirrors,
}

/// What is asked of a group again and again.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    pub epoch: Epoch,
    pub holder: Inc,
    pub expired: bool,
    pub failing_over: bool,
    /// The latest sync configuration of the epoch.
    pub revision: Revision,
    pub config: ConfigId,
}

/// What a member does about an instruction that it admits.
#[derive(Debug)]
pub struct Due {
    pub promised: Promised,
    pub step: Step,
}

/// A change, small enough to be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Proposal {
    pub kind: u8,
    pub by: Inc,
    pub number: u32,
}

impl World {
    pub fn new(members: usize, mixture: Mixture) -> Self {
        Self {
            members,
            mixture,
            groups: Kept::default(),
            logs: Kept::default(),
            configs: Kept::default(),
            orders: Kept::default(),
            sents: Kept::default(),
            mixes: Kept::default(),
            applied: HashMap::default(),
            told: HashMap::default(),
            deliverable: HashMap::default(),
            facts: HashMap::default(),
            steps: HashMap::default(),
            written: HashMap::default(),
            received: HashMap::default(),
            imagined: HashMap::default(),
            mirrors: Mirrors::new(members),
        }
    }

    pub fn group(&self, id: GroupId) -> &Group {
        self.groups.get(id as usize)
    }

    pub fn log(&self, id: LogId) -> &Log {
        self.logs.get(usize::from(id))
    }

    pub fn config(&self, id: ConfigId) -> &SyncConfig {
        self.configs.get(usize::from(id))
    }

    pub fn order(&self, id: OrderId) -> &Arc<Instruction> {
        self.orders.get(usize::from(id))
    }

    pub fn sent(&self, id: SentId) -> &Arc<Vec<OrderId>> {
        self.sents.get(id as usize)
    }

    pub fn keep_group(&mut self, group: Group) -> GroupId {
        self.groups.keep(group) as GroupId
    }

    pub fn keep_log(&mut self, log: Log) -> LogId {
        u16::try_from(self.logs.keep(log)).expect("few logs")
    }

    pub fn keep_config(&mut self, config: SyncConfig) -> ConfigId {
        u16::try_from(self.configs.keep(config)).expect("few configurations")
    }

    pub fn keep_sent(&mut self, mut list: Vec<OrderId>) -> SentId {
        list.sort_unstable();
        list.dedup();
        self.sents.keep(list) as SentId
    }

    /// Applies `change` through the real state machine. `key` must stand for
    /// the change: the answer is remembered under it. `None` if it changed nothing.
    pub fn apply(
        &mut self,
        group: GroupId,
        key: Proposal,
        change: impl FnOnce(&Self) -> Change,
    ) -> Option<GroupId> {
        if let Some(known) = self.applied.get(&(group, key)) {
            return *known;
        }
        let change = change(self);
        let group_before = self.groups.get(group as usize);
        let next = match (&change, self.mixture) {
            (Change::GrantLease { .. }, Mixture::Ignored) => {
                grant_one_by_one(group_before, &change)
            }
            _ => apply(group_before, change),
        };
        let next = next.map(|next| self.keep_group(next));
        let next = next.filter(|next| *next != group);
        self.applied.insert((group, key), next);
        next
    }

    pub fn facts(&mut self, id: GroupId) -> Facts {
        if let Some(known) = self.facts.get(&id) {
            return *known;
        }
        let group = Arc::clone(self.groups.get(id as usize));
        let lease = group.lease.as_ref().expect("granted from the start");
        let latest = group.latest_sync().expect("on record from the start");
        let facts = Facts {
            epoch: group.epoch,
            holder: Inc::of(lease.holder),
            expired: lease.expired,
            failing_over: group.failover.is_some(),
            revision: latest.revision,
            config: self.keep_config(latest.config.clone()),
        };
        self.facts.insert(id, facts);
        facts
    }

    /// What the real agent code makes of `order` in this state of its member.
    pub fn due(&mut self, member: &Member, order: OrderId) -> Option<Arc<Due>> {
        if let Some(known) = self.steps.get(&(*member, order)) {
            return known.clone();
        }
        let instruction = self.order(order);
        let due = admit(member.promised, instruction).ok().map(|promised| {
            let step = next_step(promised, instruction, &member.actual(self));
            Arc::new(Due { promised, step })
        });
        self.steps.insert((*member, order), due.clone());
        due
    }

    /// The log with one more write.
    pub fn written(&mut self, log: LogId, write: u8) -> LogId {
        if let Some(known) = self.written.get(&(log, write)) {
            return *known;
        }
        let next = self.log(log).append(write);
        let next = self.keep_log(next);
        self.written.insert((log, write), next);
        next
    }

    /// What `standby` becomes by the next thing that it receives.
    pub fn received(&mut self, standby: LogId, primary: LogId) -> Option<LogId> {
        if let Some(known) = self.received.get(&(standby, primary)) {
            return *known;
        }
        let log = self.log(standby);
        let next = log.receive(log.link_to(self.log(primary)));
        let next = next.map(|next| self.keep_log(next));
        self.received.insert((standby, primary), next);
        next
    }

    /// Sync configurations of `holder` that a proposer may think of.
    pub fn imagine(
        &mut self,
        holder: Inc,
        lives: Lives,
        configs: impl FnOnce() -> Vec<SyncConfig>,
    ) -> Arc<Vec<ConfigId>> {
        if let Some(known) = self.imagined.get(&(holder, lives)) {
            return Arc::clone(known);
        }
        let configs = configs().into_iter().map(|config| self.keep_config(config));
        let configs = Arc::new(configs.collect());
        self.imagined.insert((holder, lives), Arc::clone(&configs));
        configs
    }

    /// Every instruction that a leader may derive from `group`, per member.
    pub fn told(&mut self, group: GroupId) -> [SentId; MOST] {
        if let Some(known) = self.told.get(&group) {
            return *known;
        }
        let mut told = [SentId::default(); MOST];
        for (member, told) in told.iter_mut().take(self.members).enumerate() {
            let mut list = Vec::new();
            for (fence_now, recover_holder) in
                [(false, false), (true, false), (false, true), (true, true)]
            {
                let urgency = Urgency {
                    fence_now,
                    recover_holder,
                    // For whoever is not the holder, as the other is for it.
                    recover_others: recover_holder,
                    // Each member is told apart, and to each this says
                    // nothing that the others do not say as well.
                    handed_over: false,
                };
                let order = self.group(group).instruction(&name(member), urgency);
                if order != Instruction::Hold {
                    list.push(self.keep_order(order));
                }
            }
            *told = self.keep_sent(list);
        }
        self.told.insert(group, told);
        told
    }

    /// What of `sent` and `told` a member with this promise may still obey;
    /// with `keep_all` also what it refuses.
    pub fn deliverable(
        &mut self,
        sent: SentId,
        told: SentId,
        promised: Promised,
        keep_all: bool,
    ) -> SentId {
        if let Some(known) = self.deliverable.get(&(sent, told, promised)) {
            return *known;
        }
        let mut list = Vec::clone(self.sent(sent));
        list.extend(self.sent(told).iter());
        list.retain(|order| keep_all || admit(promised, self.order(*order)).is_ok());
        let all = list.clone();
        list.retain(|order| keep_all || !self.is_outdone(*order, &all));
        let kept = self.keep_sent(list);
        self.deliverable.insert((sent, told, promised), kept);
        kept
    }

    /// Whether another instruction of `list` asks for all that this one does,
    /// and more: to rewind, where this one only waits.
    fn is_outdone(&self, order: OrderId, list: &[OrderId]) -> bool {
        let Instruction::Standby(order) = self.order(order).as_ref() else {
            return false;
        };
        let more = |other: &OrderId| match self.order(*other).as_ref() {
            Instruction::Standby(other) => {
                let rejoin = order.rejoin;
                *other != *order
                    && StandbyOrder {
                        rejoin,
                        ..other.clone()
                    } == *order
            }
            _ => false,
        };
        order.rejoin == Rejoin::Wait && list.iter().any(more)
    }

    /// Clients' admission and the list of peers are outside of the model.
    pub fn keep_order(&mut self, mut order: Instruction) -> OrderId {
        if let Instruction::Primary(primary) = &mut order {
            primary.peers.clear();
            primary.open = false;
        }
        u16::try_from(self.orders.keep(order)).expect("few instructions")
    }
}

pub(super) fn apply(group: &Group, change: Change) -> Option<Group> {
    let mut state = State::default();
    state
        .groups
        .insert(group_name(), Arc::new(Group::clone(group)));
    let command = Command {
        at_ms: 0,
        group: group_name(),
        change,
    };
    match state.apply(1, &command) {
        Outcome::Applied(_) => state.group(&group_name()).map(|next| Group::clone(next)),
        Outcome::Refused(_) => None,
    }
}
