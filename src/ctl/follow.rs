//! A watch that goes on at another node where one breaks off.
//!
//! Invariant: what is handed out is ordered, whole revisions, each once.

use std::time::Duration;

use primacy_proto::v1::{self as proto, leases_client::LeasesClient, watch_response::Kind};
use tokio::time;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use super::{
    client::{Client, connect},
    failure::Failure,
};

const PAUSE: Duration = Duration::from_millis(500);

/// What a watch yields.
pub enum Item {
    Event(proto::Event),
    Current(proto::CheckResponse),
}

/// A place in the history.
pub struct Follow {
    pub client: Client,
    pub groups: Vec<String>,
    /// The first revision wanted; 0: from now on.
    pub from: u64,
}

impl Follow {
    /// Hands items to `each` until it fails or no node can be reached for the
    /// client's whole timeout.
    pub async fn run(
        mut self,
        mut each: impl FnMut(Item) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        loop {
            let searched = time::timeout(self.client.timeout(), self.open()).await;
            let late = |_| Failure::Unreachable("no node serves the watch".to_owned());
            let mut stream = searched.map_err(late)??;
            let mut held = Vec::new();
            while let Some(Ok(response)) = stream.next().await {
                match response.kind {
                    Some(Kind::Event(event)) => held.push(Item::Event(event)),
                    Some(Kind::Current(current)) => held.push(Item::Current(current)),
                    Some(Kind::CaughtUp(revision)) => {
                        // Whole now; what is not is asked for again.
                        self.from = revision + 1;
                        held.drain(..).try_for_each(&mut each)?;
                    }
                    None => {}
                }
            }
            // Broken off, or ended by a node that was left behind.
            time::sleep(PAUSE).await;
        }
    }

    /// The stream of the first node that serves it.
    async fn open(&self) -> Result<tonic::Streaming<proto::WatchResponse>, Failure> {
        let request = proto::WatchRequest {
            groups: self.groups.clone(),
            from_revision: self.from,
        };
        loop {
            for server in self.client.servers() {
                let Ok(channel) = connect(server).await else {
                    continue;
                };
                match LeasesClient::new(channel).watch(request.clone()).await {
                    Ok(response) => return Ok(response.into_inner()),
                    Err(status) if heals(&status) => {}
                    Err(status) => return Err(status.into()),
                }
            }
            time::sleep(PAUSE).await;
        }
    }
}

fn heals(status: &Status) -> bool {
    !matches!(
        status.code(),
        Code::InvalidArgument | Code::OutOfRange | Code::NotFound
    )
}
