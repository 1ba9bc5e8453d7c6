//! One group: what it was asked to be, and what the quorum knows of it.
//!
//! Every change is decided first and made after; `State` hands in a copy, so a
//! refusal leaves nothing behind.

mod closing;
mod granting;
mod serving;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Change, Epoch, EventKind, Failover, GroupSpec, Incarnation, Lease, Lineage, MemberName,
    MemberSpec, OnRecord, Refusal, SyncConfig,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group {
    pub spec: GroupSpec,
    pub system_identifier: Option<u64>,
    /// The current incarnation of each member that was ever seen.
    pub incarnations: BTreeMap<MemberName, Incarnation>,
    /// The greatest epoch granted; of a group that is made anew under an old
    /// name, the greatest that the old one was at.
    pub epoch: Epoch,
    pub lease: Option<Lease>,
    /// Configurations under which commits may have been acknowledged that a
    /// next grant has to account for.
    pub record: Vec<OnRecord>,
    pub failover: Option<Failover>,
    /// Of the latest promotion on record.
    pub lineage: Option<Lineage>,
    pub paused: bool,
}

impl Group {
    /// A group whose epochs start above `floor`.
    pub(super) fn create(spec: &GroupSpec, floor: Epoch) -> Result<(Self, EventKind), Refusal> {
        spec.validate().map_err(Refusal::Spec)?;
        let group = Self {
            system_identifier: spec.system_identifier,
            spec: spec.clone(),
            incarnations: BTreeMap::new(),
            epoch: floor,
            lease: None,
            record: Vec::new(),
            failover: None,
            lineage: None,
            paused: false,
        };
        let kind = EventKind::GroupApplied {
            members: spec.members.len(),
        };
        Ok((group, kind))
    }

    pub(super) fn change(
        &mut self,
        change: &Change,
        at_ms: u64,
    ) -> Result<Vec<EventKind>, Refusal> {
        match change {
            Change::ApplyGroup { spec } => self.replace_spec(spec),
            Change::DeleteGroup => Err(Refusal::UnknownGroup(self.spec.name.clone())),
            Change::RegisterMember {
                member,
                incarnation,
                system_identifier,
            } => self.register(member, *incarnation, *system_identifier),
            Change::GrantFirst {
                epoch,
                holder,
                lineage,
            } => self.grant_first(*epoch, *holder, lineage),
            Change::BeginFailover {
                epoch,
                cause,
                silence_ms,
                prefer,
            } => self.begin_failover(*epoch, cause, *silence_ms, prefer.as_ref(), at_ms),
            Change::RecordFence {
                epoch,
                incarnation,
                position,
            } => self.record_fence(*epoch, *incarnation, *position),
            Change::RecordHardRenewal { epoch } => self.record_hard_renewal(*epoch),
            Change::ExpireLease { epoch } => self.expire_lease(*epoch),
            Change::AssertHostDead { epoch } => self.assert_host_dead(*epoch),
            Change::AcceptDataLoss { epoch } => self.accept_data_loss(*epoch),
            Change::GrantLease {
                epoch,
                holder,
                sync,
            } => self.grant(*epoch, *holder, sync),
            Change::RecordPromotion {
                epoch,
                incarnation,
                lineage,
            } => self.record_promotion(*epoch, *incarnation, lineage),
            Change::ProposeSync {
                epoch,
                revision,
                next,
            } => self.propose_sync(*epoch, *revision, next),
            Change::ConfirmSync {
                epoch,
                revision,
                barrier,
            } => self.confirm_sync(*epoch, *revision, barrier),
            Change::SealEpoch {
                epoch,
                revision,
                barrier,
            } => self.seal_epoch(*epoch, *revision, barrier),
            Change::Pause => Ok(self.set_paused(true)),
            Change::Resume => Ok(self.set_paused(false)),
            Change::RecordIncident {
                member,
                code,
                message,
            } => Ok(vec![EventKind::Incident {
                member: member.clone(),
                code: code.clone(),
                message: message.clone(),
            }]),
        }
    }

    // What is known of members.

    /// The member whose current incarnation this is.
    #[must_use]
    pub fn member_of(&self, incarnation: Incarnation) -> Option<&MemberName> {
        self.incarnations
            .iter()
            .find(|(_, id)| **id == incarnation)
            .map(|(name, _)| name)
    }

