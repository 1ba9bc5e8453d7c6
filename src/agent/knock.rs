//! Whether anybody is at home at a PostgreSQL address.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

/// A postmaster that answers at all does so well within this.
const KNOCK: Duration = Duration::from_millis(250);

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
