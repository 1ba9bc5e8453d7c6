//! Rows that were acknowledged, failed or in doubt, against what every member
//! has in the end.
//!
//! A row in doubt may be there or not; whichever it is, it is so everywhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Checker, Verdict,
    facts::{is_selected, named},
    findings::Findings,
};
use crate::history::{Answer, History, Nanos, Operation, Outcome, Request};

pub struct Writes;

impl Checker for Writes {
    fn name(&self) -> &'static str {
        "writes"
    }

    fn claim(&self) -> &'static str {
        "Every acknowledged write is on every member in the end, once, and nothing is there that nobody wrote."
    }

    fn check(&self, history: &History) -> Verdict {
        let mut findings = Findings::default();
        let invoked = Invoked::of(history);
        invoked.count(&mut findings);
        let backs = read_backs(history);
        for (member, back) in &backs {
            back.judge(member, &invoked, &mut findings);
        }
        judge_doubtful(&backs, &invoked, &mut findings);
        if is_selected(history, &["writes"]) {
            judge_amount(history, &invoked, &backs, &mut findings);
        }
        findings.verdict()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Failed,
    Unknown,
    Acknowledged,
}

/// What became of each row, as its writer knows.
struct Invoked<'a> {
    rows: HashMap<i64, (Fate, &'a Operation)>,
}

impl<'a> Invoked<'a> {
    fn of(history: &'a History) -> Self {
        let mut rows = HashMap::new();
        for operation in &history.operations {
            let (Request::Write { row } | Request::Probe { row, .. }) = operation.request else {
                continue;
            };
            let fate = match &operation.outcome {
                Outcome::Ok(_) => Fate::Acknowledged,
                Outcome::Fail(_) => Fate::Failed,
                Outcome::Info(_) => Fate::Unknown,
            };
            let known = rows.entry(row).or_insert((fate, operation));
            if fate > known.0 {
                *known = (fate, operation);
            }
        }
        Self { rows }
    }

    fn with(&self, fate: Fate) -> impl Iterator<Item = (i64, &'a Operation)> {
        let rows = self.rows.iter().filter(move |(_, (of, _))| *of == fate);
        rows.map(|(row, (_, operation))| (*row, *operation))
    }

    fn count(&self, findings: &mut Findings) {
        findings.count("acknowledged", self.with(Fate::Acknowledged).count());
        findings.count("in doubt", self.with(Fate::Unknown).count());
        findings.count("failed", self.with(Fate::Failed).count());
    }
}

/// What a member had in the end.
struct Back {
    at: Nanos,
    rows: BTreeSet<i64>,
    repeated: Vec<i64>,
}

/// The last answer of each member.
fn read_backs(history: &History) -> BTreeMap<&str, Back> {
    let mut backs = BTreeMap::new();
    for (operation, answer, at) in history.answered() {
        if let (Request::ReadBack { member }, Answer::Rows { rows }) = (&operation.request, answer)
        {
            backs.insert(member.as_str(), Back::of(at, rows));
        }
    }
    backs
}

impl Back {
    fn of(at: Nanos, all: &[i64]) -> Self {
        let mut rows = BTreeSet::new();
        let repeated = all.iter().copied().filter(|row| !rows.insert(*row));
        let repeated = repeated.collect();
        Self { at, rows, repeated }
    }

    fn judge(&self, member: &str, invoked: &Invoked<'_>, findings: &mut Findings) {
        for (row, operation) in invoked.with(Fate::Acknowledged) {
            if !self.rows.contains(&row) {
                let at = operation.completed.unwrap_or(operation.invoked);
                let what = named(operation);
                findings.broke(
                    at,
                    format!("{what} was acknowledged and is lost on {member}"),
                );
            }
        }
        for row in &self.repeated {
            findings.broke(self.at, format!("row {row} is more than once on {member}"));
        }
        for row in &self.rows {
            self.judge_row(*row, member, invoked, findings);
        }
    }

    fn judge_row(&self, row: i64, member: &str, invoked: &Invoked<'_>, findings: &mut Findings) {
        match invoked.rows.get(&row) {
            None => findings.broke(
                self.at,
                format!("row {row} is on {member}, and nobody wrote it"),
            ),
            Some((Fate::Failed, operation)) => {
                let what = named(operation);
                findings.broke(
                    self.at,
                    format!("{what} was refused, and the row is on {member}"),
                );
            }
            Some(_) => {}
        }
    }
}