    #[must_use]
    pub fn spec_of(&self, incarnation: Incarnation) -> Option<&MemberSpec> {
        self.spec.member(self.member_of(incarnation)?)
    }

    /// The member that is published as primary: its epoch's barrier is through.
    #[must_use]
    pub fn published(&self) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| lease.sealed)
    }

    /// The configuration that the current primary should work under.
    #[must_use]
    pub fn latest_sync(&self) -> Option<&OnRecord> {
        self.record
            .iter()
            .filter(|entry| entry.epoch == self.epoch)
            .max_by_key(|e| e.revision)
    }

    /// Sync configurations of the current epoch on record.
    fn current(&self) -> impl Iterator<Item = &OnRecord> {
        self.record.iter().filter(|entry| entry.epoch == self.epoch)
    }

    fn replace_spec(&mut self, spec: &GroupSpec) -> Result<Vec<EventKind>, Refusal> {
        spec.validate().map_err(Refusal::Spec)?;
        // Until there is a first primary, what it is to be is the operator's choice.
        let is_open = self.lease.is_none();
        if !is_open
            && spec.system_identifier.is_some()
            && spec.system_identifier != self.system_identifier
        {
            let shown = |id: Option<u64>| id.map_or("none".to_owned(), |id| id.to_string());
            return Err(Refusal::SpecFixed {
                setting: "system_identifier".to_owned(),
                from: shown(self.system_identifier),
                to: shown(spec.system_identifier),
            });
        }
        if let Some(lease) = &self.lease
            && spec.member(&lease.member).is_none()
        {
            return Err(Refusal::HolderLeftOut(lease.member.clone()));
        }
        self.incarnations
            .retain(|name, _| spec.member(name).is_some());
        self.spec = spec.clone();
        if is_open {
            self.system_identifier = spec.system_identifier;
        }
        Ok(vec![EventKind::GroupApplied {
            members: spec.members.len(),
        }])
    }

    /// Makes `incarnation` the member's current one. Configurations, fences and
    /// the lease keep naming the old one: what it forgot cannot be counted.
    fn register(
        &mut self,
        member: &MemberName,
        incarnation: Incarnation,
        system_identifier: Option<u64>,
    ) -> Result<Vec<EventKind>, Refusal> {
        let unknown = || Refusal::UnknownMember(self.spec.name.clone(), member.clone());
        self.spec.member(member).ok_or_else(unknown)?;
        self.check_system(system_identifier)?;
        if self.system_identifier.is_none() && self.holds_lease(incarnation) {
            self.system_identifier = system_identifier;
        }
        let before = self.incarnations.insert(member.clone(), incarnation);
        if before == Some(incarnation) {
            return Ok(Vec::new());
        }
        let replaces = before.is_some();
        Ok(vec![EventKind::MemberRegistered {
            member: member.clone(),
            replaces,
        }])
    }

    fn check_system(&self, found: Option<u64>) -> Result<(), Refusal> {
        match (self.system_identifier, found) {
            (Some(expected), Some(found)) if expected != found => {
                Err(Refusal::WrongSystem { expected, found })
            }
            _ => Ok(()),
        }
    }

    fn holds_lease(&self, incarnation: Incarnation) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|lease| lease.holder == incarnation)
    }

    fn set_paused(&mut self, paused: bool) -> Vec<EventKind> {
        if self.paused == paused {
            return Vec::new();
        }
        self.paused = paused;
        vec![if paused {
            EventKind::Paused
        } else {
            EventKind::Resumed
        }]
    }

    /// `ANY 1 (paris, tokyo)`, as an operator reads it.
    #[must_use]
    pub fn describe(&self, sync: &SyncConfig) -> String {
        if sync.set.is_empty() {
            return if sync.k == 0 {
                "nobody is waited for"
            } else {
                "nobody can answer"
            }
            .to_owned();
        }
        let name = |id: &Incarnation| match self.member_of(*id) {
            Some(name) => name.to_string(),
            None => format!("former {id}"),
        };
        let names: Vec<_> = sync.set.iter().map(name).collect();
        format!("ANY {} ({})", sync.k, names.join(", "))
    }
}
