//! An operator at work: switchovers, pauses, changes of the group.
//!
//! What it changed it changes back: a workload that ends leaves the group
//! resumed and as it was found, or says that it could not.

mod task;

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use async_trait::async_trait;
use primacy_proto::v1::{Group, GroupSpec};
use tokio::{sync::Mutex, time};

use self::task::Task;
use super::{
    Ground, Workload,
    pace::Pace,
    process::{Ended, Process},
};
use crate::{
    client::grpc::{CallError, Nodes},
    clock,
    history::{Answer, Outcome, Request},
};

/// Between two tasks, give or take half of it.
const PACE: Duration = Duration::from_secs(10);
/// How long a group is left paused, give or take half of it.
const PAUSED: Duration = Duration::from_secs(3);
/// Between two tries to put something right.
const RETRY: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_secs(2);
/// Of a resumption, before it is left to the end.
const TRIES: usize = 10;
/// For one node. A switchover waits for checkpoints and standbys.
const EACH: Duration = Duration::from_secs(15);
/// For one command.
const COMMAND: Duration = Duration::from_secs(20);
/// Until the group is as it was found.
const RESTORE: Duration = Duration::from_secs(45);

pub struct Admin;

#[async_trait]
impl Workload for Admin {
    fn name(&self) -> &'static str {
        "admin"
    }

    fn about(&self) -> &'static str {
        "switches over, pauses and resumes, and changes the sync set"
    }

    async fn run(&self, ground: Ground) -> anyhow::Result<()> {
        let nodes = Nodes::new(&ground.targets)?;
        let rng = ground.seed.stream("admin");
        let mut operator = Operator {
            process: Process::new(&ground.recorder, "admin"),
            pace: Pace::new(rng, ground.stop.clone()),
            nodes,
            hands: ground.operator,
        };
        let Some(spec) = operator.found().await else {
            return Ok(());
        };
        operator.work(&spec).await;
        operator.restore(&spec).await
    }
}

struct Operator {
    process: Process,
    pace: Pace,
    nodes: Nodes,
    /// Others may want to be the operator for a while.
    hands: Arc<Mutex<()>>,
}

impl Operator {
    /// The group as it was found; none if there is no more to do before.
    async fn found(&mut self) -> Option<GroupSpec> {
        while self.pace.wait(RETRY).await {
            if let Ok(Group {
                spec: Some(spec), ..
            }) = self.look().await
            {
                return Some(spec);
            }
        }
        None
    }

    async fn work(&mut self, found: &GroupSpec) {
        while self.pace.wait(PACE).await {
            let _hands = Arc::clone(&self.hands).lock_owned().await;
            let task = Task::draw(self.pace.rng(), found);
            let pauses = task == Task::Pause;
            self.perform(task).await;
            if pauses && self.pace.wait(PAUSED).await {
                self.resume().await;
            }
        }
    }

    async fn resume(&mut self) {
        for _ in 0..TRIES {
            if self.perform(Task::Resume).await == Ended::Ok || !self.pace.wait(RETRY).await {
                return;
            }
        }
    }

    /// Looks and puts right, until there is nothing to put right.
    async fn restore(&mut self, found: &GroupSpec) -> anyhow::Result<()> {
        let _hands = Arc::clone(&self.hands).lock_owned().await;
        let until = clock::now() + RESTORE;
        let mut last = String::new();
        while clock::now() < until {
            let task = match self.look().await {
                Ok(group) if group.paused => Some(Task::Resume),
                Ok(group) if group.spec.as_ref() != Some(found) => {
                    Some(Task::apply("as it was found", found.clone()))
                }
                Ok(_) => return Ok(()),
                Err(error) => {
                    last = error.to_string();
                    None
                }
            };
            if let Some(task) = task {
                last = task.what();
                self.perform(task).await;
            }
            time::sleep(RETRY).await;
        }
        bail!("the group is not as it was found, still to do: {last}")
    }

    async fn look(&mut self) -> Result<Group, CallError> {
        let first = self.any();
        let look = |node: crate::client::grpc::Node| async move { node.group().await };
        self.nodes.ask(first, LOOK, look).await
    }

    async fn perform(&mut self, task: Task) -> Ended {
        let first = self.any();
        let what = task.what();
        let nodes = self.nodes.clone();
        let done = async { outcome(nodes.ask(first, EACH, |node| task.clone().at(node)).await) };
        let request = Request::Admin { what };
        self.process.ask(request, COMMAND, done).await
    }

    fn any(&mut self) -> usize {
        let count = self.nodes.all().len();
        self.pace.rng().usize(..count)
    }
}

/// Nothing happened where every node said so, or was not reached.
fn outcome(done: Result<Answer, CallError>) -> Outcome {
    match done {
        Ok(answer) => Outcome::Ok(answer),
        Err(error @ (CallError::Broken(_) | CallError::Late(_))) => {
            Outcome::Info(error.to_string())
        }
        Err(error) => Outcome::Fail(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;

    #[test]
    fn a_command_that_safety_refused_failed_and_one_that_was_lost_may_have_happened() {
        let said = |code| outcome(Err(Status::new(code, "").into()));
        assert!(matches!(said(Code::FailedPrecondition), Outcome::Fail(_)));
        assert!(matches!(said(Code::Unavailable), Outcome::Fail(_)));
        assert!(matches!(said(Code::Unknown), Outcome::Info(_)));
        let late = outcome(Err(CallError::Late(EACH)));
        assert!(matches!(late, Outcome::Info(_)));
    }
}
