//! What the agent remembers across restarts: who its member is, and what it
//! promised.
//!
//! Lives in the agent's state directory, never inside the data directory: a
//! base backup copies that one whole. A copy of the incarnation and of its
//! promise lies beside the data directory; if the two do not fit, one of them
//! was restored from elsewhere, and the member is a new incarnation. So it is
//! if the data directory ends before what it was seen to reach.

use std::{
    cmp::Ordering,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{Epoch, GroupName, Incarnation, MemberName, Position, Promised};

/// A directory that ends less than this before what it had reached was not
/// rolled back: the end that PostgreSQL reports may lie within a record.
const SLACK_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("{}: cannot {action} it; check that the agent's user owns the directory", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{}: not readable as {what}; restore it, or remove the state directory to make \
             this a new incarnation of the member", path.display())]
    Corrupt {
        what: &'static str,
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{}: belongs to member {found} of group {found_group}, and this agent is for \
             {expected} of {expected_group}: correct state_dir, or group and member", path.display())]
    OtherMember {
        path: PathBuf,
        found: MemberName,
        found_group: GroupName,
        expected: MemberName,
        expected_group: GroupName,
    },
    #[error("{}: another agent runs with this state_dir", path.display())]
    Locked { path: PathBuf },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    group: GroupName,
    member: MemberName,
    incarnation: Incarnation,
}

/// Whether `promised` lacks some of what `copy` says was promised.
fn has_forgotten(promised: &Promised, copy: &Promised) -> bool {
    copy.fenced > promised.fenced
        || copy.accepted > promised.accepted
        || copy.opened > promised.opened
}

/// The state directory, held exclusively for as long as this lives.
#[derive(Debug)]
pub struct Memory {
    dir: PathBuf,
    /// The copy of the incarnation beside the data directory.
    beside: PathBuf,
    identity: Identity,
    promised: Promised,
    /// Whom this incarnation streams from, or did last.
    following: Option<(Epoch, Incarnation)>,
    /// How far its log was seen to reach.
    reached: Option<Position>,
    _lock: File,
}

impl Memory {
    /// Opens the state directory of `member`, making it if there is none.
    pub fn open(
        dir: &Path,
        data: &Path,
        group: &GroupName,
        member: &MemberName,
    ) -> Result<Self, MemoryError> {
        make_private(dir)?;
        let lock = lock(dir)?;
        let beside = beside(data);
        let known: Option<Identity> = read(&dir.join("identity.json"), "the member's identity")?;
        if let Some(known) = &known {
            check_member(dir, known, group, member)?;
        }
        let copy: Option<Incarnation> = read(&beside, "the member's incarnation")?;
        if copy.is_none() && known.is_some() {
            expect_parent(data)?;
        }
        let promised: Promised =
            read(&dir.join("promise.json"), "the member's promise")?.unwrap_or_default();
        // A directory that was rolled back has forgotten promises; nothing it
        // holds may be counted, so it starts a new life with none.
        let same = known
            .filter(|known| copy == Some(known.incarnation))
            .filter(|_| !has_forgotten(&promised, &read_unsynced(&promised_beside(&beside))));
        let following = match &same {
            Some(_) => read(&dir.join("following.json"), "whom the member follows")?.flatten(),
            None => None,
        };
        let reached = match &same {
            Some(_) => read_unsynced(&dir.join("reached.json")),
            None => None,
        };
        let mut memory = Self {
            dir: dir.to_owned(),
            beside,
            identity: same.clone().unwrap_or_else(|| Identity {
                group: group.clone(),
                member: member.clone(),
                incarnation: Incarnation(Uuid::new_v4()),
            }),
            promised,
            following,
            reached,
            _lock: lock,
        };
        if same.is_none() {
            memory.begin_life(memory.identity.incarnation)?;
        }
        Ok(memory)
    }

    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.identity.incarnation
    }

    #[must_use]
    pub fn promised(&self) -> Promised {
        self.promised
    }

    /// Puts a promise on disk; returns only when it is there.
    pub fn promise(&mut self, promised: Promised) -> Result<(), MemoryError> {
        if self.promised == promised {
            return Ok(());
        }
        write(&self.dir.join("promise.json"), &promised)?;
        self.promised = promised;
        put(&promised_beside(&self.beside), &promised, Sync::Later)
    }

    /// Notes how far the log of the member reaches.
    pub fn note_reached(&mut self, position: Position) -> Result<(), MemoryError> {
        if self.reached < Some(position) {
            put(&self.dir.join("reached.json"), &position, Sync::Later)?;
            self.reached = Some(position);
        }
        Ok(())
    }

    /// Forgets it: the log is about to be cut back, or replaced.
    pub fn forget_reached(&mut self) -> Result<(), MemoryError> {
        self.reached = None;
        put(&self.dir.join("reached.json"), &None::<Position>, Sync::Now)
    }

    /// Whether a log that ends at `end` was rolled back.
    #[must_use]
    pub fn is_rolled_back(&self, end: Position) -> bool {
        self.reached.is_some_and(|reached| {
            let missing = reached.lsn.0.saturating_sub(end.lsn.0);
            match end.timeline.cmp(&reached.timeline) {
                Ordering::Equal => missing > SLACK_BYTES,
                // Log of a timeline that it had left, however far it goes.
                Ordering::Less => true,
                Ordering::Greater => false,
            }
        })
    }

    /// Whom this incarnation streams from, or did last.
    #[must_use]
    pub fn following(&self) -> Option<(Epoch, Incarnation)> {
        self.following
    }

    /// Remembers whom the member is about to stream from.
    pub fn follow(&mut self, epoch: Epoch, upstream: Incarnation) -> Result<(), MemoryError> {
        let following = Some((epoch, upstream));
        if self.following != following {
            write(&self.dir.join("following.json"), &following)?;
            self.following = following;
        }
        Ok(())
    }

    /// Whether this incarnation may ever have acknowledged anything: it
    /// streamed, or was opened. Then its data may go only with its name.
    #[must_use]
    pub fn may_be_counted(&self) -> bool {
        self.following.is_some() || self.promised.opened > Epoch::NONE
    }

    /// Makes the member a new incarnation, with nothing promised; to be called
    /// before its data is wiped or replaced.
    pub fn reincarnate(&mut self) -> Result<Incarnation, MemoryError> {
        let incarnation = Incarnation(Uuid::new_v4());
        self.begin_life(incarnation)?;
        Ok(incarnation)
    }

    /// Identity first: if this stops half-way the two copies differ, and the
    /// next start begins yet another life.
    fn begin_life(&mut self, incarnation: Incarnation) -> Result<(), MemoryError> {
        self.identity.incarnation = incarnation;
        write(&self.dir.join("identity.json"), &self.identity)?;
        write(&self.dir.join("promise.json"), &Promised::default())?;
        write(
            &self.dir.join("following.json"),
            &None::<(Epoch, Incarnation)>,
        )?;
        self.promised = Promised::default();
        self.following = None;
        self.forget_reached()?;
        write(&promised_beside(&self.beside), &self.promised)?;
        write(&self.beside, &incarnation)
    }
}

fn check_member(
    dir: &Path,
    known: &Identity,
    group: &GroupName,
    member: &MemberName,
) -> Result<(), MemoryError> {
    if (&known.group, &known.member) == (group, member) {
        return Ok(());
    }
    Err(MemoryError::OtherMember {
        path: dir.to_owned(),
        found: known.member.clone(),
        found_group: known.group.clone(),
        expected: member.clone(),
        expected_group: group.clone(),
    })
}

/// `/data/pg` is remembered in `/data/pg.primacy`.
fn beside(data: &Path) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(".primacy");
    data.with_file_name(name)
}

