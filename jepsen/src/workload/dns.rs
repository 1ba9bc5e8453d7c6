//! Resolvers: two at every name server, one question after the other.

use std::time::Duration;

use async_trait::async_trait;

use super::{Ground, Workload, directory::name_servers, pace::Pace, process::Process, together};
use crate::{
    client::dns::{AskError, NameServer, Transport},
    history::{Answer, Outcome, Request},
};

const CLIENTS: usize = 2;
const PACE: Duration = Duration::from_millis(50);
/// For all packets of a question.
const RESOLVE: Duration = Duration::from_millis(800);
/// The recorder's own limit never comes first.
const LIMIT: Duration = Duration::from_secs(1);
/// One question in so many goes over TCP.
const TCP: usize = 8;

pub struct Dns;

#[async_trait]
impl Workload for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn about(&self) -> &'static str {
        "asks every name server for the primary's address and epoch"
    }

    async fn run(&self, ground: Ground) -> anyhow::Result<()> {
        let mut resolvers = Vec::new();
        for (index, server) in name_servers(&ground.targets)?.iter().enumerate() {
            let clients = (0..CLIENTS).map(|client| Resolver::new(index, client, server, &ground));
            resolvers.extend(clients.map(Resolver::run));
        }
        together(resolvers).await
    }
}

struct Resolver {
    process: Process,
    pace: Pace,
    /// Of the server.
    index: usize,
    server: NameServer,
}

impl Resolver {
    fn new(index: usize, client: usize, server: &NameServer, ground: &Ground) -> Self {
        let rng = ground.seed.stream(&format!("dns {index} {client}"));
        Self {
            process: Process::new(&ground.recorder, "dns"),
            pace: Pace::new(rng, ground.stop.clone()),
            index,
            server: server.clone(),
        }
    }

    async fn run(mut self) {
        let mut asks_epoch = false;
        while self.pace.wait(PACE).await {
            let transport = match self.pace.rng().usize(..TCP) {
                0 => Transport::Tcp,
                _ => Transport::Udp,
            };
            self.ask(asks_epoch, transport).await;
            asks_epoch = !asks_epoch;
        }
    }

    async fn ask(&mut self, epoch: bool, transport: Transport) {
        let server = self.index;
        let request = match epoch {
            true => Request::ResolveEpoch { server },
            false => Request::ResolveAddress { server },
        };
        let answer = async {
            outcome(match epoch {
                true => self.server.epoch(transport, RESOLVE).await,
                false => self.server.addresses(transport, RESOLVE).await,
            })
        };
        self.process.ask(request, LIMIT, answer).await;
    }
}

/// A server that does not answer in time may still: never a failure. One whose
/// packets are refused never will.
fn outcome(answer: Result<Answer, AskError>) -> Outcome {
    match answer {
        Ok(answer) => Outcome::Ok(answer),
        Err(error @ AskError::Io(_)) => Outcome::Fail(error.to_string()),
        Err(error @ (AskError::Late(_) | AskError::Garbled(_))) => Outcome::Info(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn silence_is_no_failure_and_a_refusal_is_an_answer() {
        let late = outcome(Err(AskError::Late(RESOLVE)));
        assert!(matches!(late, Outcome::Info(_)));
        let unreachable = io::Error::from(io::ErrorKind::ConnectionRefused);
        let unreachable = outcome(Err(unreachable.into()));
        assert!(matches!(unreachable, Outcome::Fail(_)));
        let unknowing = Answer::ServFail { extended: Some(24) };
        assert_eq!(outcome(Ok(unknowing.clone())), Outcome::Ok(unknowing));
    }
}
