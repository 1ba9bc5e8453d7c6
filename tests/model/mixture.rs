//! What a primary may release while its walsenders change from one sync
//! configuration to another, each when it comes to it.

use std::sync::Arc;

use crate::domain::{Change, Group, OnRecord};

use super::{
    scene::Mixture,
    world::{ConfigId, MixId, World, apply},
};

impl World {
    pub fn mix_of(&self, id: MixId) -> &Arc<Vec<ConfigId>> {
        self.mixes.get(usize::from(id))
    }

    /// What walsenders may go by that have read `next`, or what was in force
    /// `before`, or what some still go by since earlier.
    pub fn mix(
        &mut self,
        since: Option<MixId>,
        before: Option<ConfigId>,
        next: ConfigId,
    ) -> Option<MixId> {
        if self.mixture == Mixture::None {
            return None;
        }
        let mut all = since.map_or_else(Vec::new, |id| Vec::clone(self.mix_of(id)));
        all.extend(before);
        // Of an empty set no walsender releases anything.
        all.retain(|id| *id != next && !self.config(*id).set.is_empty());
        if all.is_empty() {
            return None;
        }
        all.push(next);
        Some(self.keep_mix(all))
    }

    pub fn keep_mix(&mut self, mut list: Vec<ConfigId>) -> MixId {
        list.sort_unstable();
        list.dedup();
        u8::try_from(self.mixes.keep(list)).expect("few mixtures")
    }
}

/// As [`apply`] of a grant that has to be legal for each configuration on
/// record by itself.
pub fn grant_one_by_one(group: &Group, change: &Change) -> Option<Group> {
    let alone = |entry: &OnRecord| Group {
        record: vec![entry.clone()],
        ..group.clone()
    };
    let granted: Option<Vec<Group>> = group
        .record
        .iter()
        .map(|entry| apply(&alone(entry), change.clone()))
        .collect();
    let mut next = granted?.pop()?;
    let newest = next.record.pop()?;
    // What a grant says of the one entry that it saw is said of all.
    let exclusive = next.record.pop()?.exclusive;
    next.record = group.record.clone();
    next.record
        .iter_mut()
        .for_each(|e| e.exclusive |= exclusive);
    next.record.push(newest);
    Some(next)
}