/// Its promise, in `/data/pg.promised`.
fn promised_beside(beside: &Path) -> PathBuf {
    beside.with_extension("promised")
}

/// What was not synced may be anything after a crash of the host.
fn read_unsynced<T: serde::de::DeserializeOwned + Default>(path: &Path) -> T {
    read(path, "a note").ok().flatten().unwrap_or_default()
}

/// A disk that is not mounted is waited for: a new life would disown the data.
fn expect_parent(data: &Path) -> Result<(), MemoryError> {
    let parent = data.parent().unwrap_or(Path::new("/"));
    let found = fs::metadata(parent).map(|_| ());
    found.map_err(|source| MemoryError::Io {
        action: "find",
        path: parent.to_owned(),
        source,
    })
}

fn make_private(dir: &Path) -> Result<(), MemoryError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(dir);
    made.map_err(|source| MemoryError::Io {
        action: "create",
        path: dir.to_owned(),
        source,
    })
}

fn lock(dir: &Path) -> Result<File, MemoryError> {
    let path = dir.join("agent.lock");
    let open = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = open.map_err(|source| MemoryError::Io {
        action: "open",
        path: path.clone(),
        source,
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(MemoryError::Locked { path }),
        Err(fs::TryLockError::Error(source)) => Err(MemoryError::Io {
            action: "lock",
            path,
            source,
        }),
    }
}

fn read<T: serde::de::DeserializeOwned>(
    path: &Path,
    what: &'static str,
) -> Result<Option<T>, MemoryError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(MemoryError::Io {
                action: "read",
                path: path.to_owned(),
                source,
            });
        }
    };
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|source| MemoryError::Corrupt {
        what,
        path: path.to_owned(),
        source,
    })
}

/// When a file has to be on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    Now,
    /// Whenever the kernel likes: losing it costs no promise.
    Later,
}

