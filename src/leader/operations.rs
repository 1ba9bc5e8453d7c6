//! What operators ask of the leader, followed until it is done.
//!
//! A switchover first lets the holder checkpoint, so that the planned stop is
//! short; from `BeginFailover` on it goes the way of every failover and
//! survives a change of leader. Before that it is only a wish, and dies with
//! the office.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    domain::{Cause, Change, Epoch, Group, GroupName, Lease, MemberName, Receiving},
    ports::{
        BoxFuture, FailoverRequest, Leadership, MemberView, NodeId, OperationDone, OperationError,
        SwitchoverTarget,
    },
};

/// A checkpoint of a busy database takes its time; clients are served meanwhile.
const PREPARE: Duration = Duration::from_secs(60);
/// From `BeginFailover` to a sealed epoch.
const COMPLETE: Duration = Duration::from_secs(30);

type Reply = oneshot::Sender<Result<OperationDone, OperationError>>;

/// An operation on its way to the loop.
pub(super) struct Request {
    group: GroupName,
    kind: Kind,
    reply: Reply,
}

#[derive(Debug, Clone)]
enum Kind {
    Switchover(SwitchoverTarget),
    Failover(FailoverRequest),
}

impl Request {
    pub(super) fn not_leader(self, leader: Option<NodeId>) {
        let _ = self.reply.send(Err(OperationError::NotLeader(leader)));
    }
}

/// How other parts of the node ask for operations.
#[derive(Clone)]
pub struct OperationsHandle {
    requests: mpsc::Sender<Request>,
    leadership: watch::Receiver<Leadership>,
}

impl OperationsHandle {
    pub(super) fn new(
        requests: mpsc::Sender<Request>,
        leadership: watch::Receiver<Leadership>,
    ) -> Self {
        Self {
            requests,
            leadership,
        }
    }

    async fn ask(&self, group: GroupName, kind: Kind) -> Result<OperationDone, OperationError> {
        let leadership = *self.leadership.borrow();
        if !leadership.is_me {
            return Err(OperationError::NotLeader(leadership.leader));
        }
        let (reply, answer) = oneshot::channel();
        if self
            .requests
            .try_send(Request { group, kind, reply })
            .is_err()
        {
            return Err(OperationError::Refused(
                "too many operations are waiting".to_owned(),
            ));
        }
        answer.await.unwrap_or(Err(OperationError::Unknown))
    }
}

impl crate::ports::Operations for OperationsHandle {
    fn switchover(
        &self,
        group: GroupName,
        to: SwitchoverTarget,
    ) -> BoxFuture<'_, Result<OperationDone, OperationError>> {
        Box::pin(self.ask(group, Kind::Switchover(to)))
    }

    fn failover(
        &self,
        group: GroupName,
        request: FailoverRequest,
    ) -> BoxFuture<'_, Result<OperationDone, OperationError>> {
        Box::pin(self.ask(group, Kind::Failover(request)))
    }
}

/// Operations under way, one per group.
#[derive(Default)]
pub(super) struct Operations {
    waiting: VecDeque<(Request, Duration)>,
    running: BTreeMap<GroupName, Running>,
}

struct Running {
    reply: Reply,
    began: Duration,
    stage: Stage,
}

enum Stage {
    /// The holder of `epoch` checkpoints.
    Preparing {
        epoch: Epoch,
        to: MemberName,
        since: Duration,
    },
    /// `BeginFailover` is proposed; `orders` are what else the operator vouched for.
    Closing {
        epoch: Epoch,
        to: Option<MemberName>,
        orders: VecDeque<Change>,
        since: Duration,
    },
}

/// What an operation wants of this step of the loop.
#[derive(Default)]
pub(super) struct Wish {
    pub change: Option<Change>,
    pub prepare_stop: Option<Epoch>,
}

impl Operations {
    pub(super) fn begin(&mut self, request: Request, now: Duration) {
        self.waiting.push_back((request, now));
    }

