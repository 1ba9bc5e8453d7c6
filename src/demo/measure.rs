//! What a failover took, part by part, from the cluster's own history.

use primacy_proto::v1::Event;
use serde::Serialize;

/// One line of the final table; milliseconds, none where meaningless.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Row {
    pub name: &'static str,
    #[serde(skip)]
    pub label: String,
    pub detect_ms: Option<u64>,
    pub fence_ms: Option<u64>,
    pub promote_ms: Option<u64>,
    pub publish_ms: Option<u64>,
    pub write_gap_ms: Option<u64>,
}

impl Row {
    /// A line without anything measured.
    pub(crate) fn new(name: &'static str, label: String) -> Self {
        Self {
            name,
            label,
            ..Self::default()
        }
    }

    /// The parts of the first failover in `events`, for a fault at `fault_ms`
    /// of the wall clock.
    pub(crate) fn measure(mut self, fault_ms: u64, events: &[Event]) -> Self {
        let mut at = fault_ms;
        let mut rest = events;
        let parts = [
            ("failover_began", &mut self.detect_ms),
            ("fence_complete", &mut self.fence_ms),
            ("promoted", &mut self.promote_ms),
            ("epoch_sealed", &mut self.publish_ms),
        ];
        for (kind, part) in parts {
            // A release needs no fence, a re-grant no promotion.
            let Some(index) = rest.iter().position(|event| event.kind == kind) else {
                continue;
            };
            *part = Some(rest[index].at_ms.saturating_sub(at));
            at = rest[index].at_ms;
            rest = &rest[index + 1..];
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, at_ms: u64) -> Event {
        Event {
            kind: kind.to_owned(),
            at_ms,
            ..Event::default()
        }
    }

    #[test]
    fn each_part_begins_where_the_one_before_ended() {
        let events = [
            event("failover_began", 1_200),
            event("member_fenced", 1_210),
            event("fence_complete", 1_230),
            event("lease_granted", 1_231),
            event("promoted", 1_260),
            event("epoch_sealed", 1_300),
        ];
        let row = Row::new("region_loss", String::new()).measure(1_000, &events);
        let parts = [row.detect_ms, row.fence_ms, row.promote_ms, row.publish_ms];
        assert_eq!(parts, [200, 30, 30, 40].map(Some));
    }

    #[test]
    fn a_part_that_did_not_happen_is_left_out() {
        let events = [event("failover_began", 1_010), event("promoted", 1_050)];
        let row = Row::new("postgres_crash", String::new()).measure(1_000, &events);
        let parts = [row.detect_ms, row.fence_ms, row.promote_ms, row.publish_ms];
        assert_eq!(parts, [Some(10), None, Some(40), None]);
    }
}
