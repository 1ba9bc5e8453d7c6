//! The agent's streams: one to every quorum node, for as long as both live.
//!
//! Reports go to all nodes, so a new leader knows the world at once. Of the
//! directives that come back the one of the highest term counts; whether it
//! may be obeyed is the promise's business, not this module's.

use std::{sync::Arc, time::Duration};

use primacy_proto::v1::{self as proto, agent_message, agents_client::AgentsClient, node_message};
use tokio::{
    sync::{mpsc, watch},
    time,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming, transport::Endpoint};
use tracing::{debug, info, warn};

use crate::{
    clock,
    domain::{Epoch, GroupName, Incarnation, MemberName},
    ports::Directive,
};

use super::{chain, holder::Renewal};

/// A leader that heard nothing for longer than a few of these doubts the member.
const HEARTBEAT: Duration = Duration::from_millis(150);
/// For a node that does not lead it is enough to know that the stream lives.
const HEARTBEAT_ASIDE: Duration = Duration::from_millis(250);
/// A node that leads repeats its directives every second.
const LEADS_FOR: Duration = Duration::from_secs(2);
/// Between two renewals; a TTL is several seconds.
const RENEW: Duration = Duration::from_millis(500);
/// Messages that may wait for a node that reads slowly; then it is cut off.
const OUTBOUND: usize = 64;
const CONNECT: Duration = Duration::from_secs(1);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(1);

/// Who speaks.
#[derive(Debug, Clone)]
pub struct Speaker {
    pub group: GroupName,
    pub member: MemberName,
    /// Of this run of the agent.
    pub run: String,
}

/// What is said to every node.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// A domain report as JSON.
    pub report: Arc<Vec<u8>>,
    /// The lease to renew with each heartbeat: its epoch, and whether this
    /// holder stops at its deadline.
    pub renew: Option<(Epoch, bool)>,
}

/// An acknowledged renewal, and the TTL that it is for.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    pub renewal: Renewal,
    pub ttl: Duration,
}

/// The agent's end of its streams.
pub struct Sessions {
    said: watch::Sender<Said>,
    directive: watch::Receiver<Option<Directive>>,
    acknowledged: mpsc::Receiver<Acknowledged>,
}

impl Sessions {
    /// Starts a stream to each of `servers` (`host:port`).
    #[must_use]
    pub fn start(speaker: &Speaker, servers: &[String], shutdown: &CancellationToken) -> Self {
        let said = watch::Sender::new(Said::default());
        let (direct, directive) = watch::channel(None);
        let (acknowledge, acknowledged) = mpsc::channel(OUTBOUND);
        let direct = Arc::new(direct);
        for server in servers {
            let stream = NodeStream {
                speaker: speaker.clone(),
                server: server.clone(),
                said: said.subscribe(),
                direct: Arc::clone(&direct),
                acknowledge: acknowledge.clone(),
                elapsed: clock::Elapsed::start(clock::reading()),
                sequence: 0,
                renewals: Vec::new(),
            };
            tokio::spawn(stream.keep(shutdown.clone()));
        }
        Self {
            said,
            directive,
            acknowledged,
        }
    }

    /// Says this to every node from now on; at once when it differs.
    pub fn say(&self, said: Said) {
        self.said.send_if_modified(|current| {
            let differs = current.report != said.report || current.renew != said.renew;
            *current = said;
            differs
        });
    }

    /// The directive of the highest term, `None` before the first.
    #[must_use]
    pub fn directive(&self) -> watch::Receiver<Option<Directive>> {
        self.directive.clone()
    }

    /// The next acknowledged renewal, if one waits.
    pub fn next_acknowledged(&mut self) -> Option<Acknowledged> {
        self.acknowledged.try_recv().ok()
    }
}

/// One node's stream, reconnected for ever.
struct NodeStream {
    speaker: Speaker,
    server: String,
    said: watch::Receiver<Said>,
    direct: Arc<watch::Sender<Option<Directive>>>,
    acknowledge: mpsc::Sender<Acknowledged>,
    elapsed: clock::Elapsed,
    sequence: u64,
    /// Renewals on their way, by the report that carried them.
    renewals: Vec<(u64, Renewal)>,
}

