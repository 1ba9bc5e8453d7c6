//! The zone as it follows from one applied state: a pure function.
//!
//! ```text
//! <group>                    A or AAAA of the published primary, exactly one
//! <group>-ro, <group>-all    A and AAAA of the standbys, of all members
//! <member>.<group>           A or AAAA of one member, the target of SRV
//! _postgresql._tcp.<name>    SRV of the same members (RFC 2782)
//! _primacy.<group>           TXT "epoch=7" "primary=paris"
//! ```
//!
//! Every name of a group exists as long as the group does: nobody published
//! is an empty answer, never NXDOMAIN.

use std::net::IpAddr;

use hickory_proto::rr::{
    LowerName, Name, RData,
    rdata::{NS, SOA, SRV, TXT},
};

use super::{
    Node, ReplicaFacts,
    nodes::Nodes,
    published::{GroupNames, Published, Target, published},
};
use crate::domain::{Epoch, GroupName, State};

/// What a zone is made of besides the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneConfig {
    origin: Name,
    ttl: u32,
    name_servers: Vec<(Name, IpAddr)>,
}

impl ZoneConfig {
    /// The zone below `origin`, its records good for `ttl` seconds. The first
    /// name server is the primary one (MNAME); glue is published for those
    /// inside the zone.
    #[must_use]
    pub fn new(origin: &Name, ttl: u32, name_servers: &[(Name, IpAddr)]) -> Self {
        let servers = name_servers.iter();
        Self {
            origin: absolute(origin),
            ttl,
            name_servers: servers.map(|(name, ip)| (absolute(name), *ip)).collect(),
        }
    }

    /// The apex of the zone, absolute and in lower case.
    #[must_use]
    pub fn origin(&self) -> &Name {
        &self.origin
    }
}

fn absolute(name: &Name) -> Name {
    let mut name = name.to_lowercase();
    name.set_fqdn(true);
    name
}

/// Where a name stands in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'z> {
    Found(&'z Node),
    /// It does not exist, and nothing below it does.
    Missing,
    /// The zone has no say in it.
    Elsewhere,
}

/// Every name of the zone, from one applied index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    applied: u64,
    changed_at: u64,
    /// What the log alone says, without the reports: the serial follows it.
    logged: Published,
    nodes: Nodes,
    clashes: Vec<Name>,
}

impl Zone {
    /// The zone that `state` and `facts` make, as if it had changed just now.
    #[must_use]
    pub fn build(config: &ZoneConfig, state: &State, facts: &ReplicaFacts) -> Self {
        let logged = published(state, &ReplicaFacts::default());
        Self::render(config, state, facts, logged, state.applied)
    }

    /// The zone that comes after this one. It keeps the serial as long as the
    /// log changed nothing that the zone shows.
    ///
    /// Standbys that come and go by their lag alone leave the serial as it
    /// is: nodes hear of them at different times.
    #[must_use]
    pub fn next(&self, config: &ZoneConfig, state: &State, facts: &ReplicaFacts) -> Self {
        let logged = published(state, &ReplicaFacts::default());
        let changed_at = if logged == self.logged {
            self.changed_at
        } else {
            state.applied
        };
        Self::render(config, state, facts, logged, changed_at)
    }

    fn render(
        config: &ZoneConfig,
        state: &State,
        facts: &ReplicaFacts,
        logged: Published,
        changed_at: u64,
    ) -> Self {
        let mut zone = Self {
            applied: state.applied,
            changed_at,
            logged,
            nodes: Nodes::new(&config.origin, config.ttl),
            clashes: Vec::new(),
        };
        zone.add_apex(config);
        zone.add_groups(config, &published(state, facts));
        zone
    }

    /// Index of the log entry that the zone is as of.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Low 32 bits of the index of the last change that the zone shows
    /// (RFC 1982). It never goes back on one node; one that has just started
    /// may be ahead of the others until the next change.
    #[must_use]
    pub fn serial(&self) -> u32 {
        #[allow(clippy::cast_possible_truncation)] // Meant: serials wrap.
        let serial = self.changed_at as u32;
        serial
    }

    /// Names that are left out because another owner has them: of two groups
    /// `a` and `a-ro` the second keeps its own.
    #[must_use]
    pub fn clashes(&self) -> &[Name] {
        &self.clashes
    }

