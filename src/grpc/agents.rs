//! The agents' sessions with this node.
//!
//! Every agent keeps a stream to every node; what it reports is kept here for
//! the leader's loop, and what the leader directs goes out on the same stream.
//! A node that does not lead only listens.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::Stream;
use primacy_proto::v1::{self as proto, agent_message, node_message};
use tokio::sync::{mpsc, watch};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

use crate::{
    clock,
    domain::{Epoch, GroupName, MemberName, Report},
    ports::{AgentLink, Agents, Directive, MemberView, RenewalRequest},
};

/// Messages that may wait for one agent; one that reads slower is cut off.
const OUTBOUND: usize = 64;
/// Renewals that may wait for a quorum round.
const RENEWALS: usize = 1024;
/// A session this silent gives way to a second agent of the same member.
const ABANDONED: Duration = Duration::from_secs(2);
/// A second agent tries again within a second or so for as long as it runs.
const CONTEST: Duration = Duration::from_secs(5);
/// An unchanged directive is repeated this often.
const REPEAT: Duration = Duration::from_secs(1);

type Key = (GroupName, MemberName);

/// All sessions of this node.
pub struct AgentHub {
    sessions: Mutex<BTreeMap<Key, Session>>,
    changed: watch::Sender<u64>,
    renewals: mpsc::Sender<RenewalRequest>,
}

struct Session {
    run: String,
    /// Tells a stream from the one it replaced.
    stream: u64,
    report: Option<Arc<Report>>,
    heard: Duration,
    outbound: Option<mpsc::Sender<Result<proto::NodeMessage, Status>>>,
    told: Option<(Directive, Duration)>,
    /// When a second agent of the same member was turned away.
    contested: Option<Duration>,
}