impl NodeStream {
    async fn keep(mut self, shutdown: CancellationToken) {
        let mut retry = RETRY_FIRST;
        let mut complained = false;
        while !shutdown.is_cancelled() {
            tokio::select! {
                ended = self.converse() => match ended {
                    Ok(()) => (retry, complained) = (RETRY_FIRST, false),
                    Err(status) => {
                        self.complain(&status, &mut complained);
                        retry = (retry * 2).min(RETRY_MOST);
                    }
                },
                () = shutdown.cancelled() => return,
            }
            // Spread by the member's own name, so that agents do not come in step.
            let spread = u64::from(self.speaker.run.bytes().last().unwrap_or(0) % 20);
            time::sleep(retry + Duration::from_millis(spread)).await;
        }
    }

    /// Warns once per outage; a node that is down would fill the log.
    fn complain(&self, status: &Status, complained: &mut bool) {
        let server = &self.server;
        if *complained {
            debug!(%server, reason = status.message(), "still no stream to the node");
        } else {
            warn!(%server, reason = status.message(), "no stream to the node");
        }
        *complained = true;
    }

    /// One stream, from hello to its end. `Ok` once it had been up.
    async fn converse(&mut self) -> Result<(), Status> {
        let (sender, receiver) = mpsc::channel(OUTBOUND);
        self.say_hello(&sender)?;
        self.renewals.clear();
        self.send_report(&sender, true)?;
        let mut client = connect(&self.server).await?;
        let opened = client.session(ReceiverStream::new(receiver));
        let answer = time::timeout(CONNECT, opened)
            .await
            .map_err(|_| Status::deadline_exceeded("the node did not open the stream"))??;
        info!(server = %self.server, "stream to the node is open");
        match self.listen(answer.into_inner(), &sender).await {
            Ok(()) => debug!(server = %self.server, "the node closed the stream"),
            Err(status) => {
                info!(server = %self.server, reason = status.message(), "stream to the node ended");
            }
        }
        Ok(())
    }

    async fn listen(
        &mut self,
        mut inbound: Streaming<proto::NodeMessage>,
        sender: &mpsc::Sender<proto::AgentMessage>,
    ) -> Result<(), Status> {
        let mut directed: Option<Duration> = None;
        let mut sent = clock::boottime();
        loop {
            let now = clock::boottime();
            let leads = directed.is_some_and(|at| now.saturating_sub(at) < LEADS_FOR);
            let pause = if leads { HEARTBEAT } else { HEARTBEAT_ASIDE };
            let rest = (sent + pause).saturating_sub(now);
            tokio::select! {
                message = inbound.next() => match message {
                    None => return Ok(()),
                    Some(message) => {
                        let message = message?;
                        if matches!(message.kind, Some(node_message::Kind::Directive(_))) {
                            directed = Some(clock::boottime());
                        }
                        self.take(message)?;
                    }
                },
                changed = self.said.changed() => {
                    changed.map_err(|_| Status::cancelled("the agent stops"))?;
                    self.send_report(sender, true)?;
                    sent = clock::boottime();
                }
                () = time::sleep(rest) => {
                    self.send_report(sender, false)?;
                    sent = clock::boottime();
                }
            }
        }
    }

