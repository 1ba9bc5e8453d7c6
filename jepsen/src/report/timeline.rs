//! Faults, epochs, primaries and what clients felt, on one time axis.
//!
//! Two drawings side by side: the lanes' names stay while the lanes scroll.

use super::{
    lanes::{self, Said, Stretch},
    markup::{Axis, Drawing, escape},
};
use crate::{
    check::{
        findings::{millis, moment, span},
        spurious::{Failover, failovers},
    },
    history::{Fault, History, Nanos},
};

/// Width of the lanes' names, pixels.
const NAMES: f64 = 132.0;
const LANE: f64 = 20.0;
const BAR: f64 = 14.0;
/// Room for the axis and the names of the phases.
const TOP: f64 = 40.0;
const HISTOGRAM: f64 = 48.0;
/// Acknowledgements are counted in stretches of this.
const BUCKET_MS: u64 = 500;
/// A pause that is marked.
const GAP_MS: u64 = 500;

/// The whole timeline, with its legend, as HTML.
#[must_use]
pub fn draw(history: &History) -> String {
    let mut sheet = Sheet::new(history);
    sheet.faults();
    sheet.primaries();
    sheet.clients();
    sheet.finish()
}

struct Sheet<'a> {
    history: &'a History,
    axis: Axis,
    y: f64,
    names: Drawing,
    lanes: Drawing,
}

impl<'a> Sheet<'a> {
    fn new(history: &'a History) -> Self {
        let phases = history.phases;
        let last = history.operations.iter().map(|operation| operation.invoked);
        let known = [phases.end, phases.quiet].into_iter().max().unwrap_or(0);
        let end = if known > 0 {
            known
        } else {
            last.max().unwrap_or(0)
        };
        Self {
            history,
            axis: Axis::new(end),
            y: TOP,
            names: Drawing::default(),
            lanes: Drawing::default(),
        }
    }

    fn heading(&mut self, name: &str) {
        self.y += 12.0;
        self.lanes
            .line("rule", [0.0, self.y - 4.0, self.axis.width(), self.y - 4.0]);
        self.names
            .line("rule", [0.0, self.y - 4.0, NAMES, self.y - 4.0]);
        self.names.text("heading", [0.0, self.y + 13.0], name);
        self.y += 20.0;
    }

    /// Begins a lane; returns where it is.
    fn lane(&mut self, name: &str, height: f64) -> f64 {
        let y = self.y;
        self.names.text("name", [8.0, y + 13.0], name);
        self.y += height;
        y
    }

    /// A stretch of time, never thinner than can be seen, with a label where
    /// there is room for it.
    fn bar(&mut self, class: &str, y: f64, from: Nanos, to: Nanos, label: &str, words: &str) {
        let (x, end) = (self.axis.x(from), self.axis.x(to));
        let width = (end - x).max(3.0);
        self.lanes
            .bar(&format!("bar {class}"), [x, y + 2.0, width, BAR], words);
        if width > 6.0 + 6.0 * label.chars().count() as f64 {
            self.lanes
                .text("in-bar", [x + width / 2.0, y + 12.5], label);
        }
    }

    fn faults(&mut self) {
        self.heading("Faults");
        for lane in lanes::faults(self.history) {
            for (index, row) in lane.rows.iter().enumerate() {
                let y = self.lane(if index == 0 { lane.name } else { "" }, LANE);
                let next = row.iter().skip(1).map(|fault| self.axis.x(fault.began));
                let next: Vec<f64> = next.chain([f64::MAX]).collect();
                for (fault, next) in row.iter().zip(next) {
                    self.fault(fault, y, next);
                }
            }
        }
        if self.history.faults.is_empty() {
            self.lane("none", LANE);
        }
    }

    fn fault(&mut self, fault: &Fault, y: f64, next: f64) {
        let to = lanes::ended(fault);
        let label = (fault.id + 1).to_string();
        let effect = fault.effect.as_deref().unwrap_or("no effect was seen");
        let words = format!(
            "Fault {label} at {}, for {}: {} ({effect})",
            moment(fault.began),
            span(fault.began, to),
            fault.what
        );
        let class = if fault.effect.is_some() {
            "fault"
        } else {
            "fault idle"
        };
        self.bar(class, y, fault.began, to, &label, &words);
        let (x, end) = (self.axis.x(fault.began), self.axis.x(to));
        let end = end.max(x + 3.0);
        let room = 6.0 + 6.0 * label.len() as f64;
        if end - x <= room && end + room < next {
            self.lanes.text("beside", [end + 3.0, y + 12.5], &label);
        }
    }

