//! For how long an answer to `Check` may be relied on.
//!
//! While a window that was given out lasts, no other member becomes primary:
//! the leader remembers the latest end and holds a grant back until then.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    agent::holder::DRIFT_PERCENT,
    domain::{GroupName, State},
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CheckWindows {
    ends: BTreeMap<GroupName, Duration>,
}

impl CheckWindows {
    /// Starts anew under a new leadership: the predecessor may have given out
    /// a window a moment ago, so each group waits for one whole window.
    pub fn take_office(&mut self, now: Duration, state: &State) {
        let end = |ms: u64| now + stretched(Duration::from_millis(ms));
        self.ends = state
            .groups
            .iter()
            .map(|(name, group)| (name.clone(), end(group.spec.check_window_ms)))
            .collect();
    }

    /// Gives out `window` for a call received at `receipt`. Must be called
    /// before the quorum round that confirms the answer is begun.
    pub fn give(&mut self, group: &GroupName, receipt: Duration, window: Duration) {
        let end = receipt + stretched(window);
        let known = self.ends.entry(group.clone()).or_default();
        *known = end.max(*known);
    }

    /// How long a grant has to wait at `now`.
    #[must_use]
    pub fn remaining(&self, group: &GroupName, now: Duration) -> Duration {
        self.ends
            .get(group)
            .map(|end| end.saturating_sub(now))
            .unwrap_or_default()
    }
}

/// What the client counts on its clock, at most, on ours.
fn stretched(window: Duration) -> Duration {
    window * (100 + DRIFT_PERCENT) / (100 - DRIFT_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_waits_for_the_latest_window_given_out() {
        let group: GroupName = "orders".parse().expect("a name");
        let mut windows = CheckWindows::default();
        windows.give(&group, Duration::from_secs(10), Duration::from_millis(900));
        windows.give(&group, Duration::from_secs(9), Duration::from_millis(900));
        let remaining = windows.remaining(&group, Duration::from_secs(10));
        assert_eq!(remaining, Duration::from_millis(1100));
        assert_eq!(
            windows.remaining(&group, Duration::from_secs(12)),
            Duration::ZERO
        );
    }
}
