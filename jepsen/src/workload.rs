//! What is asked of the fleet while it is tortured.
//!
//! A new one is one file in `workload/` and one line here.

mod admin;
#[cfg(test)]
mod against;
mod checks;
mod directory;
mod dns;
mod pace;
mod probe;
mod process;
mod register;
mod rows;
mod watch;
mod writes;

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use tokio::{sync::Mutex, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{history::Recorder, seed::Seed, targets::Targets};

/// What a workload works with.
#[derive(Debug, Clone)]
pub struct Ground {
    pub targets: Targets,
    pub recorder: Recorder,
    pub seed: Seed,
    /// Held by whoever acts as the operator: one at a time.
    pub operator: Arc<Mutex<()>>,
    /// Cancelled when the workload is to end.
    pub stop: CancellationToken,
}

#[async_trait]
pub trait Workload: Send + Sync {
    /// `writes`, `dns`.
    fn name(&self) -> &'static str;

    /// What it does, in a sentence.
    fn about(&self) -> &'static str;

    /// Works until `ground.stop`. What fails is recorded, never returned: an
    /// error says that the workload itself cannot work.
    async fn run(&self, ground: Ground) -> anyhow::Result<()>;

    /// Whether it must run beyond every nemesis's reach, on the observer's host.
    fn observes(&self) -> bool {
        false
    }
}

/// Every workload, in the order in which they are listed.
#[must_use]
pub fn all() -> Vec<Box<dyn Workload>> {
    vec![
        Box::new(writes::Writes),
        Box::new(probe::Probe),
        Box::new(register::Register),
        Box::new(checks::Checks),
        Box::new(watch::Watch),
        Box::new(dns::Dns),
        Box::new(admin::Admin),
    ]
}

/// Runs a workload's clients until the last one ended. Given up, they end too.
async fn together<F>(clients: impl IntoIterator<Item = F>) -> anyhow::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut clients: JoinSet<()> = clients.into_iter().collect();
    while let Some(ended) = clients.join_next().await {
        ended.context("a client of the workload")?;
    }
    Ok(())
}
