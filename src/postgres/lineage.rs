//! Timelines and where each was left: PostgreSQL's history files.

use std::path::{Path, PathBuf};

use super::{
    error::{Error, Result},
    files,
};
use crate::domain::{Lineage, Position, Timeline};

/// The lineage of `timeline` by its history file; none if that is absent.
pub(super) fn read(pg_wal: &Path, timeline: Timeline) -> Result<Lineage> {
    let path = history_path(pg_wal, timeline);
    let content = files::read(&path)?.unwrap_or_default();
    parse(timeline, &content).ok_or_else(|| Error::Unreadable {
        place: path.display().to_string(),
        found: content,
    })
}

/// Parses a history file: a line is `timeline<TAB>LSN<TAB>reason`.
#[must_use]
pub fn parse(timeline: Timeline, content: &str) -> Option<Lineage> {
    let lines = content.lines().map(str::trim);
    let entries = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let ancestors = entries.map(|line| {
        let mut fields = line.split_whitespace();
        let timeline = Timeline(fields.next()?.parse().ok()?);
        Some(Position {
            timeline,
            lsn: fields.next()?.parse().ok()?,
        })
    });
    Some(Lineage {
        timeline,
        ancestors: ancestors.collect::<Option<_>>()?,
    })
}

#[must_use]
pub(super) fn history_path(pg_wal: &Path, timeline: Timeline) -> PathBuf {
    pg_wal.join(format!("{:08X}.history", timeline.0))
}

/// Timelines that have a history file, placeholders included, in order.
pub(super) fn histories(pg_wal: &Path) -> Result<Vec<Timeline>> {
    let names = files::names(pg_wal)?;
    let numbers = names.iter().filter_map(|name| {
        let number = name.strip_suffix(".history")?;
        u32::from_str_radix(number, 16).ok()
    });
    let mut timelines: Vec<_> = numbers.map(Timeline).collect();
    timelines.sort_unstable();
    Ok(timelines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Lsn;

    const HISTORY: &str = "1\t0/5000098\tno recovery target specified\n\n4\t0/6000000\tbefore\n";

    #[test]
    fn a_position_at_the_fork_belongs_to_the_parent() {
        let lineage = parse(Timeline(5), HISTORY).expect("a history");
        assert_eq!(lineage.timeline_of(Lsn(0x500_0098)), Timeline(1));
        assert_eq!(lineage.timeline_of(Lsn(0x500_0099)), Timeline(4));
        assert_eq!(lineage.timeline_of(Lsn(0x600_0001)), Timeline(5));
    }

    #[test]
    fn a_placeholder_has_no_ancestors() {
        let lineage = parse(Timeline(3), "# reserved by primacy, epoch 5\n");
        assert_eq!(lineage.expect("comments only").ancestors, []);
        assert!(parse(Timeline(3), "garbage").is_none());
    }
}
