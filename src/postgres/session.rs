//! The agent's own sessions, over the socket in its private directory.

use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow};

use super::{
    error::{Error, Result, within},
    instance::Instance,
};

/// Cures for settings that a user may have given the role or the database
/// and that would end, or refuse, the agent's own statements.
const OPTIONS: &str = "-c statement_timeout=0 -c lock_timeout=0 \
    -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off \
    -c search_path=pg_catalog -c log_statement=none -c log_min_duration_statement=-1";

/// What opening one may take.
const BUDGET: Duration = Duration::from_secs(2);

/// Opens a session as superuser; `purpose` shows in `pg_stat_activity`.
pub(super) async fn connect(instance: &Instance, purpose: &str) -> Result<Client> {
    let mut config = Config::new();
    config
        .host_path(&instance.socket_dir)
        .port(instance.port)
        .user("postgres")
        .dbname("postgres")
        .application_name(purpose)
        .options(OPTIONS)
        .connect_timeout(BUDGET);
    let failed = |source| Error::Connect {
        socket_dir: instance.socket_dir.clone(),
        source,
    };
    // The timeout above ends with the connection; a stopped postmaster
    // accepts one, and says nothing.
    let connected = within("opening of a session", BUDGET, async {
        config.connect(NoTls).await.map_err(failed)
    });
    let (client, connection) = connected.await?;
    // Ends with the client; its error also reaches whoever waits on that.
    tokio::spawn(connection);
    Ok(client)
}

/// Runs statements in one round trip, without preparing them; returns the
/// first row of any.
pub(super) async fn simple_row(
    session: &Client,
    statements: &str,
) -> std::result::Result<Option<SimpleQueryRow>, tokio_postgres::Error> {
    let messages = session.simple_query(statements).await?;
    Ok(messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    }))
}

/// A column of such a row, empty where there is none.
pub(super) fn text(row: Option<&SimpleQueryRow>, column: usize) -> String {
    let found = row.and_then(|row| row.get(column));
    found.unwrap_or_default().to_owned()
}
