//! The Raft log and the vote, on disk.
//!
//! Invariant: whatever consensus is told is durable was fsynced, and a write
//! that fails ends the process. Purging is asked for only behind a snapshot
//! that is itself durable (see `snapshot`).

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use openraft::{
    OptionalSend,
    storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage},
    type_config::alias::EntryOf,
};
use raft_log::{DumpApi, RaftLog, api::raft_log_writer::RaftLogWriter};

use super::{
    fail_stop::{OrFailStop, fail_stop},
    types::{LogId, TypeConfig, Vote},
    wal::{Flushed, WalLogId, WalTypes, WalVote},
};

/// How long the writer lets appends gather before it syncs. Appends that wait
/// already are taken without delay, so this is only what an idle log pays.
const GATHER: Duration = Duration::from_micros(50);
/// Purging frees whole files, so small ones keep the directory small.
const FILE_BYTES: usize = 16 << 20;
const FILE_RECORDS: usize = 32 << 10;
const CACHED_ENTRIES: usize = 20_000;
const CACHED_BYTES: usize = 64 << 20;
/// Entries are sent to followers in pieces of about this size.
const PIECE_BYTES: usize = 1 << 20;

/// Whether writes are synced: always. Only a mutation takes it out, to see that
/// the tests need it.
pub(super) const SYNC: bool = !cfg!(primacy_mutant = "fsync");

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{dir} is in use by another process; stop it first")]
    Locked { dir: PathBuf, source: io::Error },
    #[error(
        "the Raft log is damaged at {file}; this node may have forgotten what it promised: \
         remove it from the cluster, wipe its data directory and add it under a new node id"
    )]
    Damaged { file: PathBuf, source: io::Error },
    #[error(
        "entries after index {purged} are missing from {dir}; this node may have forgotten what \
         it promised: remove it from the cluster, wipe it and add it under a new node id"
    )]
    Gap { dir: PathBuf, purged: String },
}

/// Log and vote of this node. Clones share one log.
#[derive(Clone)]
pub(crate) struct LogStore(Arc<Mutex<RaftLog<WalTypes>>>);

/// Tells whether a log is still held by anybody in this process.
pub(crate) struct LogUse(Weak<Mutex<RaftLog<WalTypes>>>);

impl LogUse {
    pub(crate) fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

fn config(dir: &Path) -> raft_log::Config {
    let mut config = raft_log::Config::new(dir.display());
    config.wal.flush_batch_wait = Some(GATHER);
    config.wal.read_buffer_size = Some(1 << 20);
    config.wal.chunk_max_size = Some(FILE_BYTES);
    config.wal.chunk_max_records = Some(FILE_RECORDS);
    config.log_cache_max_items = Some(CACHED_ENTRIES);
    config.log_cache_capacity = Some(CACHED_BYTES);
    config
}

impl LogStore {
    /// Opens the log in `dir`, which exists and is durable.
    ///
    /// A record cut short at the very end was never acknowledged and is
    /// dropped; any other damage is an error.
    pub(crate) fn open(dir: &Path) -> Result<Self, LogError> {
        let log = RaftLog::open(Arc::new(config(dir))).map_err(|source| explain(dir, source))?;
        ensure_contiguous(dir, &log)?;
        Ok(Self(Arc::new(Mutex::new(log))))
    }

    pub(crate) fn in_use(&self) -> LogUse {
        LogUse(Arc::downgrade(&self.0))
    }

    /// The last entry that was purged.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.lock().log_state().purged().map(LogId::from)
    }

    /// The last entry, or the last purged one if there is none.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.lock().log_state().last().map(LogId::from)
    }

    fn lock(&self) -> MutexGuard<'_, RaftLog<WalTypes>> {
        self.0
            .lock()
            .unwrap_or_else(|error| fail_stop("using the Raft log", &error))
    }

    fn read(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<EntryOf<TypeConfig>>> {
        if start >= end {
            return Ok(Vec::new());
        }
        let mut bytes = 0;
        let mut entries = Vec::new();
        for item in self.lock().read(start, end) {
            let (id, json) = item?;
            bytes += json.len();
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            let payload = serde_json::from_slice(&json)?;
            entries.push(openraft::Entry {
                log_id: LogId::from(&id),
                payload,
            });
        }
        Ok(entries)
    }
}

