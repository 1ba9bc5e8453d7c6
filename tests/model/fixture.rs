//! The group that is explored: three or four members, and the first epoch sealed.

use std::collections::BTreeSet;

use crate::domain::{
    Barrier, Change, Command, Control, Durability, Epoch, Group, GroupName, GroupSpec, Incarnation,
    Lineage, MemberName, MemberSpec, Region, Revision, State, SyncConfig,
};

use super::log::Log;

/// Members that a group here can have.
pub const MOST: usize = 4;

/// An incarnation: the member's number and how often it was reborn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inc {
    pub member: u8,
    pub life: u8,
}

impl Inc {
    pub fn id(self) -> Incarnation {
        Incarnation(uuid::Uuid::from_u128(
            u128::from(self.life) << 8 | u128::from(self.member),
        ))
    }

    pub fn of(id: Incarnation) -> Self {
        let number = id.0.as_u128();
        Self {
            member: (number & 0xff) as u8,
            life: (number >> 8) as u8,
        }
    }

    pub fn next_life(self) -> Self {
        Self {
            life: self.life + 1,
            ..self
        }
    }
}

impl std::fmt::Display for Inc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let primes = "'".repeat(self.life.into());
        write!(
            f,
            "{}{primes}",
            ["A", "B", "C", "D"][usize::from(self.member)]
        )
    }
}

pub fn group_name() -> GroupName {
    "orders".parse().expect("a name")
}

pub fn name(member: usize) -> MemberName {
    ["a", "b", "c", "d"][member].parse().expect("a name")
}

pub fn address(member: usize) -> std::net::SocketAddr {
    ([10, 0, 0, member as u8], 5432).into()
}

pub fn spec(members: usize, durability: Durability, sync_k: u32) -> GroupSpec {
    let region: Region = "eu".parse().expect("a name");
    let member = |member| MemberSpec {
        name: name(member),
        region: region.clone(),
        address: address(member),
        control: Control::Process,
        no_failover: false,
        priority: 0,
    };
    GroupSpec {
        name: group_name(),
        durability,
        sync_k,
        sync_members: BTreeSet::new(),
        ttl_ms: 3000,
        suspect_after_ms: 500,
        max_lag_bytes: 0,
        check_window_ms: 0,
        initial_primary: name(0),
        system_identifier: Some(1),
        members: (0..members).map(member).collect(),
    }
}

/// Every member registered, and `A` the holder of a sealed first epoch that
/// waits for `sync`.
pub fn first_group(spec: GroupSpec, sync: &SyncConfig) -> Group {
    let member = |member| Inc { member, life: 0 }.id();
    let members = spec.members.len();
    let mut changes = vec![Change::ApplyGroup { spec }];
    changes.extend((0..members).map(|number| Change::RegisterMember {
        member: name(number),
        incarnation: member(number as u8),
        system_identifier: Some(1),
    }));
    let (epoch, lineage) = (Epoch(1), Lineage::first());
    let position = Log::new().position();
    let (first, next) = (Revision::FIRST, Revision::FIRST.next());
    changes.push(Change::GrantFirst {
        epoch,
        holder: member(0),
        lineage,
    });
    changes.push(Change::ProposeSync {
        epoch,
        revision: first.next(),
        next: sync.clone(),
    });
    let barrier = Barrier {
        position,
        confirmed: sync.set.clone(),
    };
    changes.push(Change::SealEpoch {
        epoch,
        revision: next,
        barrier,
    });
    let mut state = State::default();
    for (index, change) in (1..).zip(changes) {
        let command = Command {
            at_ms: 0,
            group: group_name(),
            change,
        };
        let outcome = state.apply(index, &command);
        outcome.into_result().expect("a legal start");
    }
    Group::clone(state.group(&group_name()).expect("applied"))
}
