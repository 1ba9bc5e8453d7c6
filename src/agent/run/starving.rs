//! A standby that can never become consistent.
//!
//! After a rewind, recovery needs log from the last common checkpoint on, up to
//! where the source stood. A source that is itself a fresh copy never had the
//! beginning of it, and one that was lost takes the end of it away. PostgreSQL
//! then waits for good, refuses every session, and cannot even be asked.

use std::time::Duration;

use tracing::warn;

use super::Turn;
use crate::{
    agent::{knock::answers, observe::Observed, reconcile::Step},
    domain::{Instruction, Rejoin},
    ports::Directive,
};

/// PostgreSQL asks its upstream again every 5 s (`wal_retrieve_retry_interval`),
/// so this is three refusals.
const PATIENCE: Duration = Duration::from_secs(16);

impl Turn {
    /// Whether it has waited long enough, beside an upstream that answers.
    pub(super) async fn starves(&mut self, now: Duration, directive: &Directive) -> bool {
        let Instruction::Standby(order) = &directive.instruction else {
            self.starving = None;
            return false;
        };
        // While an epoch is unsealed nothing is given up.
        let may = order.rejoin == Rejoin::Rewind
            && !self.member.is_standby_of_another(&directive.instruction)
            && matches!(self.member.postgres.waits_for_nobody().await, Ok(true))
            && answers(order.upstream.address).await;
        if !may {
            self.starving = None;
            return false;
        }
        let since = *self.starving.get_or_insert(now);
        now.saturating_sub(since) > PATIENCE
    }

    /// Stops it; what is left is kept aside, and replaced by a base backup.
    pub(super) async fn give_up(&mut self, directive: &Directive) -> Duration {
        warn!("the standby waits for log that its upstream does not have; it is made anew");
        let unknown = Observed::unknown();
        let rest = self.do_step(Step::StopImmediate, directive, &unknown).await;
        // Stopped first: a wreck is taken to be at rest.
        if !matches!(self.member.postgres.is_running().await, Ok(false)) {
            return rest;
        }
        self.starving = None;
        match self.member.postgres.condemn() {
            Ok(()) => rest,
            Err(error) => self.fail(Step::Nothing, &error.into()),
        }
    }
}
