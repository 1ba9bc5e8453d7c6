//! Keeps what is served up to date, and the proof that it is.
//!
//! ```text
//! published state ──► rebuild the zone ──► swap it in
//! round begins ──► read index ──► applied here ──► rebuild ──► proof from when it began
//! ```
//!
//! One task does both, so a proof is never taken before the zone that it
//! speaks for is in place.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Freshness, ReplicaFacts, Zone, ZoneConfig};
use crate::{
    clock::boottime,
    domain::State,
    ports::{Agents, Quorum},
};

/// What every transport answers from.
#[derive(Debug)]
pub(super) struct Serving {
    pub zone: ArcSwap<Zone>,
    pub freshness: Freshness,
}

/// When rounds begin, and when one is given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounds {
    pub every: Duration,
    pub deadline: Duration,
}

pub(super) struct Keeper {
    config: ZoneConfig,
    quorum: Arc<dyn Quorum>,
    agents: Arc<dyn Agents>,
    published: watch::Receiver<Arc<State>>,
    facts: ReplicaFacts,
    serving: Arc<Serving>,
}

impl Keeper {
    /// A keeper, and what it keeps: the zone as of now, without any proof.
    pub(super) fn new(
        config: ZoneConfig,
        max_staleness: Duration,
        quorum: Arc<dyn Quorum>,
        agents: Arc<dyn Agents>,
    ) -> Self {
        let mut published = quorum.published();
        let state = published.borrow_and_update().clone();
        let facts = ReplicaFacts::of(&state, &agents.views());
        let zone = Zone::build(&config, &state, &facts);
        warn_of_clashes(&[], &zone);
        let serving = Serving {
            zone: ArcSwap::from_pointee(zone),
            freshness: Freshness::new(max_staleness),
        };
        Self {
            config,
            quorum,
            agents,
            published,
            facts,
            serving: Arc::new(serving),
        }
    }

    pub(super) fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving)
    }

    /// Runs until `shutdown`, or until the quorum is gone from this process;
    /// what is served then goes stale by itself.
    pub(super) async fn run(mut self, rounds: Rounds, shutdown: CancellationToken) {
        let mut begins = Instant::now();
        let mut round = Box::pin(self.round(begins, rounds.deadline));
        loop {
            tokio::select! {
                // A round before the state: changes without end starve no proof.
                biased;
                () = shutdown.cancelled() => return,
                proof = &mut round => {
                    self.settle(proof);
                    begins = Instant::now().max(begins + rounds.every);
                    round = Box::pin(self.round(begins, rounds.deadline));
                }
                changed = self.published.changed() => match changed {
                    Ok(()) => self.rebuild(),
                    Err(_) => return,
                },
            }
        }
    }

    /// One quorum round that begins at `at`. Some: all that was committed
    /// before that time since boot is in the published state.
    fn round(
        &self,
        at: Instant,
        deadline: Duration,
    ) -> impl Future<Output = Option<Duration>> + Send + use<> {
        let quorum = Arc::clone(&self.quorum);
        let mut published = self.published.clone();
        async move {
            sleep_until(at).await;
            let began = boottime();
            let confirmed = async {
                let index = quorum.read_index().await.ok()?;
                let applied = published.wait_for(|state| state.applied >= index).await;
                applied.ok().map(|_| began)
            };
            timeout(deadline, confirmed).await.ok().flatten()
        }
    }

    fn settle(&mut self, proof: Option<Duration>) {
        self.refresh();
        if let Some(began) = proof {
            self.serving.freshness.prove(began);
        }
    }

    /// Takes over what agents reported and the quorum applied since.
    fn refresh(&mut self) {
        let state = self.published.borrow().clone();
        let facts = ReplicaFacts::of(&state, &self.agents.views());
        if facts != self.facts || state.applied > self.serving.zone.load().applied() {
            self.rebuild();
        }
    }

    fn rebuild(&mut self) {
        let state = self.published.borrow_and_update().clone();
        self.facts = ReplicaFacts::of(&state, &self.agents.views());
        let before = self.serving.zone.load_full();
        let zone = before.next(&self.config, &state, &self.facts);
        warn_of_clashes(before.clashes(), &zone);
        self.serving.zone.store(Arc::new(zone));
    }
}

fn warn_of_clashes(known: &[hickory_proto::rr::Name], zone: &Zone) {
    for name in zone.clashes().iter().filter(|name| !known.contains(name)) {
        warn!(%name, "name not published: another group or a name server has it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::fixtures::{GROUP, Mood, OneNode, Silent, begin_failover, sealed};

    const LONG: Duration = Duration::from_secs(60);

    fn keeper(quorum: &Arc<OneNode>) -> Keeper {
        let origin = "db.internal.".parse().expect("a name");
        let config = ZoneConfig::new(&origin, 1, &[]);
        let quorum: Arc<dyn Quorum> = quorum.clone();
        Keeper::new(config, LONG, quorum, Silent::new())
    }

    #[tokio::test]
    async fn a_proof_is_aged_from_before_its_round_was_asked_for() {
        let quorum = OneNode::new(sealed(), Mood::Hangs);
        let mut asked = quorum.rounds.subscribe();
        let round = tokio::spawn(keeper(&quorum).round(Instant::now(), LONG));
        asked.wait_for(|rounds| *rounds == 1).await.expect("asked");
        let after = boottime();
        quorum.mood.send_replace(Mood::Confirms);
        let began = round.await.expect("it ended").expect("a proof");
        assert!(began <= after, "{began:?} is after {after:?}");
    }

    #[tokio::test]
    async fn a_proof_waits_until_what_was_confirmed_is_applied_here() {
        let quorum = OneNode::new(sealed(), Mood::ConfirmsMore);
        let mut round = Box::pin(keeper(&quorum).round(Instant::now(), LONG));
        let waited = timeout(Duration::from_millis(50), &mut round).await;
        assert!(waited.is_err(), "proven without the entry: {waited:?}");
        quorum.change(|state| begin_failover(state, GROUP, 1));
        assert!(round.await.is_some());
    }

    #[tokio::test]
    async fn a_round_without_an_end_is_given_up_at_its_deadline() {
        let quorum = OneNode::new(sealed(), Mood::Hangs);
        let deadline = Duration::from_millis(10);
        let round = keeper(&quorum).round(Instant::now(), deadline);
        let ended = timeout(Duration::from_secs(5), round).await;
        assert_eq!(ended, Ok(None));
    }

    #[tokio::test]
    async fn a_proof_is_never_taken_before_the_zone_that_it_speaks_for() {
        let quorum = OneNode::new(sealed(), Mood::Confirms);
        let mut keeper = keeper(&quorum);
        quorum.change(|state| begin_failover(state, GROUP, 1));
        let proof = keeper.round(Instant::now(), LONG).await;
        keeper.settle(proof);
        assert_eq!(keeper.serving.zone.load().applied(), quorum.applied());
    }
}
