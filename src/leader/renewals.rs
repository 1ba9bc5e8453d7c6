//! Acknowledges renewals, many per quorum round.
//!
//! Invariant: a renewal is acknowledged only after a quorum round begun after
//! it was received, by this node as the leader of one and the same term. A
//! deposed leader cannot complete one, so it can never extend a lease that its
//! successor already counts down.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ports::{Leadership, RenewalRequest};

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
        let receipt = leader.now();
        let Leadership { ready, term, .. } = *leader.quorum.leadership().borrow();
        // A read index of a successor's would be had just as well.
        if ready && leader.quorum.read_index().await.is_ok() && leader.leads(term) {
            acknowledge(&leader, &batch, receipt);
        }
        batch.clear();
    }
}

fn acknowledge(leader: &Leader, batch: &[RenewalRequest], receipt: Duration) {
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::{sync::watch, time::timeout};

    use super::*;
    use crate::{
        dns::fixtures::{GROUP, MEMBERS, Mood, OneNode, incarnation, sealed},
        domain::{Epoch, GroupName, MemberName},
        ports::{AgentLink, Agents, Directive, MemberView},
    };

    /// Sequences of the renewals that were acknowledged.
    #[derive(Default)]
    struct Acknowledged(Mutex<Vec<u64>>);

    impl Agents for Acknowledged {
        fn views(&self) -> Vec<MemberView> {
            Vec::new()
        }

        fn changed(&self) -> watch::Receiver<u64> {
            watch::channel(0).1
        }
    }

    impl AgentLink for Acknowledged {
        fn direct(&self, _: &GroupName, _: &MemberName, _: Directive) {}

        fn acknowledge(&self, renewal: &RenewalRequest, _: Duration) {
            lock(&self.0).push(renewal.sequence);
        }
    }

    fn leads(term: u64) -> Leadership {
        Leadership {
            leader: Some(1),
            is_me: true,
            term,
            ready: true,
        }
    }

    fn follows(term: u64) -> Leadership {
        Leadership {
            leader: Some(2),
            is_me: false,
            term,
            ready: false,
        }
    }

    fn renewal() -> RenewalRequest {
        RenewalRequest {
            group: GROUP.parse().expect("a name"),
            member: MEMBERS[0].parse().expect("a name"),
            incarnation: incarnation(MEMBERS[0]),
            epoch: Epoch(1),
            hard: false,
            sequence: 7,
            receipt: Duration::ZERO,
        }
    }

    /// What is acknowledged of one renewal that comes to the leader of term 1,
    /// when its leadership changes like this until a round is confirmed.
    async fn acknowledged(changes: &[Leadership]) -> Vec<u64> {
        let quorum = OneNode::new(sealed(), Mood::Hangs);
        let agents = Arc::new(Acknowledged::default());
        let leader = Leader::new(quorum.clone(), agents.clone());
        lock(&leader.lessor).take_office(Duration::ZERO, &sealed());
        quorum.leadership.send_replace(leads(1));
        let (renewals, queue) = mpsc::channel(1);
        let keeper = tokio::spawn(keep(leader, queue, CancellationToken::new()));
        renewals.send(renewal()).await.expect("taken");
        let mut rounds = quorum.rounds.subscribe();
        rounds.wait_for(|rounds| *rounds == 1).await.expect("begun");
        for change in changes {
            quorum.leadership.send_replace(*change);
        }
        quorum.mood.send_replace(Mood::Confirms);
        drop(renewals);
        let ended = timeout(Duration::from_secs(60), keeper).await;
        ended.expect("in time").expect("no panic");
        lock(&agents.0).clone()
    }

    #[tokio::test]
    async fn a_renewal_is_acknowledged_by_whoever_led_throughout() {
        assert_eq!(acknowledged(&[]).await, [7]);
    }

    #[tokio::test]
    async fn a_renewal_confirmed_by_another_leader_is_not_acknowledged() {
        assert_eq!(acknowledged(&[follows(2)]).await, [0; 0]);
        // The same, and this node leads again by the time it looks.
        assert_eq!(acknowledged(&[follows(2), leads(3)]).await, [0; 0]);
    }
}