    fn primaries(&mut self) {
        self.heading("Who is primary");
        let history = self.history;
        let y = self.lane("epoch", LANE);
        for (index, stretch) in lanes::epochs(history, self.axis.end()).iter().enumerate() {
            let (epoch, holder) = &stretch.kind;
            let holder = holder.as_deref().unwrap_or("nobody known");
            let words = format!(
                "Epoch {epoch} of {holder}, known from {}",
                moment(stretch.from)
            );
            let class = if index % 2 == 0 { "epoch" } else { "epoch odd" };
            self.bar(
                class,
                y,
                stretch.from,
                stretch.to,
                &epoch.to_string(),
                &words,
            );
        }
        self.failovers();
        for (index, member) in history.about.members.iter().enumerate() {
            let y = self.lane(member, LANE + 4.0);
            self.member(index, member, y);
        }
    }

    fn failovers(&mut self) {
        let y = self.lane("failovers", LANE);
        for failover in failovers(self.history) {
            if let Some(seen) = failover.seen {
                self.failover(&failover, seen, y);
            }
        }
    }

    fn failover(&mut self, failover: &Failover<'_>, seen: Nanos, y: f64) {
        let x = self.axis.x(seen);
        let (top, bottom) = (y + 3.0, y + 15.0);
        let triangle = format!(
            "M{:.1} {top:.1}L{:.1} {top:.1}L{x:.1} {bottom:.1}Z",
            x - 5.0,
            x + 5.0
        );
        let class = if failover.is_planned() {
            "planned"
        } else {
            "failover"
        };
        let words = format!("{}: {}", moment(seen), failover.event.text);
        self.lanes.path(class, &triangle, &words);
    }

    /// Acknowledgements as a thick band, what checks said as a thin one below.
    fn member(&mut self, index: usize, member: &str, y: f64) {
        let class = format!("m{}", index % 5);
        for stretch in lanes::acknowledged(self.history, member) {
            let label = match stretch.kind {
                0 => String::new(),
                timeline => timeline.to_string(),
            };
            let words = format!(
                "{member} acknowledged writes on timeline {} from {} to {}",
                stretch.kind,
                moment(stretch.from),
                moment(stretch.to)
            );
            self.bar(&class, y, stretch.from, stretch.to, &label, &words);
        }
        for stretch in lanes::checked(self.history, member) {
            let (x, end) = (self.axis.x(stretch.from), self.axis.x(stretch.to));
            let words = format!(
                "Checks named {member} under epoch {} from {} to {}",
                stretch.kind,
                moment(stretch.from),
                moment(stretch.to)
            );
            let area = [x, y + 17.5, (end - x).max(2.0), 3.0];
            self.lanes.bar(&format!("thin {class}"), area, &words);
        }
    }

    fn clients(&mut self) {
        self.heading("What clients felt");
        let writes = lanes::writes(self.history);
        let y = self.lane("writes", HISTOGRAM + 6.0);
        self.names.text("hint", [8.0, y + 27.0], "acknowledged / s");
        self.histogram(&writes, y);
        for gap in lanes::gaps(&writes, millis(GAP_MS)) {
            self.gap(&gap, y);
        }
        let regions = &self.history.about.name_servers;
        for (server, said) in lanes::names(self.history) {
            let region = regions.get(server).map_or("?", String::as_str);
            let y = self.lane(&format!("DNS {region}"), LANE);
            for stretch in said {
                self.said(region, &stretch, y);
            }
        }
    }

    fn histogram(&mut self, writes: &[Nanos], y: f64) {
        let bucket = millis(BUCKET_MS);
        let count = usize::try_from(self.axis.end() / bucket + 1).unwrap_or(0);
        let mut counts = vec![0_u32; count];
        for at in writes {
            if let Some(count) = usize::try_from(at / bucket)
                .ok()
                .and_then(|index| counts.get_mut(index))
            {
                *count += 1;
            }
        }
        let most = f64::from(counts.iter().copied().max().unwrap_or(0).max(1));
        let base = y + HISTOGRAM;
        let mut path = format!("M0 {base:.1}");
        for (index, count) in (0..).zip(&counts) {
            let (from, to) = (bucket * index, bucket * (index + 1));
            let top = base - (HISTOGRAM - 8.0) * f64::from(*count) / most;
            let (x, end) = (self.axis.x(from), self.axis.x(to));
            path.push_str(&format!("L{x:.1} {top:.1}L{end:.1} {top:.1}"));
        }
        path.push_str(&format!("L{:.1} {base:.1}Z", self.axis.width()));
        self.lanes.path("writes", &path, "");
        let per_second = (most * 1_000.0 / BUCKET_MS as f64).round();
        self.names
            .text("hint", [8.0, y + 41.0], &format!("at most {per_second}"));
    }

