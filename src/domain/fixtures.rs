//! Groups for tests, made by the changes that make them in the product.

use std::collections::BTreeSet;

use super::{
    Cause, Change, Control, Durability, Epoch, Group, GroupSpec, Incarnation, Lineage, Lsn,
    MemberSpec, Position, Timeline,
};

pub fn id(n: u8) -> Incarnation {
    Incarnation(uuid::Uuid::from_u128(n.into()))
}

pub fn at(timeline: u32, lsn: u64) -> Position {
    Position {
        timeline: Timeline(timeline),
        lsn: Lsn(lsn),
    }
}

pub fn member(n: u8) -> MemberSpec {
    let name = ["a", "b", "c"][usize::from(n)];
    MemberSpec {
        name: name.parse().expect("a name"),
        region: name.parse().expect("a name"),
        address: format!("192.0.2.{n}:5432").parse().expect("an address"),
        control: Control::Process,
        no_failover: false,
        priority: 0,
    }
}

/// A group of `a`, `b` and `c` in its first epoch, `a` being its primary.
pub fn first_epoch(adopted: Option<u64>) -> Group {
    let members: Vec<_> = (0..3).map(member).collect();
    let spec = GroupSpec {
        name: "orders".parse().expect("a name"),
        durability: Durability::Strict,
        sync_k: 1,
        sync_members: BTreeSet::new(),
        ttl_ms: 10_000,
        suspect_after_ms: 500,
        max_lag_bytes: 1,
        check_window_ms: 0,
        initial_primary: members[0].name.clone(),
        system_identifier: adopted,
        members,
    };
    let (mut group, _) = Group::create(&spec, Epoch::NONE).expect("a group");
    for n in 0..3 {
        change(
            &mut group,
            Change::RegisterMember {
                member: member(n).name,
                incarnation: id(n),
                system_identifier: adopted,
            },
        );
    }
    change(
        &mut group,
        Change::GrantFirst {
            epoch: Epoch(1),
            holder: id(0),
            lineage: Lineage::first(),
        },
    );
    group
}

pub fn change(group: &mut Group, change: Change) {
    group.change(&change, 0).expect("applied");
}

/// Begins to close the present epoch.
pub fn begin_failover(group: &mut Group) {
    let epoch = group.epoch;
    change(
        group,
        Change::BeginFailover {
            epoch,
            cause: Cause::PostgresDied,
            silence_ms: 0,
            prefer: None,
        },
    );
}

/// Fences a member for the present epoch.
pub fn fence(group: &mut Group, n: u8, position: Option<Position>) {
    let epoch = group.epoch;
    change(
        group,
        Change::RecordFence {
            epoch,
            incarnation: id(n),
            position,
        },
    );
}
