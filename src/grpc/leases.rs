//! For applications: who is primary, and each change of it.

use std::{collections::BTreeSet, pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use primacy_proto::v1::{self as proto, watch_response::Kind};
use tokio::{sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{convert, history, primary, refuse};
use crate::{
    domain::{Event, GroupName, State},
    ports::Quorum,
};

/// Messages that may wait for a watcher; the rest stays in the history.
const OUTBOUND: usize = 64;
/// The history is written a moment after the state is published.
const SETTLE: Duration = Duration::from_millis(10);
/// Looks at the history that may follow one publication.
const LOOKS: u32 = 20;
/// After this long without news a quorum has to confirm that there is none.
const IDLE: Duration = Duration::from_secs(2);

pub struct LeasesService {
    quorum: Arc<dyn Quorum>,
    /// Revisions that a node keeps at most.
    history_kept: u64,
}

impl LeasesService {
    #[must_use]
    pub fn new(quorum: Arc<dyn Quorum>, history_kept: u64) -> Self {
        Self {
            quorum,
            history_kept,
        }
    }

    /// The state once a quorum confirmed that it is not stale.
    async fn confirmed(&self) -> Result<Arc<State>, Status> {
        self.quorum
            .read_index()
            .await
            .map_err(|error| refuse::no_quorum(&error))?;
        Ok(Arc::clone(&self.quorum.published().borrow()))
    }

    fn check_kept(&self, from: u64, state: &State) -> Result<(), Status> {
        let oldest = state.applied.saturating_sub(self.history_kept);
        match from < oldest {
            true => Err(Status::out_of_range(format!(
                "revision {from} is no longer kept, the oldest is {oldest}: watch from revision 0"
            ))),
            false => Ok(()),
        }
    }
}

type Responses = Pin<Box<dyn Stream<Item = Result<proto::WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl proto::leases_server::Leases for LeasesService {
    async fn check(
        &self,
        request: Request<proto::CheckRequest>,
    ) -> Result<Response<proto::CheckResponse>, Status> {
        let name = convert::group_name(&request.into_inner().group)?;
        let state = self.confirmed().await?;
        let group = state
            .group(&name)
            .ok_or_else(|| refuse::unknown_group(&name))?;
        Ok(Response::new(primary::answer(&state, group)))
    }

    type WatchStream = Responses;

    async fn watch(
        &self,
        request: Request<proto::WatchRequest>,
    ) -> Result<Response<Responses>, Status> {
        let request = request.into_inner();
        let names: Result<BTreeSet<_>, _> = request
            .groups
            .iter()
            .map(|name| convert::group_name(name))
            .collect();
        let state = self.confirmed().await?;
        let (out, responses) = mpsc::channel(OUTBOUND);
        let mut watch = Watch {
            quorum: Arc::clone(&self.quorum),
            groups: names?,
            next: 0,
            out,
        };
        match request.from_revision {
            0 => watch.next = state.applied + 1,
            from => {
                self.check_kept(from, &state)?;
                watch.next = from;
            }
        }
        let current = (request.from_revision == 0).then_some(state);
        tokio::spawn(watch.run(current));
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }
}

/// One watcher's place in the history.
struct Watch {
    quorum: Arc<dyn Quorum>,
    /// Empty: all.
    groups: BTreeSet<GroupName>,
    /// The first revision that was not sent yet.
    next: u64,
    out: mpsc::Sender<Result<proto::WatchResponse, Status>>,
}

/// The watcher is gone, or was told why it ends.
struct Over;

impl Watch {
    async fn run(mut self, current: Option<Arc<State>>) {
        let _ = self.follow(current).await;
    }

    async fn follow(&mut self, current: Option<Arc<State>>) -> Result<(), Over> {
        if let Some(state) = current {
            for (_, group) in state.groups.iter().filter(|(name, _)| self.wants(name)) {
                self.send(Kind::Current(primary::answer(&state, group)))
                    .await?;
            }
            self.send(Kind::CaughtUp(state.applied)).await?;
        }
        let mut published = self.quorum.published();
        loop {
            let applied = published.borrow_and_update().applied;
            self.catch_up(applied).await?;
            tokio::select! {
                changed = published.changed() => changed.map_err(|_| Over)?,
                () = self.out.closed() => return Err(Over),
                () = time::sleep(IDLE) => self.confirm().await?,
            }
        }
    }

    /// Ends the watch where the node may have been left behind: the watcher
    /// goes on at another.
    async fn confirm(&self) -> Result<(), Over> {
        match self.quorum.read_index().await {
            Ok(_) => Ok(()),
            Err(error) => self.end(refuse::no_quorum(&error)).await,
        }
    }

    async fn end(&self, status: Status) -> Result<(), Over> {
        let _ = self.out.send(Err(status)).await;
        Err(Over)
    }

    /// Sends what the history holds up to `applied`, as far as it is there yet.
    async fn catch_up(&mut self, applied: u64) -> Result<(), Over> {
        for _ in 0..LOOKS {
            self.drain().await?;
            if self.next > applied {
                return Ok(());
            }
            time::sleep(SETTLE).await;
        }
        // Entries without an event leave nothing to wait for.
        Ok(())
    }

    async fn drain(&mut self) -> Result<(), Over> {
        loop {
            let page = match history::page(&self.quorum, self.next).await {
                Ok(page) => page,
                Err(status) => return self.end(status).await,
            };
            let Some(last) = page.last() else {
                return Ok(());
            };
            if !history::is_whole(&self.quorum, self.next, last).await {
                return self.end(refuse::not_kept(self.next)).await;
            }
            self.send_events(&page.events).await?;
            self.next = last + 1;
            self.send(Kind::CaughtUp(last)).await?;
            if !page.full {
                return Ok(());
            }
        }
    }

    async fn send_events(&self, events: &[Event]) -> Result<(), Over> {
        for event in events.iter().filter(|event| self.wants(&event.group)) {
            self.send(Kind::Event(convert::event_message(event)))
                .await?;
        }
        Ok(())
    }

    fn wants(&self, group: &GroupName) -> bool {
        self.groups.is_empty() || self.groups.contains(group)
    }

    async fn send(&self, kind: Kind) -> Result<(), Over> {
        let response = proto::WatchResponse { kind: Some(kind) };
        self.out.send(Ok(response)).await.map_err(|_| Over)
    }
}
