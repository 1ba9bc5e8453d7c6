//! A disk of one host's own, which can fill up, fail and lose power.
//!
//! ext4 on a loop file. A power cut takes away what the file system had not
//! yet written: its journal is committed only when somebody syncs, and a rename
//! is no sync. What a drive would lose from a cache of its own, after the
//! kernel wrote it and before it was flushed, is not taken away.
//!
//! Invariant: after `cut` nothing more reaches the image, so that what
//! `restore` mounts is the disk at one moment.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::{GroundError, doing, ioctl::shut_down, is_orphan, tool};

/// Says which process mounted what.
const REGISTER: &str = "/run/primacy-jepsen";
const PREFIX: &str = "disk";
const FILLER: &str = ".filler";
/// Written by nobody behind our back: not after some seconds, not because a
/// file was renamed, not to finish what `mkfs` left out.
const OPTIONS: &str = "loop,commit=300,noauto_da_alloc,noinit_itable";
/// The smallest piece of a disk, bytes.
const BLOCK: u64 = 4096;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Mounted for as long as this lives; the image stays.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
    /// In [`REGISTER`].
    entry: PathBuf,
    /// Whether the image's copy is what is to be mounted next.
    is_cut: bool,
}

impl Disk {
    /// A new file system on the file `image`, mounted at `at`, which is made if
    /// it is missing, and owned by `owner` (user and group).
    pub fn create(
        image: &Path,
        at: &Path,
        size_mib: u64,
        owner: (u32, u32),
    ) -> Result<Self, GroundError> {
        remove_orphans();
        fs::create_dir_all(at).map_err(doing(format!("make {}", at.display())))?;
        let sparse = File::create(image).and_then(|file| file.set_len(size_mib << 20));
        sparse.map_err(doing(format!("make {}", image.display())))?;
        let lazily = "lazy_itable_init=1,lazy_journal_init=1";
        let make = ["-qF", "-m", "0", "-E", lazily, text(image)?];
        tool("mkfs.ext4", &make)?;
        let disk = Self {
            image: image.to_owned(),
            at: at.to_owned(),
            entry: enter_register(at)?,
            is_cut: false,
        };
        disk.mount()?;
        // A database is made only in a directory with nothing in it.
        let _not_there = fs::remove_dir(at.join("lost+found"));
        let (user, group) = owner;
        chown(at, Some(user), Some(group)).map_err(doing(format!("own {}", at.display())))?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), GroundError> {
        let arguments = ["-o", OPTIONS, text(&self.image)?, text(&self.at)?];
        tool("mount", &arguments).map(drop)
    }

    fn unmount(&self) -> Result<(), GroundError> {
        tool("umount", &["--lazy", text(&self.at)?]).map(drop)
    }

    /// Bytes that anybody could still write.
    pub fn free(&self) -> Result<u64, GroundError> {
        let what = format!("look at {}", self.at.display());
        let found = statvfs(&self.at).map_err(doing(what))?;
        Ok(found.f_bavail * found.f_frsize)
    }

    /// Takes every block that is free, and says how many bytes that were.
    pub fn fill(&self) -> Result<u64, GroundError> {
        let what = || format!("fill {}", self.at.display());
        let before = self.free()?;
        let filler = File::options()
            .create(true)
            .append(true)
            .open(self.at.join(FILLER))
            .map_err(doing(what()))?;
        take_all(&filler, before).map_err(doing(what()))?;
        match self.free()? {
            left if left < BLOCK => Ok(before - left),
            left => Err(GroundError::Impossible(format!(
                "{left} bytes are free in {} after it was filled",
                self.at.display()
            ))),
        }
    }

    /// Gives back what `fill` took.
    pub fn unfill(&self) -> Result<(), GroundError> {
        match fs::remove_file(self.at.join(FILLER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(doing(format!("empty {}", self.at.display()))(error))
            }
            _ => Ok(()),
        }
    }

    /// From now on writes and syncs fail with EIO, until `restore`. What was
    /// not synced before is lost.
    pub fn fail_writes(&self) -> Result<(), GroundError> {
        let what = format!("shut {} down", self.at.display());
        let root = File::open(&self.at).map_err(doing(what.clone()))?;
        shut_down(&root).map_err(doing(what))
    }

    /// The power goes. Processes that run on see EIO; kill them.
    pub fn cut(&mut self) -> Result<(), GroundError> {
        self.fail_writes()?;
        self.keep()
    }

    /// Keeps what is on the disk, apart from whoever has files open on it.
    fn keep(&mut self) -> Result<(), GroundError> {
        let copy = self.copy();
        tool("cp", &["--sparse=always", text(&self.image)?, text(&copy)?])?;
        self.is_cut = true;
        Ok(())
    }

    fn copy(&self) -> PathBuf {
        self.image.with_extension("cut")
    }

    /// The power is back, the disk is whole: what was synced is there again.
    /// Who still has files open of before goes on getting EIO.
    pub fn restore(&mut self) -> Result<(), GroundError> {
        if !self.is_cut {
            self.fail_writes()?;
            self.keep()?;
        }
        self.unmount()?;
        let (copy, what) = (self.copy(), "put the disk's copy in its place");
        fs::rename(copy, &self.image).map_err(doing(what))?;
        self.is_cut = false;
        self.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("a disk was not tidied up: {error}");
        }
        let _gone = fs::remove_file(&self.entry);
    }
}

/// Halves what it asks for until not even a block is left.
fn take_all(filler: &File, free: u64) -> io::Result<()> {
    let (mut end, mut piece) = (filler.metadata()?.len(), free.max(BLOCK));
    while piece >= BLOCK {
        match fallocate(filler, FallocateFlags::empty(), end, piece) {
            Ok(()) => end += piece,
            Err(rustix::io::Errno::NOSPC) => piece /= 2,
            Err(error) => return Err(error.into()),
        }
    }
    // Appended: the end of the file is where the last piece ended.
    let block = vec![0; 4096];
    loop {
        match (&*filler).write_all(&block) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn text(path: &Path) -> Result<&str, GroundError> {
    path.to_str()
        .ok_or_else(|| GroundError::Impossible(format!("{} is not UTF-8", path.display())))
}

fn enter_register(at: &Path) -> Result<PathBuf, GroundError> {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("{PREFIX}{}-{number}", std::process::id());
    let entry = Path::new(REGISTER).join(name);
    let written = fs::create_dir_all(REGISTER).and_then(|()| fs::write(&entry, text_bytes(at)));
    written.map_err(doing(format!("write {}", entry.display())))?;
    Ok(entry)
}

fn text_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// Unmounts what killed processes left mounted; the loop devices go with it.
fn remove_orphans() {
    let entries = fs::read_dir(REGISTER).into_iter().flatten().flatten();
    for entry in entries {
        let is_orphan = |name: &str| is_orphan(name, PREFIX);
        if !entry.file_name().to_str().is_some_and(is_orphan) {
            continue;
        }
        let path = entry.path();
        if let Ok(at) = fs::read_to_string(&path) {
            // It may have been unmounted just before the process was killed.
            let _not_mounted = tool("umount", &["--lazy", &at]);
        }
        let _gone = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests;
