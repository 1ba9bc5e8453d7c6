//! What must never be seen.

use crate::domain::{Epoch, Group, Incarnation};

use super::{
    fixture::Inc,
    log::{Link, Log},
    member::Member,
    scene::Node,
    world::{ConfigId, World},
};

/// A guarantee that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Guarantee A.
    TwoAcknowledge { stale: Inc, holder: Inc },
    /// Guarantee B.
    WriteLost { holder: Inc, lost: u8 },
    /// Guarantee C.
    EpochReused { before: Epoch, after: Epoch },
    /// What completeness rests on: a timeline is made once.
    TimelineTwice { members: (Inc, Inc), timeline: u32 },
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TwoAcknowledge { stale, holder } => {
                write!(
                    f,
                    "{stale} can still acknowledge writes, and {holder} is granted"
                )
            }
            Self::WriteLost { holder, lost } => {
                let writes: Vec<_> = (0..8).filter(|w| lost >> w & 1 == 1).collect();
                write!(
                    f,
                    "{holder} is granted without acknowledged write {writes:?}"
                )
            }
            Self::EpochReused { before, after } => {
                write!(f, "a grant took epoch {before} to {after}")
            }
            Self::TimelineTwice {
                members: (a, b),
                timeline,
            } => {
                write!(f, "{a} and {b} hold different logs as timeline {timeline}")
            }
        }
    }
}

impl<const N: usize> Node<N> {
    /// What `standby` has acknowledged to `primary`, as PostgreSQL counts it:
    /// by LSN, never by timeline. `None` without a connection.
    pub fn claim(&self, world: &World, standby: &Member, primary: &Member) -> Option<usize> {
        let (_, upstream) = standby.following?;
        if upstream != primary.inc || !standby.is_standby() || !primary.is_primary() {
            return None;
        }
        let log = world.log(standby.log);
        let link: Link = log.link_to(world.log(primary.log));
        link.is_connected().then_some(log.end())
    }

    /// Up to where `primary` acknowledges writes by what its set claims.
    /// `None`: it acknowledges nothing, or asks nobody.
    pub fn acknowledged(&self, world: &World, primary: &Member) -> Option<usize> {
        let (_, config) = primary.sync?;
        let in_force = [config];
        let mixed = primary.mixed.map(|mix| world.mix_of(mix));
        let configs = mixed.map_or(&in_force[..], |mix| mix.as_slice());
        let named = |member: &Member| {
            let id = member.inc.id();
            configs.iter().any(|it| world.config(*it).set.contains(&id))
        };
        let standbys = self.members.iter().filter(|member| named(member));
        let mut claims: Vec<_> = standbys
            .filter_map(|member| Some((self.claim(world, member, primary)?, member.inc.id())))
            .collect();
        claims.sort_unstable_by(|a, b| b.cmp(a));
        // The walsender of a member of the set releases by its own `k` what
        // any members have that count, each by the configuration of its own.
        let released = |config: &ConfigId| {
            let config = world.config(*config);
            claims.iter().find(|(_, id)| config.set.contains(id))?;
            let last = (config.k as usize).checked_sub(1)?;
            claims.get(last).map(|(end, _)| *end)
        };
        configs.iter().filter_map(released).max()
    }

    /// Takes note of what clients were told is safe.
    ///
    /// A client's write at the end of what is acknowledged could have been
    /// told so, and it stands on everything before it.
    pub fn protect_acknowledged(&mut self, world: &World) {
        for primary in self.members.iter().filter(|member| member.is_primary()) {
            if let Some(end) = self.acknowledged(world, primary) {
                self.protected |= world.log(primary.log).writes_until(end);
            }
        }
    }

    /// The first guarantee that does not hold in this state.
    pub fn violation(&self, world: &World) -> Option<Violation> {
        let lease = world.group(self.group).lease.as_ref()?;
        let holder = Inc::of(lease.holder);
        self.two_acknowledge(world, holder)
            .or_else(|| self.write_lost(world, holder))
            .or_else(|| self.timeline_twice(world))
    }

    fn two_acknowledge(&self, world: &World, holder: Inc) -> Option<Violation> {
        let able = |member: &&Member| {
            member.asks_nobody(world) || self.acknowledged(world, member).is_some()
        };
        let others = self.members.iter().filter(|member| member.inc != holder);
        let stale = others.filter(|member| member.is_primary()).find(able)?.inc;
        Some(Violation::TwoAcknowledge { stale, holder })
    }

    fn write_lost(&self, world: &World, holder: Inc) -> Option<Violation> {
        let member = self.alive(holder).filter(|member| member.has_log())?;
        let log: &Log = world.log(member.log);
        let lost = self.protected & !log.writes_until(log.end());
        (lost != 0).then_some(Violation::WriteLost { holder, lost })
    }

    fn timeline_twice(&self, world: &World) -> Option<Violation> {
        for (i, a) in self.members.iter().enumerate() {
            for b in &self.members[..i] {
                if a.log == b.log || !a.has_log() || !b.has_log() {
                    continue;
                }
                if let Some(timeline) = world.log(a.log).contradicts(world.log(b.log)) {
                    return Some(Violation::TimelineTwice {
                        members: (b.inc, a.inc),
                        timeline: timeline.0,
                    });
                }
            }
        }
        None
    }
}

/// Guarantee C over one command.
pub fn epoch_reused(before: &Group, after: &Group) -> Option<Violation> {
    let granted = |group: &Group| -> Option<(Epoch, Incarnation)> {
        group
            .lease
            .as_ref()
            .map(|lease| (lease.epoch, lease.holder))
    };
    let reused = after.epoch < before.epoch
        || (granted(before) != granted(after) && after.epoch == before.epoch);
    reused.then_some(Violation::EpochReused {
        before: before.epoch,
        after: after.epoch,
    })
}
