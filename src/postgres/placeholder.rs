//! History files that only reserve a number.
//!
//! PostgreSQL promotes to "newest timeline known here, plus one", so two
//! standbys promoted apart would pick the same number and diverge unseen. A
//! comment in place of a history makes it pick the epoch instead.

use std::path::Path;

use super::{
    error::{Error, Result},
    files::{self, Durability},
    lineage::{self, histories, history_path},
};
use crate::domain::{Epoch, Timeline};

const MARK: &str = "# reserved by primacy";

/// Reserves every number between `current` and the timeline of `epoch`, so
/// that a promotion made now makes exactly that timeline.
pub(super) fn reserve(pg_wal: &Path, current: Timeline, epoch: Epoch) -> Result<()> {
    let wanted = epoch.timeline();
    if let Some(found) = beyond(pg_wal, wanted)? {
        return Err(Error::TimelineTaken { epoch, found });
    }
    fill(pg_wal, current, epoch)
}

/// Removes placeholders at or above `wanted`; a real history there is an obstacle.
fn beyond(pg_wal: &Path, wanted: Timeline) -> Result<Option<Timeline>> {
    for timeline in histories(pg_wal)?.into_iter().filter(|it| *it >= wanted) {
        if !is_placeholder(pg_wal, timeline)? {
            return Ok(Some(timeline));
        }
        files::remove(&history_path(pg_wal, timeline))?;
    }
    Ok(None)
}

/// Writes a placeholder for every number after `from` and before the epoch's
/// that has no history file.
pub(super) fn fill(pg_wal: &Path, from: Timeline, epoch: Epoch) -> Result<()> {
    let existing = histories(pg_wal)?;
    let free = (from.0.saturating_add(1)..epoch.0).map(Timeline);
    let mut wrote = false;
    for timeline in free.filter(|it| !existing.contains(it)) {
        let content = format!("{MARK}, epoch {epoch}\n");
        files::write_synced(&history_path(pg_wal, timeline), &content)?;
        wrote = true;
    }
    if wrote {
        files::sync_directory(pg_wal)
    } else {
        Ok(())
    }
}

/// Hands placeholders to the archiver: an archive with a gap in its numbers
/// hides every later timeline from whoever recovers to `latest`.
pub(super) fn archive(pg_wal: &Path) -> Result<()> {
    let status = pg_wal.join("archive_status");
    for timeline in histories(pg_wal)? {
        let name = format!("{:08X}.history", timeline.0);
        let done = status.join(format!("{name}.done")).exists();
        if !done && is_placeholder(pg_wal, timeline)? {
            files::replace(
                &status.join(format!("{name}.ready")),
                "",
                Durability::Synced,
            )?;
        }
    }
    Ok(())
}

/// Removes the placeholders that a standby would take for its target: those
/// newer than every real timeline. With one of them in place it would wait
/// for ever. Lower ones stay: followers fetch histories without a gap.
///
/// # Errors
/// When pg_wal cannot be read or written.
pub fn clean_placeholders(pg_wal: &Path) -> Result<()> {
    let mut removed = false;
    for timeline in histories(pg_wal)?.into_iter().rev() {
        if !is_placeholder(pg_wal, timeline)? {
            break;
        }
        removed |= files::remove(&history_path(pg_wal, timeline))?;
        let status = pg_wal.join(format!("archive_status/{:08X}.history.ready", timeline.0));
        files::remove(&status)?;
    }
    if removed {
        files::sync_directory(pg_wal)
    } else {
        Ok(())
    }
}

fn is_placeholder(pg_wal: &Path, timeline: Timeline) -> Result<bool> {
    Ok(lineage::read(pg_wal, timeline)?.ancestors.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(pg_wal: &Path, timeline: u32, content: &str) {
        std::fs::write(history_path(pg_wal, Timeline(timeline)), content).expect("writable");
    }

    #[test]
    fn every_number_below_the_epoch_is_reserved() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), 3, "1\t0/5000098\tx");
        write(dir.path(), 6, MARK);
        reserve(dir.path(), Timeline(3), Epoch(6)).expect("room");
        assert_eq!(
            histories(dir.path()).expect("listed"),
            [3, 4, 5].map(Timeline)
        );
    }

    #[test]
    fn a_real_timeline_in_the_way_is_reported() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), 6, "1\t0/5000098\tx");
        let refused = reserve(dir.path(), Timeline(1), Epoch(5));
        assert!(matches!(
            refused,
            Err(Error::TimelineTaken {
                found: Timeline(6),
                ..
            })
        ));
    }

    #[test]
    fn only_placeholders_above_every_real_timeline_are_cleaned() {
        let dir = tempfile::tempdir().expect("a directory");
        for reserved in [2, 3, 6, 7] {
            write(dir.path(), reserved, MARK);
        }
        write(dir.path(), 5, "1\t0/5000098\tx");
        clean_placeholders(dir.path()).expect("cleaned");
        assert_eq!(
            histories(dir.path()).expect("listed"),
            [2, 3, 5].map(Timeline)
        );
    }
}
