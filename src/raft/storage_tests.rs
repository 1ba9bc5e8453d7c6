//! The storage, held against what consensus expects of one.

use std::{fs, path::Path, sync::Arc};

use openraft::{
    EntryPayload, StorageError,
    storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt, RaftStateMachine},
    testing::log::{StoreBuilder, Suite},
    type_config::alias::EntryOf,
};
use tempfile::TempDir;

use super::{
    log::{LogError, LogStore},
    machine::{Machine, RecoverError},
    sled_store::SledStore,
    snapshot::Snapshots,
    types::{LogId, Node, Proposal, TypeConfig, Vote},
};
use crate::domain::{Command, Outcome, Refusal};

/// The suite makes up members of which only the ids matter.
#[allow(clippy::unwrap_used)]
impl Default for Node {
    fn default() -> Self {
        Self {
            id: 0,
            region: "nowhere".parse().unwrap(),
            address: String::new(),
        }
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        for part in ["log", "snapshots"] {
            fs::create_dir(dir.path().join(part)).unwrap();
        }
        let log = LogStore::open(&dir.path().join("log")).unwrap();
        let store = Arc::new(SledStore::open(&dir.path().join("state")).unwrap());
        let snapshots = Snapshots::new(dir.path().join("snapshots"));
        let (machine, _) = Machine::recover(snapshots, store, None, None).unwrap();
        Ok((dir, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_does_what_consensus_expects() {
    Suite::test_all(Builder).await.unwrap();
}

fn log_id(index: u64) -> LogId {
    LogId {
        leader_id: 1.into(),
        index,
    }
}

fn entry(index: u64) -> EntryOf<TypeConfig> {
    pause(index, 1, None)
}

/// A pause of the group that the samples are about, decided in `decided`.
fn pause(index: u64, term: u64, decided: Option<u64>) -> EntryOf<TypeConfig> {
    let (command, _) = super::sample(index);
    let leader_id = term.into();
    let term = decided;
    openraft::Entry {
        log_id: LogId { leader_id, index },
        payload: EntryPayload::Normal(Proposal { command, term }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_in_another_term_is_refused_wherever_it_is_applied() {
    let lost = Outcome::Refused(Refusal::OfficeLost);
    let group = "orders".parse().unwrap();
    let taken = Outcome::Refused(Refusal::UnknownGroup(group));
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SledStore::open(&dir.path().join("state")).unwrap());
    let snapshots = Snapshots::new(dir.path().to_owned());
    let (mut machine, _) = Machine::recover(snapshots, store.clone(), None, None).unwrap();
    let entries = [
        pause(1, 4, Some(3)),
        pause(2, 4, Some(5)),
        pause(3, 4, Some(4)),
        pause(4, 4, None),
    ];
    let stream = futures::stream::iter(entries.map(|entry| Ok((entry, None))));
    machine.apply(stream).await.unwrap();
    let (applied, _) = machine.applied_state().await.unwrap();
    assert_eq!(applied.map(|id| id.index), Some(4));
    store.sync();
    let rows = store.history(0, 10).unwrap();
    let outcomes: Vec<_> = rows.into_iter().map(|row| row.outcome).collect();
    assert_eq!(outcomes, [lost.clone(), lost, taken.clone(), taken]);
}

#[test]
fn an_entry_is_the_command_and_perhaps_the_term_it_was_decided_in() {
    let (command, _) = super::sample(1);
    let bare = serde_json::to_string(&command).unwrap();
    for term in [None, Some(u64::MAX)] {
        let command = command.clone();
        let proposal = Proposal { command, term };
        let json = serde_json::to_string(&proposal).unwrap();
        assert_eq!(term.is_none(), json == bare, "{json}");
        assert_eq!(
            serde_json::from_str::<Command>(&json).unwrap(),
            proposal.command
        );
        assert_eq!(serde_json::from_str::<Proposal>(&json).unwrap(), proposal);
    }
}

fn vote(term: u64) -> Vote {
    let leader_id = openraft::vote::leader_id_std::LeaderId { term, voted_for: 1 };
    Vote {
        leader_id,
        committed: false,
    }
}

/// A log with a vote and the entries 0 to 9, closed again.
async fn written(dir: &Path) {
    let mut log = LogStore::open(dir).unwrap();
    log.save_vote(&vote(3)).await.unwrap();
    log.blocking_append((0..10).map(entry)).await.unwrap();
}

fn only_file(dir: &Path) -> std::path::PathBuf {
    let mut files = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .find(|path| path.extension().is_some_and(|end| end == "wal"))
        .unwrap()
}

#[tokio::test]
async fn vote_and_entries_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    let mut log = LogStore::open(dir.path()).unwrap();
    assert_eq!(log.read_vote().await.unwrap(), Some(vote(3)));
    let entries = log.try_get_log_entries(..).await.unwrap();
    assert_eq!(entries, (0..10).map(entry).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_unfinished_last_record_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    let file = only_file(dir.path());
    let text = fs::read(&file).unwrap();
    fs::write(&file, &text[..text.len() - 3]).unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 9);
}

#[tokio::test]
async fn damage_in_the_log_is_refused_with_the_file_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    let file = only_file(dir.path());
    let mut text = fs::read(&file).unwrap();
    let at = text.windows(5).position(|part| part == b"at_ms").unwrap();
    text[at] ^= 1;
    fs::write(&file, text).unwrap();
    let Err(error) = LogStore::open(dir.path()) else {
        panic!("opened")
    };
    assert!(matches!(error, LogError::Damaged { .. }), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains(file.to_str().unwrap()) && said.contains("new node id"),
        "{said}"
    );
}

#[tokio::test]
async fn a_log_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _held = LogStore::open(dir.path()).unwrap();
    assert!(matches!(
        LogStore::open(dir.path()),
        Err(LogError::Locked { .. })
    ));
}

#[tokio::test]
async fn a_purged_log_without_its_snapshot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SledStore::open(&dir.path().join("state")).unwrap());
    let snapshots = Snapshots::new(dir.path().to_owned());
    let recovered = Machine::recover(snapshots, store, Some(log_id(5)), Some(log_id(9)));
    assert!(matches!(
        recovered,
        Err(RecoverError::SnapshotMissing { purged: 5, .. })
    ));
}
