//! Asking the quorum nodes, one after the other.
//!
//! Invariant: a change that may have reached a node is never sent to another
//! one; its outcome is then reported as unknown.

use std::{
    collections::VecDeque,
    error::Error as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time;
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};

use super::failure::Failure;
use crate::grpc::refuse::{CONFIRMED, LEADER};

/// A node that does not accept a connection for this long is passed over.
const CONNECT: Duration = Duration::from_secs(2);
/// A node that answers no ping for this long is given up, also amid a watch.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A node is given this long to find out whether it has a quorum.
const ROUND: Duration = Duration::from_secs(3);
/// Between two rounds while an election may be under way.
const PAUSE: Duration = Duration::from_millis(300);

/// Whether a call may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Read,
    Change,
}

/// What a node answered.
#[derive(Debug)]
pub struct Answer<T> {
    pub value: T,
    /// A quorum confirmed it, as far as the node says.
    pub confirmed: bool,
}

/// The nodes to ask and how long to try.
#[derive(Debug, Clone)]
pub struct Client {
    servers: Vec<String>,
    timeout: Duration,
}

impl Client {
    #[must_use]
    pub fn new(servers: Vec<String>, timeout: Duration) -> Self {
        Self { servers, timeout }
    }

    #[must_use]
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The same nodes with another limit.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    /// Asks `server` alone.
    #[must_use]
    pub fn only(&self, server: &str) -> Self {
        Self {
            servers: vec![server.to_owned()],
            ..self.clone()
        }
    }

    /// Asks each node, a named leader first, until one answers.
    pub async fn call<T, F>(
        &self,
        kind: Call,
        ask: impl Fn(Channel) -> F,
    ) -> Result<Answer<T>, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let trail = Trail::default();
        let asked = self.ask_all(kind, &trail, ask);
        match time::timeout(self.timeout, asked).await {
            Ok(result) => result,
            Err(_) => Err(trail.late(kind, self)),
        }
    }

    async fn ask_all<T, F>(
        &self,
        kind: Call,
        trail: &Trail,
        ask: impl Fn(Channel) -> F,
    ) -> Result<Answer<T>, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        loop {
            let mut round = Round::new(&self.servers);
            while let Some(server) = round.next() {
                let channel = match connect(&server).await {
                    Ok(channel) => channel,
                    Err(reason) => {
                        round.unreachable(&server, &reason);
                        continue;
                    }
                };
                trail.note(|it| it.sent = true);
                match self.limited(kind, ask(channel)).await {
                    Ok(response) => return Ok(answer(response)),
                    Err(status) if passes_on(kind, &status) => round.refer(&server, &status),
                    Err(status) if status.source().is_some() => {
                        let lost =
                            format!("{server}: the connection was lost: {}", status.message());
                        return Err(Failure::Unknown(lost));
                    }
                    Err(status) => return Err(status.into()),
                }
                trail.note(|it| it.sent = false);
            }
            if !round.reached {
                return Err(round.failure());
            }
            trail.note(|it| it.reasons = round.reasons.join("; "));
            time::sleep(PAUSE).await;
        }
    }

    /// A node that hangs leaves time for the others; a change waits it out.
    async fn limited<T>(
        &self,
        kind: Call,
        asked: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        if kind == Call::Change {
            return asked.await;
        }
        let servers = u32::try_from(self.servers.len()).unwrap_or(1).max(1);
        let share = (self.timeout / servers).max(ROUND).min(self.timeout);
        let late = |_| Status::unavailable(format!("no answer within {}", shown(share)));
        time::timeout(share, asked)
            .await
            .unwrap_or_else(|elapsed| Err(late(elapsed)))
    }
}

/// How far a call has come, for when it is given up.
#[derive(Default)]
struct Trail(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    /// A node has it and has not answered.
    sent: bool,
    /// Of the last whole round.
    reasons: String,
}

impl Trail {
    fn note(&self, change: impl FnOnce(&mut Noted)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn late(self, kind: Call, client: &Client) -> Failure {
        let Noted { sent, reasons } = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let within = shown(client.timeout);
        match (kind, sent, reasons.as_str()) {
            (Call::Change, true, _) => Failure::Unknown(format!("no answer within {within}")),
            (_, _, "") => {
                let servers = client.servers.join(", ");
                Failure::Unreachable(format!("no answer from {servers} within {within}"))
            }
            (_, _, reasons) => {
                Failure::Unreachable(format!("no answer within {within} ({reasons})"))
            }
        }
    }
}

/// One round over the nodes.
struct Round {
    waiting: VecDeque<String>,
    asked: Vec<String>,
    reasons: Vec<String>,
    reached: bool,
}

impl Round {
    fn new(servers: &[String]) -> Self {
        let waiting = servers.iter().cloned().collect();
        Self {
            waiting,
            asked: Vec::new(),
            reasons: Vec::new(),
            reached: false,
        }
    }

    fn next(&mut self) -> Option<String> {
        let server = self.waiting.pop_front()?;
        self.asked.push(server.clone());
        Some(server)
    }

    fn unreachable(&mut self, server: &str, reason: &str) {
        self.reasons.push(format!("{server}: {reason}"));
    }

    /// The node could not say; it may have named who can.
    fn refer(&mut self, server: &str, status: &Status) {
        self.reached |= status.source().is_none();
        self.reasons.push(format!("{server}: {}", status.message()));
        let leader = status
            .metadata()
            .get(LEADER)
            .and_then(|value| value.to_str().ok());
        if let Some(leader) = leader.filter(|leader| !self.asked.iter().any(|it| it == leader)) {
            self.waiting.retain(|it| it != leader);
            self.waiting.push_front(leader.to_owned());
        }
    }

    fn failure(self) -> Failure {
        Failure::Unreachable(format!("no node answered ({})", self.reasons.join("; ")))
    }
}

/// Whether another node may be asked the same: this one did nothing.
fn passes_on(kind: Call, status: &Status) -> bool {
    let made_here = status.source().is_some();
    match kind {
        Call::Read => made_here || status.code() == Code::Unavailable,
        Call::Change => !made_here && status.code() == Code::Unavailable,
    }
}

fn answer<T>(response: Response<T>) -> Answer<T> {
    let confirmed = response
        .metadata()
        .get(CONFIRMED)
        .is_none_or(|value| value != "false");
    Answer {
        value: response.into_inner(),
        confirmed,
    }
}

/// Connects, or says in a few words why not.
pub async fn connect(server: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{server}"))
        .map_err(|_| "not HOST:PORT".to_owned())?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    match time::timeout(CONNECT, endpoint.connect()).await {
        Ok(connected) => connected.map_err(|error| innermost(&error)),
        Err(_) => Err(format!("no connection within {}", shown(CONNECT))),
    }
}

/// The reason that the others wrap.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn shown(duration: Duration) -> humantime::FormattedDuration {
    let whole = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    humantime::format_duration(whole)
}
