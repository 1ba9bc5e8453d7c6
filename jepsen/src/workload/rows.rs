//! The numbers of rows: each is tried by one client, once.

use std::ops::Range;

/// Rows that one writer may write.
const PER_WRITER: i64 = 10_000_000;
/// Probes' rows begin here; writers' end.
const PROBES: i64 = 1_000_000_000;
/// Rows that may be tried at one member.
const PER_MEMBER: i64 = 100_000_000;

/// Numbers of the writer at this index.
#[must_use]
pub fn of_writer(index: usize) -> Range<i64> {
    range(0, index, PER_WRITER, PROBES)
}

/// Numbers of the probe of the member at this index.
#[must_use]
pub fn of_probe(index: usize) -> Range<i64> {
    range(PROBES, index, PER_MEMBER, i64::MAX)
}

/// Empty rather than somebody else's.
fn range(base: i64, index: usize, each: i64, end: i64) -> Range<i64> {
    let index = i64::try_from(index).unwrap_or(i64::MAX);
    let first = index.saturating_mul(each).saturating_add(base);
    first.saturating_add(1).min(end)..first.saturating_add(each).min(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_clients_share_a_number() {
        let writers = (0..100).map(of_writer);
        let ranges: Vec<_> = writers.chain((0..9).map(of_probe)).collect();
        assert!(ranges.iter().all(|rows| !rows.is_empty()));
        assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
    }

    #[test]
    fn a_writer_too_many_has_no_rows_instead_of_a_probes() {
        assert!(of_writer(100).is_empty());
        assert!(of_writer(usize::MAX).is_empty());
    }
}
