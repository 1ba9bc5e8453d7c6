//! Lease checks in bursts, at all nodes at once: the nodes answer many callers
//! from one round of the quorum, and must not answer any from a round that
//! began before its call.

use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;

use super::{
    Ground, Workload,
    pace::Pace,
    process::Process,
    register::{CHECK, check},
};
use crate::{
    client::grpc::Nodes,
    history::{Recorder, Request},
};

/// Checks of one burst, dealt out to the nodes in turn.
const BURST: usize = 40;
/// Between two bursts.
const PACE: Duration = Duration::from_millis(200);
/// Checks that may be under way: a burst is left out while nodes are silent.
const PENDING: usize = 8 * BURST;

pub struct Checks;

#[async_trait]
impl Workload for Checks {
    fn name(&self) -> &'static str {
        "checks"
    }

    fn about(&self) -> &'static str {
        "checks leases in bursts, at all nodes at once"
    }

    async fn run(&self, ground: Ground) -> anyhow::Result<()> {
        let nodes = Nodes::new(&ground.targets)?;
        let mut pace = Pace::new(ground.seed.stream("checks"), ground.stop.clone());
        let mut callers = Callers::new(ground.recorder);
        while pace.wait(PACE).await {
            callers.collect()?;
            // Every node is first in some burst.
            let first = pace.rng().usize(..nodes.all().len());
            for node in nodes.all().iter().cycle().skip(first).take(BURST) {
                let node = node.clone();
                callers.send(|mut process| async move {
                    let request = Request::Check { node: node.id };
                    process.ask(request, CHECK, check(&node)).await;
                    process
                });
            }
        }
        callers.finish().await
    }
}

/// Clients that wait for their answers, and those that wait for a question.
struct Callers {
    recorder: Recorder,
    idle: Vec<Process>,
    busy: JoinSet<Process>,
}

impl Callers {
    fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            idle: Vec::new(),
            busy: JoinSet::new(),
        }
    }

    /// Hands a question to an idle client, or to nobody where too many wait.
    fn send<F>(&mut self, ask: impl FnOnce(Process) -> F)
    where
        F: Future<Output = Process> + Send + 'static,
    {
        if self.busy.len() < PENDING {
            let new = || Process::new(&self.recorder, "checks");
            let process = self.idle.pop().unwrap_or_else(new);
            self.busy.spawn(ask(process));
        }
    }

    /// Takes back those that have their answer.
    fn collect(&mut self) -> anyhow::Result<()> {
        while let Some(process) = self.busy.try_join_next() {
            self.idle.push(process?);
        }
        Ok(())
    }

    /// Waits for the rest, each of which has its limit.
    async fn finish(mut self) -> anyhow::Result<()> {
        while let Some(process) = self.busy.join_next().await {
            process?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn silent_nodes_are_not_asked_without_end() {
        let mut callers = Callers::new(Recorder::new());
        for _ in 0..2 * PENDING {
            callers.send(|_| pending());
        }
        assert_eq!(callers.busy.len(), PENDING);
    }
}
