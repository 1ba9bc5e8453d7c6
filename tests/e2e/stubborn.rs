//! A client that asks nobody who is primary: it writes to one member for as
//! long as that takes its writes.
//!
//! DNS and lease checks keep ordinary clients away from a primary that was
//! replaced. They are no fence; this client is what the fence is for.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{runtime, sync::oneshot, time};
use tokio_postgres::NoTls;

/// Ids above those of the ordinary writer.
const FIRST: i64 = 1_000_000_000;
const PATIENCE: Duration = Duration::from_millis(500);

pub struct Stubborn {
    acked: Arc<Mutex<Vec<i64>>>,
    // Its end is the client's.
    _stop: oneshot::Sender<()>,
}

impl Stubborn {
    /// Writes to `address` until stopped, through several connections.
    pub fn start(address: SocketAddr, password: &str) -> Self {
        let (acked, stop, writing) = Self::sessions(address, password);
        tokio::spawn(writing);
        Self { acked, _stop: stop }
    }

    /// The same, from a thread that is where this one is, network namespace included.
    pub fn apart(address: SocketAddr, password: &str) -> Self {
        let (acked, stop, writing) = Self::sessions(address, password);
        std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(writing);
        });
        Self { acked, _stop: stop }
    }

    fn sessions(
        address: SocketAddr,
        password: &str,
    ) -> (
        Arc<Mutex<Vec<i64>>>,
        oneshot::Sender<()>,
        impl Future<Output = ()> + Send + 'static,
    ) {
        let acked = Arc::<Mutex<Vec<i64>>>::default();
        let (books, password) = (Arc::clone(&acked), password.to_owned());
        let (stop, stopped) = oneshot::channel::<()>();
        let writing = async move {
            let sessions = (0..4).map(|n| insist(address, &password, n, Arc::clone(&books)));
            tokio::select! {
                _ = futures::future::join_all(sessions) => {}
                _ = stopped => {}
            }
        };
        (acked, stop, writing)
    }

    pub fn count(&self) -> usize {
        self.acked.lock().unwrap().len()
    }

    /// Every id that was acknowledged so far.
    pub fn acked(&self) -> Vec<i64> {
        self.acked.lock().unwrap().clone()
    }

    /// Every id that was acknowledged.
    pub fn stop(self) -> Vec<i64> {
        self.acked()
    }
}

async fn insist(address: SocketAddr, password: &str, session: i64, books: Arc<Mutex<Vec<i64>>>) {
    let mut id = FIRST + session * 10_000_000;
    loop {
        let mut config = tokio_postgres::Config::new();
        config
            .host(address.ip().to_string())
            .port(address.port())
            .user("app")
            .password(password)
            .dbname("postgres");
        let Ok(Ok((client, connection))) = time::timeout(PATIENCE, config.connect(NoTls)).await
        else {
            time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(connection);
        loop {
            id += 1;
            // A commit that waits for its standbys is waited for: whether it is
            // ever acknowledged is the question.
            match client
                .execute("INSERT INTO writes (id) VALUES ($1)", &[&id])
                .await
            {
                Ok(1) => books.lock().unwrap().push(id),
                _ => break,
            }
        }
    }
}
