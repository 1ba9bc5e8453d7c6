//! The leader's loop: carries the decisions of `control` to the quorum and to
//! the agents.
//!
//! Holds no decision of its own. It derives a plan from the published state and
//! the reports, tells each member what to be, proposes what is due, and starts
//! again when either changes. A node that does not lead sleeps here.

mod operations;
mod renewals;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use tokio::{sync::mpsc, time};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    clock,
    control::{
        detector::View,
        lessor::Lessor,
        reconciler::{self, Plan, Reconciler},
    },
    domain::{Blocked, Change, Command, Group, GroupName, Instruction, Outcome, State},
    ports::{AgentLink, Directive, Leadership, MemberView, Quorum, RenewalRequest},
};

pub use operations::OperationsHandle;
use operations::{Operations, Request};

/// Longest sleep between two looks at ages and deadlines.
const TICK: Duration = Duration::from_millis(100);
/// After a proposal that did not get through.
const REST: Duration = Duration::from_millis(50);
/// Steps of a group that are proposed at once, each built on the one before.
const LOOK_AHEAD: usize = 3;
/// Operations that may wait for the loop.
const REQUESTS: usize = 64;

/// What the loop works with.
pub struct Leader {
    quorum: Arc<dyn Quorum>,
    agents: Arc<dyn AgentLink>,
    elapsed: clock::Elapsed,
    lessor: Mutex<Lessor>,
    /// Why failovers do not go on, for `status`.
    blocked: Mutex<BTreeMap<GroupName, Blocked>>,
}

impl Leader {
    #[must_use]
    pub fn new(quorum: Arc<dyn Quorum>, agents: Arc<dyn AgentLink>) -> Arc<Self> {
        Arc::new(Self {
            quorum,
            agents,
            elapsed: clock::Elapsed::start(clock::reading()),
            lessor: Mutex::default(),
            blocked: Mutex::default(),
        })
    }

    /// Starts the loop and the keeper of renewals; they end with `shutdown`.
    pub fn start(
        self: &Arc<Self>,
        renewals: mpsc::Receiver<RenewalRequest>,
        shutdown: CancellationToken,
    ) -> OperationsHandle {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let handle = OperationsHandle::new(sender, self.quorum.leadership());
        tokio::spawn(renewals::keep(Arc::clone(self), renewals, shutdown.clone()));
        tokio::spawn(Arc::clone(self).run(requests, shutdown));
        handle
    }

    /// Why the failover of `group` does not go on.
    #[must_use]
    pub fn blocked(&self, group: &GroupName) -> Option<Blocked> {
        lock(&self.blocked).get(group).cloned()
    }

