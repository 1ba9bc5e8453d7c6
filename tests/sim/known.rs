//! Standstills that are known, each with what would end it.
//!
//! A world that ends in one of these is counted and not failed, so that what
//! is not known yet stands out. `SIM_STRICT=1` fails it all the same. Each is
//! told by what is on record and on disk, not by the seed; when the product
//! does better, its case here goes.

use crate::domain::Incarnation;

use super::world::World;

impl World {
    pub fn known_standstill(&self) -> Option<&'static str> {
        let node = self.nodes.iter().max_by_key(|node| node.applied)?;
        let group = node.state.group(&self.plan.group())?;
        let gone = |id: &Incarnation| group.member_of(*id).is_none();
        if group
            .missing_for_grant()
            .iter()
            .any(|(_, lacking)| lacking.iter().all(gone))
        {
            return Some("a failover waits for former incarnations alone");
        }
        None
    }
}
