//! A PostgreSQL that runs and does not answer.
//!
//! It starts, stops or hangs, and is waited for. Two kinds of standby are not,
//! as they may wait for good and cannot even be asked. One is deaf: it follows
//! somebody whom it should not follow any more. The other starves: after a
//! rewind, recovery needs log from the last common checkpoint on, up to where
//! the source stood. A source that is itself a fresh copy never had the
//! beginning of it, and one that was lost takes the end of it away.
//!
//! Invariant: only an instruction that [`promise::admit`] lets through has one
//! stopped, and a directory is given up only for a sealed epoch.

use std::time::Duration;

use tracing::warn;

use super::{Turn, WATCHFUL};
use crate::{
    agent::{knock::answers, observe::Observed, promise, reconcile::Step},
    clock,
    domain::{Epoch, Incarnation, Instruction, Promised, Rejoin},
    ports::Directive,
};

/// A standby that should be another's is waited for this long to answer.
const DEAF: Duration = Duration::from_secs(2);
/// PostgreSQL asks its upstream again every 5 s (`wal_retrieve_retry_interval`),
/// so this is three refusals.
const PATIENCE: Duration = Duration::from_secs(16);
/// Between two looks at whether it starves: its upstream forks for each.
const LOOK: Duration = Duration::from_secs(1);
const PAUSE: Duration = WATCHFUL.saturating_mul(2);

/// A silence that lasts, and what it was found to be.
pub(super) struct Silence {
    since: Duration,
    hunger: Hunger,
}

/// Since when it waits for log that its upstream does not send.
#[derive(Default)]
struct Hunger {
    looked: Option<Duration>,
    since: Option<Duration>,
}

impl Hunger {
    fn is_due(&self, now: Duration) -> bool {
        self.looked.is_none_or(|at| now.saturating_sub(at) >= LOOK)
    }

    /// Notes a look: whether each one, for long enough, found it hungry.
    fn note(&mut self, now: Duration, hungry: bool) -> bool {
        self.looked = Some(now);
        if !hungry {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_sub(since) >= PATIENCE
    }
}

/// Whether an instruction lets a member that follows `following` be made anew.
///
/// Not while its epoch is unsealed, not for whoever is no upstream of it, and
/// not once it is fenced: its log may be what the next failover counts on.
fn may_be_given_up(
    promised: Promised,
    instruction: &Instruction,
    following: Option<(Epoch, Incarnation)>,
) -> bool {
    let Instruction::Standby(order) = instruction else {
        return false;
    };
    order.rejoin == Rejoin::Rewind
        && following == Some((order.epoch, order.upstream.incarnation))
        && promise::admit(promised, instruction).is_ok()
}

impl Turn {
    pub(super) async fn wait_for_an_answer(&mut self) -> Duration {
        self.say_busy("starting or stopping");
        let now = clock::boottime();
        let silence = self.silence.get_or_insert_with(|| Silence {
            since: now,
            hunger: Hunger::default(),
        });
        let is_long = now.saturating_sub(silence.since) > DEAF;
        let directive = self.directive.borrow_and_update().clone();
        let mine = |it: &Directive| it.incarnation == self.member.memory.incarnation();
        let Some(directive) = directive.filter(mine) else {
            return PAUSE;
        };
        let is_deaf = is_long && self.member.is_standby_of_another(&directive.instruction);
        let starves = !is_deaf && self.starves(now, &directive.instruction).await;
        if !is_deaf && !starves {
            return PAUSE;
        }
        match self.admit(&directive.instruction) {
            Ok(true) if starves => self.give_up(&directive).await,
            Ok(true) => self.stop_at_once(&directive).await,
            Ok(false) => PAUSE,
            Err(error) => self.fail(Step::Nothing, &error),
        }
    }

    /// Whether it has waited long enough, beside an upstream that answers.
    async fn starves(&mut self, now: Duration, instruction: &Instruction) -> bool {
        let is_due = |it: &Silence| it.hunger.is_due(now);
        if !self.silence.as_ref().is_some_and(is_due) {
            return false;
        }
        let hungry = self.is_hungry(instruction).await;
        let silence = self.silence.as_mut();
        silence.is_some_and(|it| it.hunger.note(now, hungry))
    }

