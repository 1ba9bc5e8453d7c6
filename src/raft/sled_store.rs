//! The applied state and the history of commands, in sled.
//!
//! Nothing here is needed to recover: sled's flush is not an fsync, so what
//! it holds may be older than what was promised. The image has a checksum and
//! is used only when it is newer than the newest snapshot; the history is for
//! people to read. A store that cannot be opened is set aside and begun anew.
//! One that fails or hangs at work is given up with a warning: consensus waits
//! for nothing here longer than [`PATIENCE`]. No sled type leaves this file.
//!
//! No batches or transactions: they bring in a lock across all stores of the
//! process, and threads have been seen to wait on it for ever.
//!
//! ```text
//! apply -> queue -> one thread -> sled        history() reads sled directly
//! ```

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::snapshot::{seal, unseal};
use crate::domain::{Command, Outcome};

/// Newest entries that the history keeps.
pub const HISTORY_KEPT: u64 = 100_000;
const CACHE_BYTES: u64 = 16 << 20;
/// Batches that may wait for the thread; those beyond are left out.
const QUEUE: usize = 16_384;
/// How long the store may take to put everything on the disk.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);
/// Old rows removed per batch at most, so that no batch takes long.
const REMOVED_AT_ONCE: usize = 1_024;
const IMAGE: &str = "image";

/// One applied command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Log index.
    pub index: u64,
    /// Log index of the command applied before it, 0 if none was: by this a
    /// reader sees where rows are missing.
    #[serde(default)]
    pub after: u64,
    /// Term of the leader that proposed it.
    pub term: u64,
    pub command: Command,
    pub outcome: Outcome,
}

/// Whether `rows`, the first at `from` or later, are all that was applied
/// from there on.
pub(crate) fn without_gap(rows: &[HistoryEntry], from: u64) -> bool {
    let first = rows.first().is_none_or(|row| row.after < from);
    first && rows.windows(2).all(|pair| pair[1].after == pair[0].index)
}

enum Work {
    Rows(Vec<HistoryEntry>),
    Image(Vec<u8>),
    /// Flush and fsync, then say so.
    Sync(SyncSender<()>),
    Stop,
}

pub(crate) struct SledStore {
    history: sled::Tree,
    applied: sled::Tree,
    queue: SyncSender<Work>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The queue was full when last tried.
    overrun: AtomicBool,
}

