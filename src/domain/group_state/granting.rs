//! Who holds the lease: the first grant, and the grant that ends a failover.

use super::{
    super::{
        Durability, Epoch, EventKind, Failover, Incarnation, Lease, Lineage, MemberName, OnRecord,
        Refusal, Revision, SyncConfig, grant::Case, rule::Rule,
    },
    Group,
};

impl Group {
    pub(super) fn grant_first(
        &mut self,
        epoch: Epoch,
        holder: Incarnation,
        lineage: &Lineage,
    ) -> Result<Vec<EventKind>, Refusal> {
        if self.lease.is_some() || epoch <= self.epoch {
            return Err(Refusal::AlreadyGranted(self.epoch));
        }
        // No promotion comes with it, so an older timeline is as good.
        if lineage.timeline > epoch.timeline() {
            return Err(Refusal::WrongTimeline {
                epoch,
                found: lineage.timeline.0,
            });
        }
        let member = self.current_member(holder)?;
        if member != self.spec.initial_primary {
            return Err(Refusal::NotHolder(holder));
        }
        self.lineage = Some(lineage.clone());
        let sync = match self.spec.durability {
            Durability::Async => SyncConfig::asynchronous(),
            _ => SyncConfig::nobody(),
        };
        // What an adopted cluster acknowledged in its former life, it
        // acknowledged alone: nobody else is complete before the first seal.
        if self.spec.system_identifier.is_some() && self.spec.durability != Durability::Async {
            self.record.push(OnRecord {
                epoch: Epoch(epoch.0 - 1),
                revision: Revision::FIRST,
                holder,
                config: SyncConfig::asynchronous(),
                exclusive: false,
            });
        }
        Ok(vec![self.install(epoch, holder, member, &sync, true)])
    }

    /// A grant of the next epoch, at the end of a failover.
    pub(super) fn grant(
        &mut self,
        epoch: Epoch,
        holder: Incarnation,
        sync: &SyncConfig,
    ) -> Result<Vec<EventKind>, Refusal> {
        if epoch != self.epoch.next() {
            return Err(Refusal::EpochMoved {
                asked: epoch,
                current: self.epoch,
            });
        }
        let (Some(lease), Some(failover)) = (&self.lease, &self.failover) else {
            return Err(Refusal::NoFailover(self.epoch));
        };
        let member = self.current_member(holder)?;
        self.check_sync(holder, sync)?;
        let continues = lease.holder == holder && !failover.fences.contains_key(&holder);
        if continues {
            self.check_continuation(failover, sync)?;
        } else {
            if self
                .spec
                .member(&member)
                .is_some_and(|spec| spec.no_failover)
            {
                return Err(Refusal::NoFailoverMember(member));
            }
            self.case(lease, failover).judge(holder, sync)?;
            // Shown for every configuration just now, and true for good.
            self.record
                .iter_mut()
                .for_each(|entry| entry.exclusive = true);
        }
        Ok(vec![self.install(epoch, holder, member, sync, continues)])
    }

    /// The holder that never stopped goes on under the next epoch: nobody else
    /// was granted anything, and it has all that it acknowledged.
    pub(super) fn check_continuation(
        &self,
        failover: &Failover,
        sync: &SyncConfig,
    ) -> Result<(), Refusal> {
        if !self.lease.as_ref().is_some_and(|lease| lease.promoted) {
            return Err(Refusal::NotPromoted(self.epoch));
        }
        match sync
            .set
            .iter()
            .find(|member| failover.position(**member).is_none())
        {
            Some(member) => Err(Refusal::SyncMemberNotFenced(*member)),
            None => Ok(()),
        }
    }

    pub(super) fn install(
        &mut self,
        epoch: Epoch,
        holder: Incarnation,
        member: MemberName,
        sync: &SyncConfig,
        promoted: bool,
    ) -> EventKind {
        self.epoch = epoch;
        self.failover = None;
        if !Rule::Seal.holds() {
            self.record.clear();
        }
        self.record.push(OnRecord {
            epoch,
            revision: Revision::FIRST,
            holder,
            config: sync.clone(),
            exclusive: false,
        });
        let granted = EventKind::LeaseGranted {
            holder: member.clone(),
            sync: self.describe(sync),
        };
        self.lease = Some(Lease {
            epoch,
            holder,
            member,
            promoted,
            sealed: false,
            hard: false,
            expired: false,
        });
        granted
    }