    fn say_hello(&self, sender: &mpsc::Sender<proto::AgentMessage>) -> Result<(), Status> {
        let hello = proto::AgentHello {
            group: self.speaker.group.to_string(),
            member: self.speaker.member.to_string(),
            run: self.speaker.run.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        send(sender, agent_message::Kind::Hello(hello))
    }

    /// Sends a heartbeat, with the report when it is `whole`. The time of a
    /// renewal is read before it is sent: that is what the lease counts from.
    fn send_report(
        &mut self,
        sender: &mpsc::Sender<proto::AgentMessage>,
        whole: bool,
    ) -> Result<(), Status> {
        let said = self.said.borrow_and_update().clone();
        self.sequence += 1;
        let renewal = self.renewal(said.renew);
        let report = if whole {
            said.report.as_ref().clone()
        } else {
            Vec::new()
        };
        let report = proto::AgentReport {
            sequence: self.sequence,
            report,
            renewal,
        };
        send(sender, agent_message::Kind::Report(report))
    }

    /// Asks for a lease to be renewed, now and then: each asks for a round of
    /// the quorum.
    fn renewal(&mut self, asked: Option<(Epoch, bool)>) -> Option<proto::Renewal> {
        let (epoch, hard) = asked?;
        let sent = self.elapsed.greatest(clock::reading());
        let recent = |(_, last): &(u64, Renewal)| {
            last.epoch == epoch && last.hard == hard && sent.saturating_sub(last.sent) < RENEW
        };
        if self.renewals.last().is_some_and(recent) {
            return None;
        }
        // An answer to anything older is of no use any more.
        if self.renewals.len() >= OUTBOUND {
            self.renewals.remove(0);
        }
        self.renewals
            .push((self.sequence, Renewal { epoch, hard, sent }));
        Some(proto::Renewal {
            epoch: epoch.0,
            hard,
        })
    }

    fn take(&mut self, message: proto::NodeMessage) -> Result<(), Status> {
        match message.kind {
            Some(node_message::Kind::Directive(directive)) => self.take_directive(&directive),
            Some(node_message::Kind::Renewed(ack)) => {
                self.take_acknowledgement(&ack);
                Ok(())
            }
            Some(node_message::Kind::Refused(refused)) => Err(Status::aborted(refused.reason)),
            None => Ok(()),
        }
    }

    fn take_directive(&self, directive: &proto::Directive) -> Result<(), Status> {
        let instruction = serde_json::from_slice(&directive.instruction)
            .map_err(|error| Status::invalid_argument(format!("instruction: {error}")))?;
        let incarnation = directive
            .incarnation
            .parse()
            .map_err(|error| Status::invalid_argument(format!("incarnation: {error}")))?;
        let directive = Directive {
            term: directive.term,
            incarnation: Incarnation(incarnation),
            instruction,
            watchful: directive.watchful,
            prepare_stop: directive.prepare_stop.map(Epoch),
        };
        self.direct.send_if_modified(|current| {
            let taken = is_in_office(current.as_ref(), &directive);
            if taken {
                *current = Some(directive);
            }
            taken
        });
        Ok(())
    }

    fn take_acknowledgement(&mut self, ack: &proto::RenewalAck) {
        let Some(at) = self
            .renewals
            .iter()
            .position(|(sequence, _)| *sequence == ack.sequence)
        else {
            return;
        };
        let (_, renewal) = self.renewals[at];
        // The latest stays, to tell when the next is due.
        self.renewals.drain(..at);
        let acknowledged = Acknowledged {
            renewal,
            ttl: Duration::from_millis(ack.ttl_ms),
        };
        // A full queue means that the agent is busy; the next one comes in a moment.
        let _ = self.acknowledge.try_send(acknowledged);
    }
}

/// Whether `directive` is of the leader that is known, or of a later one. One
/// that was deposed speaks on until it learns of it.
fn is_in_office(known: Option<&Directive>, directive: &Directive) -> bool {
    known.is_none_or(|known| known.term <= directive.term)
}

async fn connect(server: &str) -> Result<AgentsClient<tonic::transport::Channel>, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{server}"))
        .map_err(|error| Status::invalid_argument(format!("{server}: {error}")))?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(Duration::from_secs(1))
        .keep_alive_timeout(Duration::from_secs(1))
        .keep_alive_while_idle(true);
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| Status::unavailable(chain(&error)))?;
    Ok(AgentsClient::new(channel))
}

fn send(
    sender: &mpsc::Sender<proto::AgentMessage>,
    kind: agent_message::Kind,
) -> Result<(), Status> {
    sender
        .try_send(proto::AgentMessage { kind: Some(kind) })
        .map_err(|_| Status::resource_exhausted("the node reads too slowly"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Instruction;

    #[test]
    fn a_directive_of_a_leader_that_lost_its_office_is_not_taken() {
        let of = |term| Directive {
            term,
            incarnation: Incarnation(uuid::Uuid::from_u128(1)),
            instruction: Instruction::Hold,
            watchful: false,
            prepare_stop: None,
        };
        assert!(is_in_office(None, &of(3)));
        assert!(is_in_office(Some(&of(3)), &of(3)));
        assert!(is_in_office(Some(&of(3)), &of(4)));
        assert!(!is_in_office(Some(&of(4)), &of(3)));
    }
}