/// Rows in doubt are on every member that was read, or on none.
fn judge_doubtful(backs: &BTreeMap<&str, Back>, invoked: &Invoked<'_>, findings: &mut Findings) {
    let mut present = 0;
    for (row, operation) in invoked.with(Fate::Unknown) {
        let (with, without): (Vec<_>, Vec<_>) =
            backs.iter().partition(|(_, back)| back.rows.contains(&row));
        present += usize::from(!with.is_empty());
        if let (Some((has, _)), Some((lacks, _))) = (with.first(), without.first()) {
            let what = named(operation);
            findings.broke(
                operation.invoked,
                format!("{what} is in doubt, is on {has} and is not on {lacks}"),
            );
        }
    }
    findings.count("in doubt, found present", present);
    findings.count("members read back", backs.len());
}

fn judge_amount(
    history: &History,
    invoked: &Invoked<'_>,
    backs: &BTreeMap<&str, Back>,
    findings: &mut Findings,
) {
    if invoked.with(Fate::Acknowledged).next().is_none() {
        findings.too_little("no write was acknowledged");
    }
    for member in &history.about.members {
        if !backs.contains_key(member.as_str()) {
            findings.too_little(format!("{member} was not read back"));
        }
    }
    if backs.is_empty() {
        findings.too_little("no member was read back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::build::{Build, is_caught, passes, probe, shows_nothing, write, written};

    /// Row 1 acknowledged, 2 in doubt, 3 refused, 4 acknowledged to a probe.
    fn invoked() -> Build {
        Build::new()
            .ok(write(1), 0, 10, written(1))
            .info(write(2), 20)
            .fail(write(3), 30, 40)
            .ok(probe("paris", 4), 50, 60, written(1))
    }

    fn read(paris: &[i64], tokyo: &[i64], lima: &[i64]) -> Build {
        invoked()
            .read_back("paris", paris)
            .read_back("tokyo", tokyo)
            .read_back("lima", lima)
    }

    #[test]
    fn rows_in_doubt_may_be_everywhere_or_nowhere() {
        passes(&Writes, &read(&[1, 4], &[1, 4], &[1, 4]));
        passes(&Writes, &read(&[1, 2, 4], &[1, 2, 4], &[1, 2, 4]));
    }

    #[test]
    fn an_acknowledged_row_that_one_member_lacks_is_caught() {
        is_caught(
            &Writes,
            &read(&[1, 4], &[4], &[1, 4]),
            "write of row 1 (operation 0) was acknowledged and is lost on tokyo",
        );
        is_caught(&Writes, &read(&[1, 4], &[1, 4], &[1]), "lost on lima");
    }

    #[test]
    fn a_row_that_nobody_wrote_is_caught() {
        let build = read(&[1, 4, 99], &[1, 4], &[1, 4]);
        is_caught(&Writes, &build, "row 99 is on paris, and nobody wrote it");
    }

    #[test]
    fn a_refused_row_that_is_there_is_caught() {
        is_caught(&Writes, &read(&[1, 3, 4], &[1, 4], &[1, 4]), "was refused");
    }

    #[test]
    fn a_row_twice_is_caught() {
        is_caught(
            &Writes,
            &read(&[1, 1, 4], &[1, 4], &[1, 4]),
            "more than once",
        );
    }

    #[test]
    fn members_that_differ_on_a_row_in_doubt_are_caught() {
        let build = read(&[1, 2, 4], &[1, 4], &[1, 2, 4]);
        is_caught(&Writes, &build, "is on lima and is not on tokyo");
    }

    #[test]
    fn a_member_that_was_not_read_shows_nothing() {
        let build = invoked()
            .read_back("paris", &[1, 4])
            .read_back("tokyo", &[1, 4]);
        shows_nothing(&Writes, &build);
        shows_nothing(&Writes, &Build::new());
    }

    #[test]
    fn a_member_read_twice_counts_as_it_was_last() {
        let build = read(&[1], &[1, 4], &[1, 4]).read_back("paris", &[1, 4]);
        passes(&Writes, &build);
    }
}