impl SledStore {
    /// Opens the store in `dir`, or begins a new one if it cannot be opened.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let db = match try_open(dir) {
            Ok(db) => db,
            Err(error) => {
                tracing::warn!(dir = %dir.display(), error, "state store cannot be opened; beginning a new one");
                set_aside(dir)?;
                try_open(dir).map_err(io::Error::other)?
            }
        };
        let (history, applied) = (tree(&db, "history")?, tree(&db, "applied")?);
        let (queue, work) = sync_channel(QUEUE);
        let writer = Writer {
            db,
            history: history.clone(),
            applied: applied.clone(),
            file: dir.join("db"),
        };
        let thread = std::thread::Builder::new()
            .name("state-store".to_owned())
            .spawn(move || writer.run(&work))?;
        Ok(Self {
            history,
            applied,
            queue,
            thread: Mutex::new(Some(thread)),
            overrun: AtomicBool::new(false),
        })
    }

    /// The last image that was kept, if it is whole.
    pub(crate) fn image(&self) -> Option<Vec<u8>> {
        let sealed = catch(|| self.applied.get(IMAGE)).ok()??;
        unseal(&sealed).ok().map(<[u8]>::to_vec)
    }

    pub(crate) fn record(&self, rows: Vec<HistoryEntry>) {
        if !rows.is_empty() {
            self.send(Work::Rows(rows));
        }
    }

    pub(crate) fn keep_image(&self, image: Vec<u8>) {
        self.send(Work::Image(image));
    }

    /// Waits until everything recorded so far is on the disk.
    pub(crate) fn sync(&self) {
        let (done, synced) = sync_channel(1);
        self.send(Work::Sync(done));
        if synced.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("state store does not answer; the history may have a gap");
        }
    }

    /// At most `limit` entries from log index `from` on, oldest first.
    pub(crate) fn history(&self, from: u64, limit: usize) -> io::Result<Vec<HistoryEntry>> {
        let rows = || {
            self.history
                .range(from.to_be_bytes()..)
                .values()
                .take(limit)
                .collect()
        };
        let rows: Vec<sled::IVec> = catch(rows)?;
        rows.iter()
            .map(|row| serde_json::from_slice(row).map_err(io::Error::from))
            .collect()
    }

    /// Writes what is queued and closes the store.
    pub(crate) fn close(&self) {
        self.send(Work::Stop);
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        let Some(thread) = thread else { return };
        // A thread cannot be joined with a deadline.
        for _ in 0..PATIENCE.as_millis() / POLL.as_millis() {
            if thread.is_finished() {
                let _ = thread.join();
                return;
            }
            std::thread::sleep(POLL);
        }
        tracing::warn!("state store does not close; leaving it behind");
    }

    /// Never waits: applying must not depend on this store. A thread that has
    /// given up said so itself.
    fn send(&self, work: Work) {
        match self.queue.try_send(work) {
            Ok(()) => self.overrun.store(false, Ordering::Relaxed),
            Err(TrySendError::Full(_)) => {
                if !self.overrun.swap(true, Ordering::Relaxed) {
                    tracing::warn!("state store cannot keep up; the history will have a gap");
                }
            }
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

struct Writer {
    db: sled::Db,
    history: sled::Tree,
    applied: sled::Tree,
    file: std::path::PathBuf,
}

impl Writer {
    fn run(self, work: &Receiver<Work>) {
        while let Ok(item) = work.recv() {
            let stop = matches!(item, Work::Stop);
            if let Err(error) = self.carry_out(item) {
                tracing::warn!(%error, "state store failed; the history ends here until a restart");
                return;
            }
            if stop {
                return;
            }
        }
    }

    fn carry_out(&self, work: Work) -> io::Result<()> {
        match work {
            Work::Rows(rows) => self.record(&rows),
            Work::Image(image) => catch(|| self.applied.insert(IMAGE, seal(&image))).map(drop),
            Work::Sync(done) => {
                self.sync()?;
                // Whoever waited may be gone.
                let _ = done.send(());
                Ok(())
            }
            Work::Stop => self.sync(),
        }
    }

    fn record(&self, rows: &[HistoryEntry]) -> io::Result<()> {
        for row in rows {
            let json = serde_json::to_vec(row)?;
            catch(|| self.history.insert(row.index.to_be_bytes(), json))?;
        }
        let newest = rows.last().map_or(0, |row| row.index);
        let oldest_kept = newest.saturating_sub(HISTORY_KEPT - 1);
        let old = || {
            let keys = self.history.range(..oldest_kept.to_be_bytes()).keys();
            keys.take(REMOVED_AT_ONCE).collect::<sled::Result<Vec<_>>>()
        };
        for key in catch(old)? {
            catch(|| self.history.remove(key))?;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        catch(|| self.db.flush())?;
        // sled's own flush leaves the data in the kernel.
        fs::File::open(&self.file)?.sync_all()
    }
}

fn try_open(dir: &Path) -> Result<sled::Db, String> {
    let open = || {
        sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            // `sync` flushes when it has to be; twice a second is for nothing.
            .flush_every_ms(None)
            .open()
    };
    let db = catch(open).map_err(|error| error.to_string())?;
    catch(|| db.open_tree("applied").and_then(|tree| tree.get(IMAGE)))
        .map_err(|error| error.to_string())?;
    Ok(db)
}

fn tree(db: &sled::Db, name: &str) -> io::Result<sled::Tree> {
    catch(|| db.open_tree(name))
}

/// sled panics on some damaged files where it could have said so.
fn catch<T>(work: impl FnOnce() -> sled::Result<T>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(io::Error::other),
        Err(_) => Err(io::Error::other("the state store panicked")),
    }
}

/// Keeps the broken store for whoever wants to look, one at most.
fn set_aside(dir: &Path) -> io::Result<()> {
    let aside = dir.with_extension("broken");
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(dir, aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64) -> HistoryEntry {
        let (command, outcome) = super::super::sample(index);
        HistoryEntry {
            index,
            after: index - 1,
            term: 1,
            command,
            outcome,
        }
    }

    #[test]
    fn history_is_read_back_in_order_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(&dir.path().join("state")).unwrap();
        store.record(vec![entry(2), entry(3), entry(300)]);
        store.keep_image(b"image".to_vec());
        store.close();
        drop(store);
        let store = SledStore::open(&dir.path().join("state")).unwrap();
        let found = store.history(3, 10).unwrap();
        assert_eq!(found, [entry(3), entry(300)]);
        assert_eq!(store.history(0, 1).unwrap(), [entry(2)]);
        assert_eq!(store.image().as_deref(), Some(&b"image"[..]));
    }

    #[test]
    fn a_missing_row_is_seen_from_those_around_it() {
        assert!(without_gap(&[entry(3), entry(4)], 3));
        assert!(!without_gap(&[entry(3), entry(5)], 3), "4 is missing");
        assert!(!without_gap(&[entry(3), entry(4)], 2), "2 is missing");
        // Entries without a command are no rows: 3 came right after 1.
        let after_blank = HistoryEntry {
            after: 1,
            ..entry(3)
        };
        assert!(without_gap(&[after_blank], 2));
    }

    #[test]
    fn history_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(&dir.path().join("state")).unwrap();
        store.record(vec![entry(1), entry(2)]);
        store.record(vec![entry(HISTORY_KEPT + 1)]);
        store.sync();
        assert_eq!(
            store.history(0, 10).unwrap(),
            [entry(2), entry(HISTORY_KEPT + 1)]
        );
    }

    #[test]
    fn a_broken_store_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let store = SledStore::open(&path).unwrap();
        store.record(vec![entry(1)]);
        store.close();
        drop(store);
        fs::write(path.join("conf"), [0xff; 64]).unwrap();
        let store = SledStore::open(&path).unwrap();
        assert!(store.history(0, 10).unwrap().is_empty());
    }
}
