//! The group as the quorum knows it: the product's `State::apply`, remembered.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{
    Barrier, Cause, Change, Command, Durability, Epoch, Group, Lineage, Outcome, Revision, State,
    SyncConfig,
};

use super::super::{
    fixture::{self, Inc, group_name, name},
    hash::Fast,
    kept::Kept,
    log::Log,
};

pub type GroupId = u8;

/// What stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    Expire(u32),
    Hard(u32),
    /// The primary may acknowledge alone.
    Empty(u32),
    /// A failover of this epoch, from its beginning to the next grant.
    Grant(u32),
}

/// What is asked of a group again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub epoch: u32,
    pub expired: bool,
    pub hard: bool,
    /// The empty set is on record for the epoch.
    pub empty: bool,
}

#[derive(Debug)]
pub struct Record {
    released: bool,
    groups: Kept<Group>,
    applied: HashMap<(GroupId, Entry), GroupId, Fast>,
}

impl Record {
    /// `released`: in a failover the former holder is fenced too.
    pub fn new(released: bool) -> Self {
        Self {
            released,
            groups: Kept::default(),
            applied: HashMap::default(),
        }
    }

    /// `A` is the holder of the first epoch; `B` may be the next.
    pub fn first(&mut self, durability: Durability, ttl_ms: u64, check_window_ms: u64) -> GroupId {
        let mut spec = fixture::spec(2, durability, 1);
        (spec.ttl_ms, spec.check_window_ms) = (ttl_ms, check_window_ms);
        spec.suspect_after_ms = ttl_ms / 2;
        let group = match durability {
            Durability::Async => asynchronous(spec),
            _ => fixture::first_group(spec, &SyncConfig::any(1, [member(1).id()].into())),
        };
        self.keep(group)
    }

    pub fn state(&self, id: GroupId) -> State {
        let group = Arc::clone(self.groups.get(id.into()));
        let mut state = State::default();
        state.groups.insert(group_name(), group);
        state
    }

    pub fn facts(&self, id: GroupId) -> Facts {
        let group = self.groups.get(id.into());
        let lease = group.lease.as_ref().expect("granted from the start");
        let mut of_epoch = group.record.iter().filter(|e| e.epoch == group.epoch);
        Facts {
            epoch: group.epoch.0,
            expired: lease.expired,
            hard: lease.hard,
            empty: of_epoch.any(|entry| entry.config.is_asynchronous()),
        }
    }

    pub fn apply(&mut self, id: GroupId, entry: Entry) -> GroupId {
        if let Some(known) = self.applied.get(&(id, entry)) {
            return *known;
        }
        let mut state = self.state(id);
        for change in self.changes(id, entry) {
            // What is refused changes nothing.
            let _: Outcome = state.apply(1, &command(change));
        }
        let group = state.group(&group_name()).expect("never deleted");
        let next = self.keep(Group::clone(group));
        self.applied.insert((id, entry), next);
        next
    }

    fn keep(&mut self, group: Group) -> GroupId {
        u8::try_from(self.groups.keep(group)).expect("few groups")
    }

    fn changes(&self, id: GroupId, entry: Entry) -> Vec<Change> {
        match entry {
            Entry::Expire(epoch) => vec![Change::ExpireLease {
                epoch: Epoch(epoch),
            }],
            Entry::Hard(epoch) => vec![Change::RecordHardRenewal {
                epoch: Epoch(epoch),
            }],
            Entry::Empty(epoch) => {
                let group = self.groups.get(id.into());
                let last = group.latest_sync().map(|entry| entry.revision);
                vec![Change::ProposeSync {
                    epoch: Epoch(epoch),
                    revision: last.unwrap_or_default().next(),
                    next: SyncConfig::asynchronous(),
                }]
            }
            Entry::Grant(epoch) => self.grant(id, Epoch(epoch)),
        }
    }

    /// The other member is fenced where it stands and granted.
    fn grant(&self, id: GroupId, epoch: Epoch) -> Vec<Change> {
        let group = self.groups.get(id.into());
        let lease = group.lease.as_ref().expect("granted from the start");
        let candidate = member(1 - Inc::of(lease.holder).member).id();
        let position = Some(Log::new().position());
        let fence = |incarnation| Change::RecordFence {
            epoch,
            incarnation,
            position,
        };
        let sync = match group.spec.durability {
            Durability::Async => SyncConfig::asynchronous(),
            _ => SyncConfig::nobody(),
        };
        let mut changes = vec![
            Change::BeginFailover {
                epoch,
                cause: Cause::LeaseExpired,
                silence_ms: 0,
                prefer: None,
            },
            fence(candidate),
        ];
        changes.extend(self.released.then(|| fence(lease.holder)));
        changes.push(Change::GrantLease {
            epoch: epoch.next(),
            holder: candidate,
            sync,
        });
        changes
    }
}

fn member(member: u8) -> Inc {
    Inc { member, life: 0 }
}

fn command(change: Change) -> Command {
    Command {
        at_ms: 0,
        group: group_name(),
        change,
    }
}

/// A group whose primary asks nobody from its first epoch on.
fn asynchronous(mut spec: crate::domain::GroupSpec) -> Group {
    spec.system_identifier = None;
    let (epoch, lineage) = (Epoch(1), Lineage::first());
    let mut changes = vec![Change::ApplyGroup { spec }];
    changes.extend((0..2).map(|number| Change::RegisterMember {
        member: name(number.into()),
        incarnation: member(number).id(),
        system_identifier: Some(1),
    }));
    changes.push(Change::GrantFirst {
        epoch,
        holder: member(0).id(),
        lineage,
    });
    // Now that there is a database, it has a name.
    changes.push(Change::RegisterMember {
        member: name(0),
        incarnation: member(0).id(),
        system_identifier: Some(1),
    });
    changes.push(Change::SealEpoch {
        epoch,
        revision: Revision::FIRST,
        barrier: Barrier {
            position: Log::new().position(),
            confirmed: [].into(),
        },
    });
    let mut state = State::default();
    for (index, change) in (1..).zip(changes) {
        let outcome = state.apply(index, &command(change));
        outcome.into_result().expect("a legal start");
    }
    Group::clone(state.group(&group_name()).expect("applied"))
}
