//! Text that is safe in HTML and SVG, and shapes on the time axis.

use std::fmt::Write as _;

use crate::history::Nanos;

/// Text for an element or an attribute.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// The one axis that all lanes share.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    end: Nanos,
    per_second: f64,
}

impl Axis {
    /// Narrowest that a page shows without scrolling, pixels.
    const LEAST: f64 = 1_000.0;
    /// Pixels a second that keep a short fault visible.
    const PER_SECOND: f64 = 5.0;
    /// Widest that a browser draws with ease.
    const MOST: f64 = 12_000.0;

    #[must_use]
    pub fn new(end: Nanos) -> Self {
        let end = end.max(1_000_000_000);
        let width = (seconds(end) * Self::PER_SECOND).clamp(Self::LEAST, Self::MOST);
        Self {
            end,
            per_second: width / seconds(end),
        }
    }

    #[must_use]
    pub fn width(&self) -> f64 {
        self.x(self.end)
    }

    #[must_use]
    pub fn end(&self) -> Nanos {
        self.end
    }

    #[must_use]
    pub fn x(&self, at: Nanos) -> f64 {
        seconds(at.min(self.end)) * self.per_second
    }

    /// Seconds between two labels.
    #[must_use]
    pub fn step(&self) -> u64 {
        let steps = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600];
        let fits = |step: &u64| *step as f64 * self.per_second >= 50.0;
        steps.into_iter().find(fits).unwrap_or(3_600)
    }
}

fn seconds(at: Nanos) -> f64 {
    at as f64 / 1e9
}

/// The inside of an SVG, as it is drawn.
#[derive(Debug, Default)]
pub struct Drawing(pub String);

impl Drawing {
    /// A bar of at least `least` pixels, with words for the pointer.
    pub fn bar(&mut self, class: &str, [x, y, width, height]: [f64; 4], words: &str) {
        // Writing to a string cannot fail, here and below.
        let _ = write!(
            self.0,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">{}</rect>",
            title(words)
        );
    }

    pub fn text(&mut self, class: &str, [x, y]: [f64; 2], text: &str) {
        let text = escape(text);
        let _ = write!(
            self.0,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        );
    }

    pub fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        let _ = write!(
            self.0,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    pub fn path(&mut self, class: &str, path: &str, words: &str) {
        let words = title(words);
        let _ = write!(
            self.0,
            "<path class=\"{class}\" d=\"{path}\">{words}</path>"
        );
    }
}

fn title(words: &str) -> String {
    match words {
        "" => String::new(),
        words => format!("<title>{}</title>", escape(words)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(
            escape("<b a=\"x\" b='y'> & co"),
            "&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt; &amp; co"
        );
    }

    #[test]
    fn short_runs_fill_the_page_and_long_ones_scroll() {
        let second = 1_000_000_000;
        let (short, long) = (Axis::new(20 * second), Axis::new(300 * second));
        assert!((short.width() - 1_000.0).abs() < 1.0);
        assert!((long.width() - 1_500.0).abs() < 1.0);
        assert_eq!((short.step(), long.step()), (1, 10));
        assert!((long.x(150 * second) - 750.0).abs() < 1.0);
    }
}
