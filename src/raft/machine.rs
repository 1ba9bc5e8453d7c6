//! The applied state, and who gets to see it.
//!
//! ```text
//! committed entries -> State::apply -> publish once -> applied index -> answers
//! ```
//!
//! Invariant: whoever learns that index `n` is applied, or gets the answer to
//! a command at `n`, finds it in the published state.
//!
//! The state lives in memory. It is recovered from the newer of the newest
//! snapshot file and sled's image, then from the log.

use std::{io, sync::Arc};

use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend,
    storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
};
use tokio::{sync::watch, task::spawn_blocking};

use super::{
    fail_stop::OrFailStop,
    sled_store::{HistoryEntry, SledStore},
    snapshot::{Image, Snapshots},
    types::{LogId, Membership, Proposal, Snapshot, SnapshotMeta, TypeConfig},
};
use crate::domain::{Outcome, Refusal, State};

/// Entries between two images in sled: what a restart has to replay at most
/// when there is no newer snapshot.
const IMAGE_EVERY: u64 = 1_000;

/// Why the state could not be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("read snapshots")]
    Io(#[from] io::Error),
    #[error("read an image of the state")]
    Image(#[from] serde_json::Error),
    #[error(
        "the log was purged up to index {purged} but no readable snapshot reaches that far \
         (newest: {newest}): restore the snapshot file, or remove this node from the cluster, \
         wipe it and add it under a new node id"
    )]
    SnapshotMissing { purged: u64, newest: String },
}

/// What others may follow of a machine.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) state: watch::Receiver<Arc<State>>,
    /// The last applied entry, never ahead of `state`.
    pub(crate) applied: watch::Receiver<Option<LogId>>,
}

pub struct Machine {
    image: Image,
    snapshots: Snapshots,
    store: Arc<SledStore>,
    imaged: u64,
    state_out: watch::Sender<Arc<State>>,
    applied_out: watch::Sender<Option<LogId>>,
}

type Answer = (Option<ApplyResponder<TypeConfig>>, Option<Outcome>);

impl Machine {
    /// Recovers the state; the log holds the entries after `purged` up to
    /// `last`.
    pub(crate) fn recover(
        snapshots: Snapshots,
        store: Arc<SledStore>,
        purged: Option<LogId>,
        last: Option<LogId>,
    ) -> Result<(Self, Published), RecoverError> {
        let image = recover_image(&snapshots, &store, &last)?;
        if image.applied < purged {
            let newest = image
                .applied
                .map_or("none".to_owned(), |id| id.index.to_string());
            let purged = purged.map_or(0, |id| id.index);
            return Err(RecoverError::SnapshotMissing { purged, newest });
        }
        let (state_out, state) = watch::channel(Arc::new(image.state.clone()));
        let (applied_out, applied) = watch::channel(image.applied);
        let imaged = index(&image.applied);
        let machine = Self {
            image,
            snapshots,
            store,
            imaged,
            state_out,
            applied_out,
        };
        Ok((machine, Published { state, applied }))
    }

    /// Applies one entry; what it returns is answered after publication.
    fn apply_entry(
        &mut self,
        (entry, responder): EntryResponder<TypeConfig>,
        rows: &mut Vec<HistoryEntry>,
    ) -> Answer {
        let outcome = match entry.payload {
            EntryPayload::Blank => {
                self.image.state.skip(entry.log_id.index);
                None
            }
            EntryPayload::Membership(membership) => {
                self.image.state.skip(entry.log_id.index);
                self.image.membership = Membership::new(Some(entry.log_id), membership);
                None
            }
            EntryPayload::Normal(proposal) => {
                let (index, term) = (entry.log_id.index, entry.log_id.leader_id.term);
                // Entries without a command, such as a new leader's first, are
                // no rows of the history.
                let after = self.image.commanded.unwrap_or(self.image.state.applied);
                self.image.commanded = Some(index);
                let outcome = self.outcome(index, term, &proposal);
                let row = HistoryEntry {
                    index,
                    after,
                    term,
                    command: proposal.command,
                    outcome,
                };
                rows.push(row.clone());
                Some(row.outcome)
            }
        };
        self.image.applied = Some(entry.log_id);
        (responder, outcome)
    }

