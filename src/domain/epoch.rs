//! The per-group fencing token, and the numbering of sync changes within it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timeline;

/// Fencing token of a group: one more at every grant, never reused.
/// Epoch 0 means that nothing was ever granted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch of a group that was never granted to anybody.
    pub const NONE: Self = Self(0);

    /// The epoch after this one.
    ///
    /// Saturates: at one grant a second it would take 136 years to get there,
    /// and `apply` refuses a grant that does not raise the epoch.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The timeline that a promotion under this epoch makes.
    #[must_use]
    pub fn timeline(self) -> Timeline {
        Timeline(self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a sync configuration within its epoch; the first is 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Revision(pub u32);

impl Revision {
    pub const FIRST: Self = Self(1);

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What orders instructions to a member: the epoch, then the sync revision.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct InstructionOrder {
    pub epoch: Epoch,
    pub revision: Revision,
}
