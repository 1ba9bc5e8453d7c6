//! What the names of a group should say, before it becomes records.

use std::{collections::BTreeMap, net::SocketAddr};

use super::ReplicaFacts;
use crate::domain::{Epoch, Group, GroupName, MemberName, MemberSpec, State};

/// A member and where clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub member: MemberName,
    pub address: SocketAddr,
}

/// The names of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupNames {
    /// Nobody between a grant and its seal.
    pub primary: Option<(Target, Epoch)>,
    pub standbys: Vec<Target>,
    pub members: Vec<Target>,
}

pub(super) type Published = BTreeMap<GroupName, GroupNames>;

/// What `state` and `facts` say of every group.
pub(super) fn published(state: &State, facts: &ReplicaFacts) -> Published {
    let names = |(name, group): (&GroupName, &std::sync::Arc<Group>)| {
        (name.clone(), GroupNames::of(group, facts))
    };
    state.groups.iter().map(names).collect()
}

impl GroupNames {
    fn of(group: &Group, facts: &ReplicaFacts) -> Self {
        let members = group.spec.members.iter();
        let standbys = members
            .clone()
            .filter(|spec| is_standby(group, spec, facts));
        Self {
            primary: primary(group),
            standbys: standbys.map(Target::of).collect(),
            members: members.map(Target::of).collect(),
        }
    }
}

impl Target {
    fn of(spec: &MemberSpec) -> Self {
        Self {
            member: spec.name.clone(),
            address: spec.address,
        }
    }
}

/// The holder of the sealed lease. A failover that has begun changes nothing
/// until the next grant: the holder may well still acknowledge writes. A
/// holder that was wiped since is not behind that address any more.
fn primary(group: &Group) -> Option<(Target, Epoch)> {
    let lease = group.published()?;
    let spec = group.spec_of(lease.holder)?;
    Some((Target::of(spec), lease.epoch))
}

/// Reported within `max_lag`; where nothing was reported, in the sync set,
/// which the leader shrinks as soon as a member does not keep up.
fn is_standby(group: &Group, spec: &MemberSpec, facts: &ReplicaFacts) -> bool {
    let holds_lease = |lease: &crate::domain::Lease| lease.member == spec.name;
    if group.lease.as_ref().is_none_or(holds_lease) {
        return false;
    }
    facts
        .serves(&group.spec.name, &spec.name)
        .unwrap_or_else(|| is_synchronous(group, spec))
}

fn is_synchronous(group: &Group, spec: &MemberSpec) -> bool {
    let incarnation = group.incarnations.get(&spec.name);
    let sync = group.latest_sync();
    sync.zip(incarnation)
        .is_some_and(|(entry, id)| entry.config.set.contains(id))
}