    /// Answers everything that is under way: the office is lost.
    pub(super) fn abandon(&mut self, leader: Option<NodeId>) {
        for (request, _) in self.waiting.drain(..) {
            request.not_leader(leader);
        }
        for (_, running) in std::mem::take(&mut self.running) {
            let answer = match running.stage {
                Stage::Preparing { .. } => OperationError::NotLeader(leader),
                Stage::Closing { .. } => OperationError::Unknown,
            };
            let _ = running.reply.send(Err(answer));
        }
    }

    /// Follows the operation on `name`, and begins one that waits for it.
    pub(super) fn advance(
        &mut self,
        now: Duration,
        name: &GroupName,
        group: &Group,
        views: &[&MemberView],
    ) -> Wish {
        self.admit(now, name, group, views);
        let Some(running) = self.running.remove(name) else {
            return Wish::default();
        };
        let (kept, wish) = running.advance(now, group, views);
        if let Some(kept) = kept {
            self.running.insert(name.clone(), kept);
        }
        wish
    }

    fn admit(&mut self, now: Duration, name: &GroupName, group: &Group, views: &[&MemberView]) {
        let Some(at) = self
            .waiting
            .iter()
            .position(|(request, _)| request.group == *name)
        else {
            return;
        };
        let Some((request, began)) = self.waiting.remove(at) else {
            return;
        };
        if self.running.contains_key(name) || group.failover.is_some() {
            let busy = "another switchover or failover of this group is under way".to_owned();
            let _ = request.reply.send(Err(OperationError::Refused(busy)));
            return;
        }
        match first_stage(now, &request.kind, group, views) {
            Ok(stage) => {
                let running = Running {
                    reply: request.reply,
                    began,
                    stage,
                };
                self.running.insert(name.clone(), running);
            }
            Err(reason) => {
                let _ = request.reply.send(Err(OperationError::Refused(reason)));
            }
        }
    }
}

fn first_stage(
    now: Duration,
    kind: &Kind,
    group: &Group,
    views: &[&MemberView],
) -> Result<Stage, String> {
    let lease = group
        .lease
        .as_ref()
        .ok_or("the group never had a primary")?;
    match kind {
        Kind::Switchover(target) => {
            let to = resolve(target, lease, group, views)?;
            Ok(Stage::Preparing {
                epoch: lease.epoch,
                to,
                since: now,
            })
        }
        Kind::Failover(request) => {
            let epoch = lease.epoch;
            let begin = Change::BeginFailover {
                epoch,
                cause: Cause::Operator,
                silence_ms: 0,
                prefer: request.prefer.clone(),
            };
            let mut orders = VecDeque::from([begin]);
            orders.extend(
                request
                    .host_is_dead
                    .then_some(Change::AssertHostDead { epoch }),
            );
            orders.extend(
                request
                    .accept_data_loss
                    .then_some(Change::AcceptDataLoss { epoch }),
            );
            Ok(Stage::Closing {
                epoch,
                to: request.prefer.clone(),
                orders,
                since: now,
            })
        }
    }
}

/// The standby to switch over to, or why there is none.
fn resolve(
    target: &SwitchoverTarget,
    lease: &Lease,
    group: &Group,
    views: &[&MemberView],
) -> Result<MemberName, String> {
    if !lease.sealed {
        return Err(format!(
            "epoch {} is not sealed yet: {} waits for its standbys",
            lease.epoch, lease.member
        ));
    }
    let wanted = |name: &MemberName| match target {
        SwitchoverTarget::Any => true,
        SwitchoverTarget::Member(member) => member == name,
        SwitchoverTarget::Region(region) => group
            .spec
            .member(name)
            .is_some_and(|spec| spec.region == *region),
    };
    let mut reasons = Vec::new();
    for spec in group.spec.members.iter().filter(|spec| wanted(&spec.name)) {
        match unfit(&spec.name, lease, group, views) {
            None => return Ok(spec.name.clone()),
            Some(reason) => reasons.push(format!("{}: {reason}", spec.name)),
        }
    }
    match reasons.is_empty() {
        true => Err("no member of the group is meant by that".to_owned()),
        false => Err(format!("nobody can take over now ({})", reasons.join("; "))),
    }
}

