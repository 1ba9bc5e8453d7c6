//! The replicated state: groups, and the one way to change them.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Change, Command, Epoch, Event, EventKind, Group, GroupName, Outcome, Refusal};

/// Everything that the quorum agrees on. Cheap to clone: groups are shared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// Index of the last log entry that was applied.
    pub applied: u64,
    pub groups: BTreeMap<GroupName, Arc<Group>>,
    /// The greatest epoch of each group that was deleted: a name that is used
    /// again goes on from there.
    pub retired: BTreeMap<GroupName, Epoch>,
}

impl State {
    /// Applies the command that the log holds at `index`.
    ///
    /// Total and deterministic: every node gets the same answer, and a
    /// command that would be unsafe is refused whoever proposed it.
    pub fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        self.applied = index;
        match self.change(command) {
            Ok(kinds) => Outcome::Applied(self.events(index, command, kinds)),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// Notes an entry without a command (membership, a leader's first entry).
    pub fn skip(&mut self, index: u64) {
        self.applied = index;
    }

    #[must_use]
    pub fn group(&self, name: &GroupName) -> Option<&Arc<Group>> {
        self.groups.get(name)
    }

    fn change(&mut self, command: &Command) -> Result<Vec<EventKind>, Refusal> {
        let name = &command.group;
        match &command.change {
            Change::ApplyGroup { spec } if !self.groups.contains_key(name) => {
                let floor = self.retired.get(name).copied().unwrap_or_default();
                let (group, kind) = Group::create(spec, floor)?;
                self.groups.insert(name.clone(), Arc::new(group));
                Ok(vec![kind])
            }
            Change::DeleteGroup => match self.groups.remove(name) {
                Some(group) => {
                    self.retired.insert(name.clone(), group.epoch);
                    Ok(vec![EventKind::GroupDeleted])
                }
                None => Err(Refusal::UnknownGroup(name.clone())),
            },
            change => {
                let unknown = || Refusal::UnknownGroup(name.clone());
                let group = self.groups.get_mut(name).ok_or_else(unknown)?;
                // Decided on a copy: what is refused half-way has changed nothing.
                let mut next = Group::clone(group);
                let kinds = next.change(change, command.at_ms)?;
                *group = Arc::new(next);
                Ok(kinds)
            }
        }
    }

    fn events(&self, index: u64, command: &Command, kinds: Vec<EventKind>) -> Vec<Event> {
        let epoch = self
            .groups
            .get(&command.group)
            .map(|group| group.epoch)
            .unwrap_or_default();
        let event = |kind| Event {
            revision: index,
            at_ms: command.at_ms,
            group: command.group.clone(),
            epoch,
            kind,
        };
        kinds.into_iter().map(event).collect()
    }
}