    async fn is_hungry(&self, instruction: &Instruction) -> bool {
        let (promised, following) = (
            self.member.memory.promised(),
            self.member.memory.following(),
        );
        let Instruction::Standby(order) = instruction else {
            return false;
        };
        may_be_given_up(promised, instruction, following)
            && matches!(self.member.postgres.waits_for_nobody().await, Ok(true))
            && answers(order.upstream.address).await
    }

    /// Stops it; what is left is kept aside, and replaced by a base backup.
    async fn give_up(&mut self, directive: &Directive) -> Duration {
        warn!("the standby waits for log that its upstream does not have; it is made anew");
        let rest = self.stop_at_once(directive).await;
        // Stopped first: a wreck is taken to be at rest.
        if !matches!(self.member.postgres.is_running().await, Ok(false)) {
            return rest;
        }
        match self.member.postgres.condemn() {
            Ok(()) => rest,
            Err(error) => self.fail(Step::Nothing, &error.into()),
        }
    }

    async fn stop_at_once(&mut self, directive: &Directive) -> Duration {
        let unknown = Observed::unknown();
        self.do_step(Step::StopImmediate, directive, &unknown).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{InstructionOrder, Lineage, Peer, Revision, StandbyOrder};

    fn following(epoch: u32, rejoin: Rejoin) -> Instruction {
        Instruction::Standby(StandbyOrder {
            epoch: Epoch(epoch),
            upstream: Peer {
                member: "a".parse().expect("a name"),
                incarnation: upstream(),
                address: "192.0.2.1:5432".parse().expect("an address"),
            },
            lineage: Lineage::first(),
            rejoin,
        })
    }

    fn upstream() -> Incarnation {
        Incarnation(uuid::Uuid::from_u128(2))
    }

    fn accepted(epoch: u32) -> Promised {
        Promised {
            accepted: InstructionOrder {
                epoch: Epoch(epoch),
                revision: Revision::default(),
            },
            ..Promised::default()
        }
    }

    fn allowed(promised: Promised, instruction: &Instruction) -> bool {
        may_be_given_up(promised, instruction, Some((Epoch(4), upstream())))
    }

    #[test]
    fn a_standby_of_a_sealed_epoch_may_be_made_anew() {
        assert!(allowed(accepted(4), &following(4, Rejoin::Rewind)));
    }

    #[test]
    fn a_late_order_makes_no_fenced_standby_anew() {
        let fenced = Promised {
            fenced: Epoch(4),
            ..accepted(4)
        };
        assert!(!allowed(fenced, &following(4, Rejoin::Rewind)));
        assert!(!allowed(accepted(5), &following(4, Rejoin::Rewind)));
    }

    #[test]
    fn nothing_is_given_up_before_the_epoch_is_sealed() {
        assert!(!allowed(accepted(4), &following(4, Rejoin::Wait)));
    }

    #[test]
    fn a_standby_that_has_yet_to_change_its_upstream_is_not_given_up() {
        let order = following(4, Rejoin::Rewind);
        let another = Incarnation(uuid::Uuid::from_u128(3));
        for before in [
            None,
            Some((Epoch(3), upstream())),
            Some((Epoch(4), another)),
        ] {
            assert!(!may_be_given_up(accepted(4), &order, before));
        }
    }

    #[test]
    fn one_look_that_finds_it_fed_starts_the_wait_anew() {
        let mut hunger = Hunger::default();
        let at = Duration::from_secs;
        assert!(!hunger.note(at(0), true));
        assert!(!hunger.note(at(15), false));
        assert!(!hunger.note(at(16), true));
        assert!(!hunger.note(at(31), true));
        assert!(hunger.note(at(32), true));
    }

    #[test]
    fn the_upstream_is_asked_once_a_second() {
        let mut hunger = Hunger::default();
        assert!(hunger.is_due(Duration::ZERO));
        hunger.note(Duration::ZERO, true);
        assert!(!hunger.is_due(Duration::from_millis(999)));
        assert!(hunger.is_due(Duration::from_secs(1)));
    }
}
