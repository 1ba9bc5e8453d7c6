//! What each member should be, derived from what is on record.
//!
//! Level-triggered: an instruction states the goal and may come late, twice
//! or not at all. It carries the (epoch, revision) by which an agent tells an
//! old one from a new one.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{
    Cause, Control, Epoch, Group, Incarnation, InstructionOrder, Lease, Lineage, MemberName,
    Revision, SyncConfig,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instruction {
    /// Stay as you are.
    Hold,
    Primary(PrimaryOrder),
    Standby(StandbyOrder),
    /// Obey nothing of `epoch` or before; stream from nobody.
    Fence {
        epoch: Epoch,
        stop: Stop,
    },
}

/// Be primary under `order.epoch`, waiting for `sync`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PrimaryOrder {
    pub order: InstructionOrder,
    pub sync: SyncConfig,
    /// Whether a standby is to be promoted onto the epoch's timeline. Not so
    /// for a holder that ran as primary all along or makes the first directory.
    pub promote: bool,
    /// Whether an empty directory may be filled by `initdb`: only under the
    /// first epoch of a group that adopts nothing.
    pub create: bool,
    /// Whether clients are let in: after the epoch's barrier only.
    pub open: bool,
    /// Members to admit for streaming, each through its own slot.
    pub peers: Vec<Peer>,
}

/// Be a standby of `upstream`, the primary of `epoch`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StandbyOrder {
    pub epoch: Epoch,
    pub upstream: Peer,
    /// The upstream's lineage on record. Nobody streams from beyond its fork.
    pub lineage: Lineage,
    pub rejoin: Rejoin,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    pub member: MemberName,
    pub incarnation: Incarnation,
    pub address: SocketAddr,
}

/// What a member that holds foreign log may do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejoin {
    /// Keep everything: it may be needed, the epoch is not sealed yet.
    Wait,
    /// Take a base backup, keeping the old directory beside it.
    Aside,
    /// Rewind, or take a base backup in place.
    Rewind,
}

/// How a running primary meets a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It goes on; the fence of its standbys takes its acknowledgements away.
    No,
    /// A planned stop: everything reaches the standbys first.
    Fast,
    /// It is down: its directory is brought up as a standby without upstream,
    /// to learn where its log ends.
    Recover,
}

/// What the leader knows beside the record and may hurry an instruction by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Urgency {
    /// A planned stop did not come: fence the standbys now.
    pub fence_now: bool,
    /// The holder that stops has ended its streams: fence the standbys while
    /// it goes down.
    pub handed_over: bool,
    /// The standbys cannot complete the fence: bring the stopped holder up.
    pub recover_holder: bool,
    /// They cannot, and another may: whoever was primary before and crashed.
    pub recover_others: bool,
}

impl Instruction {
    /// By what an agent orders it among others; `Hold` is below all.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Hold => Epoch::NONE,
            Self::Primary(order) => order.order.epoch,
            Self::Standby(order) => order.epoch,
            Self::Fence { epoch, .. } => *epoch,
        }
    }
}

impl Group {
    /// What the current incarnation of `member` should be.
    #[must_use]
    pub fn instruction(&self, member: &MemberName, urgency: Urgency) -> Instruction {
        let (Some(incarnation), Some(lease)) = (self.incarnations.get(member), &self.lease) else {
            return Instruction::Hold;
        };
        let is_holder = lease.holder == *incarnation;
        match &self.failover {
            Some(failover) => {
                let planned = failover.cause == Cause::Switchover && !urgency.fence_now;
                let holder_stopped = failover.fences.contains_key(&lease.holder);
                if is_holder {
                    let recover = urgency.recover_holder && holder_stopped;
                    return self.closing_holder(lease, planned, recover);
                }
                // Whose promotion is not on record, nobody can tell who may follow.
                let waits = planned && !urgency.handed_over && !holder_stopped;
                if waits && lease.promoted {
                    return self.standby(lease);
                }
                // Whoever was primary in an epoch on record has all of that epoch.
                let had_all = || self.record.iter().any(|entry| entry.holder == *incarnation);
                let stop = match urgency.recover_others && had_all() {
                    true => Stop::Recover,
                    false => Stop::No,
                };
                Instruction::Fence {
                    epoch: lease.epoch,
                    stop,
                }
            }
            None if is_holder => self.primary(lease),
            // Before its timeline is on record nobody can tell who may follow.
            None if !lease.promoted => self.fence_before(lease),
            None => self.standby(lease),
        }
    }

    fn closing_holder(&self, lease: &Lease, planned: bool, recover: bool) -> Instruction {
        // Before its promotion is on record it has acknowledged nothing, and
        // nobody may go on under it: whatever became of it, it is brought back.
        let stop = match (planned, recover || !lease.promoted) {
            (true, _) => Stop::Fast,
            (false, true) => Stop::Recover,
            (false, false) => Stop::No,
        };
        Instruction::Fence {
            epoch: lease.epoch,
            stop,
        }
    }

    fn fence_before(&self, lease: &Lease) -> Instruction {
        let before = Epoch(lease.epoch.0.saturating_sub(1));
        Instruction::Fence {
            epoch: before,
            stop: Stop::No,
        }
    }

    fn primary(&self, lease: &Lease) -> Instruction {
        let (revision, sync) = match self.latest_sync() {
            Some(entry) => (entry.revision, entry.config.clone()),
            None => (Revision::FIRST, SyncConfig::nobody()),
        };
        Instruction::Primary(PrimaryOrder {
            order: InstructionOrder {
                epoch: lease.epoch,
                revision,
            },
            sync,
            promote: !lease.promoted,
            create: self.may_create(lease),
            open: lease.sealed,
            peers: self.peers_of(lease.holder),
        })
    }

    fn may_create(&self, lease: &Lease) -> bool {
        self.system_identifier.is_none() && self.spec.system_identifier.is_none() && lease.promoted
    }

    fn standby(&self, lease: &Lease) -> Instruction {
        let (Some(upstream), Some(lineage)) = (self.peer(lease.holder), &self.lineage) else {
            return Instruction::Hold;
        };
        Instruction::Standby(StandbyOrder {
            epoch: lease.epoch,
            upstream,
            lineage: lineage.clone(),
            rejoin: self.rejoin(lease),
        })
    }

    /// While an epoch is unsealed nothing on record may be wiped: it may hold
    /// the only copy of an acknowledged commit.
    fn rejoin(&self, lease: &Lease) -> Rejoin {
        let nobody_left = self
            .latest_sync()
            .is_some_and(|entry| entry.config.set.is_empty());
        match (lease.sealed, nobody_left) {
            (true, _) => Rejoin::Rewind,
            (false, true) => Rejoin::Aside,
            (false, false) => Rejoin::Wait,
        }
    }

    fn peers_of(&self, holder: Incarnation) -> Vec<Peer> {
        let others = self.incarnations.values().filter(|id| **id != holder);
        others.filter_map(|id| self.peer(*id)).collect()
    }

    fn peer(&self, incarnation: Incarnation) -> Option<Peer> {
        let spec = self.spec_of(incarnation)?;
        Some(Peer {
            member: spec.name.clone(),
            incarnation,
            address: spec.address,
        })
    }

    /// Members that agents drive and that take part in failovers.
    pub fn driven(&self) -> impl Iterator<Item = (&MemberName, Incarnation)> {
        self.incarnations
            .iter()
            .map(|(name, id)| (name, *id))
            .filter(|(name, _)| {
                self.spec
                    .member(name)
                    .is_some_and(|spec| spec.control == Control::Process)
            })
    }
}
