//! A failover, from its beginning until it can be granted.

use std::collections::BTreeMap;

use super::{
    super::{Cause, Epoch, EventKind, Failover, Incarnation, Lease, MemberName, Position, Refusal},
    Group,
};

impl Group {
    pub(super) fn begin_failover(
        &mut self,
        epoch: Epoch,
        cause: &Cause,
        silence_ms: u64,
        prefer: Option<&MemberName>,
        at_ms: u64,
    ) -> Result<Vec<EventKind>, Refusal> {
        let holder = self.lease_of(epoch)?.member.clone();
        if self.failover.is_some() {
            return Err(Refusal::EpochClosed(epoch));
        }
        if self.paused && !matches!(cause, Cause::Operator | Cause::Switchover) {
            return Err(Refusal::Paused);
        }
        self.failover = Some(Failover {
            epoch,
            cause: cause.clone(),
            prefer: prefer.cloned(),
            fences: BTreeMap::new(),
            host_dead: false,
            accept_loss: false,
            began_at_ms: at_ms,
        });
        Ok(vec![EventKind::FailoverBegan {
            holder,
            cause: cause.clone(),
            silence_ms,
        }])
    }

    pub(super) fn record_fence(
        &mut self,
        epoch: Epoch,
        incarnation: Incarnation,
        position: Option<Position>,
    ) -> Result<Vec<EventKind>, Refusal> {
        let member = self.current_member(incarnation)?;
        let was_legal = self.grant_is_accounted_for();
        let failover = self.failover_of(epoch)?;
        let known = failover.fences.get(&incarnation).copied();
        let position = known.flatten().max(position);
        if known == Some(position) {
            return Ok(Vec::new());
        }
        failover.fences.insert(incarnation, position);
        let mut events = vec![EventKind::MemberFenced { member, position }];
        if !was_legal && self.grant_is_accounted_for() {
            events.push(EventKind::FenceComplete);
        }
        Ok(events)
    }

    /// Whether every configuration on record is exclusive and complete.
    #[must_use]
    pub fn grant_is_accounted_for(&self) -> bool {
        self.failover.is_some() && self.missing_for_grant().is_empty()
    }

    pub(super) fn failover_of(&mut self, epoch: Epoch) -> Result<&mut Failover, Refusal> {
        let current = self.epoch;
        match &mut self.failover {
            Some(failover) if failover.epoch == epoch => Ok(failover),
            _ if epoch != current => Err(Refusal::EpochMoved {
                asked: epoch,
                current,
            }),
            _ => Err(Refusal::NoFailover(epoch)),
        }
    }

    pub(super) fn record_hard_renewal(&mut self, epoch: Epoch) -> Result<Vec<EventKind>, Refusal> {
        self.lease_of(epoch)?.hard = true;
        Ok(Vec::new())
    }

    /// Expires the lease of `epoch`. A lease granted since is left alone: the
    /// lessor that asked for this may have lost its office on the way.
    pub(super) fn expire_lease(&mut self, epoch: Epoch) -> Result<Vec<EventKind>, Refusal> {
        let lease = self.lease_of(epoch)?;
        if lease.expired {
            return Ok(Vec::new());
        }
        lease.expired = true;
        Ok(vec![EventKind::LeaseExpired {
            holder: lease.member.clone(),
        }])
    }

    pub(super) fn assert_host_dead(&mut self, epoch: Epoch) -> Result<Vec<EventKind>, Refusal> {
        let holder = self.lease_of(epoch)?.member.clone();
        self.failover_of(epoch)?.host_dead = true;
        Ok(vec![EventKind::HostAssertedDead { holder }])
    }

    pub(super) fn accept_data_loss(&mut self, epoch: Epoch) -> Result<Vec<EventKind>, Refusal> {
        let holder = self.lease_of(epoch)?.member.clone();
        self.failover_of(epoch)?.accept_loss = true;
        Ok(vec![EventKind::DataLossAccepted { holder }])
    }

    pub(super) fn lease_of(&mut self, epoch: Epoch) -> Result<&mut Lease, Refusal> {
        let current = self.epoch;
        match &mut self.lease {
            Some(lease) if lease.epoch == epoch => Ok(lease),
            _ => Err(Refusal::EpochMoved {
                asked: epoch,
                current,
            }),
        }
    }
}
