//! Leader-local timekeeping for leases.
//!
//! The replicated state knows who holds a lease and under which epoch. It
//! does not know when it ends: deadlines live here, on this process's
//! monotonic clock, and die with leadership.
//!
//! Invariant: nothing here revokes a lease. It names leases that ran out; the
//! state machine ignores an expiry once the epoch has moved.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    agent::holder::DRIFT_PERCENT,
    domain::{Epoch, GroupName, State},
};

/// Only a mutation sets this, to see that the tests need the full TTL that a
/// new leader gives.
const MUTANT: bool = cfg!(primacy_mutant = "deadlines");

/// Deadlines by `now`, the smaller of the two clocks that a leader reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Lessor {
    leases: BTreeMap<GroupName, Deadline>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Deadline {
    epoch: Epoch,
    until: Duration,
    /// Its expiry was proposed: no renewal of this epoch is acknowledged any more.
    closed: bool,
}

impl Lessor {
    /// Starts anew under a new leadership: every lease gets a full TTL.
    ///
    /// A predecessor may have acknowledged renewals up to its last moment;
    /// expiring on anything less could take a lease that its holder trusts.
    pub fn take_office(&mut self, now: Duration, state: &State) {
        self.leases.clear();
        self.observe(now, state);
        if MUTANT {
            // The least that a predecessor may have left of them.
            self.leases.values_mut().for_each(|lease| lease.until = now);
        }
    }

    /// Gives every lease that it does not know yet a full TTL from `now`.
    pub fn observe(&mut self, now: Duration, state: &State) {
        self.leases
            .retain(|name, _| state.groups.contains_key(name));
        for (name, group) in &state.groups {
            let Some(lease) = &group.lease else { continue };
            let known = self
                .leases
                .get(name)
                .is_some_and(|known| known.epoch == lease.epoch);
            // Nobody could take over from a first primary that is being made.
            let being_made = group.system_identifier.is_none();
            if !known || being_made {
                let until = now + full(group.spec.ttl_ms);
                let deadline = Deadline {
                    epoch: lease.epoch,
                    until,
                    closed: false,
                };
                self.leases.insert(name.clone(), deadline);
            }
        }
    }

    /// Takes a renewal that came at `receipt` and was confirmed by a quorum
    /// round begun after that. False: it is not acknowledged.
    pub fn renew(
        &mut self,
        group: &GroupName,
        epoch: Epoch,
        receipt: Duration,
        ttl_ms: u64,
    ) -> bool {
        match self.leases.get_mut(group) {
            Some(deadline) if deadline.epoch == epoch && !deadline.closed => {
                deadline.until = deadline.until.max(receipt + full(ttl_ms));
                true
            }
            _ => false,
        }
    }

    /// Leases that ran out by `now`; from here on they are not renewed.
    pub fn expire(&mut self, now: Duration) -> Vec<(GroupName, Epoch)> {
        let due = self
            .leases
            .iter_mut()
            .filter(|(_, deadline)| now >= deadline.until);
        due.map(|(name, deadline)| {
            deadline.closed = true;
            (name.clone(), deadline.epoch)
        })
        .collect()
    }
}

fn full(ttl_ms: u64) -> Duration {
    Duration::from_millis(ttl_ms) * (100 + DRIFT_PERCENT) / 100
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::fixtures::first_epoch;

    #[test]
    fn the_first_lease_does_not_run_out_while_the_first_directory_is_made() {
        let (mut lessor, mut state) = (Lessor::default(), State::default());
        let group = first_epoch(None);
        let (name, ttl) = (group.spec.name.clone(), full(group.spec.ttl_ms));
        state.groups.insert(name.clone(), Arc::new(group));
        let initdb = ttl * 6;
        for now in [Duration::ZERO, initdb] {
            lessor.observe(now, &state);
        }
        assert_eq!(lessor.expire(initdb), []);
        // It is made: from here on its holder has to renew.
        let group = Arc::make_mut(state.groups.get_mut(&name).expect("the group"));
        group.system_identifier = Some(7);
        lessor.observe(initdb + ttl / 2, &state);
        assert_eq!(lessor.expire(initdb + ttl), [(name, Epoch(1))]);
    }
}