fn unfit(name: &MemberName, lease: &Lease, group: &Group, views: &[&MemberView]) -> Option<String> {
    let spec = group.spec.member(name)?;
    if lease.member == *name {
        return Some("is primary already".to_owned());
    }
    if spec.no_failover {
        return Some("is marked no_failover".to_owned());
    }
    let Some(view) = views
        .iter()
        .find(|view| view.member == *name && view.connected)
    else {
        return Some("its agent is not connected".to_owned());
    };
    let streams = view.report.running().is_some_and(|running| {
        running.receiving == Receiving::Streaming && view.report.is_standby()
    });
    if !streams {
        return Some("does not stream from the primary".to_owned());
    }
    let incarnation = view.report.incarnation;
    let in_set = group
        .latest_sync()
        .is_some_and(|entry| entry.config.set.contains(&incarnation));
    (!in_set).then(|| "is not in the sync set".to_owned())
}

impl Running {
    fn advance(self, now: Duration, group: &Group, views: &[&MemberView]) -> (Option<Self>, Wish) {
        match &self.stage {
            Stage::Preparing { epoch, since, .. } => {
                let (epoch, waited) = (*epoch, now.saturating_sub(*since));
                self.prepare(now, epoch, waited, group, views)
            }
            Stage::Closing { .. } => self.close(now, group),
        }
    }

    fn prepare(
        mut self,
        now: Duration,
        epoch: Epoch,
        waited: Duration,
        group: &Group,
        views: &[&MemberView],
    ) -> (Option<Self>, Wish) {
        if group.epoch != epoch || group.failover.is_some() {
            return self.refuse("a failover came in between; look at `primacy ctl status`");
        }
        if waited > PREPARE {
            return self.refuse("the primary's checkpoint did not end within a minute");
        }
        let holder = group.lease.as_ref().map(|lease| lease.holder);
        let done = views.iter().any(|view| {
            Some(view.report.incarnation) == holder && view.report.checkpointed == Some(epoch)
        });
        if !done {
            return (
                Some(self),
                Wish {
                    change: None,
                    prepare_stop: Some(epoch),
                },
            );
        }
        let Stage::Preparing { to, .. } = self.stage else {
            return (None, Wish::default());
        };
        let begin = Change::BeginFailover {
            epoch,
            cause: Cause::Switchover,
            silence_ms: 0,
            prefer: Some(to.clone()),
        };
        let orders = VecDeque::from([begin]);
        self.stage = Stage::Closing {
            epoch,
            to: Some(to),
            orders,
            since: now,
        };
        self.close(now, group)
    }

    fn close(mut self, now: Duration, group: &Group) -> (Option<Self>, Wish) {
        let Stage::Closing {
            epoch,
            to,
            orders,
            since,
        } = &mut self.stage
        else {
            return (None, Wish::default());
        };
        if let Some(change) = orders.pop_front() {
            return (
                Some(self),
                Wish {
                    change: Some(change),
                    prepare_stop: None,
                },
            );
        }
        let sealed = group
            .lease
            .as_ref()
            .filter(|lease| lease.sealed && lease.epoch > *epoch);
        if let Some(lease) = sealed {
            let answer = match to {
                Some(to) if *to != lease.member => Err(OperationError::Refused(format!(
                    "{to} could not be promoted; {} is primary under epoch {}",
                    lease.member, lease.epoch
                ))),
                _ => Ok(OperationDone {
                    epoch: lease.epoch,
                    member: lease.member.clone(),
                    took: now.saturating_sub(self.began),
                }),
            };
            let _ = self.reply.send(answer);
            return (None, Wish::default());
        }
        if now.saturating_sub(*since) > COMPLETE {
            let _ = self.reply.send(Err(OperationError::Unknown));
            return (None, Wish::default());
        }
        (Some(self), Wish::default())
    }

    fn refuse(self, reason: &str) -> (Option<Self>, Wish) {
        let _ = self
            .reply
            .send(Err(OperationError::Refused(reason.to_owned())));
        (None, Wish::default())
    }
}
