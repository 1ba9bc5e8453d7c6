//! What was checked, and how long each fault was felt.

use super::{Judged, markup::escape};
use crate::{
    check::{
        Verdict,
        findings::{millis, moment, span},
        recovery::{Row, rows},
    },
    history::{History, Nanos},
};

/// Violations shown for each judge; the history has the rest.
const SHOWN: usize = 5;
/// A pause to look at.
const LONG_MS: u64 = 3_000;

/// One row for each judge.
#[must_use]
pub fn judges(verdicts: &[Judged]) -> String {
    let rows: String = verdicts.iter().map(judge).collect();
    format!(
        "<div class=\"wide\"><table><thead><tr><th>Judge</th><th>What is promised</th><th>Found</th><th>Verdict</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

fn judge((name, claim, verdict): &Judged) -> String {
    let counts: String = verdict
        .counted
        .iter()
        .map(|(what, figure)| format!("<li><b>{}</b> {}</li>", escape(figure), escape(what)))
        .collect();
    format!(
        "<tr><td><b>{}</b></td><td>{}{}</td><td><ul class=\"counts\">{counts}</ul></td><td>{}</td></tr>",
        escape(name),
        escape(claim),
        violations(verdict),
        word(verdict),
    )
}

fn word(verdict: &Verdict) -> String {
    match (verdict.violations.len(), &verdict.too_little) {
        (0, None) => "<span class=\"word good\">✓ holds</span>".to_owned(),
        (0, Some(_)) => "<span class=\"word unsure\">? shows nothing</span>".to_owned(),
        (count, _) => format!("<span class=\"word bad\">✗ broken, {count}×</span>"),
    }
}

fn violations(verdict: &Verdict) -> String {
    let broken = verdict.violations.iter().take(SHOWN).map(|violation| {
        let (at, text) = (moment(violation.at), escape(&violation.text));
        format!("<li class=\"bad\">{at}: {text}</li>")
    });
    let missing = verdict
        .too_little
        .iter()
        .map(|why| format!("<li class=\"unsure\">Too little: {}</li>", escape(why)));
    let more = verdict.violations.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("<li>and {more} more</li>"));
    let lines: String = broken.chain(more).chain(missing).collect();
    match lines.is_empty() {
        true => lines,
        false => format!("<ul>{lines}</ul>"),
    }
}

/// One row for each fault.
#[must_use]
pub fn recoveries(history: &History) -> String {
    let rows = rows(history);
    if rows.is_empty() {
        return "<p>No fault was made.</p>".to_owned();
    }
    let rows: String = rows.iter().map(recovery).collect();
    format!(
        "<div class=\"wide\"><table><thead><tr><th class=\"number\">No.</th><th class=\"number\">At</th><th>Fault</th>\
         <th class=\"number\">Lasted</th><th class=\"number\">Longest pause<br>of writes</th><th class=\"number\">Failover<br>begun after</th>\
         <th class=\"number\">Granted<br>after</th><th class=\"number\">Published<br>after</th><th>To</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

fn recovery(row: &Row<'_>) -> String {
    let fault = row.fault;
    let since = |at: Option<Nanos>| number("", at.map(|at| span(fault.began, at)));
    let effect = fault.effect.as_deref().unwrap_or("no effect was seen");
    let pause = match row.gap {
        Some((_, None)) => number("long", Some("to the end".to_owned())),
        _ => {
            let long = row.gap_length().is_some_and(|gap| gap > millis(LONG_MS));
            let class = if long { "long" } else { "" };
            number(class, row.gap_length().map(|gap| span(0, gap)))
        }
    };
    format!(
        "<tr>{}{}<td>{}<small>{}</small></td>{}{pause}{}{}{}<td>{}</td></tr>",
        number("", Some((fault.id + 1).to_string())),
        number("", Some(moment(fault.began))),
        escape(&format!("{}: {}", fault.name, fault.what)),
        escape(effect),
        number("", fault.ended.map(|ended| span(fault.began, ended))),
        since(row.detected),
        since(row.granted),
        since(row.published),
        escape(row.primary.as_deref().unwrap_or("–")),
    )
}

fn number(class: &str, value: Option<String>) -> String {
    let value = value.unwrap_or_else(|| "–".to_owned());
    format!("<td class=\"number {class}\">{}</td>", escape(&value))
}
