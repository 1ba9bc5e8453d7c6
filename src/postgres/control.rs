//! What a stopped directory says of itself: pg_controldata.

use std::collections::HashMap;

use super::{
    error::{Error, Result},
    instance::Instance,
    tool,
};
use crate::domain::{Lsn, Position, Timeline};

/// How the directory was left ("Database cluster state").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlState {
    /// A primary, stopped cleanly.
    ShutDown,
    /// A standby, stopped cleanly.
    ShutDownInRecovery,
    /// A primary that runs or crashed.
    InProduction,
    /// A standby that runs or crashed, or recovery after a crash.
    InRecovery,
}

impl ControlState {
    /// Whether it ended with a shutdown checkpoint.
    #[must_use]
    pub fn is_clean(self) -> bool {
        matches!(self, Self::ShutDown | Self::ShutDownInRecovery)
    }
}

/// The part of pg_control that decisions need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlData {
    pub system_identifier: u64,
    pub state: ControlState,
    /// The latest checkpoint's record.
    pub checkpoint: Position,
    /// Where recovery would begin.
    pub redo: Lsn,
    /// How far a standby must recover before it is consistent, if it is one.
    pub min_recovery: Option<Position>,
    /// Bytes.
    pub segment_size: u64,
}

impl Instance {
    /// How a directory in which nothing runs was left, and whose it is, at
    /// once: a failover waits for this.
    ///
    /// Reads the first fields of pg_control (pg_control.h: the system
    /// identifier, two versions, the state), which have stood there since
    /// PostgreSQL 8.3. Decisions about positions go through
    /// [`control_data`](Self::control_data), which checks the CRC.
    ///
    /// # Errors
    /// When the file is missing or shorter.
    pub fn left_as(&self) -> Result<(u64, bool)> {
        use std::io::Read as _;
        let path = self.data.join("global/pg_control");
        let mut head = [0; 20];
        let read = std::fs::File::open(&path).and_then(|mut file| file.read_exact(&mut head));
        read.map_err(super::files::at("read", &path))?;
        let [a, b, c, d, e, f, g, h, .., s, t, u, v] = head;
        // DB_SHUTDOWNED and DB_SHUTDOWNED_IN_RECOVERY.
        let clean = matches!(u32::from_ne_bytes([s, t, u, v]), 1 | 2);
        Ok((u64::from_ne_bytes([a, b, c, d, e, f, g, h]), clean))
    }

    /// Reads pg_control through pg_controldata, which checks its CRC.
    ///
    /// # Errors
    /// When there is no data directory, or it is damaged.
    pub async fn control_data(&self) -> Result<ControlData> {
        let mut command = tool::command(self, "pg_controldata");
        let output = tool::run(command.arg("-D").arg(&self.data)).await?;
        parse(&String::from_utf8_lossy(&output.stdout))
    }
}

fn parse(text: &str) -> Result<ControlData> {
    let fields: HashMap<_, _> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let field = |name: &str| {
        fields.get(name).copied().ok_or_else(|| Error::Unreadable {
            place: format!("pg_controldata's {name:?}"),
            found: text.to_owned(),
        })
    };
    let min_recovery: Lsn = field("Minimum recovery ending location")?.parse()?;
    let min_timeline = Timeline(number(field("Min recovery ending loc's timeline")?)?);
    Ok(ControlData {
        system_identifier: number(field("Database system identifier")?)?,
        state: state(field("Database cluster state")?)?,
        checkpoint: Position {
            timeline: Timeline(number(field("Latest checkpoint's TimeLineID")?)?),
            lsn: field("Latest checkpoint location")?.parse()?,
        },
        redo: field("Latest checkpoint's REDO location")?.parse()?,
        min_recovery: (min_recovery > Lsn(0)).then_some(Position {
            timeline: min_timeline,
            lsn: min_recovery,
        }),
        segment_size: number(field("Bytes per WAL segment")?)?,
    })
}

fn state(text: &str) -> Result<ControlState> {
    match text {
        "shut down" => Ok(ControlState::ShutDown),
        "shut down in recovery" => Ok(ControlState::ShutDownInRecovery),
        "in production" | "shutting down" => Ok(ControlState::InProduction),
        "in archive recovery" | "in crash recovery" | "starting up" => Ok(ControlState::InRecovery),
        other => Err(Error::Unreadable {
            place: "pg_controldata's cluster state".to_owned(),
            found: other.to_owned(),
        }),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::Unreadable {
        place: "a number of pg_controldata".to_owned(),
        found: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promoted_primary_has_no_minimum_recovery_point() {
        let text = "Database system identifier:           7433\n\
            Database cluster state:               in production\n\
            Latest checkpoint location:           0/5000060\n\
            Latest checkpoint's REDO location:    0/5000028\n\
            Latest checkpoint's TimeLineID:       5\n\
            Minimum recovery ending location:     0/0\n\
            Min recovery ending loc's timeline:   0\n\
            Bytes per WAL segment:                16777216\n";
        let data = parse(text).expect("complete");
        assert_eq!(data.min_recovery, None);
        assert_eq!(data.checkpoint.timeline, Timeline(5));
        assert!(parse("Database cluster state: odd\n").is_err());
    }
}
