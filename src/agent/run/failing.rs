//! How soon a step that failed is tried again.

use std::time::Duration;

use crate::agent::reconcile::Step;

/// Pauses after a step that failed, doubling.
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(50);
pub(super) const RETRY_MOST: Duration = Duration::from_secs(5);

/// The step that failed last, and until when it is left alone.
#[derive(Default)]
pub(super) struct Failing(Option<Failed>);

struct Failed {
    step: Step,
    pause: Duration,
    until: Duration,
}

impl Failing {
    /// Whether it is this step that failed last.
    pub(super) fn is(&self, step: &Step) -> bool {
        self.0.as_ref().is_some_and(|failed| failed.step == *step)
    }

    /// For how long this step is still left alone.
    pub(super) fn rest(&self, step: &Step, now: Duration) -> Duration {
        let failed = self.0.as_ref().filter(|failed| failed.step == *step);
        failed.map_or(Duration::ZERO, |failed| failed.until.saturating_sub(now))
    }

    /// Notes that `step` failed, once more or for the first time. Returns how
    /// long it is left alone now: `most` at most.
    pub(super) fn note(&mut self, step: Step, now: Duration, most: Duration) -> Duration {
        let before = self.0.take().filter(|failed| failed.step == step);
        let pause = before.map_or(RETRY_FIRST, |failed| (failed.pause * 2).min(RETRY_MOST));
        let pause = pause.min(most);
        self.leave_alone(step, now, pause);
        pause
    }

    /// Leaves `step` alone for this long.
    pub(super) fn leave_alone(&mut self, step: Step, now: Duration, pause: Duration) {
        let until = now + pause;
        self.0 = Some(Failed { step, pause, until });
    }

    /// Notes that `step` was done: whether nothing fails any more. What only
    /// prepares the step that fails does not mend it: its pause goes on growing.
    pub(super) fn is_mended_by(&mut self, step: &Step) -> bool {
        let mended = self.0.as_ref().is_none_or(|failed| failed.step == *step);
        if mended {
            self.0 = None;
        }
        mended
    }

    /// There is nothing to do any more: whether something had failed.
    pub(super) fn forget(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Position;

    const NOW: Duration = Duration::from_secs(100);

    fn rewind() -> Step {
        let from = Position::default();
        Step::Rewind { from }
    }

    #[test]
    fn on_a_full_disk_what_prepares_the_step_that_fails_does_not_have_it_tried_at_once() {
        let mut failing = Failing::default();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert!(failing.is_mended_by(&Step::ReadEnd) == pauses.is_empty());
            pauses.push(failing.note(rewind(), NOW, RETRY_MOST));
        }
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert_eq!(pauses[..3], [50, 100, 200].map(Duration::from_millis));
        assert_eq!(pauses[8], RETRY_MOST);
        assert_eq!(failing.rest(&rewind(), NOW), RETRY_MOST);
        assert_eq!(failing.rest(&Step::ReadEnd, NOW), Duration::ZERO);
    }

    #[test]
    fn a_step_that_is_done_in_the_end_starts_anew() {
        let mut failing = Failing::default();
        failing.note(rewind(), NOW, RETRY_MOST);
        failing.note(rewind(), NOW, RETRY_MOST);
        assert!(failing.is_mended_by(&rewind()));
        assert_eq!(failing.note(rewind(), NOW, RETRY_MOST), RETRY_FIRST);
    }

    #[test]
    fn another_step_that_fails_is_tried_again_soon() {
        let mut failing = Failing::default();
        failing.leave_alone(rewind(), NOW, RETRY_MOST);
        assert_eq!(failing.note(Step::Follow, NOW, RETRY_MOST), RETRY_FIRST);
    }
}
