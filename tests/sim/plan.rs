//! What a seed makes of its world: its size, its times, its faults.

use std::collections::BTreeSet;

use crate::domain::{Control, Durability, GroupName, GroupSpec, MemberName, MemberSpec};

use super::{
    rng::Rng,
    time::{At, MS, SECOND},
};

/// Faults of one kind, which a world has or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    KillNode,
    KillAgent,
    KillPostgres,
    KillHost,
    KillRegion,
    Pause,
    CutOneWay,
    Isolate,
    Partition,
    SlowLinks,
    LossyLinks,
    Clock,
    Switchover,
    Wipe,
    LateDirectives,
}

pub const KINDS: [Kind; 15] = [
    Kind::KillNode,
    Kind::KillAgent,
    Kind::KillPostgres,
    Kind::KillHost,
    Kind::KillRegion,
    Kind::Pause,
    Kind::CutOneWay,
    Kind::Isolate,
    Kind::Partition,
    Kind::SlowLinks,
    Kind::LossyLinks,
    Kind::Clock,
    Kind::Switchover,
    Kind::Wipe,
    Kind::LateDirectives,
];

/// Which worlds a seed is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Faults of many kinds, then none.
    Stormy,
    /// No fault at all but drift and jitter: nothing may fail over.
    Quiet,
    /// Quorum nodes restart one at a time: nothing may fail over.
    LeaderChanges,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub weather: Weather,
    pub nodes: usize,
    pub members: usize,
    pub clients: usize,
    pub kinds: BTreeSet<Kind>,
    /// Between two faults, on average.
    pub fault_every: At,
    pub write_every: At,
    /// How long faults go on; then everything heals.
    pub storm: At,
    /// Of a link between two regions.
    pub far: At,
    pub jitter: At,
    pub spec: GroupSpec,
}

/// After everything healed, a sealed primary acknowledges writes within this,
/// and no sync change is left pending.
pub const LIVENESS: At = 40 * SECOND;

impl Plan {
    pub fn draw(weather: Weather, rng: &mut Rng) -> Self {
        let members = rng.pick(&[3, 3, 3, 4]);
        let storm = match weather {
            Weather::Stormy => rng.between(15, 90) * SECOND,
            Weather::Quiet | Weather::LeaderChanges => 120 * SECOND,
        };
        let kinds = match weather {
            Weather::Stormy => KINDS.into_iter().filter(|_| rng.chance(350)).collect(),
            Weather::Quiet => BTreeSet::new(),
            Weather::LeaderChanges => BTreeSet::from([Kind::KillNode]),
        };
        let fault_every = match weather {
            Weather::Stormy => rng.pick(&[700 * MS, 2 * SECOND, 5 * SECOND, 12 * SECOND]),
            Weather::Quiet | Weather::LeaderChanges => 15 * SECOND,
        };
        Self {
            weather,
            nodes: rng.pick(&[3, 3, 3, 5]),
            members,
            clients: rng.pick(&[1, 2, 3]),
            kinds,
            fault_every,
            write_every: rng.pick(&[50, 200, 500]) * MS,
            storm,
            far: rng.pick(&[MS, 5 * MS, 20 * MS, 40 * MS]),
            jitter: rng.pick(&[MS, 5 * MS]),
            spec: draw_spec(members, rng),
        }
    }

    pub fn group(&self) -> GroupName {
        self.spec.name.clone()
    }

    pub fn member_name(&self, member: usize) -> MemberName {
        self.spec.members[member].name.clone()
    }
}

fn draw_spec(members: usize, rng: &mut Rng) -> GroupSpec {
    let names = ["paris", "tokyo", "lima", "oslo"];
    let member = |number: usize| MemberSpec {
        name: names[number].parse().expect("a name"),
        region: names[number].parse().expect("a name"),
        address: format!("192.0.2.{}:5432", number + 1)
            .parse()
            .expect("an address"),
        control: Control::Process,
        no_failover: false,
        priority: 0,
    };
    let all: Vec<_> = (0..members).map(member).collect();
    GroupSpec {
        name: "orders".parse().expect("a name"),
        durability: Durability::Strict,
        sync_k: rng.pick(&[1, 1, 2]),
        sync_members: BTreeSet::new(),
        ttl_ms: rng.pick(&[5_000, 10_000]),
        suspect_after_ms: rng.pick(&[600, 800, 1_500]),
        max_lag_bytes: 1 << 20,
        check_window_ms: 0,
        initial_primary: all[rng.index(members)].name.clone(),
        system_identifier: None,
        members: all,
    }
}
