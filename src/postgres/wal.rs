//! The end of a member's own WAL, read from pg_wal.
//!
//! What PostgreSQL reports is not enough: after a restart a standby has
//! "received" nothing although its pg_wal holds what it acknowledged before,
//! and no function names the timeline that a standby is on.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::Path,
    process::Stdio,
};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{
    error::{Error, Result},
    files,
    instance::Instance,
    lineage::{self, histories},
    rewind::refuse_wreck,
    tool,
};
use crate::domain::{Lineage, Lsn, Position, Timeline};

/// PostgreSQL's WAL page (`XLOG_BLCKSZ`), as every distributor builds it.
const PAGE: u64 = 8192;

/// Sizes of a page's header: at the start of a segment, and elsewhere.
const LONG_HEADER: u64 = 40;
const SHORT_HEADER: u64 = 24;

/// How far a member's own WAL reaches, and by which history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndOfWal {
    pub position: Position,
    pub lineage: Lineage,
    /// Received by streaming since it was started, if anything was.
    pub receive: Option<Lsn>,
    /// None when PostgreSQL is stopped.
    pub replay: Option<Lsn>,
}

/// The timeline of what a standby holds up to `lsn`.
///
/// The newest segment file that was written there tells; where that timeline
/// has not yet forked off at `lsn`, the answer is the ancestor that it copied.
pub(super) fn timeline_at(pg_wal: &Path, lsn: Lsn, segment_size: u64) -> Result<Lineage> {
    let last = lsn.0.saturating_sub(1);
    let page = last - last % PAGE;
    let segment = last - last % segment_size;
    // After a segment switch the rest of a segment has no page headers.
    let mut found = newest_with_page(pg_wal, page, segment_size)?;
    if found.is_none() {
        found = newest_with_page(pg_wal, segment, segment_size)?;
    }
    let found = found.ok_or_else(|| Error::Unreadable {
        place: pg_wal.display().to_string(),
        found: format!("no segment with {lsn}"),
    })?;
    let newest = lineage::read(pg_wal, found)?;
    match newest.timeline_of(lsn) {
        it if it == found => Ok(newest),
        ancestor => lineage::read(pg_wal, ancestor),
    }
}

/// The newest timeline whose segment file holds the page at `page`.
fn newest_with_page(pg_wal: &Path, page: u64, segment_size: u64) -> Result<Option<Timeline>> {
    let suffix = segment_suffix(page, segment_size);
    let mut found = None;
    for name in files::names(pg_wal)? {
        let timeline = name.strip_suffix(&suffix).filter(|it| it.len() == 8);
        let timeline = timeline.and_then(|it| u32::from_str_radix(it, 16).ok());
        if let Some(timeline) = timeline.map(Timeline).filter(|it| Some(*it) > found)
            && has_page(&pg_wal.join(&name), page, segment_size)?
        {
            found = Some(timeline);
        }
    }
    Ok(found)
}

/// Whether the page at `page` was written: recycled segments bear the
/// addresses of their former life.
fn has_page(segment: &Path, page: u64, segment_size: u64) -> Result<bool> {
    let mut header = [0; 16];
    let read = fs::File::open(segment).and_then(|mut file| {
        file.seek(SeekFrom::Start(page % segment_size))?;
        file.read_exact(&mut header)
    });
    match read {
        Ok(()) => {
            let [.., a, b, c, d, e, f, g, h] = header;
            let address = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
            Ok(header[..2] != [0, 0] && address == page)
        }
        // Recycled or cut meanwhile.
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(files::at("read", segment)(error)),
    }
}

/// Where the segments of a timeline end that are there without a gap, from the
/// one that holds `from` on; none if that one is not there.
fn end_of_segments(pg_wal: &Path, from: Position, segment_size: u64) -> Option<Lsn> {
    let is_there = |start: &u64| {
        let suffix = segment_suffix(*start, segment_size);
        pg_wal
            .join(format!("{:08X}{suffix}", from.timeline.0))
            .exists()
    };
    let first = from.lsn.0 - from.lsn.0 % segment_size;
    let starts = std::iter::successors(Some(first), |start| start.checked_add(segment_size));
    let last = starts.take_while(is_there).last()?;
    Some(Lsn(last + segment_size))
}

fn is_absence(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotFound, UnexpectedEof};
    matches!(error.kind(), NotFound | UnexpectedEof)
}

/// The part of a segment's file name after the timeline.
fn segment_suffix(lsn: u64, segment_size: u64) -> String {
    let segment = lsn / segment_size;
    let per_id = 0x1_0000_0000 / segment_size;
    format!("{:08X}{:08X}", segment / per_id, segment % per_id)
}

impl Instance {
    /// The end of the valid WAL in pg_wal, looked for from `from`, a position
    /// that this member is known to have on the timeline given.
    pub(super) async fn end_of_pg_wal(
        &self,
        from: Position,
        segment_size: u64,
    ) -> Result<Position> {
        let mut end = self.last_record_end(from, segment_size).await?;
        let pg_wal = self.pg_wal();
        // As recovery does, prefer a descendant that was received already.
        for timeline in histories(&pg_wal)? {
            let lineage = lineage::read(&pg_wal, timeline)?;
            let left = lineage
                .ancestors
                .iter()
                .find(|it| it.timeline == end.timeline);
            let Some(fork) = left
                .map(|left| left.lsn)
                .filter(|fork| (from.lsn..=end.lsn).contains(fork))
            else {
                continue;
            };
            let start = Position {
                timeline,
                lsn: fork,
            };
            let further = self.last_record_end(start, segment_size).await?;
            if further.lsn > fork {
                end = further;
            }
        }
        Ok(end)
    }

