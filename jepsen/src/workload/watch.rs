//! Watchers of the group's history: one stays with each node, one hops between
//! them. Whatever ends a stream, the next one goes on where it ended.
//!
//! Several events may share a revision, so that only what was announced as
//! caught up is behind a watcher: events of a revision that was cut off are
//! sent again on its next stream, from `Opened::from_revision` on.

use std::time::Duration;

use async_trait::async_trait;
use primacy_proto::v1::{WatchResponse, watch_response::Kind};
use tokio::time;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::{Ground, Workload, pace::Pace, together};
use crate::{
    client::grpc::{CallError, Node, Nodes, primary, within},
    history::{Event, Recorder, Sight},
};

/// Between two streams.
const PACE: Duration = Duration::from_millis(200);
const OPEN: Duration = Duration::from_secs(2);
/// A stream is left after so long, so that all of them are resumed in a run.
const LIFE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(40));
const HOP: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(6));

pub struct Watch;

#[async_trait]
impl Workload for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn about(&self) -> &'static str {
        "follows the history at every node, and from node to node"
    }

    async fn run(&self, ground: Ground) -> anyhow::Result<()> {
        let nodes = Nodes::new(&ground.targets)?;
        let all = (0..nodes.all().len()).map(|index| vec![nodes.all()[index].clone()]);
        let hopper = std::iter::once(nodes.all().to_vec());
        let watchers = (0..).zip(all.chain(hopper));
        together(watchers.map(|(number, nodes)| Watcher::new(number, nodes, &ground).run())).await
    }
}

struct Watcher {
    number: u64,
    recorder: Recorder,
    pace: Pace,
    stop: CancellationToken,
    /// One, or those to hop between.
    nodes: Vec<Node>,
    /// Of the streams that were opened.
    streams: u64,
    /// The first revision that may not have been sent whole; 0 before any was.
    next: u64,
}

impl Watcher {
    fn new(number: u64, nodes: Vec<Node>, ground: &Ground) -> Self {
        let rng = ground.seed.stream(&format!("watch {number}"));
        Self {
            number,
            recorder: ground.recorder.clone(),
            pace: Pace::new(rng, ground.stop.clone()),
            stop: ground.stop.clone(),
            nodes,
            streams: 0,
            next: 0,
        }
    }

    async fn run(mut self) {
        while self.pace.wait(PACE).await {
            let index = self.pace.rng().usize(..self.nodes.len());
            let node = self.nodes[index].clone();
            match within(OPEN, node.watch(self.next)).await {
                Ok(stream) => self.follow(node.id, stream).await,
                Err(CallError::Gone(reason)) => self.start_over(node.id, reason),
                // Nothing was opened, so nothing was seen.
                Err(_) => {}
            }
        }
    }

    async fn follow(&mut self, node: u64, mut stream: Streaming<WatchResponse>) {
        self.saw(
            node,
            Sight::Opened {
                from_revision: self.next,
            },
        );
        let (least, most) = if self.nodes.len() > 1 { HOP } else { LIFE };
        let life = self.pace.between(least, most);
        let stop = self.stop.clone();
        let reason = tokio::select! {
            biased;
            () = stop.cancelled() => "the workload ends".to_owned(),
            () = time::sleep(life) => "moves on".to_owned(),
            reason = self.receive(node, &mut stream) => reason,
        };
        self.saw(node, Sight::Closed { reason });
        self.streams += 1;
    }

    /// Notes what comes, until nothing more does; returns why.
    async fn receive(&mut self, node: u64, stream: &mut Streaming<WatchResponse>) -> String {
        loop {
            match stream.message().await {
                Ok(Some(WatchResponse { kind: Some(kind) })) => {
                    if let Kind::CaughtUp(revision) = kind {
                        self.next = revision + 1;
                    }
                    self.saw(node, sight(kind));
                }
                Ok(Some(_)) => return "a message without content".to_owned(),
                Ok(None) => return "the node ended it".to_owned(),
                Err(status) => {
                    let error = CallError::from(status);
                    if matches!(error, CallError::Gone(_)) {
                        self.next = 0;
                    }
                    return error.to_string();
                }
            }
        }
    }

    /// What is wanted is no longer kept: noted as a stream that ends at once,
    /// so that the history says why the next one begins elsewhere.
    fn start_over(&mut self, node: u64, reason: String) {
        self.saw(
            node,
            Sight::Opened {
                from_revision: self.next,
            },
        );
        self.saw(node, Sight::Closed { reason });
        self.streams += 1;
        self.next = 0;
    }

    fn saw(&self, node: u64, what: Sight) {
        self.recorder.saw(self.number, self.streams, node, what);
    }
}

fn sight(kind: Kind) -> Sight {
    match kind {
        Kind::Event(event) => Sight::Event(Event {
            revision: event.revision,
            at_ms: event.at_ms,
            group: event.group,
            epoch: event.epoch,
            kind: event.kind,
            text: event.text,
            detail: event.detail_json,
        }),
        Kind::Current(current) => Sight::Current {
            primary: current.primary.map(primary),
            revision: current.revision,
        },
        Kind::CaughtUp(revision) => Sight::CaughtUp { revision },
    }
}
