//! Whom to make primary, and whom it then waits for.

use std::collections::BTreeSet;

use super::{Failover, Group, Incarnation, MemberSpec, Position, SyncConfig};

/// A grant that should be legal: `apply` has the last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub holder: Incarnation,
    pub sync: SyncConfig,
}

/// Why nobody can be made primary yet, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    #[error("no failover is under way")]
    NoFailover,
    #[error("epoch {epoch} waits for {sync}: not enough of these are fenced: {missing}")]
    Waiting {
        epoch: u32,
        sync: String,
        missing: String,
    },
    #[error("the members that have every acknowledged write may not be promoted: {0}")]
    NotEligible(String),
}

impl Group {
    /// Chooses among the most complete of the fenced members: the one asked
    /// for, then the highest priority, then the region of the holder that is
    /// replaced, then by name.
    ///
    /// `live` are members that run as standbys now; only they are waited for.
    pub fn choose(&self, live: &BTreeSet<Incarnation>) -> Result<Choice, Blocked> {
        let failover = self.failover.as_ref().ok_or(Blocked::NoFailover)?;
        if let Some((entry, missing)) = self.missing_for_grant().into_iter().next() {
            return Err(Blocked::Waiting {
                epoch: entry.epoch.0,
                sync: self.describe(&entry.config),
                missing: self.names(missing),
            });
        }
        let best = failover.greatest().unwrap_or_default();
        let complete: Vec<_> = at(failover, best).collect();
        let holder = self
            .preferred(failover, &complete, live)
            .ok_or_else(|| Blocked::NotEligible(self.names(complete.clone())))?;
        Ok(Choice {
            holder,
            sync: self.sync_for(holder, failover, best, live),
        })
    }

    fn preferred(
        &self,
        failover: &Failover,
        complete: &[Incarnation],
        live: &BTreeSet<Incarnation>,
    ) -> Option<Incarnation> {
        let replaced = self
            .lease
            .as_ref()
            .and_then(|lease| self.spec_of(lease.holder));
        let region = replaced.map(|spec| &spec.region);
        let rank = |id: &Incarnation, spec: &MemberSpec| {
            let asked_for = failover.prefer.as_ref() == Some(&spec.name);
            let near = region == Some(&spec.region);
            // Whoever held the lease and was never promoted may fail again.
            let untried = !self
                .lease
                .as_ref()
                .is_some_and(|lease| lease.holder == *id && !lease.promoted);
            (
                asked_for,
                live.contains(id),
                untried,
                spec.priority,
                near,
                std::cmp::Reverse(spec.name.clone()),
            )
        };
        complete
            .iter()
            .filter_map(|id| Some((*id, self.spec_of(*id)?)))
            .filter(|(_, spec)| !spec.no_failover)
            .max_by_key(|(id, spec)| rank(id, spec))
            .map(|(id, _)| id)
    }

    fn sync_for(
        &self,
        holder: Incarnation,
        failover: &Failover,
        best: Position,
        live: &BTreeSet<Incarnation>,
    ) -> SyncConfig {
        let able = |id: &Incarnation| {
            self.spec_of(*id)
                .is_some_and(|spec| self.spec.may_be_synchronous(spec))
        };
        // A lesser timeline is not behind where it was left: it is beside.
        let shares = |at| {
            self.lineage
                .as_ref()
                .is_none_or(|lineage| lineage.holds(at))
        };
        let behind = |id: &Incarnation| {
            let position = failover.position(*id);
            position.is_some_and(|at| at <= best && shares(at))
        };
        let set = live
            .iter()
            .copied()
            .filter(|id| *id != holder && able(id) && behind(id));
        SyncConfig::any(self.spec.sync_k, set.collect())
    }

    /// The sync set of a holder that goes on under the next epoch.
    #[must_use]
    pub fn choose_continuation(&self, live: &BTreeSet<Incarnation>) -> Option<Choice> {
        let (lease, failover) = (self.lease.as_ref()?, self.failover.as_ref()?);
        let any = Position {
            timeline: super::Timeline(u32::MAX),
            lsn: super::Lsn(u64::MAX),
        };
        let sync = self.sync_for(lease.holder, failover, any, live);
        Some(Choice {
            holder: lease.holder,
            sync,
        })
    }

    fn names(&self, members: Vec<Incarnation>) -> String {
        let name = |id: Incarnation| {
            self.member_of(id)
                .map_or_else(|| format!("former {id}"), ToString::to_string)
        };
        members.into_iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

fn at(failover: &Failover, position: Position) -> impl Iterator<Item = Incarnation> {
    failover
        .fences
        .iter()
        .filter(move |(_, found)| **found == Some(position))
        .map(|(id, _)| *id)
}
