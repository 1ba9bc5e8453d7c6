//! A lease expires only after its holder has stopped to trust it.

use super::super::{event::Process, world::World};
use crate::domain::Epoch;

impl World {
    /// The lease of `epoch` is on record as expired.
    pub fn judge_expiry(&mut self, holder: usize, epoch: Epoch) {
        let agent = &self.members[holder].agent;
        let clocks = &self.clocks[self.host_of(Process::Agent(holder))];
        // Of a copy: to be looked at changes nothing for the agent.
        let now = agent.elapsed.clone().greatest(clocks.reading(self.now));
        let verdict = match agent.holder.until(epoch) {
            Some(until) if until > now && self.is_alive(Process::Agent(holder)) => Err(format!(
                "the lease of epoch {epoch} expired; member {holder} trusts it for another {:?}",
                until - now
            )),
            _ => Ok(()),
        };
        self.judge("a lease outlives no trust", verdict);
    }
}