    async fn run(
        self: Arc<Self>,
        mut requests: mpsc::Receiver<Request>,
        shutdown: CancellationToken,
    ) {
        let mut leadership = self.quorum.leadership();
        while !shutdown.is_cancelled() {
            let Leadership { ready, term, .. } = *leadership.borrow_and_update();
            if ready {
                tokio::select! {
                    () = self.lead(term, &mut requests) => {}
                    () = shutdown.cancelled() => return,
                }
            }
            tokio::select! {
                changed = leadership.changed() => if changed.is_err() { return },
                Some(request) = requests.recv() => request.not_leader(leadership.borrow().leader),
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Leads for as long as `term` is this node's.
    async fn lead(&self, term: u64, requests: &mut mpsc::Receiver<Request>) {
        info!(term, "this node leads");
        let mut published = self.quorum.published();
        let mut reported = self.agents.changed();
        let mut reconciler = Reconciler::default();
        let mut operations = Operations::default();
        reconciler.take_office(self.now());
        lock(&self.lessor).take_office(self.now(), &published.borrow());
        while self.leads(term) {
            let state = Arc::clone(&published.borrow_and_update());
            reported.borrow_and_update();
            let proposed = self
                .step(term, &state, &mut reconciler, &mut operations)
                .await;
            if proposed {
                continue;
            }
            tokio::select! {
                _ = published.changed() => {}
                _ = reported.changed() => {}
                Some(request) = requests.recv() => operations.begin(request, self.now()),
                () = time::sleep(TICK) => {}
            }
        }
        operations.abandon(self.quorum.leadership().borrow().leader);
        lock(&self.blocked).clear();
        info!(term, "this node leads no more");
    }

    /// The smaller of the two clocks: what a leader counts deadlines by.
    fn now(&self) -> Duration {
        self.elapsed.least(clock::reading())
    }

    fn leads(&self, term: u64) -> bool {
        let leadership = *self.quorum.leadership().borrow();
        leadership.is_me && leadership.term == term
    }

    /// One look at the world. True: something was proposed.
    async fn step(
        &self,
        term: u64,
        state: &State,
        reconciler: &mut Reconciler,
        operations: &mut Operations,
    ) -> bool {
        let now = self.now();
        let views = self.agents.views();
        let mut commands = self.expiries(now, state);
        reconciler.retain(state);
        for (name, group) in &state.groups {
            let of_group: Vec<&MemberView> = views.iter().filter(|v| v.group == *name).collect();
            let plan = reconciler.plan(now, name, group, &of_views(&of_group));
            let request = operations.advance(now, name, group, &of_group);
            self.direct(term, name, group, &of_group, &plan, request.prepare_stop);
            let changes = plan.changes.into_iter().chain(request.change);
            let first = changes.map(|change| command(name, change)).collect();
            let plan_on = |group: &Group| {
                let views = of_views(&of_group);
                let next = reconciler.plan(now, name, group, &views);
                next.changes
                    .into_iter()
                    .map(|change| command(name, change))
                    .collect()
            };
            commands.extend(with_what_follows(state, name, first, plan_on));
            self.note_blocked(name, plan.blocked);
        }
        let proposed = !commands.is_empty();
        let proposals = commands
            .into_iter()
            .map(|command| self.propose(term, command));
        join_all(proposals).await;
        proposed
    }

    fn expiries(&self, now: Duration, state: &State) -> Vec<Command> {
        let mut lessor = lock(&self.lessor);
        lessor.observe(now, state);
        let due = lessor.expire(now);
        let is_news = |name: &GroupName| {
            let lease = state.group(name).and_then(|group| group.lease.as_ref());
            lease.is_some_and(|lease| !lease.expired)
        };
        due.into_iter()
            .filter(|(name, _)| is_news(name))
            .map(|(name, epoch)| command(&name, Change::ExpireLease { epoch }))
            .collect()
    }

    fn direct(
        &self,
        term: u64,
        name: &GroupName,
        group: &Group,
        views: &[&MemberView],
        plan: &Plan,
        prepare_stop: Option<crate::domain::Epoch>,
    ) {
        // A paused group is left as it is, unless an operator's failover runs.
        if group.paused
            && prepare_stop.is_none()
            && group.failover.is_none()
            && group.lease.as_ref().is_some_and(|l| l.sealed)
        {
            return;
        }
        for (member, incarnation) in group.driven() {
            let is_foreign = views.iter().any(|view| {
                view.member == *member && !reconciler::has_the_groups_system(group, &view.report)
            });
            let instruction = match is_foreign {
                // Somebody else's database: it is neither started nor replaced.
                true => Instruction::Hold,
                false => group.instruction(member, plan.urgency),
            };
            let holds = group
                .lease
                .as_ref()
                .is_some_and(|lease| lease.holder == incarnation);
            self.agents.direct(
                name,
                member,
                Directive {
                    term,
                    incarnation,
                    instruction,
                    watchful: plan.watchful || prepare_stop.is_some(),
                    prepare_stop: prepare_stop.filter(|_| holds),
                },
            );
        }
    }

    /// Binds the command to `term`: a node may learn late that it was deposed,
    /// and what it decided by then may be wrong under its successor.
    async fn propose(&self, term: u64, command: Command) {
        let group = command.group.clone();
        let change = command.change.clone();
        debug!(%group, ?change, "proposed");
        match self.quorum.propose_in(term, command).await {
            Ok(applied) => match applied.outcome {
                Outcome::Applied(events) => {
                    for event in events {
                        info!(%group, epoch = %event.epoch, event = ?event.kind, "applied");
                    }
                }
                // Most refusals are races that were lost to an earlier command.
                Outcome::Refused(refusal) => debug!(%group, ?change, %refusal, "refused"),
            },
            Err(error) => {
                warn!(%group, %error, "proposal did not get through");
                // The state says what came of it; a moment's rest bounds the tries.
                time::sleep(REST).await;
            }
        }
    }

    fn note_blocked(&self, group: &GroupName, blocked: Option<Blocked>) {
        let mut list = lock(&self.blocked);
        match blocked {
            Some(reason) => {
                if list.get(group) != Some(&reason) {
                    warn!(%group, %reason, "failover waits");
                }
                list.insert(group.clone(), reason);
            }
            None => {
                list.remove(group);
            }
        }
    }
}

/// `first`, and what will be due once that is applied: between regions a round
/// of the quorum is most of a failover, so one carries as much as it can.
///
/// Nothing rests on the guess. What does not come to pass as expected makes
/// `apply` refuse what was built on it, and it is planned again.
fn with_what_follows(
    state: &State,
    name: &GroupName,
    first: Vec<Command>,
    mut plan_on: impl FnMut(&Group) -> Vec<Command>,
) -> Vec<Command> {
    let mut expected = state.clone();
    let mut all = Vec::new();
    let mut due = first;
    for _ in 0..LOOK_AHEAD {
        let accepted = |command: &Command| {
            let index = expected.applied + 1;
            matches!(expected.apply(index, command), Outcome::Applied(_))
        };
        let as_expected = !due.is_empty() && due.iter().map(accepted).fold(true, |a, b| a & b);
        all.append(&mut due);
        let Some(group) = expected.group(name).filter(|_| as_expected) else {
            break;
        };
        due = plan_on(group);
    }
    all.append(&mut due);
    all
}

fn command(group: &GroupName, change: Change) -> Command {
    Command {
        at_ms: clock::wall_ms(),
        group: group.clone(),
        change,
    }
}

fn of_views<'a>(views: &[&'a MemberView]) -> Vec<View<'a>> {
    let view = |view: &&'a MemberView| View {
        report: &view.report,
        connected: view.connected,
        age: view.age,
        contested: view.contested,
    };
    views.iter().map(view).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is replaced or extended whole, never left half made.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dns::fixtures, domain::Epoch};

    /// What is proposed for a group whose plan is to be paused and resumed in turns.
    fn proposed(first: Change) -> Vec<Change> {
        let mut state = State::default();
        fixtures::create(&mut state, fixtures::GROUP);
        let name = fixtures::GROUP.parse().expect("a name");
        let turn = |group: &Group| {
            let next = match group.paused {
                true => Change::Resume,
                false => Change::Pause,
            };
            vec![command(&name, next)]
        };
        let all = with_what_follows(&state, &name, vec![command(&name, first)], turn);
        all.into_iter().map(|command| command.change).collect()
    }

    #[test]
    fn what_follows_is_proposed_along_and_not_without_end() {
        let all = proposed(Change::Pause);
        assert_eq!(all[..2], [Change::Pause, Change::Resume]);
        assert_eq!(all.len(), LOOK_AHEAD + 1);
    }

    #[test]
    fn nothing_is_built_on_what_will_be_refused() {
        let refused = Change::ExpireLease { epoch: Epoch(7) };
        assert_eq!(proposed(refused.clone()), [refused]);
    }
}
