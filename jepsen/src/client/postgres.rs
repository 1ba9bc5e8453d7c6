//! A member's PostgreSQL, as an application sees it.
//!
//! A row counts as written once the server said that it is ready for the next
//! query and warned of nothing meanwhile. PostgreSQL announces in a warning
//! that it committed without waiting for its standbys; a client that drops
//! warnings takes that for an acknowledgement.
//!
//! A session that is dropped closes its socket and says no goodbye.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use tokio::time;
use tokio_postgres::{
    AsyncMessage, Client, Connection, NoTls, Socket, Statement, error::Severity, error::SqlState,
    tls::NoTlsStream,
};
use tokio_util::task::AbortOnDropHandle;

/// Where to log in, and for what.
#[derive(Debug, Clone)]
pub struct Login {
    pub address: SocketAddr,
    /// `app` or `probe`.
    pub user: &'static str,
    pub password: String,
    /// The table that rows go into.
    pub table: &'static str,
    /// After this the server itself ends a statement: sessions that nobody
    /// waits for any more do not add up. A commit that waits for standbys is
    /// not undone by it but announced with a warning.
    pub statement_timeout: Duration,
}

/// What became of a row that was not written for certain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// PostgreSQL's answer proves that the transaction did not commit.
    #[error("{0}")]
    Refused(String),
    /// It may be there, or come.
    #[error("{0}")]
    Unknown(String),
}

/// A connection that inserts rows.
pub struct Session {
    client: Client,
    insert: Statement,
    warning: Arc<Mutex<Option<String>>>,
    _driver: AbortOnDropHandle<()>,
}

/// The timeline is read within the transaction that writes: it is the one that
/// the row is on, also in a session that outlived a promotion.
const INSERT: &str = "INSERT INTO {} (id) VALUES ($1) RETURNING \
    ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int";

impl Session {
    /// Connects and prepares, within `limit`; writes nothing.
    pub async fn open(login: &Login, limit: Duration) -> anyhow::Result<Self> {
        let opened = time::timeout(limit, Self::try_open(login)).await;
        opened.with_context(|| format!("not open within {} ms", limit.as_millis()))?
    }

    async fn try_open(login: &Login) -> anyhow::Result<Self> {
        let timeout = login.statement_timeout.as_millis();
        let mut config = tokio_postgres::Config::new();
        config
            .host(login.address.ip().to_string())
            .port(login.address.port())
            .user(login.user)
            .password(&login.password)
            .dbname("postgres")
            .options(format!("-c statement_timeout={timeout}"))
            .application_name("jepsen");
        let (client, connection) = config.connect(NoTls).await?;
        let warning = Arc::<Mutex<Option<String>>>::default();
        let driver = tokio::spawn(drive(connection, Arc::clone(&warning)));
        let driver = AbortOnDropHandle::new(driver);
        let insert = client.prepare(&INSERT.replace("{}", login.table)).await?;
        Ok(Self {
            client,
            insert,
            warning,
            _driver: driver,
        })
    }

    /// Writes a row, and says on which timeline it is. Without a limit of its
    /// own: given up, the session has to be dropped.
    pub async fn insert(&self, row: i64) -> Result<u32, InsertError> {
        self.take_warning();
        let done = self.client.query_one(&self.insert, &[&row]).await;
        let warning = self.take_warning();
        match (done, warning) {
            (_, Some(warning)) => Err(InsertError::Unknown(warning)),
            (Ok(row), None) => {
                let timeline = row.try_get::<_, i32>(0);
                let timeline = timeline.map_err(|error| InsertError::Unknown(chain(&error)))?;
                // The sign is the highest bit of a 32-bit number.
                Ok(timeline.cast_unsigned())
            }
            (Err(error), None) => Err(failed(&error)),
        }
    }

    fn take_warning(&self) -> Option<String> {
        let warning = self.warning.lock();
        warning.unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Moves a connection's messages until it ends. A warning is noted before the
/// end of the statement that caused it is passed on: both come by this loop,
/// in the order in which the server sent them.
async fn drive(
    mut connection: Connection<Socket, NoTlsStream>,
    warning: Arc<Mutex<Option<String>>>,
) {
    while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
        if let AsyncMessage::Notice(notice) = message {
            let mut text = format!("{}: {}", notice.severity(), notice.message());
            if let Some(detail) = notice.detail() {
                text = format!("{text} ({detail})");
            }
            let noted = warning.lock();
            noted
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(text);
        }
    }
}

fn failed(error: &tokio_postgres::Error) -> InsertError {
    let said = error.as_db_error();
    let proven =
        said.is_some_and(|said| proves_nothing_written(said.parsed_severity(), said.code()));
    match proven {
        true => InsertError::Refused(chain(error)),
        false => InsertError::Unknown(chain(error)),
    }
}

/// Whether an error in answer to an `INSERT` of its own transaction can only
/// have come before the commit. A statement that was cancelled (57014) or a
/// server that goes down (57P01) may have committed before.
fn proves_nothing_written(severity: Option<Severity>, code: &SqlState) -> bool {
    let before_commit = [
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::UNDEFINED_TABLE,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ];
    // FATAL and PANIC end sessions at any moment.
    severity == Some(Severity::Error) && before_commit.contains(code)
}

/// An error with its causes.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(|error| error.to_string().replace('\n', " "))
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests;
