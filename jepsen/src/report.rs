//! One page that tells what a run showed.
//!
//! Self-contained: no script is needed to read it, nothing is fetched, and
//! whatever was recorded is escaped. Written for somebody who has never seen
//! the tool.

mod lanes;
mod markup;
mod style;
mod tables;
mod timeline;

use markup::escape;

use crate::{
    check::{
        Verdict,
        facts::acks,
        findings::{figure, moment, span},
        spurious::failovers,
    },
    history::{History, Request},
};

/// A judge's name, its claim and what it found.
pub type Judged = (String, String, Verdict);

const HOW_TO_READ: &str = "Primacy decides which of several PostgreSQL servers, the <b>members</b> of a group, is \
primary. In this run its real programs were started, one set in each simulated region, clients wrote rows without a \
pause, and faults were made on purpose: processes killed or frozen, links cut, disks and clocks spoilt. Everything was \
written down with the time of one clock, and <b>judges</b> compared it afterwards with what Primacy promises.</p><p>\
In the timeline, time runs to the right; point at anything to read what it is. Grey bars at the top are faults, each with the \
number that it has in the table below. Where the coloured band moves from one member to another, that one became primary: \
each time under a new number, the <b>epoch</b>. No two bands may cover the same moment. A red mark over the writes is a time in \
which clients waited; what counts is that it ends, and that nothing acknowledged was lost.";

/// The page.
#[must_use]
pub fn render(history: &History, verdicts: &[Judged]) -> String {
    let summary = Summary::of(history, verdicts);
    let title = escape(&summary.headline);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title>\
         <style>{}</style></head><body><main><h1>Primacy under torture: what one run showed</h1>\n{}\n{}\n\
         <h2>How to read this page</h2><p>{HOW_TO_READ}</p>\n<h2>What happened</h2>{}\n\
         <h2>What was checked</h2>{}\n<h2>How long each fault was felt</h2>\
         <p>Times are counted from the fault's beginning, as a client or a watcher saw it. A pause of the writes is that \
         from the last acknowledged write before to the first one after.</p>{}\n\
         <footer>{}</footer></main>{COPY}</body></html>\n",
        style::STYLE,
        summary.banner(),
        about(history),
        timeline::draw(history),
        tables::judges(verdicts),
        tables::recoveries(history),
        escape(&history.about.version),
    )
}

/// Puts a button beside the command, where scripts run.
const COPY: &str = "<script>\
(function(){var c=document.getElementById('command');if(!c||!navigator.clipboard)return;\
var b=document.createElement('button');b.textContent='Copy';\
b.onclick=function(){navigator.clipboard.writeText(c.textContent).then(function(){b.textContent='Copied'})};\
c.parentNode.appendChild(b)})();</script>";

struct Summary {
    class: &'static str,
    headline: String,
    more: String,
}

impl Summary {
    fn of(history: &History, verdicts: &[Judged]) -> Self {
        let broken: Vec<&Judged> = verdicts
            .iter()
            .filter(|(.., verdict)| !verdict.violations.is_empty())
            .collect();
        let missing = verdicts
            .iter()
            .find_map(|(name, _, verdict)| Some((name, verdict.too_little.as_ref()?)));
        if !broken.is_empty() {
            return Self::broken(history, &broken);
        }
        match missing {
            Some((name, why)) => Self {
                class: "unsure",
                headline: "This run shows nothing: too little happened.".to_owned(),
                more: format!("{name}: {why}. {}.", amount(history)),
            },
            None => Self {
                class: "good",
                headline: format!("Nothing was lost: {}.", amount(history)),
                more: format!(
                    "{} judges looked at it and every promise held.",
                    verdicts.len()
                ),
            },
        }
    }

    fn broken(history: &History, broken: &[&Judged]) -> Self {
        let names: Vec<&str> = broken.iter().map(|(name, ..)| name.as_str()).collect();
        let first = broken
            .iter()
            .flat_map(|(.., verdict)| &verdict.violations)
            .min_by_key(|violation| violation.at);
        let first = first.map_or(String::new(), |first| {
            format!("First at {}: {}. ", moment(first.at), first.text)
        });
        let promises = match names.len() {
            1 => "A promise was".to_owned(),
            count => format!("{count} promises were"),
        };
        Self {
            class: "bad",
            headline: format!("{promises} broken: {}.", names.join(", ")),
            more: format!("{first}In all: {}.", amount(history)),
        }
    }

    fn banner(&self) -> String {
        let sign = match self.class {
            "good" => "✓",
            "bad" => "✗",
            _ => "?",
        };
        format!(
            "<div class=\"verdict {}\"><strong>{sign} {}</strong><span>{}</span></div>",
            self.class,
            escape(&self.headline),
            escape(&self.more)
        )
    }
}

/// `41,233 acknowledged writes, 23 faults, 9 failovers, all read back on 3 members`.
fn amount(history: &History) -> String {
    let is_write = |request: &Request| matches!(request, Request::Write { .. });
    let writes = acks(history).filter(|ack| is_write(&ack.operation.request));
    let faults = history.faults.iter().filter(|fault| fault.effect.is_some());
    let (planned, unplanned): (Vec<_>, Vec<_>) = failovers(history)
        .into_iter()
        .partition(crate::check::spurious::Failover::is_planned);
    let mut read: Vec<&str> = history
        .answered()
        .filter_map(|(operation, ..)| match &operation.request {
            Request::ReadBack { member } => Some(member.as_str()),
            _ => None,
        })
        .collect();
    read.sort_unstable();
    read.dedup();
    let mut parts = vec![
        plural(writes.count(), "acknowledged write"),
        plural(faults.count(), "fault"),
        plural(unplanned.len(), "failover"),
    ];
    if !planned.is_empty() {
        parts.push(plural(planned.len(), "switchover"));
    }
    let members = history.about.members.len();
    let back = match read.len() {
        back if back == members => format!("all read back on {}", plural(back, "member")),
        back => format!("read back on {back} of {}", plural(members, "member")),
    };
    format!("{}, {back}", parts.join(", "))
}

fn plural(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {what}{s}", figure(count))
}

fn about(history: &History) -> String {
    let about = &history.about;
    let list = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    let lines = [
        ("Seed", about.seed.to_string()),
        ("Lasted", span(0, history.phases.end)),
        (
            "Quorum",
            format!("{} nodes: {}", about.nodes, list(&about.name_servers)),
        ),
        ("Members", list(&about.members)),
        ("Workloads", list(&about.workloads)),
        ("Faults", list(&about.nemeses)),
    ];
    let lines: String = lines
        .iter()
        .map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(value)))
        .collect();
    format!(
        "<dl class=\"about\">{lines}</dl><p>To run it again, from the repository:</p>\
         <div class=\"replay\"><code id=\"command\">{}</code></div>",
        escape(&about.command)
    )
}

#[cfg(test)]
mod tests;