    #[must_use]
    pub fn lookup(&self, name: &LowerName) -> Lookup<'_> {
        if !self.nodes.origin().zone_of(name) {
            return Lookup::Elsewhere;
        }
        self.nodes.get(name).map_or(Lookup::Missing, Lookup::Found)
    }

    /// The node at the top of the zone: SOA and NS.
    #[must_use]
    pub fn apex(&self) -> Option<&Node> {
        self.nodes.get(self.nodes.origin())
    }

    fn add_apex(&mut self, config: &ZoneConfig) {
        let soa = self.soa(config);
        self.nodes.add(&config.origin, RData::SOA(soa));
        for (name, address) in &config.name_servers {
            let glue = self.nodes.origin().zone_of(&LowerName::new(name));
            // A name server with two addresses is listed twice.
            if self.nodes.claim(name) {
                self.nodes.add(&config.origin, RData::NS(NS(name.clone())));
            }
            if glue {
                self.nodes.add_address(name, *address);
            }
        }
    }

    /// Every time in it is short: a copy of the zone held elsewhere knows
    /// nothing of the freshness of this one.
    fn soa(&self, config: &ZoneConfig) -> SOA {
        let origin = &config.origin;
        let named = config.name_servers.first().map(|(name, _)| name.clone());
        let contact = below(origin, "hostmaster").unwrap_or_else(|| origin.clone());
        let ttl = i32::try_from(config.ttl).unwrap_or(i32::MAX);
        SOA::new(
            named.unwrap_or_else(|| origin.clone()),
            contact,
            self.serial(),
            ttl,
            ttl,
            ttl.saturating_mul(4),
            config.ttl,
        )
    }

    /// A group's own name comes before those that are made from another's.
    fn add_groups(&mut self, config: &ZoneConfig, groups: &Published) {
        let mut shown = Vec::new();
        for (group, names) in groups {
            if let Some(owner) = self.claim(&config.origin, group.as_str()) {
                self.add_primary(&owner, names);
                shown.push((group, owner, names));
            }
        }
        for (group, owner, names) in shown {
            self.add_set(config, &owner, group, "ro", &names.standbys);
            self.add_set(config, &owner, group, "all", &names.members);
        }
    }

    fn add_primary(&mut self, owner: &Name, names: &GroupNames) {
        for target in &names.members {
            if let Some(member) = self.claim(owner, target.member.as_str()) {
                self.nodes.add_address(&member, target.address.ip());
            }
        }
        let published = names.primary.as_ref();
        let targets: Vec<_> = published.map(|(target, _)| target).into_iter().collect();
        self.add_targets(owner, owner, &targets);
        self.add_facts(owner, published);
    }

    /// `<group>-<suffix>`: the addresses and services of `targets`.
    fn add_set(
        &mut self,
        config: &ZoneConfig,
        group_owner: &Name,
        group: &GroupName,
        suffix: &str,
        targets: &[Target],
    ) {
        let label = format!("{group}-{suffix}");
        if let Some(owner) = self.claim(&config.origin, &label) {
            let targets: Vec<_> = targets.iter().collect();
            self.add_targets(&owner, group_owner, &targets);
        }
    }

    fn add_targets(&mut self, owner: &Name, group_owner: &Name, targets: &[&Target]) {
        self.nodes.touch(owner);
        for target in targets {
            self.nodes.add_address(owner, target.address.ip());
        }
        let Some(service) = service(owner) else {
            return;
        };
        self.nodes.touch(&service);
        for target in targets {
            if let Some(name) = below(group_owner, target.member.as_str()) {
                let service_data = SRV::new(0, 0, target.address.port(), name);
                self.nodes.add(&service, RData::SRV(service_data));
            }
        }
    }

    fn add_facts(&mut self, owner: &Name, published: Option<&(Target, Epoch)>) {
        let Some(name) = below(owner, "_primacy") else {
            return;
        };
        self.nodes.touch(&name);
        if let Some((target, epoch)) = published {
            let facts = vec![
                format!("epoch={epoch}"),
                format!("primary={}", target.member),
            ];
            self.nodes.add(&name, RData::TXT(TXT::new(facts)));
        }
    }

    fn claim(&mut self, base: &Name, label: &str) -> Option<Name> {
        let name = below(base, label)?;
        if self.nodes.claim(&name) {
            return Some(name);
        }
        self.clashes.push(name);
        None
    }
}

/// `_postgresql._tcp.<owner>`.
pub(super) fn service(owner: &Name) -> Option<Name> {
    below(&below(owner, "_tcp")?, "_postgresql")
}

/// `<label>.<base>`, unless it is too long for a name (RFC 1035, 2.3.4).
pub(super) fn below(base: &Name, label: &str) -> Option<Name> {
    base.prepend_label(label.as_bytes()).ok()
}

#[cfg(test)]
mod tests;
