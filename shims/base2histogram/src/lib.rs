//! Stands in for the crate of this name.
//!
//! openraft and raft-log count durations with it, for statistics that Primacy
//! never shows. The original computes boundaries for sixteen resolutions at
//! the first use, 26 MiB that stay in memory for good; this one has one bucket
//! for each power of two and knows only what those two crates call.

use std::{fmt, marker::PhantomData};

const BUCKETS: usize = u64::BITS as usize + 1;

/// How often values of each magnitude were recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// By the number of bits that a value needs.
    counts: [u64; BUCKETS],
    samples: u64,
    slot: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: [0; BUCKETS],
            samples: 0,
            slot: PhantomData,
        }
    }

    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    pub fn record_n(&mut self, value: u64, count: u64) {
        let bits = (u64::BITS - value.leading_zeros()) as usize;
        self.counts[bits] = self.counts[bits].saturating_add(count);
        self.samples = self.samples.saturating_add(count);
    }

    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        let at = |per_mille| self.at(per_mille);
        PercentileStats {
            samples: self.samples,
            p0_1: at(1),
            p1: at(10),
            p5: at(50),
            p10: at(100),
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p99_9: at(999),
        }
    }

    /// The least value of the bucket that holds the given share of all; 0
    /// while nothing was recorded.
    fn at(&self, per_mille: u128) -> u64 {
        let rank = (u128::from(self.samples) * per_mille).div_ceil(1000);
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += u128::from(*count);
            seen >= rank
        };
        match self.counts.iter().position(reaches) {
            None | Some(0) => 0,
            Some(bits) => 1 << (bits - 1),
        }
    }
}

/// Values that the named shares of all recorded ones do not exceed, each
/// rounded down to a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            samples, p50, p99, ..
        } = self;
        write!(f, "{samples} samples, median {p50}, 99th percentile {p99}")
    }
}

/// Several histograms below each other; here, their percentiles.
#[derive(Debug, Default)]
pub struct AsciiChart(Vec<(String, PercentileStats)>);

impl AsciiChart {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn add<T>(mut self, name: impl Into<String>, histogram: Histogram<T>) -> Self {
        self.0.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, stats) in &self.0 {
            writeln!(f, "{name}: {stats}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_power_of_two_below_it() {
        let mut histogram = Histogram::<()>::new();
        histogram.record_n(100, 98);
        histogram.record(5_000);
        histogram.record(u64::MAX);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p50, stats.p99), (100, 64, 4_096));
        assert_eq!(stats.p99_9, 1 << 63);
    }

    #[test]
    fn nothing_recorded_and_zeros_recorded_are_zero() {
        let mut histogram = Histogram::<()>::default();
        assert_eq!(histogram.percentile_stats().p99, 0);
        histogram.record(0);
        assert_eq!(histogram.percentile_stats().p0_1, 0);
    }
}
