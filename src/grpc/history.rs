//! The history in whole revisions.
//!
//! Several events may share a revision, and a page of the store may end in
//! the middle of one. Whoever resumes does so by revision, so nothing here
//! ever hands out half of one.

use std::sync::Arc;

use tonic::Status;

use crate::{domain::Event, ports::Quorum};

/// Events asked of the store at once.
const PAGE: usize = 512;

/// All events of some consecutive revisions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub events: Vec<Event>,
    /// There may be more behind it.
    pub full: bool,
}

impl Page {
    /// The last revision of it.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.events.last().map(|event| event.revision)
    }
}

/// The events from `revision` on, a store page at most, oldest first.
pub async fn page(quorum: &Arc<dyn Quorum>, revision: u64) -> Result<Page, Status> {
    let quorum = Arc::clone(quorum);
    // The store is read from the disk.
    let read =
        tokio::task::spawn_blocking(move || whole_revisions(quorum.as_ref(), revision, PAGE));
    read.await
        .map_err(|error| Status::internal(format!("read the history: {error}")))
}

/// Whether every event from revision `from` to `to` is at hand.
pub async fn is_whole(quorum: &Arc<dyn Quorum>, from: u64, to: u64) -> bool {
    let quorum = Arc::clone(quorum);
    let read = tokio::task::spawn_blocking(move || quorum.has_history(from, to));
    read.await.unwrap_or(false)
}

/// The newest `limit` events that `wanted` lets through, oldest first.
pub async fn newest(
    quorum: &Arc<dyn Quorum>,
    from: u64,
    limit: usize,
    wanted: impl Fn(&Event) -> bool + Send + 'static,
) -> Result<Vec<Event>, Status> {
    let quorum = Arc::clone(quorum);
    let read =
        tokio::task::spawn_blocking(move || newest_now(quorum.as_ref(), from, limit, &wanted));
    read.await
        .map_err(|error| Status::internal(format!("read the history: {error}")))
}

fn whole_revisions(quorum: &dyn Quorum, revision: u64, size: usize) -> Page {
    let mut size = size;
    loop {
        let mut events = quorum.history(revision, size);
        if events.len() < size {
            return Page {
                events,
                full: false,
            };
        }
        // The last revision may be cut off; it comes with the next page.
        let cut = events.last().map_or(0, |event| event.revision);
        events.retain(|event| event.revision < cut);
        if !events.is_empty() {
            return Page { events, full: true };
        }
        size *= 2;
    }
}

/// Looks further and further back, since the store reads forwards only.
fn newest_now(
    quorum: &dyn Quorum,
    from: u64,
    limit: usize,
    wanted: &dyn Fn(&Event) -> bool,
) -> Vec<Event> {
    let applied = quorum.published().borrow().applied;
    let mut span = (limit as u64).saturating_mul(2).max(64);
    loop {
        let start = applied.saturating_sub(span).max(from);
        let mut found = Vec::new();
        let mut next = start;
        loop {
            let page = whole_revisions(quorum, next, PAGE);
            next = page.last().map_or(next, |last| last + 1);
            found.extend(page.events.into_iter().filter(|event| wanted(event)));
            if !page.full {
                break;
            }
        }
        if found.len() >= limit || start <= from {
            return found.split_off(found.len().saturating_sub(limit));
        }
        span = span.saturating_mul(4);
    }
}
