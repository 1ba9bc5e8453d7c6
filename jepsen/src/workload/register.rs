//! Who is primary, read as a register: by a handful of clients, each asking
//! one node after the other.

use std::time::Duration;

use async_trait::async_trait;

use super::{Ground, Workload, pace::Pace, process::Process, together};
use crate::{
    client::grpc::{CallError, Node, Nodes},
    history::{Outcome, Request},
};

const CLIENTS: usize = 5;
const PACE: Duration = Duration::from_millis(50);
/// For one check. A node that lost the quorum says so before.
pub const CHECK: Duration = Duration::from_millis(1_500);

pub struct Register;

#[async_trait]
impl Workload for Register {
    fn name(&self) -> &'static str {
        "register"
    }

    fn about(&self) -> &'static str {
        "reads the primary by lease checks at nodes drawn at random"
    }

    async fn run(&self, ground: Ground) -> anyhow::Result<()> {
        let nodes = Nodes::new(&ground.targets)?;
        let clients = (0..CLIENTS).map(|index| read(index, ground.clone(), nodes.clone()));
        together(clients).await
    }
}

async fn read(index: usize, ground: Ground, nodes: Nodes) {
    let rng = ground.seed.stream(&format!("register {index}"));
    let mut pace = Pace::new(rng, ground.stop);
    let mut process = Process::new(&ground.recorder, "register");
    while pace.wait(PACE).await {
        let node = &nodes.all()[pace.rng().usize(..nodes.all().len())];
        let request = Request::Check { node: node.id };
        process.ask(request, CHECK, check(node)).await;
    }
}

/// One check, and what is known after it. A read that was answered with an
/// error or broke off had no effect; only silence leaves it open.
pub async fn check(node: &Node) -> Outcome {
    match node.check().await {
        Ok(answer) => Outcome::Ok(answer),
        Err(error @ CallError::Late(_)) => Outcome::Info(error.to_string()),
        Err(error) => Outcome::Fail(error.to_string()),
    }
}