impl AgentHub {
    /// A hub and the renewals that its agents ask for.
    #[must_use]
    pub fn new() -> (Arc<Self>, mpsc::Receiver<RenewalRequest>) {
        let (renewals, requests) = mpsc::channel(RENEWALS);
        let sessions = Mutex::default();
        (
            Arc::new(Self {
                sessions,
                changed: watch::Sender::new(0),
                renewals,
            }),
            requests,
        )
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<Key, Session>> {
        // Every change under the lock is a plain assignment, so a panic
        // elsewhere cannot have left it half made.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(
        &self,
        key: &Key,
        run: &str,
        outbound: mpsc::Sender<Result<proto::NodeMessage, Status>>,
    ) -> Result<u64, Status> {
        let mut sessions = self.sessions();
        let now = clock::boottime();
        if let Some(known) = sessions.get_mut(key)
            && known.run != run
            && known.outbound.is_some()
            && now.saturating_sub(known.heard) < ABANDONED
        {
            known.contested = Some(now);
            return Err(Status::already_exists(format!(
                "two agents for member {} of group {}: another agent speaks for it; stop one",
                key.1, key.0
            )));
        }
        let stream = sessions.get(key).map_or(1, |known| known.stream + 1);
        let report = sessions.remove(key).and_then(|known| known.report);
        let outbound = Some(outbound);
        let run = run.to_owned();
        let session = Session {
            run,
            stream,
            report,
            heard: now,
            outbound,
            told: None,
            contested: None,
        };
        sessions.insert(key.clone(), session);
        Ok(stream)
    }

    fn close(&self, key: &Key, stream: u64) {
        if let Some(session) = self.sessions().get_mut(key)
            && session.stream == stream
        {
            session.outbound = None;
            session.told = None;
        }
        self.note_change();
    }

    fn take(&self, key: &Key, stream: u64, message: proto::AgentReport) -> Result<(), Status> {
        let report = match message.report.is_empty() {
            true => None,
            false => Some(parse(key, &message.report)?),
        };
        let renewal = {
            let mut sessions = self.sessions();
            let Some(session) = sessions.get_mut(key).filter(|known| known.stream == stream) else {
                return Err(Status::aborted("another stream of this agent took over"));
            };
            session.heard = clock::boottime();
            let news = report.is_some();
            session.report = report.map(Arc::new).or(session.report.take());
            let renewal = renewal(key, session, &message);
            drop(sessions);
            if news {
                self.note_change();
            }
            renewal
        };
        if let Some(renewal) = renewal {
            // A full queue means that the quorum does not answer; the agent asks again.
            let _ = self.renewals.try_send(renewal);
        }
        Ok(())
    }

    fn note_change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn send(&self, key: &Key, kind: node_message::Kind) {
        let outbound = self
            .sessions()
            .get(key)
            .and_then(|session| session.outbound.clone());
        if let Some(outbound) = outbound {
            let _ = outbound.try_send(Ok(proto::NodeMessage { kind: Some(kind) }));
        }
    }
}

fn parse(key: &Key, json: &[u8]) -> Result<Report, Status> {
    let report: Report = serde_json::from_slice(json)
        .map_err(|error| Status::invalid_argument(format!("report of {}: {error}", key.1)))?;
    if (&report.group, &report.member) != (&key.0, &key.1) {
        return Err(Status::invalid_argument(
            "a report of another member than the hello's",
        ));
    }
    Ok(report)
}

fn renewal(key: &Key, session: &Session, message: &proto::AgentReport) -> Option<RenewalRequest> {
    let asked = message.renewal?;
    Some(RenewalRequest {
        group: key.0.clone(),
        member: key.1.clone(),
        incarnation: session.report.as_ref()?.incarnation,
        epoch: Epoch(asked.epoch),
        hard: asked.hard,
        sequence: message.sequence,
        receipt: session.heard,
    })
}

impl Agents for AgentHub {
    fn views(&self) -> Vec<MemberView> {
        let now = clock::boottime();
        let sessions = self.sessions();
        let view = |((group, member), session): (&Key, &Session)| {
            Some(MemberView {
                group: group.clone(),
                member: member.clone(),
                report: session.report.clone()?,
                connected: session.outbound.is_some(),
                age: now.saturating_sub(session.heard),
                contested: session
                    .contested
                    .is_some_and(|at| now.saturating_sub(at) < CONTEST),
            })
        };
        sessions.iter().filter_map(view).collect()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl AgentLink for AgentHub {
    fn direct(&self, group: &GroupName, member: &MemberName, directive: Directive) {
        let key = (group.clone(), member.clone());
        let now = clock::boottime();
        {
            let mut sessions = self.sessions();
            let Some(session) = sessions.get_mut(&key) else {
                return;
            };
            let unchanged = |(told, at): &(Directive, Duration)| {
                *told == directive && now.saturating_sub(*at) < REPEAT
            };
            if session.outbound.is_none() || session.told.as_ref().is_some_and(unchanged) {
                return;
            }
            session.told = Some((directive.clone(), now));
        }
        match serde_json::to_vec(&directive.instruction) {
            Ok(instruction) => self.send(
                &key,
                node_message::Kind::Directive(proto::Directive {
                    term: directive.term,
                    instruction,
                    watchful: directive.watchful,
                    prepare_stop: directive.prepare_stop.map(|epoch| epoch.0),
                    incarnation: directive.incarnation.to_string(),
                }),
            ),
            Err(error) => warn!(%group, %member, %error, "instruction cannot be serialised"),
        }
    }

    fn acknowledge(&self, renewal: &RenewalRequest, ttl: Duration) {
        let key = (renewal.group.clone(), renewal.member.clone());
        self.send(
            &key,
            node_message::Kind::Renewed(proto::RenewalAck {
                sequence: renewal.sequence,
                epoch: renewal.epoch.0,
                ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            }),
        );
    }
}

/// The gRPC face of the hub.
#[derive(Clone)]
pub struct AgentsService(pub Arc<AgentHub>);

type Outbound = Pin<Box<dyn Stream<Item = Result<proto::NodeMessage, Status>> + Send>>;

#[tonic::async_trait]
impl proto::agents_server::Agents for AgentsService {
    type SessionStream = Outbound;

    async fn session(
        &self,
        request: Request<Streaming<proto::AgentMessage>>,
    ) -> Result<Response<Outbound>, Status> {
        let mut inbound = request.into_inner();
        let (key, run) = hello(inbound.next().await)?;
        let (sender, receiver) = mpsc::channel(OUTBOUND);
        let stream = self.0.open(&key, &run, sender)?;
        info!(group = %key.0, member = %key.1, "agent connected");
        let hub = Arc::clone(&self.0);
        tokio::spawn(async move {
            let reason = listen(&hub, &key, stream, inbound).await;
            hub.close(&key, stream);
            info!(group = %key.0, member = %key.1, %reason, "agent disconnected");
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn hello(first: Option<Result<proto::AgentMessage, Status>>) -> Result<(Key, String), Status> {
    let first = first.ok_or_else(|| Status::invalid_argument("a hello comes first"))??;
    let Some(agent_message::Kind::Hello(hello)) = first.kind else {
        return Err(Status::invalid_argument("a hello comes first"));
    };
    let refuse = |error: crate::domain::NotAName| Status::invalid_argument(error.to_string());
    let key = (
        hello.group.parse().map_err(refuse)?,
        hello.member.parse().map_err(refuse)?,
    );
    Ok((key, hello.run))
}

async fn listen(
    hub: &AgentHub,
    key: &Key,
    stream: u64,
    mut inbound: Streaming<proto::AgentMessage>,
) -> String {
    loop {
        match inbound.next().await {
            None => return "closed by the agent".to_owned(),
            Some(Err(status)) => return status.message().to_owned(),
            Some(Ok(message)) => {
                let Some(agent_message::Kind::Report(report)) = message.kind else {
                    continue;
                };
                if let Err(status) = hub.take(key, stream, report) {
                    return status.message().to_owned();
                }
            }
        }
    }
}