    pub(super) fn case<'a>(&'a self, lease: &'a Lease, failover: &'a Failover) -> Case<'a> {
        Case {
            record: &self.record,
            lease,
            failover,
            durability: self.spec.durability,
            lineage: self.lineage.as_ref(),
        }
    }

    /// What a grant still waits for: each configuration that is not accounted
    /// for, with the members of which any could help.
    #[must_use]
    pub fn missing_for_grant(&self) -> Vec<(OnRecord, Vec<Incarnation>)> {
        let (Some(lease), Some(failover)) = (&self.lease, &self.failover) else {
            return Vec::new();
        };
        let list = self.case(lease, failover).missing();
        list.into_iter()
            .map(|(entry, members)| (entry, members.into_iter().collect()))
            .collect()
    }

    pub(super) fn current_member(&self, incarnation: Incarnation) -> Result<MemberName, Refusal> {
        self.member_of(incarnation)
            .cloned()
            .ok_or(Refusal::UnknownIncarnation(incarnation))
    }

    pub(super) fn check_sync(
        &self,
        primary: Incarnation,
        sync: &SyncConfig,
    ) -> Result<(), Refusal> {
        if !sync.is_well_formed() || sync.set.contains(&primary) {
            return Err(Refusal::MalformedSync);
        }
        if let Some(unknown) = sync.set.iter().find(|id| self.member_of(**id).is_none()) {
            return Err(Refusal::UnknownIncarnation(*unknown));
        }
        if sync.is_asynchronous() && self.spec.durability == Durability::Strict {
            return Err(Refusal::StrictNeedsSync);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Change,
        fixtures::{at, begin_failover, change, fence, first_epoch, id},
    };

    #[test]
    fn an_adopted_primary_that_dies_before_the_first_seal_is_waited_for() {
        for adopted in [None, Some(7)] {
            let mut group = first_epoch(adopted);
            begin_failover(&mut group);
            fence(&mut group, 0, None);
            fence(&mut group, 1, Some(at(1, 70)));
            let granted = group.grant(Epoch(2), id(1), &SyncConfig::nobody());
            assert_eq!(granted.is_ok(), adopted.is_none(), "{granted:?}");
            if adopted.is_none() {
                continue;
            }
            // It comes back, and may have more than the replica.
            fence(&mut group, 0, Some(at(1, 90)));
            let behind = group.grant(Epoch(2), id(1), &SyncConfig::nobody());
            assert!(
                matches!(behind, Err(Refusal::BehindFence { .. })),
                "{behind:?}"
            );
            let sync = SyncConfig::any(1, [id(1)].into());
            assert!(group.grant(Epoch(2), id(0), &sync).is_ok());
        }
    }

    /// `b` left timeline 1 at 70 under epoch 2, and is lost; of the others, `a`
    /// is at 80 of timeline 1, and `c` has all of `b`'s.
    fn beyond_the_fork(a_stands_at: u64) -> Group {
        let mut group = first_epoch(None);
        begin_failover(&mut group);
        fence(&mut group, 1, Some(at(1, 70)));
        fence(&mut group, 0, None);
        change(
            &mut group,
            Change::GrantLease {
                epoch: Epoch(2),
                holder: id(1),
                sync: SyncConfig::nobody(),
            },
        );
        change(
            &mut group,
            Change::RecordPromotion {
                epoch: Epoch(2),
                incarnation: id(1),
                lineage: Lineage::first().promoted(at(1, 70).lsn, at(2, 0).timeline),
            },
        );
        begin_failover(&mut group);
        fence(&mut group, 0, Some(at(1, a_stands_at)));
        fence(&mut group, 2, Some(at(2, 90)));
        group
    }

    #[test]
    fn a_member_beyond_the_fork_is_not_named_in_the_next_sync_set_for_its_lesser_timeline() {
        let live = [id(0), id(2)].into();
        for (stands_at, named) in [(70, true), (80, false)] {
            let mut group = beyond_the_fork(stands_at);
            let choice = group.choose(&live).expect("somebody");
            assert_eq!(choice.holder, id(2));
            assert_eq!(choice.sync.set.contains(&id(0)), named, "at {stands_at}");
            // Nor does it help to ask for it.
            let wanted = SyncConfig::any(1, [id(0)].into());
            let granted = group.grant(Epoch(3), id(2), &wanted);
            assert_eq!(granted.is_ok(), named, "at {stands_at}: {granted:?}");
        }
    }
}
