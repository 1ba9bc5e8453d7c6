//! What the primary works under: its promotion, its sync set, its seal.

use super::{
    super::{
        Barrier, Epoch, EventKind, Incarnation, Lease, Lineage, OnRecord, Refusal, Revision,
        SyncConfig, rule::Rule,
    },
    Group,
};

/// Sync changes of one epoch that may be on record at once. More than a few
/// means that the primary does not follow; the leader waits then.
const PENDING_LIMIT: usize = 4;

impl Group {
    /// The lease of `epoch`, as long as no failover has closed it.
    pub(super) fn open_lease(&mut self, epoch: Epoch) -> Result<&mut Lease, Refusal> {
        if self.failover.is_some() && self.epoch == epoch {
            return Err(Refusal::EpochClosed(epoch));
        }
        self.lease_of(epoch)
    }

    pub(super) fn record_promotion(
        &mut self,
        epoch: Epoch,
        incarnation: Incarnation,
        lineage: &Lineage,
    ) -> Result<Vec<EventKind>, Refusal> {
        let lease = self.open_lease(epoch)?;
        if lease.holder != incarnation {
            return Err(Refusal::NotHolder(incarnation));
        }
        if lease.promoted {
            return Ok(Vec::new());
        }
        if lineage.timeline != epoch.timeline() && Rule::TimelineIsEpoch.holds() {
            return Err(Refusal::WrongTimeline {
                epoch,
                found: lineage.timeline.0,
            });
        }
        lease.promoted = true;
        let holder = lease.member.clone();
        self.lineage = Some(lineage.clone());
        Ok(vec![EventKind::Promoted {
            holder,
            lineage: lineage.clone(),
        }])
    }

    pub(super) fn propose_sync(
        &mut self,
        epoch: Epoch,
        revision: Revision,
        next: &SyncConfig,
    ) -> Result<Vec<EventKind>, Refusal> {
        let lease = self.open_lease(epoch)?;
        let (holder, hard) = (lease.holder, lease.hard);
        if !lease.promoted {
            return Err(Refusal::NotPromoted(epoch));
        }
        self.check_sync(holder, next)?;
        if next.is_asynchronous() && !hard && Rule::ExclusiveForEvery.holds() {
            return Err(Refusal::NoHardRenewal(epoch));
        }
        let last = self
            .current()
            .map(|entry| entry.revision)
            .max()
            .unwrap_or_default();
        if revision != last.next() {
            return Err(Refusal::RevisionOrder {
                asked: revision,
                last,
            });
        }
        if self.current().count() >= PENDING_LIMIT {
            return Err(Refusal::TooManyPending);
        }
        if !Rule::Joint.holds() {
            self.record.retain(|entry| entry.epoch != epoch);
        }
        let config = next.clone();
        self.record.push(OnRecord {
            epoch,
            revision,
            holder,
            config,
            exclusive: false,
        });
        Ok(vec![EventKind::SyncProposed {
            sync_revision: revision,
            sync: self.describe(next),
        }])
    }

    pub(super) fn confirm_sync(
        &mut self,
        epoch: Epoch,
        revision: Revision,
        barrier: &Barrier,
    ) -> Result<Vec<EventKind>, Refusal> {
        if !self.open_lease(epoch)?.sealed {
            return Err(Refusal::NotSealed(epoch));
        }
        self.check_barrier(epoch, revision, barrier)?;
        Ok(self
            .drop_revisions_before(epoch, revision)
            .into_iter()
            .collect())
    }

    pub(super) fn seal_epoch(
        &mut self,
        epoch: Epoch,
        revision: Revision,
        barrier: &Barrier,
    ) -> Result<Vec<EventKind>, Refusal> {
        let lease = self.open_lease(epoch)?;
        if lease.sealed {
            return Ok(Vec::new());
        }
        if !lease.promoted {
            return Err(Refusal::NotPromoted(epoch));
        }
        let holder = lease.member.clone();
        self.check_barrier(epoch, revision, barrier)?;
        self.lease_of(epoch)?.sealed = true;
        self.record.retain(|entry| entry.epoch == epoch);
        let mut events: Vec<_> = self
            .drop_revisions_before(epoch, revision)
            .into_iter()
            .collect();
        events.push(EventKind::EpochSealed { holder });
        Ok(events)
    }

    /// A barrier counts for the configuration that it was made under: on the
    /// holder's timeline of record, and held by k members of that set.
    pub(super) fn check_barrier(
        &self,
        epoch: Epoch,
        revision: Revision,
        barrier: &Barrier,
    ) -> Result<(), Refusal> {
        let find = |entry: &&OnRecord| entry.revision == revision && entry.epoch == epoch;
        let entry = self
            .record
            .iter()
            .find(find)
            .ok_or(Refusal::UnknownRevision(revision))?;
        let timeline = self.lineage.as_ref().map(|lineage| lineage.timeline);
        let on_timeline = timeline == Some(barrier.position.timeline);
        if on_timeline && entry.config.confirmed_by(&barrier.confirmed) {
            return Ok(());
        }
        Err(Refusal::BarrierNotConfirmed(barrier.position))
    }

    /// The primary works under `revision`, so nothing is acknowledged under a
    /// lower one any more: it refuses to go back.
    pub(super) fn drop_revisions_before(
        &mut self,
        epoch: Epoch,
        revision: Revision,
    ) -> Option<EventKind> {
        let before = self.record.len();
        self.record
            .retain(|entry| entry.epoch != epoch || entry.revision >= revision);
        if self.record.len() == before {
            return None;
        }
        let confirmed = self
            .record
            .iter()
            .find(|entry| entry.order().revision == revision)?;
        let sync = self.describe(&confirmed.config);
        Some(EventKind::SyncConfirmed {
            sync_revision: revision,
            sync,
        })
    }
}