fn explain(dir: &Path, source: io::Error) -> LogError {
    if source.kind() == io::ErrorKind::WouldBlock {
        return LogError::Locked {
            dir: dir.to_owned(),
            source,
        };
    }
    let file = damaged_file(dir).unwrap_or_else(|| dir.to_owned());
    LogError::Damaged { file, source }
}

/// The first file of the log that holds a record that cannot be read.
fn damaged_file(dir: &Path) -> Option<PathBuf> {
    let config = Arc::new(config(dir));
    let dump = raft_log::Dump::<WalTypes>::new(config.clone()).ok()?;
    let mut found = None;
    let _ = dump.write_with(|file, _, record| {
        if record.is_err() && found.is_none() {
            found = Some(PathBuf::from(config.wal.chunk_path(file)));
        }
        Ok(())
    });
    found
}

/// The writer accepts consecutive entries only, so a hole can only be at the
/// beginning: a file was removed by hand.
fn ensure_contiguous(dir: &Path, log: &RaftLog<WalTypes>) -> Result<(), LogError> {
    let state = log.log_state();
    let first = state.purged().map_or(0, |id| id.index + 1);
    let holds_entries = state.last() > state.purged();
    if holds_entries && log.read(first, first + 1).next().is_none() {
        let purged = state
            .purged()
            .map_or("none".to_owned(), |id| id.index.to_string());
        return Err(LogError::Gap {
            dir: dir.to_owned(),
            purged,
        });
    }
    Ok(())
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<EntryOf<TypeConfig>>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> io::Result<Vec<EntryOf<TypeConfig>>> {
        self.read(start, end, PIECE_BYTES)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.lock().log_state().vote().map(Vote::from))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let log = self.lock();
        let state = log.log_state();
        Ok(LogState {
            last_purged_log_id: state.purged().map(LogId::from),
            last_log_id: state.last().map(LogId::from),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (flushed, saved) = Flushed::vote();
        {
            let mut log = self.lock();
            log.save_vote(WalVote::from(vote))
                .or_fail_stop("saving the vote");
            log.flush(SYNC, Some(flushed))
                .or_fail_stop("saving the vote");
        }
        saved.await.or_fail_stop("saving the vote");
        Ok(())
    }

    /// Not synced: after a power cut this is older than what was committed,
    /// and the leader tells the rest.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let Some(committed) = committed.as_ref().map(WalLogId::from) else {
            return Ok(());
        };
        let mut log = self.lock();
        let state = log.log_state();
        // Behind an installed snapshot the log may not reach this far yet.
        if Some(&committed) > state.committed() && Some(&committed) <= state.last() {
            log.commit(committed)
                .or_fail_stop("noting what is committed");
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.lock().log_state().committed().map(LogId::from))
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let encode = |entry: EntryOf<TypeConfig>| {
            serde_json::to_vec(&entry.payload).map(|json| (WalLogId::from(&entry.log_id), json))
        };
        let encoded: Vec<_> = entries.into_iter().map(encode).collect::<Result<_, _>>()?;
        let mut log = self.lock();
        log.append(encoded)
            .or_fail_stop("appending to the Raft log");
        log.flush(SYNC, Some(Flushed::append(done)))
            .or_fail_stop("appending to the Raft log");
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        // The log's own `truncate` takes the first index to go.
        let first = last.map_or(0, |id| id.index + 1);
        let mut log = self.lock();
        if log.log_state().last().is_none_or(|last| last.index < first) {
            return Ok(());
        }
        log.truncate(first).or_fail_stop("truncating the Raft log");
        log.flush(SYNC, None)
            .or_fail_stop("truncating the Raft log");
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mut log = self.lock();
        log.purge(WalLogId::from(&upto))
            .or_fail_stop("purging the Raft log");
        log.flush(SYNC, None).or_fail_stop("purging the Raft log");
        Ok(())
    }
}
