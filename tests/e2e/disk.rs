//! Disks of a node's own, which can fill up and lose power. They need root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Sets `EXT4_IOC_SHUTDOWN` off without flushing the journal.
const CUT: &str = r#"open(F, "<", $ARGV[0]) or die $!; my $way = pack("L", 2); ioctl(F, 0x8004587D, $way) or die $!"#;

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let status = Command::new(program).args(arguments).arg(path).status();
    status.is_ok_and(|status| status.success())
}

/// A file system on an empty directory, for as long as this lives.
pub struct Disk {
    at: PathBuf,
    image: Option<PathBuf>,
}

impl Disk {
    /// In memory; none where this process may not mount.
    pub fn small(at: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs"], at);
        mounted.then(|| Self {
            at: at.to_owned(),
            image: None,
        })
    }

    /// On a file, with a journal that is written only when somebody syncs.
    pub fn ext4(at: &Path) -> Option<Self> {
        let image = at.with_extension("image");
        fs::File::create(&image).ok()?.set_len(256 << 20).ok()?;
        let disk = Self {
            at: at.to_owned(),
            image: Some(image.clone()),
        };
        let made = run(
            "mkfs.ext4",
            &["-q", "-F", "-E", "lazy_itable_init=1"],
            &image,
        );
        (made && disk.mount()).then_some(disk)
    }

    fn mount(&self) -> bool {
        let Some(image) = self.image.as_ref().and_then(|image| image.to_str()) else {
            return false;
        };
        run("mount", &["-o", "loop,commit=300", image], &self.at)
    }

    /// From now on nothing is written, and every call fails.
    pub fn cut(&self) {
        assert!(run("perl", &["-e", CUT], &self.at), "no power cut");
    }

    /// What was synced before the cut is there again. Nobody may use it.
    pub fn restore(&self) {
        assert!(run("umount", &[], &self.at), "it is in use");
        assert!(self.mount(), "it cannot be mounted again");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["--lazy"], &self.at);
    }
}

/// Copies a directory with its owners.
pub fn copy(from: &Path, to: &Path) {
    let source = from.join(".");
    let done = Command::new("cp").arg("-a").arg(source).arg(to).status();
    assert!(done.unwrap().success());
}
