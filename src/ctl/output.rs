//! How answers are printed.

use std::{
    io::{self, Write},
    time::{Duration, UNIX_EPOCH},
};

use comfy_table::{Table, presets};
use serde_json::Value;

use super::failure::Failure;

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs: stable names; one object per line where it goes on.
    Json,
}

/// Prints text; a reader that went away ends the command.
pub fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("write the answer: {error}")))
        }
        Err(_) => Err(Failure::NobodyReads),
        Ok(()) => Ok(()),
    }
}

/// Prints a JSON value over several lines.
pub fn json(value: &Value) -> Result<(), Failure> {
    text(&format!("{value:#}"))
}

/// Prints a JSON value on one line.
pub fn json_line(value: &Value) -> Result<(), Failure> {
    text(&value.to_string())
}

/// A table without lines, indented by one space.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header.iter().copied());
    table
}

/// The table without blanks at the ends of its lines.
#[must_use]
pub fn rendered(table: &Table) -> String {
    let text = table.to_string();
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

/// RFC 3339, UTC, to the millisecond.
#[must_use]
pub fn time(at_ms: u64) -> String {
    let at = UNIX_EPOCH
        .checked_add(Duration::from_millis(at_ms))
        .unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_millis(at).to_string()
}

/// Bytes in the greatest unit that leaves a whole number in front.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// A duration to the millisecond below a second, to the second above ten.
#[must_use]
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => humantime::format_duration(Duration::from_secs(ms / 1_000)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rfc_3339_in_utc() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_785_000_000_123), "2026-07-25T17:20:00.123Z");
    }

    #[test]
    fn sizes_and_durations_read_at_a_glance() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(16 << 20), "16.0 MiB");
        assert_eq!(duration(812), "812 ms");
        assert_eq!(duration(1_250), "1.2 s");
        assert_eq!(duration(75_000), "1m 15s");
    }
}
