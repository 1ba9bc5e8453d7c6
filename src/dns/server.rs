//! Serves the zone over UDP and TCP.
//!
//! Both answer from the same snapshot through [`answer`]; the library in
//! between parses, frames and repeats the question. Its catalogue is not
//! used: it turns SERVFAIL into an empty answer that resolvers cache.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::op::{Header, HeaderCounts, Metadata};
use hickory_server::{
    net::{runtime::Time, xfer::Protocol},
    server::{self, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::error;

use super::{
    DnsError, Options, Verdict, answer,
    keeper::{Keeper, Rounds, Serving},
};
use crate::{
    clock::boottime,
    ports::{Agents, Quorum},
};

/// An idle TCP connection is closed after this (RFC 7766, 6.2.3).
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Responses that wait for one TCP client to read.
const TCP_QUEUE: usize = 32;
/// Tries to find a port that is free for UDP and TCP, when any will do.
const PORT_TRIES: usize = 16;

/// The authoritative server of one zone.
#[derive(Debug)]
pub struct Server;

/// A running server; it stops when the token that it was started with is cancelled.
#[derive(Debug, Clone)]
pub struct Handle {
    local_addr: SocketAddr,
    serving: Arc<Serving>,
    tasks: TaskTracker,
}

impl Server {
    /// Binds, and answers from then on: SERVFAIL until freshness is proven.
    pub async fn start(
        options: Options,
        quorum: Arc<dyn Quorum>,
        agents: Arc<dyn Agents>,
        shutdown: CancellationToken,
    ) -> Result<Handle, DnsError> {
        let config = options.zone_config()?;
        let (udp, tcp) = bind(options.listen).await?;
        let failed = |source| DnsError::listen(options.listen, "UDP", source);
        let local_addr = udp.local_addr().map_err(failed)?;
        let keeper = Keeper::new(config, options.max_staleness, quorum, agents);
        let serving = keeper.serving();
        let tasks = TaskTracker::new();
        tasks.spawn(keeper.run(rounds(options.max_staleness), shutdown.clone()));
        tasks.spawn(serve(udp, tcp, Arc::clone(&serving), shutdown));
        tasks.close();
        Ok(Handle {
            local_addr,
            serving,
            tasks,
        })
    }
}

impl Handle {
    /// Where it listens, for UDP and TCP.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Whether it answers now.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.serving.freshness.verdict(boottime())
    }

    /// Serial of the zone that it holds.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.serving.zone.load().serial()
    }

    /// Returns once its sockets are closed and its tasks have ended.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

/// One round may fail, and the next has a quarter of the time left.
fn rounds(max_staleness: Duration) -> Rounds {
    Rounds {
        every: max_staleness * 3 / 8,
        deadline: max_staleness * 3 / 8,
    }
}

async fn bind(listen: SocketAddr) -> Result<(UdpSocket, TcpListener), DnsError> {
    let mut tries = if listen.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let failed = |transport| move |source| DnsError::listen(listen, transport, source);
        let tcp = TcpListener::bind(listen).await.map_err(failed("TCP"))?;
        let both = tcp.local_addr().map_err(failed("TCP"))?;
        match UdpSocket::bind(both).await {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(failed("UDP")(error)),
        }
    }
}

async fn serve(
    udp: UdpSocket,
    tcp: TcpListener,
    serving: Arc<Serving>,
    shutdown: CancellationToken,
) {
    let mut server = server::Server::new(Handler(serving));
    server.register_socket(udp);
    server.register_listener(tcp, TCP_IDLE, TCP_QUEUE);
    let ended = tokio::select! {
        () = shutdown.cancelled() => server.shutdown_gracefully().await,
        ended = server.block_until_done() => ended,
    };
    if let Err(error) = ended {
        error!(
            error = &error as &dyn std::error::Error,
            "DNS server stopped"
        );
    }
}

struct Handler(Arc<Serving>);

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &server::Request,
        mut responder: R,
    ) -> ResponseInfo {
        // In this order: the zone read after a proof is the proven one or a later.
        let verdict = self.0.freshness.verdict(boottime());
        let zone = self.0.zone.load_full();
        let query = answer::Request {
            metadata: &request.metadata,
            questions: request.queries.queries(),
            edns: request.edns.as_ref(),
            over_udp: request.protocol() == Protocol::Udp,
        };
        let response = answer::answer(&query, &zone, verdict);
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &response.edns {
            builder.edns(edns);
        }
        let message = builder.build(
            response.metadata,
            response.answers,
            response.authorities,
            [],
            response.additionals,
        );
        // A client that is gone or does not read is no fault of ours.
        let sent = responder.send_response(message).await;
        sent.unwrap_or_else(|_| unsent(response.metadata))
    }
}

fn unsent(metadata: Metadata) -> ResponseInfo {
    let counts = HeaderCounts::default();
    Header { metadata, counts }.into()
}
