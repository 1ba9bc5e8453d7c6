//! Nobody who counts streams from a primary from beyond its fork: PostgreSQL
//! would take what such a standby has of another history for what it was sent.
//!
//! One that does not count may be connected so: a standby that was cut off
//! from the quorum since an earlier epoch of the same primary, and whose
//! configuration still names its address. It releases nothing.

use super::super::world::World;
use crate::domain::Incarnation;

impl World {
    /// Looks at the walsender that `primary` has for `standby`.
    pub fn judge_fork(&mut self, primary: usize, standby: Incarnation) {
        let server = self.members[primary].database.server.as_ref();
        let Some(sender) = server.and_then(|server| server.senders.get(&standby)) else {
            return;
        };
        let verdict = match sender.ahead && sender.view.set.contains(&standby) {
            false => Ok(()),
            true => Err(format!(
                "member {} is ahead of the fork of {primary}, streams from it, and counts",
                sender.member
            )),
        };
        self.judge("nobody who counts streams from beyond a fork", verdict);
    }
}
