//! Where a member stands in PostgreSQL's write-ahead log.

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};

/// A byte position in the write-ahead log, printed as PostgreSQL does: `0/4021918`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// Text that is not `HEX/HEX`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a log position like 0/4021918")]
pub struct NotAnLsn(String);

impl FromStr for Lsn {
    type Err = NotAnLsn;

    fn from_str(text: &str) -> Result<Self, NotAnLsn> {
        let refuse = |_: ParseIntError| NotAnLsn(text.to_owned());
        let (high, low) = text
            .split_once('/')
            .ok_or_else(|| NotAnLsn(text.to_owned()))?;
        let high = u32::from_str_radix(high, 16).map_err(refuse)?;
        let low = u32::from_str_radix(low, 16).map_err(refuse)?;
        Ok(Self(u64::from(high) << 32 | u64::from(low)))
    }
}

/// A PostgreSQL timeline. A promotion under epoch E makes timeline E.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timeline(pub u32);

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position on a timeline.
///
/// The order is timeline first, then LSN. It is the order of completeness
/// because timelines are unique per group: a promotion under epoch E starts
/// from everything acknowledged before E and is the only one to make timeline E.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Position {
    pub timeline: Timeline,
    pub lsn: Lsn,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.lsn, self.timeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsn_prints_as_it_parses() {
        let lsn: Lsn = "1A/4021918".parse().expect("a position");
        assert_eq!(lsn, Lsn(0x1A_0402_1918));
        assert_eq!(lsn.to_string(), "1A/4021918");
        assert!("4021918".parse::<Lsn>().is_err());
        assert!("1/1FFFFFFFF".parse::<Lsn>().is_err());
    }

    #[test]
    fn a_later_timeline_outranks_a_greater_lsn() {
        let old = Position {
            timeline: Timeline(1),
            lsn: Lsn(900),
        };
        let new = Position {
            timeline: Timeline(2),
            lsn: Lsn(100),
        };
        assert!(new > old);
    }
}
