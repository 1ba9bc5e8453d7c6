//! Whether anybody is at home at a PostgreSQL address.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};
use tokio_util::task::AbortOnDropHandle;

/// A postmaster that answers at all does so well within this.
const KNOCK: Duration = Duration::from_millis(250);

/// Between two knocks at one that answers: it forks a process for each.
const AGAIN: Duration = Duration::from_millis(100);

/// Whether one upstream answers, asked again and again beside the agent's loop.
#[derive(Default)]
pub(super) struct Knocks(Option<Door>);

struct Door {
    address: SocketAddr,
    latest: Arc<AtomicU8>,
    _knocking: AbortOnDropHandle<()>,
}

const UNKNOWN: u8 = 0;
const SILENT: u8 = 1;
const ALIVE: u8 = 2;

impl Knocks {
    /// Knocks at `upstream` from now on, and at nobody else.
    pub(super) fn at(&mut self, upstream: Option<SocketAddr>) {
        if self.0.as_ref().map(|door| door.address) == upstream {
            return;
        }
        self.0 = upstream.map(|address| {
            let latest = Arc::new(AtomicU8::new(UNKNOWN));
            let knocking = AbortOnDropHandle::new(tokio::spawn(knock(address, latest.clone())));
            Door {
                address,
                latest,
                _knocking: knocking,
            }
        });
    }

    /// What came of the latest knock.
    pub(super) fn answers(&self) -> Option<bool> {
        let latest = self.0.as_ref()?.latest.load(Ordering::Relaxed);
        (latest != UNKNOWN).then_some(latest == ALIVE)
    }
}

async fn knock(address: SocketAddr, latest: Arc<AtomicU8>) {
    loop {
        let alive = answers(address).await;
        latest.store(if alive { ALIVE } else { SILENT }, Ordering::Relaxed);
        time::sleep(AGAIN).await;
    }
}

/// Asks the postmaster for a sign of life.
pub(super) async fn answers(address: SocketAddr) -> bool {
    matches!(time::timeout(KNOCK, ask(address)).await, Ok(Ok(())))
}

/// An SSL request is answered by one byte before anything is authenticated
/// (PostgreSQL documentation, "SSL Session Encryption").
async fn ask(address: SocketAddr) -> std::io::Result<()> {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&SSL_REQUEST).await?;
    stream.read_u8().await.map(|_| ())
}
