//! What goes on beside the loop: background work, and signs of life.

use std::sync::{Arc, PoisonError};

use tracing::{debug, warn};

use super::{Turn, UNRENEWED};
use crate::{
    agent::{
        observe::{Observed, renewable},
        reconcile::Directory,
    },
    clock,
    domain::{BarrierReport, Instruction, Role},
    ports::Directive,
};

impl Turn {
    pub(super) async fn collect_background(&mut self) {
        let background = &mut self.member.background;
        if let Some((order, task)) = background.barrier.take_if(|(_, task)| task.is_finished()) {
            match task.await {
                Ok(Ok(position)) => {
                    debug!(%position, "the barrier is acknowledged");
                    self.member.known.barrier = Some(BarrierReport { order, position });
                }
                Ok(Err(error)) => debug!(%error, "the barrier did not go through yet"),
                Err(_) => {}
            }
        }
        while let Some(acknowledged) = self.sessions.next_acknowledged() {
            self.heartbeats.renewed = Some((clock::boottime(), acknowledged.ttl));
        }
    }

    pub(super) fn beside(&mut self, directive: &Directive, observed: &Observed) {
        let background = &mut self.member.background;
        if let Some(epoch) = directive.prepare_stop
            && background.checkpoint != Some(epoch)
        {
            background.checkpoint = Some(epoch);
            let (postgres, done) = (
                self.member.postgres.clone(),
                Arc::clone(&background.checkpointed),
            );
            tokio::spawn(async move {
                match postgres.checkpoint().await {
                    Ok(()) => {
                        *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(epoch);
                    }
                    Err(error) => warn!(%error, "the checkpoint before a planned stop failed"),
                }
            });
        }
        if directive.prepare_stop.is_none() {
            background.checkpoint = None;
        }
        let upstream = match &directive.instruction {
            Instruction::Standby(order) if directive.watchful => Some(order.upstream.address),
            _ => None,
        };
        let standby = observed.directory == Directory::Running(Role::Standby);
        self.member
            .background
            .knocks
            .at(upstream.filter(|_| standby));
    }

    /// Whether a primary has lost both the quorum and its sync set: it can
    /// acknowledge nothing, and what it shows to readers is getting old.
    ///
    /// One of the two is enough to go on (design, guarantee D).
    pub(super) async fn is_forsaken(&mut self, observed: &Observed) -> bool {
        if !renewable(self.member.memory.promised(), observed) {
            // Time counts from when it began to serve.
            (self.heartbeats.renewed, self.lonely) = (None, None);
            return false;
        }
        let now = clock::boottime();
        let (renewed, ttl) = *self.heartbeats.renewed.get_or_insert((now, UNRENEWED));
        if now.saturating_sub(renewed) <= ttl {
            self.lonely = None;
            return false;
        }
        match self.lonely.take_if(|task| task.is_finished()) {
            Some(answered) => !answered.await.unwrap_or(true),
            None => {
                if self.lonely.is_none()
                    && let Some((order, sync)) = self.member.known.sync.clone()
                {
                    self.lonely = Some(self.member.ask_sync_set(order, &sync));
                }
                false
            }
        }
    }
}
