//! The promise, counted: every acknowledged row is looked for on every member.

use std::{collections::HashSet, time::Duration};

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, TableComponent, presets};
use serde::Serialize;

use super::{
    fleet::{Fleet, wait_for},
    measure::Row,
    writer::Ledger,
};

const CATCH_UP: Duration = Duration::from_secs(20);

/// What became of the writes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Writes {
    pub acked: usize,
    pub lost: usize,
    pub unknown: usize,
}

/// Everything that `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub events: Vec<Row>,
    pub writes: Writes,
}

/// Reads every row back, from the primary and then from each standby once it
/// has replayed what the primary had.
pub async fn read_back(fleet: &Fleet, primary: usize, ledger: &Ledger) -> anyhow::Result<Writes> {
    let end = fleet.superuser(primary, "SELECT pg_current_wal_flush_lsn()")?;
    let mut lost = HashSet::new();
    for place in fleet.places() {
        if place.index != primary {
            let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
            let replayed =
                || async { Ok((fleet.superuser(place.index, &sql)? == "t").then_some(())) };
            let what = format!("{} to replay all", place.region);
            wait_for(&what, CATCH_UP, replayed).await?;
        }
        let there = rows(fleet, place.index)?;
        let acked = ledger.acked.iter().map(|ack| ack.id);
        lost.extend(acked.filter(|id| !there.contains(id)));
    }
    Ok(Writes {
        acked: ledger.acked.len(),
        lost: lost.len(),
        unknown: ledger.unknown.len(),
    })
}

fn rows(fleet: &Fleet, index: usize) -> anyhow::Result<HashSet<i64>> {
    let text = fleet.superuser(index, "SELECT id FROM writes")?;
    let ids = text.lines().map(|line| line.parse().context("an id"));
    ids.collect()
}

/// The table at the end.
pub(super) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.remove_style(TableComponent::HorizontalLines);
    table.remove_style(TableComponent::MiddleIntersections);
    table.set_header(["ms", "detect", "fence", "promote", "publish", "write gap"]);
    for row in rows {
        let parts = [
            row.detect_ms,
            row.fence_ms,
            row.promote_ms,
            row.publish_ms,
            row.write_gap_ms,
        ];
        let parts = parts.map(|part| part.map_or_else(|| "-".to_owned(), |ms| ms.to_string()));
        table.add_row(std::iter::once(row.label.clone()).chain(parts));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