/// Replaces a file whole, and returns once it and its name are on disk.
fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), MemoryError> {
    put(path, value, Sync::Now)
}

fn put<T: Serialize>(path: &Path, value: &T, sync: Sync) -> Result<(), MemoryError> {
    let wrap = |source| MemoryError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let bytes = serde_json::to_vec(value).map_err(|error| wrap(io::Error::other(error)))?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).map_err(wrap)?;
    file.write_all(&bytes).map_err(wrap)?;
    if sync == Sync::Now {
        file.sync_all().map_err(wrap)?;
    }
    fs::rename(&temporary, path).map_err(wrap)?;
    if sync == Sync::Later {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(wrap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Lsn;

    fn open(dir: &Path) -> Result<Memory, MemoryError> {
        let name = |text: &str| text.parse().expect("a name");
        let group: GroupName = name("orders");
        Memory::open(
            &dir.join("state"),
            &dir.join("pg"),
            &group,
            &"paris".parse().expect("a name"),
        )
    }

    #[test]
    fn a_promise_outlives_the_agent() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut memory = open(dir.path()).expect("a new memory");
        let promised = Promised {
            fenced: Epoch(4),
            ..Promised::default()
        };
        memory.promise(promised).expect("written");
        let before = memory.incarnation();
        drop(memory);
        let memory = open(dir.path()).expect("the same memory");
        assert_eq!(
            (memory.promised(), memory.incarnation()),
            (promised, before)
        );
    }

    #[test]
    fn a_state_directory_from_a_backup_is_a_new_incarnation() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut memory = open(dir.path()).expect("a new memory");
        let backup = fs::read(dir.path().join("state/identity.json")).expect("the identity");
        let before = memory.incarnation();
        memory.reincarnate().expect("a new life");
        drop(memory);
        fs::write(dir.path().join("state/identity.json"), backup).expect("restored");
        let memory = open(dir.path()).expect("a new memory");
        assert_ne!(memory.incarnation(), before);
        assert_eq!(memory.promised(), Promised::default());
    }

    #[test]
    fn a_state_directory_that_forgot_a_promise_is_a_new_incarnation() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut memory = open(dir.path()).expect("a new memory");
        let before = memory.incarnation();
        let file = dir.path().join("state/promise.json");
        let backup = fs::read(&file).expect("the promise");
        let promised = Promised {
            fenced: Epoch(4),
            ..Promised::default()
        };
        memory.promise(promised).expect("written");
        drop(memory);
        fs::write(file, backup).expect("restored");
        let memory = open(dir.path()).expect("a new memory");
        assert_ne!(memory.incarnation(), before);
    }

    #[test]
    fn a_log_that_ends_before_what_it_had_reached_was_rolled_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut memory = open(dir.path()).expect("a new memory");
        let at = |timeline, lsn| Position {
            timeline: crate::domain::Timeline(timeline),
            lsn: Lsn(lsn),
        };
        let reached = at(2, 64 << 20);
        memory.note_reached(reached).expect("written");
        drop(memory);
        let mut memory = open(dir.path()).expect("the memory");
        assert!(!memory.is_rolled_back(reached));
        assert!(!memory.is_rolled_back(at(2, reached.lsn.0 - 8192)));
        assert!(!memory.is_rolled_back(at(3, 1)));
        assert!(memory.is_rolled_back(at(2, 32 << 20)));
        assert!(memory.is_rolled_back(at(1, 96 << 20)));
        // How far that log goes says nothing: forks may lie close together.
        assert!(memory.is_rolled_back(at(1, reached.lsn.0)));
        memory.forget_reached().expect("written");
        drop(memory);
        let memory = open(dir.path()).expect("the memory");
        assert!(!memory.is_rolled_back(at(1, 0)));
    }

    #[test]
    fn a_disk_that_is_not_there_ends_no_life() {
        let dir = tempfile::tempdir().expect("a directory");
        let (state, disk) = (dir.path().join("state"), dir.path().join("disk"));
        let open = || {
            let (group, member) = ("orders".parse(), "paris".parse());
            let (group, member) = (group.expect("a name"), member.expect("a name"));
            Memory::open(&state, &disk.join("pg"), &group, &member)
        };
        fs::create_dir(&disk).expect("a disk");
        let before = open().expect("a new memory").incarnation();
        let away = dir.path().join("away");
        fs::rename(&disk, &away).expect("moved");
        assert!(matches!(open(), Err(MemoryError::Io { .. })));
        fs::rename(&away, &disk).expect("moved back");
        assert_eq!(open().expect("the memory").incarnation(), before);
    }

    #[test]
    fn a_second_agent_on_the_same_state_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let _first = open(dir.path()).expect("a new memory");
        assert!(matches!(open(dir.path()), Err(MemoryError::Locked { .. })));
    }
}
