//! Where PostgreSQL's programs are, when nobody says.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where Debian and Ubuntu put PostgreSQL, one directory for each major version.
pub const DIRECTORY: &str = "/usr/lib/postgresql";

/// The programs of the newest major version that is installed.
#[must_use]
pub fn newest_programs() -> Option<PathBuf> {
    newest_below(Path::new(DIRECTORY))
}

fn newest_below(root: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(root).ok()?.flatten();
    let versions = entries.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let bin = entry.path().join("bin");
        bin.join("postgres").is_file().then_some((version, bin))
    });
    versions.max().map(|(_, bin)| bin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_has_a_server_is_taken() {
        let root = tempfile::tempdir().expect("a directory");
        for version in ["9", "15", "common"] {
            let bin = root.path().join(version).join("bin");
            fs::create_dir_all(&bin).expect("made");
            fs::write(bin.join("postgres"), "").expect("written");
        }
        fs::create_dir_all(root.path().join("16/bin")).expect("made");
        assert_eq!(newest_below(root.path()), Some(root.path().join("15/bin")));
    }
}
