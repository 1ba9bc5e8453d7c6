//! Snapshots: the state at one log index, each in a file of its own.
//!
//! Invariant: a snapshot is reported only once its file, its name and its
//! directory are durable. The log is purged behind reported snapshots only,
//! so the newest file and the log together always hold everything.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    data_dir::replace_durably,
    log::SYNC,
    types::{LogId, Membership, SnapshotMeta},
};
use crate::domain::State;

const FORMAT: u32 = 1;
/// The newest, and one more in case its file cannot be read.
const KEPT: usize = 2;

/// The state, and the entry it is the state after.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Image {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: Membership,
    pub(crate) state: State,
    /// Log index of the last command in it. Unset in what an older release left.
    #[serde(default)]
    pub(crate) commanded: Option<u64>,
}

impl Image {
    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }
}

/// The first line of a file; what it says is about the rest.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    crc32: u32,
}

/// `image` with a checksum in front, as snapshot files hold it.
pub(crate) fn seal(image: &[u8]) -> Vec<u8> {
    let header = Header {
        format: FORMAT,
        crc32: crc32fast::hash(image),
    };
    // A struct of two numbers always serialises.
    let mut sealed = serde_json::to_vec(&header).unwrap_or_default();
    sealed.push(b'\n');
    sealed.extend_from_slice(image);
    sealed
}

/// The image in `sealed`, if the checksum is right.
pub(crate) fn unseal(sealed: &[u8]) -> io::Result<&[u8]> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let end = sealed.iter().position(|byte| *byte == b'\n');
    let (header, image) = sealed.split_at(end.ok_or_else(|| invalid("no header line"))?);
    let header: Header = serde_json::from_slice(header)?;
    let image = &image[1..];
    if header.format != FORMAT {
        return Err(invalid(&format!(
            "format {}, this release reads {FORMAT}",
            header.format
        )));
    }
    if header.crc32 != crc32fast::hash(image) {
        return Err(invalid("the checksum does not match"));
    }
    Ok(image)
}

/// A directory of snapshot files.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    dir: PathBuf,
}

impl Snapshots {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Makes a snapshot durable and removes those it replaces.
    pub(crate) fn save(&self, index: u64, image: &[u8]) -> io::Result<()> {
        match SYNC {
            true => replace_durably(&self.path(index), &[&seal(image)])?,
            false => fs::write(self.path(index), seal(image))?,
        }
        for (_, old) in self.files()?.iter().rev().skip(KEPT) {
            // One file too many is no reason to stop.
            let _ = fs::remove_file(old);
        }
        Ok(())
    }

    /// The newest snapshot that can be read, as `Image` in JSON. One that
    /// cannot be read is passed over with a warning; whether an older one is
    /// new enough is for the caller to say.
    pub(crate) fn newest(&self) -> io::Result<Option<Vec<u8>>> {
        for (_, path) in self.files()?.iter().rev() {
            match read(path) {
                Ok(image) => return Ok(Some(image)),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "snapshot cannot be read");
                }
            }
        }
        Ok(None)
    }

    fn path(&self, index: u64) -> PathBuf {
        self.dir.join(format!("snap-{index:020}.json"))
    }

    /// Oldest first.
    fn files(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if let Some(index) = index_of(&path) {
                files.push((index, path));
            }
        }
        files.sort();
        Ok(files)
    }
}

fn index_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("snap-")?
        .strip_suffix(".json")?
        .parse()
        .ok()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let sealed = fs::read(path)?;
    let image = unseal(&sealed)?;
    serde_json::from_slice::<Image>(image)?;
    Ok(image.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Vec<u8> {
        let image = Image {
            applied: None,
            membership: Membership::default(),
            state: State::default(),
            commanded: None,
        };
        serde_json::to_vec(&image).unwrap()
    }

    #[test]
    fn two_snapshots_are_kept_and_the_newest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(dir.path().to_owned());
        for index in [9, 10, 100] {
            snapshots.save(index, &image()).unwrap();
        }
        let kept: Vec<u64> = snapshots
            .files()
            .unwrap()
            .into_iter()
            .map(|file| file.0)
            .collect();
        assert_eq!(kept, [10, 100]);
        assert_eq!(snapshots.newest().unwrap(), Some(image()));
    }

    #[test]
    fn a_damaged_snapshot_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(dir.path().to_owned());
        snapshots.save(1, &image()).unwrap();
        snapshots.save(2, b"not an image").unwrap();
        assert_eq!(snapshots.newest().unwrap(), Some(image()));
    }

    #[test]
    fn one_changed_bit_is_noticed() {
        let mut sealed = seal(&image());
        assert!(unseal(&sealed).is_ok());
        *sealed.last_mut().unwrap() ^= 1;
        assert!(unseal(&sealed).is_err());
    }
}
