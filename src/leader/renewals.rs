//! Acknowledges renewals, many per quorum round.
//!
//! Invariant: a renewal is acknowledged only after a quorum round begun after
//! it was received. A deposed leader cannot complete one, so it can never
//! extend a lease that its successor already counts down.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ports::RenewalRequest;

use super::{Leader, lock};

/// Renewals confirmed by one round, at most.
const BATCH: usize = 256;

pub(super) async fn keep(
    leader: Arc<Leader>,
    mut renewals: mpsc::Receiver<RenewalRequest>,
    shutdown: CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            count = renewals.recv_many(&mut batch, BATCH) => if count == 0 { return },
            () = shutdown.cancelled() => return,
        }
        // The smaller of the two clocks, read before the round is begun.
        let receipt = leader.elapsed.least();
        let leads = leader.quorum.leadership().borrow().ready;
        if leads && leader.quorum.read_index().await.is_ok() {
            acknowledge(&leader, &batch, receipt);
        }
        batch.clear();
    }
}

fn acknowledge(leader: &Leader, batch: &[RenewalRequest], receipt: Duration) {
    if !leader.quorum.leadership().borrow().is_me {
        return;
    }
    let state = Arc::clone(&leader.quorum.published().borrow());
    for renewal in batch {
        let Some(group) = state.group(&renewal.group) else {
            continue;
        };
        let holds = |lease: &crate::domain::Lease| {
            lease.holder == renewal.incarnation && lease.epoch == renewal.epoch && !lease.expired
        };
        let ttl_ms = group.spec.ttl_ms;
        let held = group.lease.as_ref().is_some_and(holds);
        if held && lock(&leader.lessor).renew(&renewal.group, renewal.epoch, receipt, ttl_ms) {
            leader
                .agents
                .acknowledge(renewal, Duration::from_millis(ttl_ms));
        }
    }
}
