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

use tokio::time::sleep;
use tracing::warn;

use super::{Turn, WATCHFUL};
use crate::{
    agent::{knock::answers, observe::Observed, promise, reconcile::Step},
    clock,
    domain::{Epoch, Incarnation, Instruction, Promised, Rejoin, StandbyOrder},
    ports::Directive,
    postgres::LocalPostgres,
};

/// A standby that should be another's is waited for this long to answer.
const DEAF: Duration = Duration::from_secs(2);
/// A receiver that is refused is started again ten times in a second
/// (`wal_retrieve_retry_interval`); an upstream may be restarted meanwhile.
const PATIENCE: Duration = Duration::from_secs(16);
/// Between two looks at whether it starves: its upstream forks for each.
const LOOK: Duration = Duration::from_secs(1);
/// What was not looked at for this long may have been anything in between.
const BLINK: Duration = Duration::from_secs(5);
const PAUSE: Duration = WATCHFUL.saturating_mul(2);

/// A silence that lasts, and what it was found to be.
pub(super) struct Silence {
    since: Duration,
    hunger: Hunger,
}

/// Since when it waits for the same log, which its upstream does not send.
#[derive(Default)]
pub(super) struct Hunger {
    looked: Option<Duration>,
    since: Duration,
    awaited: Option<String>,
}

impl Hunger {
    fn is_due(&self, now: Duration) -> bool {
        self.looked.is_none_or(|at| now.saturating_sub(at) >= LOOK)
    }

    /// Notes what it waits for now: whether each look, for long enough, found
    /// it waiting for that.
    fn note(&mut self, now: Duration, awaited: Option<String>) -> bool {
        let blinked = |at| now.saturating_sub(at) > BLINK;
        if self.looked.is_none_or(blinked) || awaited != self.awaited {
            self.since = now;
        }
        (self.looked, self.awaited) = (Some(now), awaited);
        self.awaited.is_some() && now.saturating_sub(self.since) >= PATIENCE
    }
}

/// Returns once the standby that `step` starts has starved for long enough. Its
/// start would be waited for much longer: recovery may be long.
pub(super) async fn starved(
    postgres: LocalPostgres,
    step: Step,
    instruction: Instruction,
) -> Hunger {
    let (Instruction::Standby(order), true) = (&instruction, starts_standby(&step)) else {
        return futures::future::pending().await;
    };
    let mut hunger = Hunger::default();
    loop {
        sleep(LOOK).await;
        let awaited = awaited(&postgres, order).await;
        if hunger.note(clock::boottime(), awaited) {
            return hunger;
        }
    }
}

fn starts_standby(step: &Step) -> bool {
    matches!(
        step,
        Step::Follow | Step::StartFollowing | Step::Rewind { .. } | Step::Clone { .. }
    )
}

/// What it waits for in vain, beside an upstream that answers.
async fn awaited(postgres: &LocalPostgres, order: &StandbyOrder) -> Option<String> {
    if order.rejoin != Rejoin::Rewind {
        return None;
    }
    let awaited = postgres.waits_in_vain_for().await.ok()??;
    answers(order.upstream.address).await.then_some(awaited)
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

    /// It starved while its start was waited for.
    pub(super) fn fall_silent(&mut self, hunger: Hunger) {
        let since = hunger.since;
        self.silence = Some(Silence { since, hunger });
    }

    /// Whether it has waited long enough for what does not come.
    async fn starves(&mut self, now: Duration, instruction: &Instruction) -> bool {
        let is_due = |it: &Silence| it.hunger.is_due(now);
        if !self.silence.as_ref().is_some_and(is_due) {
            return false;
        }
        let (memory, postgres) = (&self.member.memory, &self.member.postgres);
        let awaited = match instruction {
            Instruction::Standby(order)
                if may_be_given_up(memory.promised(), instruction, memory.following()) =>
            {
                awaited(postgres, order).await
            }
            _ => None,
        };
        let silence = self.silence.as_mut();
        silence.is_some_and(|it| it.hunger.note(now, awaited))
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

    /// Whether a standby is taken to starve after these looks.
    fn starves(looks: &[(u64, Option<&str>)]) -> bool {
        let mut hunger = Hunger::default();
        let notes = looks.iter().map(|(at, awaited)| {
            let awaited = awaited.map(str::to_owned);
            hunger.note(Duration::from_secs(*at), awaited)
        });
        notes.last().unwrap_or_default()
    }

    #[test]
    fn only_the_same_wait_at_every_look_for_long_enough_is_starving() {
        let all = |until| (0..=until).map(|at| (at, Some("x")));
        assert!(!starves(&all(15).collect::<Vec<_>>()));
        assert!(starves(&all(16).collect::<Vec<_>>()));
        for other in [None, Some("y")] {
            let fed = |(at, awaited)| (at, if at == 9 { other } else { awaited });
            assert!(!starves(&all(16).map(fed).collect::<Vec<_>>()), "{other:?}");
            assert!(starves(&all(26).map(fed).collect::<Vec<_>>()), "{other:?}");
        }
    }

    #[test]
    fn what_was_not_seen_for_a_while_is_not_taken_for_starving() {
        assert!(!starves(&[(0, Some("x")), (60, Some("x"))]));
    }

    #[test]
    fn the_upstream_is_asked_once_a_second() {
        let mut hunger = Hunger::default();
        assert!(hunger.is_due(Duration::ZERO));
        hunger.note(Duration::ZERO, None);
        assert!(!hunger.is_due(Duration::from_millis(999)));
        assert!(hunger.is_due(Duration::from_secs(1)));
    }
}
