//! Small files, replaced whole and, where it matters, durably.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::error::{Error, Result};

/// Whether a write must outlive a crash of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    Synced,
    /// For what is written anew before every start: a crash of the host stops
    /// PostgreSQL as well, so an fsync would only delay a fence.
    Cached,
}

/// Replaces a file, readable by this user only, in one step.
pub(super) fn replace(path: &Path, content: &str, durability: Durability) -> Result<()> {
    let fresh = path.with_extension("new");
    let written = write(&fresh, content, durability).and_then(|()| fs::rename(&fresh, path));
    written.map_err(at("write", path))?;
    match (durability, path.parent()) {
        (Durability::Synced, Some(directory)) => sync_directory(directory),
        _ => Ok(()),
    }
}

/// Writes a new file durably, but for its name: sync the directory after the
/// last of several.
pub(super) fn write_synced(path: &Path, content: &str) -> Result<()> {
    write(path, content, Durability::Synced).map_err(at("write", path))
}

fn write(path: &Path, content: &str, durability: Durability) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(content.as_bytes())?;
    match durability {
        Durability::Synced => file.sync_all(),
        Durability::Cached => Ok(()),
    }
}

/// Makes creations, renames and removals in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<()> {
    let synced = fs::File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(at("sync the directory", path))
}

/// Removes a file that may be gone already; true if it was there.
pub(super) fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at("remove", path)(error)),
    }
}

/// The content of a file, or nothing if there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("read", path)(error)),
    }
}

/// Names in a directory that are text; PostgreSQL writes no others.
pub(super) fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).map_err(at("list", directory))?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect())
}

/// For `map_err`: what was done to which file.
pub(super) fn at(what: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        what,
        path: path.clone(),
        source,
    }
}