    fn gap(&mut self, gap: &Stretch<()>, y: f64) {
        let (x, end) = (self.axis.x(gap.from), self.axis.x(gap.to));
        let length = span(gap.from, gap.to);
        let words = format!(
            "No write was acknowledged for {length}, from {}",
            moment(gap.from)
        );
        let width = (end - x).max(2.0);
        self.lanes
            .bar("gap", [x, y + 2.0, width, HISTOGRAM - 2.0], &words);
        if width > 30.0 {
            self.lanes
                .text("in-gap", [x + width / 2.0, y + 27.0], &length);
        }
    }

    fn said(&mut self, region: &str, stretch: &Stretch<Said>, y: f64) {
        let (class, what) = match stretch.kind {
            Said::Data => ("data", "answered with data"),
            Said::Nobody => ("nobody", "answered that there is no primary now"),
            Said::ServFail => ("servfail", "answered SERVFAIL"),
            Said::Nothing => ("silent", "gave no answer"),
        };
        let (from, to) = (stretch.from, stretch.to);
        let words = format!("{region} {what} from {} to {}", moment(from), moment(to));
        self.bar(class, y, from, to, "", &words);
    }

    /// The calm before, the faults and the calm after, behind everything.
    fn background(&self, height: f64) -> String {
        let mut drawing = Drawing::default();
        let phases = self.history.phases;
        let all = [
            ("calm", phases.load, phases.faults, "before faults"),
            ("storm", phases.faults, phases.healed, "faults"),
            ("calm", phases.healed, phases.quiet, "healed"),
            ("end", phases.quiet, phases.end, "read back"),
        ];
        for (class, from, to, name) in all {
            if to <= from {
                continue;
            }
            let (x, end) = (self.axis.x(from), self.axis.x(to));
            drawing.bar(
                &format!("phase {class}"),
                [x, 18.0, end - x, height - 18.0],
                "",
            );
            if end - x > 8.0 + 6.0 * name.len() as f64 {
                drawing.text("phase-name", [x + 4.0, 32.0], name);
            }
        }
        self.ticks(&mut drawing, height);
        drawing.0
    }

    fn ticks(&self, drawing: &mut Drawing, height: f64) {
        let step = self.axis.step();
        let last = self.axis.end() / 1_000_000_000;
        for second in (0..=last).step_by(usize::try_from(step).unwrap_or(1)) {
            let x = self.axis.x(millis(second * 1_000));
            drawing.line("tick", [x, 16.0, x, height]);
            let class = if second == 0 { "time first" } else { "time" };
            if x + 14.0 < self.axis.width() {
                drawing.text(class, [x, 12.0], &format!("{second} s"));
            }
        }
    }

    fn finish(self) -> String {
        let (height, width) = (self.y + 8.0, self.axis.width() + 8.0);
        let background = self.background(height);
        let legend = legend(&self.history.about.members);
        let (names, lanes) = (self.names.0, self.lanes.0);
        format!(
            "{legend}<div class=\"timeline\">\
             <svg class=\"names\" width=\"{NAMES}\" height=\"{height}\" aria-hidden=\"true\">{names}</svg>\
             <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Timeline, scrolls sideways\">\
             <svg width=\"{width:.0}\" height=\"{height}\" role=\"img\" aria-label=\"Faults, primaries and what clients felt over time\">{background}{lanes}</svg>\
             </div></div>"
        )
    }
}

fn legend(members: &[String]) -> String {
    let mut entries = vec![
        ("fault".to_owned(), "a fault, by its number".to_owned()),
        ("fault idle".to_owned(), "one without effect".to_owned()),
        ("failover mark".to_owned(), "a failover begins".to_owned()),
        ("planned mark".to_owned(), "a switchover begins".to_owned()),
    ];
    for (index, member) in members.iter().enumerate() {
        let words = format!("{member} acknowledges (thin: is named by checks)");
        entries.push((format!("m{}", index % 5), words));
    }
    let clients = [
        ("gap", "no write acknowledged"),
        ("data", "DNS: data"),
        ("nobody", "DNS: no primary now"),
        ("servfail", "DNS: SERVFAIL"),
        ("silent", "DNS: no answer"),
    ];
    entries.extend(clients.map(|(class, words)| (class.to_owned(), words.to_owned())));
    let entries: String = entries
        .iter()
        .map(|(class, words)| {
            let words = escape(words);
            format!(
                "<li><svg width=\"16\" height=\"12\" aria-hidden=\"true\">{}</svg>{words}</li>",
                sample(class)
            )
        })
        .collect();
    format!("<ul class=\"legend\">{entries}</ul>")
}

fn sample(class: &str) -> String {
    match class.strip_suffix(" mark") {
        Some(class) => format!("<path class=\"{class}\" d=\"M3 0L13 0L8 12Z\"/>"),
        None => format!("<rect class=\"bar {class}\" x=\"0\" y=\"1\" width=\"16\" height=\"10\"/>"),
    }
}
