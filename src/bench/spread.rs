//! Figures with their spread, beside what was to be reached.

use comfy_table::{CellAlignment, Table, TableComponent, presets};
use serde::Serialize;

use super::{Told, idle::Cost, scenario::Scenario};
use crate::demo::{measure::Row, verdict::Writes};

/// From `failover_began` to `epoch_sealed`: fence, promotion, first synchronous write.
const CHANGE_TARGET_MS: u64 = 120;
const SERVER_MIB: f64 = 40.0;
const AGENT_MIB: f64 = 20.0;
const CPU_PERCENT: f64 = 1.0;

/// Least, median and greatest.
#[derive(Debug, Clone, Copy, Serialize)]
struct Spread {
    min: u64,
    median: u64,
    max: u64,
}

fn spread(values: &[u64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    let median = u64::midpoint(low, high);
    Some(Spread { min, median, max })
}

/// What one fault's trials showed, part by part.
pub(super) struct Figures {
    scenario: Scenario,
    detect: Vec<u64>,
    fence: Vec<u64>,
    promote: Vec<u64>,
    publish: Vec<u64>,
    change: Vec<u64>,
    gap: Vec<u64>,
}

impl Figures {
    pub(super) fn new(scenario: Scenario) -> Self {
        let [detect, fence, promote, publish, change, gap] = [const { Vec::new() }; 6];
        Self {
            scenario,
            detect,
            fence,
            promote,
            publish,
            change,
            gap,
        }
    }

    pub(super) fn add(&mut self, row: &Row) {
        let parts = [row.fence_ms, row.promote_ms, row.publish_ms];
        let change: u64 = parts.iter().flatten().sum();
        self.detect.extend(row.detect_ms);
        self.fence.extend(row.fence_ms);
        self.promote.extend(row.promote_ms);
        self.publish.extend(row.publish_ms);
        self.change.extend(row.publish_ms.map(|_| change));
        self.gap.extend(row.write_gap_ms);
    }

    fn line(&self) -> Line {
        let median = |values: &[u64]| spread(values).map(|it| it.median);
        Line {
            name: self.scenario.name(),
            trials: self.gap.len(),
            detect_ms: median(&self.detect),
            fence_ms: median(&self.fence),
            promote_ms: median(&self.promote),
            publish_ms: median(&self.publish),
            write_gap_ms: median(&self.gap),
            write_gap_spread_ms: spread(&self.gap),
            target_ms: self.scenario.target_ms(),
            began_to_sealed_ms: spread(&self.change),
            began_to_sealed_target_ms: CHANGE_TARGET_MS,
        }
    }
}

/// Medians as the demonstration's JSON has them, and how they spread.
#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    trials: usize,
    detect_ms: Option<u64>,
    fence_ms: Option<u64>,
    promote_ms: Option<u64>,
    publish_ms: Option<u64>,
    write_gap_ms: Option<u64>,
    write_gap_spread_ms: Option<Spread>,
    target_ms: Option<u64>,
    began_to_sealed_ms: Option<Spread>,
    began_to_sealed_target_ms: u64,
}

/// One trial, as it is printed while the others still run.
pub(super) fn line(row: &Row, trial: u32) -> String {
    let ms = |part: Option<u64>| part.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
    format!(
        "{} {trial}: write gap {} ms (detect {}, fence {}, promote {}, publish {})",
        row.name,
        ms(row.write_gap_ms),
        ms(row.detect_ms),
        ms(row.fence_ms),
        ms(row.promote_ms),
        ms(row.publish_ms),
    )
}

/// Everything that was measured; its JSON is the last line.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    events: Vec<Line>,
    idle: Vec<Cost>,
    pub writes: Writes,
    load_before: Vec<f64>,
    load_after: Vec<f64>,
}

impl Report {
    pub(super) fn new(load_before: Vec<f64>) -> Self {
        Self {
            events: Vec::new(),
            idle: Vec::new(),
            writes: Writes::default(),
            load_before,
            load_after: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, told: Told) {
        self.events.extend(told.figures.iter().map(Figures::line));
        self.idle.extend(told.idle);
        self.writes.acked += told.writes.acked;
        self.writes.lost += told.writes.lost;
        self.writes.unknown += told.writes.unknown;
    }

    pub(super) fn finish(&mut self, load_after: Vec<f64>) {
        self.load_after = load_after;
    }

    /// Faults, one a line.
    pub(super) fn table(&self) -> Table {
        let heads = [
            "ms (least / median / greatest)",
            "trials",
            "write gap",
            "to reach",
            "detect",
            "fence",
            "promote",
            "publish",
            "fence to publish",
            "to reach",
        ];
        let mut table = plain(&heads);
        for line in &self.events {
            let parts = [
                line.detect_ms,
                line.fence_ms,
                line.promote_ms,
                line.publish_ms,
            ];
            let cells = [
                line.name.to_owned(),
                line.trials.to_string(),
                spread_text(line.write_gap_spread_ms),
                number(line.target_ms),
            ];
            let rest = [
                spread_text(line.began_to_sealed_ms),
                CHANGE_TARGET_MS.to_string(),
            ];
            table.add_row(cells.into_iter().chain(parts.map(number)).chain(rest));
        }
        align(&mut table, 1);
        table
    }

    /// Processes, one a line.
    pub(super) fn costs(&self) -> Table {
        let heads = ["idle", "", "MiB", "to reach", "% of a core", "to reach"];
        let mut table = plain(&heads);
        for cost in &self.idle {
            let most = match cost.service.as_str() {
                "server" => format!("{SERVER_MIB:.0}"),
                "agent" => format!("{AGENT_MIB:.0}"),
                _ => "-".to_owned(),
            };
            table.add_row([
                cost.region.clone(),
                cost.service.clone(),
                format!("{:.1}", cost.rss_mib),
                most,
                format!("{:.2}", cost.cpu_percent),
                format!("{CPU_PERCENT:.0}"),
            ]);
        }
        align(&mut table, 2);
        table
    }

    pub(super) fn remarks(&self) -> String {
        let load = |load: &[f64]| load.first().map_or(0.0, |it| *it);
        format!(
            "{} writes acknowledged, {} of them lost, {} of unknown outcome; load {:.1} before, {:.1} after",
            self.writes.acked,
            self.writes.lost,
            self.writes.unknown,
            load(&self.load_before),
            load(&self.load_after),
        )
    }
}

fn plain(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.remove_style(TableComponent::HorizontalLines);
    table.remove_style(TableComponent::MiddleIntersections);
    table.set_header(heads);
    table
}

fn align(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn number(ms: Option<u64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string())
}

fn spread_text(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |it| format!("{} / {} / {}", it.min, it.median, it.max),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        let it = spread(&[900, 100, 300, 200]).expect("a spread");
        assert_eq!((it.min, it.median, it.max), (100, 250, 900));
        assert!(spread(&[]).is_none());
    }
}