    /// The end of the last valid record on one timeline, by pg_waldump.
    ///
    /// It is kept to the segments that are there: for one that is not it waits
    /// 5 s, and a failover, or a member that wants to come back, waits with it.
    async fn last_record_end(&self, from: Position, segment_size: u64) -> Result<Position> {
        let Some(limit) = end_of_segments(&self.pg_wal(), from, segment_size) else {
            return Ok(from);
        };
        let mut command = tool::command(self, "pg_waldump");
        command
            .arg("--path")
            .arg(self.pg_wal())
            .args(["--timeline", &from.timeline.to_string()])
            .args(["--start", &from.lsn.to_string()])
            .args(["--end", &limit.to_string()])
            .stdout(Stdio::piped())
            // It always ends by complaining of the first invalid record.
            .stderr(Stdio::null());
        let execute = |source| Error::Execute {
            program: self.binary("pg_waldump"),
            source,
        };
        let mut child = command.spawn().map_err(execute)?;
        let mut lsn = from.lsn;
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout).lines();
            while let Some(line) = lines.next_line().await.map_err(execute)? {
                if let Some(end) = parse_record(&line, segment_size) {
                    lsn = end;
                }
            }
        }
        child.wait().await.map_err(execute)?;
        Ok(Position { lsn, ..from })
    }

    /// How far the WAL of this stopped directory reaches.
    pub(super) async fn stopped_end_of_wal(&self) -> Result<EndOfWal> {
        refuse_wreck(self)?;
        let control = self.control_data().await?;
        let redo = Position {
            timeline: control.checkpoint.timeline,
            lsn: control.redo,
        };
        let from = control.min_recovery.unwrap_or(redo);
        let position = self.end_of_pg_wal(from, control.segment_size).await?;
        Ok(EndOfWal {
            position,
            lineage: lineage::read(&self.pg_wal(), position.timeline)?,
            receive: None,
            replay: None,
        })
    }
}

/// The end of a record as pg_waldump prints it:
/// `rmgr: XLOG  len (rec/tot): 49/ 114, tx: 0, lsn: 0/01000028, prev 0/0, desc: …`.
fn parse_record(line: &str, segment_size: u64) -> Option<Lsn> {
    let (_, sizes) = line.split_once("len (rec/tot):")?;
    let (_, total) = sizes.split_once(',')?.0.split_once('/')?;
    let (_, lsn) = line.split_once("lsn: ")?;
    let lsn: Lsn = lsn.split_once(',')?.0.parse().ok()?;
    if line.starts_with("rmgr: XLOG ") && line.contains("desc: SWITCH") {
        // The rest of the segment belongs to the record.
        return Some(Lsn((lsn.0 / segment_size + 1) * segment_size));
    }
    Some(record_end(lsn, total.trim().parse().ok()?, segment_size))
}

/// Where a record of `length` bytes ends, the headers of the pages that it
/// crosses included, rounded up to 8 bytes as PostgreSQL does.
fn record_end(start: Lsn, length: u64, segment_size: u64) -> Lsn {
    let mut at = start.0;
    let mut left = length;
    while left > 0 {
        if at.is_multiple_of(PAGE) {
            at += if at.is_multiple_of(segment_size) {
                LONG_HEADER
            } else {
                SHORT_HEADER
            };
        }
        let step = left.min(PAGE - at % PAGE);
        at += step;
        left -= step;
    }
    Lsn(at.next_multiple_of(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 16 << 20;

    #[test]
    fn a_record_ends_after_the_headers_it_crosses() {
        assert_eq!(record_end(Lsn(0x100_0028), 114, SEGMENT), Lsn(0x100_00A0));
        assert_eq!(record_end(Lsn(0x100_1FF8), 16, SEGMENT), Lsn(0x100_2020));
        assert_eq!(record_end(Lsn(0x1FF_FFF8), 16, SEGMENT), Lsn(0x200_0030));
        assert_eq!(record_end(Lsn(0x100_1FE8), 24, SEGMENT), Lsn(0x100_2000));
    }

    #[test]
    fn a_segment_switch_ends_at_the_next_segment() {
        let line = "rmgr: XLOG        len (rec/tot):     24/    24, tx:          0, \
            lsn: 0/01000148, prev 0/01000110, desc: SWITCH ";
        assert_eq!(parse_record(line, SEGMENT), Some(Lsn(0x200_0000)));
        assert_eq!(parse_record("BKPBLOCK 1", SEGMENT), None);
    }

    #[test]
    fn segments_are_named_as_postgresql_names_them() {
        assert_eq!(segment_suffix(0x1_0400_0000, SEGMENT), "0000000100000004");
        assert_eq!(segment_suffix(0xFFFF_FFFF, SEGMENT), "00000000000000FF");
    }
}
