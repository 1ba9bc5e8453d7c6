//! An application: finds the primary through DNS, checks its lease, writes.
//!
//! It keeps the books that the promise is measured by. A write counts as
//! acknowledged when its commit was confirmed and as unknown when the
//! connection was lost before; an unknown one is never tried again, so every
//! row says something about one write only.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use futures::future::select_ok;
use tokio::{task::JoinHandle, time};
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;

use super::fleet::{Api, Fleet};
use crate::{
    clock,
    dns::{
        Name,
        lookup::{Primary, lookup_primary},
    },
    domain::GroupName,
};

/// What the table is made with, as the superuser.
pub const SCHEMA: &str = "\
CREATE TABLE writes (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
GRANT SELECT, INSERT ON writes TO app;";

/// Between two writes.
const PACE: Duration = Duration::from_millis(4);
/// Between two tries to find a primary.
const RETRY: Duration = Duration::from_millis(5);
/// Between two name servers that are asked the same.
const MOMENT: Duration = Duration::from_millis(25);
/// After this a connection or a write is given up.
const PATIENCE: Duration = Duration::from_secs(1);

/// A write that was confirmed.
#[derive(Debug, Clone, Copy)]
pub struct Ack {
    pub id: i64,
    /// Time since boot.
    pub at: Duration,
    pub took: Duration,
}

/// What became of every write.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pub next: i64,
    /// In the order in which they came.
    pub acked: Vec<Ack>,
    pub unknown: Vec<i64>,
}

impl Ledger {
    /// The longest time without an acknowledgement that ended between `from`
    /// and `to`.
    pub fn longest_gap(&self, from: Duration, to: Duration) -> Option<Duration> {
        let pairs = self.acked.windows(2).map(|pair| (pair[0].at, pair[1].at));
        let within = pairs.filter(|(_, end)| (from..=to).contains(end));
        within.map(|(start, end)| end.saturating_sub(start)).max()
    }

    /// The median of what a write took.
    pub fn median(&self) -> Duration {
        let mut took: Vec<_> = self.acked.iter().map(|ack| ack.took).collect();
        took.sort_unstable();
        took.get(took.len() / 2).copied().unwrap_or_default()
    }
}

/// Where the primary is asked for.
struct Directory {
    servers: Vec<SocketAddr>,
    zone: Name,
    group: GroupName,
    api: Api,
    password: String,
}

/// The running application.
pub struct Writer {
    ledger: Arc<Mutex<Ledger>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Writer {
    pub fn start(fleet: &Fleet) -> anyhow::Result<Self> {
        let mut zone = Name::from_ascii(&fleet.options().zone)?;
        zone.set_fqdn(true);
        let directory = Directory {
            servers: fleet.dns_servers(),
            zone,
            group: fleet.options().group.parse()?,
            api: fleet.api()?,
            password: fleet.password().to_owned(),
        };
        let ledger = Arc::<Mutex<Ledger>>::default();
        let stop = CancellationToken::new();
        let task = tokio::spawn(write(directory, Arc::clone(&ledger), stop.clone()));
        Ok(Self { ledger, stop, task })
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Whether a write was acknowledged since `at`.
    pub fn acked_since(&self, at: Duration) -> bool {
        self.ledger().acked.last().is_some_and(|ack| ack.at > at)
    }

    /// Ends after the write under way, and hands over the books.
    pub async fn finish(self) -> anyhow::Result<Ledger> {
        self.stop.cancel();
        self.task.await.context("the writer")?;
        Ok(lock(&self.ledger).clone())
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects and writes, again after every failure, until `stop`.
async fn write(directory: Directory, ledger: Arc<Mutex<Ledger>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Ok(client) = directory.connect().await
            && session(&client, &ledger, &stop).await.is_ok()
        {
            return;
        }
        time::sleep(RETRY).await;
    }
}

impl Directory {
    /// Asks the name servers a moment apart and takes the first answer: one
    /// that is silent costs no timeout.
    async fn look_up(&self) -> anyhow::Result<Primary> {
        let asked = (0_u32..).zip(&self.servers).map(|(turn, server)| {
            Box::pin(async move {
                time::sleep(MOMENT * turn).await;
                lookup_primary(&[*server], &self.zone, &self.group).await
            })
        });
        let (found, _) = select_ok(asked).await?;
        Ok(found)
    }

    /// A connection to whom both DNS and the quorum call primary.
    async fn connect(&self) -> anyhow::Result<Client> {
        let found = self.look_up().await?;
        let checked = self.api.check().await?;
        let primary = checked.primary.context("nobody is primary")?;
        ensure!(
            primary.address == found.address.to_string(),
            "DNS is not there yet"
        );
        let mut config = tokio_postgres::Config::new();
        config
            .host(found.address.ip().to_string())
            .port(found.address.port())
            .user("app")
            .password(&self.password)
            .dbname("postgres")
            .application_name("primacy demo");
        let connected = time::timeout(PATIENCE, config.connect(NoTls)).await;
        let (client, connection) = connected.context("connect")??;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// Writes row after row; returns Ok once asked to stop.
async fn session(
    client: &Client,
    ledger: &Mutex<Ledger>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let insert = client.prepare("INSERT INTO writes (id) VALUES ($1)");
    let insert = time::timeout(PATIENCE, insert).await??;
    while !stop.is_cancelled() {
        let id = {
            let mut ledger = lock(ledger);
            ledger.next += 1;
            ledger.next
        };
        let began = clock::boottime();
        let done = time::timeout(PATIENCE, client.execute(&insert, &[&id])).await;
        let at = clock::boottime();
        let took = at.saturating_sub(began);
        if !matches!(done, Ok(Ok(1))) {
            lock(ledger).unknown.push(id);
            bail!("whether row {id} was written is not known");
        }
        lock(ledger).acked.push(Ack { id, at, took });
        time::sleep(PACE.saturating_sub(took).max(Duration::from_millis(1))).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_that_ends_in_the_time_looked_at() {
        let ms = Duration::from_millis;
        let ack = |at| Ack {
            id: 0,
            at: ms(at),
            took: ms(1),
        };
        let ledger = Ledger {
            acked: [0, 900, 1_000, 1_250, 1_260, 9_000].map(ack).into(),
            ..Ledger::default()
        };
        assert_eq!(ledger.longest_gap(ms(950), ms(2_000)), Some(ms(250)));
        assert_eq!(ledger.longest_gap(ms(9_001), ms(9_999)), None);
    }
}
