//! How a judge writes down what it found.

use crate::{
    check::{Verdict, Violation},
    history::Nanos,
};

/// Violations written out; how many there were is counted in any case.
const MOST: usize = 100;

/// A verdict in the making.
#[derive(Debug, Default)]
pub struct Findings {
    violations: Vec<Violation>,
    counted: Vec<(String, String)>,
    too_little: Option<String>,
}

impl Findings {
    pub fn broke(&mut self, at: Nanos, text: impl Into<String>) {
        let text = text.into();
        self.violations.push(Violation { at, text });
    }

    pub fn count(&mut self, what: &str, number: usize) {
        self.show(what, figure(number));
    }

    pub fn show(&mut self, what: &str, value: impl Into<String>) {
        self.counted.push((what.to_owned(), value.into()));
    }

    /// Notes why the history shows nothing; the first reason stays.
    pub fn too_little(&mut self, why: impl Into<String>) {
        self.too_little.get_or_insert(why.into());
    }

    /// Of a judge whose workload was not to run: nothing was missed.
    pub fn verdict_of_a_bystander(mut self) -> Verdict {
        self.too_little = None;
        self.verdict()
    }

    pub fn verdict(mut self) -> Verdict {
        self.violations.sort_by_key(|violation| violation.at);
        let found = self.violations.len();
        if found > MOST {
            self.violations.truncate(MOST);
            self.count("violations", found);
        }
        Verdict {
            violations: self.violations,
            counted: self.counted,
            too_little: self.too_little,
        }
    }
}

/// `41,233`.
#[must_use]
pub fn figure(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.345 s`, since the run began.
#[must_use]
pub fn moment(at: Nanos) -> String {
    format!("{}.{:03} s", at / 1_000_000_000, at / 1_000_000 % 1_000)
}

/// The time from `from` to `to` in words: `870 ms`, `2.4 s`.
#[must_use]
pub fn span(from: Nanos, to: Nanos) -> String {
    let ms = to.saturating_sub(from) / 1_000_000;
    match ms {
        0..1_000 => format!("{ms} ms"),
        _ => format!("{}.{} s", ms / 1_000, ms / 100 % 10),
    }
}

#[must_use]
pub fn millis(ms: u64) -> Nanos {
    ms.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_grouped_by_thousands() {
        let shown = [0, 7, 999, 1_000, 41_233, 1_000_000].map(figure);
        assert_eq!(shown, ["0", "7", "999", "1,000", "41,233", "1,000,000"]);
    }

    #[test]
    fn too_many_violations_are_cut_but_counted() {
        let mut findings = Findings::default();
        for at in (0..250).rev() {
            findings.broke(at, "x");
        }
        let verdict = findings.verdict();
        assert_eq!(
            (verdict.violations.len(), verdict.violations[0].at),
            (MOST, 0)
        );
        assert_eq!(
            verdict.counted,
            [("violations".to_owned(), "250".to_owned())]
        );
    }

    #[test]
    fn times_are_short_to_read() {
        assert_eq!(moment(millis(12_345)), "12.345 s");
        assert_eq!(span(millis(1_000), millis(3_450)), "2.4 s");
        assert_eq!(span(millis(1_000), millis(1_870)), "870 ms");
    }
}
