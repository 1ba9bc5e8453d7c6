//! When a grant is legal: exclusive and complete.
//!
//! *Exclusive*: under no configuration on record can a commit still be
//! acknowledged. *Complete*: the candidate has every commit that ever was.
//! The two are shown separately and in any mix; `apply` asks both.

use std::collections::BTreeSet;

use super::{Durability, Failover, Incarnation, Lease, OnRecord, Refusal, SyncConfig, rule::Rule};

/// The facts a grant is judged by.
pub(super) struct Case<'a> {
    pub record: &'a [OnRecord],
    pub lease: &'a Lease,
    pub failover: &'a Failover,
    pub durability: Durability,
}

impl<'a> Case<'a> {
    /// Whether no commit can be acknowledged under `entry` any more.
    pub fn is_exclusive(&self, entry: &OnRecord) -> bool {
        if entry.exclusive {
            return true;
        }
        let holder_stopped = self.failover.fences.contains_key(&entry.holder);
        holder_stopped
            || entry.config.blocked_by(&self.failover.fenced())
            || (entry.config.is_asynchronous() && self.is_time_fenced())
            || self.failover.host_dead
    }

    /// A time fence counts only for a holder that agreed to stop at its deadline.
    fn is_time_fenced(&self) -> bool {
        self.lease.expired && self.lease.hard
    }

    /// Whether the fenced members hold everything acknowledged under `entry`.
    pub fn is_complete(&self, entry: &OnRecord) -> bool {
        let positioned = self.failover.positioned();
        positioned.contains(&entry.holder)
            || entry.config.blocked_by(&positioned)
            || (entry.config.is_asynchronous() && self.durability != Durability::Strict)
            || self.failover.accept_loss
    }

    /// Refuses the grant unless every configuration on record is exclusive
    /// and complete, and `candidate` is the most complete of the fenced.
    pub fn judge(&self, candidate: Incarnation, sync: &SyncConfig) -> Result<(), Refusal> {
        for entry in self.record {
            let judged = Rule::ExclusiveForEvery.holds() || !entry.config.is_asynchronous();
            if judged && !self.is_exclusive(entry) {
                return Err(Refusal::NotExclusive(describe(entry)));
            }
            if !self.is_complete(entry) {
                return Err(Refusal::NotComplete(describe(entry)));
            }
        }
        self.judge_position(candidate)?;
        self.judge_sync(candidate, sync)
    }

    fn judge_position(&self, candidate: Incarnation) -> Result<(), Refusal> {
        let found = self.failover.position(candidate);
        let required = self.failover.greatest().unwrap_or_default();
        let enough = found.is_some_and(|found| found >= required);
        if enough || (found.is_some() && self.failover.accept_loss) {
            return Ok(());
        }
        Err(Refusal::BehindFence {
            candidate,
            found,
            required,
        })
    }

    /// The new sync set names only members fenced in this failover, at or
    /// behind the candidate: any other may be ahead of the fork.
    fn judge_sync(&self, candidate: Incarnation, sync: &SyncConfig) -> Result<(), Refusal> {
        let limit = self.failover.position(candidate);
        let ahead = |member: &&Incarnation| {
            let position = self.failover.position(**member);
            position.is_none() || position > limit
        };
        match sync.set.iter().find(ahead) {
            Some(member) if Rule::Fork.holds() => Err(Refusal::SyncMemberNotFenced(*member)),
            _ => Ok(()),
        }
    }

    /// Members that are still missing for a legal grant, for each
    /// configuration that wants some; empty when none is missing.
    pub fn missing(&self) -> Vec<(&'a OnRecord, BTreeSet<Incarnation>)> {
        let positioned = self.failover.positioned();
        let wanting = |entry: &&'a OnRecord| !self.is_exclusive(entry) || !self.is_complete(entry);
        let lacking = |entry: &OnRecord| {
            let mut members = &entry.config.set - &positioned;
            members.insert(entry.holder);
            members
        };
        self.record
            .iter()
            .filter(wanting)
            .map(|entry| (entry, lacking(entry)))
            .collect()
    }
}

fn describe(entry: &OnRecord) -> String {
    let config = &entry.config;
    format!(
        "epoch {} sync revision {}: ANY {} of {}",
        entry.epoch,
        entry.revision,
        config.k,
        config.set.len()
    )
}
