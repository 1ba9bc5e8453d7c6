//! What a running PostgreSQL is and where it stands, in one query.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_postgres::Row;

use super::{
    error::{Error, Result, sql, within},
    lineage,
    server::LocalPostgres,
    wal::timeline_at,
};
use crate::domain::{Lineage, Lsn, Position, Timeline};

/// What a status query may take. One that hangs is news in itself.
const BUDGET: Duration = Duration::from_secs(3);

/// On a primary the control file names the timeline of the last checkpoint,
/// which is the old one for a while after a promotion; the name of the
/// current segment is always right.
pub(super) const QUERY: &str = "
select pg_is_in_recovery() as standby,
       case when not pg_is_in_recovery()
            then substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end as timeline,
       case when not pg_is_in_recovery() then pg_current_wal_lsn()::text end as write,
       case when not pg_is_in_recovery() then pg_current_wal_flush_lsn()::text end as flush,
       case when pg_is_in_recovery() then pg_last_wal_receive_lsn()::text end as receive,
       case when pg_is_in_recovery() then pg_last_wal_replay_lsn()::text end as replay,
       case when pg_is_in_recovery() then pg_is_wal_replay_paused() end as paused,
       r.status as receiver, r.sender_host as host, r.sender_port as port,
       (select json_agg(json_build_object(
            'name', application_name, 'state', state, 'sync_state', sync_state,
            'flush', coalesce(flush_lsn::text, '0/0'),
            'reply_age_ms', (extract(epoch from clock_timestamp() - reply_time) * 1000)::bigint))
          from pg_stat_replication)::text as senders,
       s.system_identifier, i.bytes_per_wal_segment,
       current_setting('server_version_num')::int as version,
       current_setting('synchronous_standby_names') as sync_names,
       current_setting('primary_conninfo') as conninfo,
       current_setting('restore_command') as restore_command
  from pg_control_system() s cross join pg_control_init() i
  left join pg_stat_wal_receiver r on true";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub role: Role,
    /// On a primary what is flushed, on a standby what is received or replayed.
    pub position: Position,
    pub lineage: Lineage,
    pub system_identifier: u64,
    /// As `server_version_num`: 150018 is 15.18.
    pub version: u32,
    /// Bytes.
    pub segment_size: u64,
    /// `synchronous_standby_names`, as in force for new sessions.
    pub sync_names: String,
    /// Whether it has nobody to stream from and no archive to read.
    pub cut_off: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Primary {
        write: Lsn,
        flush: Lsn,
        senders: Vec<Sender>,
    },
    Standby {
        receive: Option<Lsn>,
        replay: Lsn,
        paused: bool,
        receiver: Option<Receiver>,
    },
}

/// A walreceiver that has connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// `streaming`, once WAL may arrive.
    pub status: String,
    pub host: String,
    pub port: u16,
}

/// A walsender, as the primary sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The standby's `application_name`.
    pub name: String,
    /// `streaming` once it has caught up.
    pub state: String,
    /// `async` for those that do not count.
    pub sync_state: String,
    #[serde(deserialize_with = "lsn_from_text")]
    pub flush: Lsn,
    /// Milliseconds since its last reply, if there was one.
    pub reply_age_ms: Option<i64>,
}

fn lsn_from_text<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Lsn, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}

impl LocalPostgres {
    /// Asks a running PostgreSQL what it is. For a stopped one see
    /// [`Instance::control_data`](super::Instance::control_data).
    ///
    /// # Errors
    /// When no session can be opened, or pg_wal not be read.
    pub async fn probe(&self) -> Result<Probe> {
        within("status query", BUDGET, self.probe_now()).await
    }

    async fn probe_now(&self) -> Result<Probe> {
        let (session, query) = self.session_to_probe().await?;
        let row = session
            .query_one(&query, &[])
            .await
            .map_err(sql("read the state"))?;
        let number = |name: &str| row.get::<_, i32>(name).unsigned_abs();
        let segment_size = u64::from(number("bytes_per_wal_segment"));
        let role = role(&row)?;
        let pg_wal = self.instance.pg_wal();
        let (lsn, lineage) = match &role {
            Role::Primary { flush, .. } => (*flush, lineage::read(&pg_wal, timeline(&row)?)?),
            Role::Standby {
                receive, replay, ..
            } => {
                let lsn = receive.unwrap_or_default().max(*replay);
                (lsn, timeline_at(&pg_wal, lsn, segment_size)?)
            }
        };
        let text = |name: &str| row.get::<_, String>(name);
        Ok(Probe {
            position: Position {
                timeline: lineage.timeline,
                lsn,
            },
            lineage,
            role,
            // SQL has no unsigned type for it.
            system_identifier: row.get::<_, i64>("system_identifier").cast_unsigned(),
            version: number("version"),
            segment_size,
            sync_names: text("sync_names"),
            cut_off: text("conninfo").is_empty() && text("restore_command").is_empty(),
        })
    }
}

fn role(row: &Row) -> Result<Role> {
    if row.get("standby") {
        return Ok(Role::Standby {
            receive: lsn(row, "receive")?,
            replay: lsn(row, "replay")?.unwrap_or_default(),
            paused: row.get("paused"),
            receiver: row
                .get::<_, Option<String>>("receiver")
                .map(|status| Receiver {
                    status,
                    host: row.get::<_, Option<_>>("host").unwrap_or_default(),
                    port: row
                        .get::<_, Option<i32>>("port")
                        .map_or(0, |port| port as u16),
                }),
        });
    }
    let senders: Option<String> = row.get("senders");
    Ok(Role::Primary {
        write: lsn(row, "write")?.unwrap_or_default(),
        flush: lsn(row, "flush")?.unwrap_or_default(),
        senders: match senders {
            None => Vec::new(),
            Some(json) => serde_json::from_str(&json).map_err(|_| Error::Unreadable {
                place: "pg_stat_replication".to_owned(),
                found: json,
            })?,
        },
    })
}

pub(super) fn lsn(row: &Row, column: &str) -> Result<Option<Lsn>> {
    let text: Option<&str> = row.get(column);
    Ok(text.map(str::parse).transpose()?)
}

fn timeline(row: &Row) -> Result<Timeline> {
    parse_timeline(row.get("timeline"))
}

/// A timeline as segment names begin: eight hexadecimal digits.
pub(super) fn parse_timeline(text: &str) -> Result<Timeline> {
    let number = u32::from_str_radix(text, 16).map_err(|_| Error::Unreadable {
        place: "the name of a WAL segment".to_owned(),
        found: text.to_owned(),
    })?;
    Ok(Timeline(number))
}