    /// A leader's decision rests on what it knew in its own term; a later
    /// leader may have acknowledged what it knows nothing of.
    fn outcome(&mut self, index: u64, term: u64, proposal: &Proposal) -> Outcome {
        if proposal.term.is_none_or(|decided| decided == term) {
            return self.image.state.apply(index, &proposal.command);
        }
        self.image.state.skip(index);
        Outcome::Refused(Refusal::OfficeLost)
    }

    fn publish(&self) {
        self.state_out
            .send_replace(Arc::new(self.image.state.clone()));
        self.applied_out.send_replace(self.image.applied);
    }

    fn keep_image_when_due(&mut self) {
        let applied = index(&self.image.applied);
        if applied < self.imaged + IMAGE_EVERY {
            return;
        }
        self.imaged = applied;
        self.keep_image();
    }

    fn keep_image(&self) {
        if let Ok(image) = serde_json::to_vec(&self.image) {
            self.store.keep_image(image);
        }
    }
}

/// A stopped node leaves its state behind, so the next start has little to
/// replay.
impl Drop for Machine {
    fn drop(&mut self) {
        self.keep_image();
    }
}

fn index(id: &Option<LogId>) -> u64 {
    id.as_ref().map_or(0, |id| id.index)
}

/// The newer of snapshot and kept image.
///
/// An image beyond the log is left alone: it may have outlived entries that
/// were committed elsewhere but not yet synced here, and a log cut off behind
/// it would then rest on sled.
fn recover_image(
    snapshots: &Snapshots,
    store: &SledStore,
    last: &Option<LogId>,
) -> Result<Image, RecoverError> {
    let empty = Image {
        applied: None,
        membership: Membership::default(),
        state: State::default(),
        commanded: Some(0),
    };
    let snapshot = match snapshots.newest()? {
        Some(json) => serde_json::from_slice(&json)?,
        None => empty,
    };
    // An image that an older release wrote may not parse; it is not needed.
    let kept: Option<Image> = store
        .image()
        .and_then(|json| serde_json::from_slice(&json).ok());
    match kept {
        Some(kept) if kept.applied > snapshot.applied && kept.applied <= *last => Ok(kept),
        _ => Ok(snapshot),
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        Ok((self.image.applied, self.image.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let (mut rows, mut answers) = (Vec::new(), Vec::new());
        while let Some(item) = entries.next().await {
            let answer = self.apply_entry(item?, &mut rows);
            answers.push(answer);
        }
        self.publish();
        for (responder, outcome) in answers {
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        self.store.record(rows);
        self.keep_image_when_due();
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            image: self.image.clone(),
            snapshots: self.snapshots.clone(),
            store: self.store.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Vec<u8>) -> io::Result<()> {
        let image: Image = serde_json::from_slice(&data)?;
        if image.meta() != *meta {
            let why = format!("the snapshot is of {}, announced was {meta}", image.meta());
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let (snapshots, at) = (self.snapshots.clone(), index(&image.applied));
        spawn_blocking(move || snapshots.save(at, &data))
            .await
            .or_fail_stop("saving a snapshot")
            .or_fail_stop("saving a snapshot");
        self.image = image;
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshots = self.snapshots.clone();
        let newest = spawn_blocking(move || snapshots.newest())
            .await
            .map_err(io::Error::other)??;
        let Some(data) = newest else { return Ok(None) };
        let image: Image = serde_json::from_slice(&data)?;
        Ok(Some(Snapshot {
            meta: image.meta(),
            snapshot: data,
        }))
    }
}

/// Writes one snapshot while the machine goes on.
pub struct Builder {
    image: Image,
    snapshots: Snapshots,
    store: Arc<SledStore>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (image, snapshots) = (self.image.clone(), self.snapshots.clone());
        let store = self.store.clone();
        let meta = image.meta();
        let save = move || {
            let data = serde_json::to_vec(&image)?;
            // The entries behind it are purged next, and with them the only
            // other record of the history.
            store.sync();
            snapshots.save(index(&image.applied), &data).map(|()| data)
        };
        let saved = spawn_blocking(save).await.or_fail_stop("saving a snapshot");
        let data = saved.or_fail_stop("saving a snapshot");
        Ok(Snapshot {
            meta,
            snapshot: data,
        })
    }
}
