//! The agent's side of the fuse's socket.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::Command,
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use super::{Deadline, Event, Reading, Reply, Request, StartSpec, Status, StopMode, socket_path};

/// How often a socket that is not there yet is tried.
const RETRY: Duration = Duration::from_millis(2);

/// The longest that a fuse takes over anything but a kill.
const ANSWER: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum FuseError {
    #[error("reach the fuse at {socket}; does a process `primacy fuse` run?")]
    Unreachable { socket: PathBuf, source: io::Error },
    #[error("start {program} fuse; see fuse.log in the agent's state directory")]
    Spawn { program: PathBuf, source: io::Error },
    #[error("the fuse refuses: {0}")]
    Refused(String),
    #[error(
        "the fuse answered {0:?}, which is no answer to that; do agent and fuse differ in version?"
    )]
    Unexpected(Reply),
    #[error("the fuse did not do it within {0:?}; is the host overloaded, its disk gone?")]
    Late(Duration),
}

/// A handle to one fuse; cheap to clone. Reconnects by itself.
#[derive(Debug, Clone)]
pub struct FuseClient {
    socket: Arc<Path>,
    connection: Arc<Mutex<Option<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

/// Events of one fuse, beginning with [`Event::Now`].
#[derive(Debug)]
pub struct Subscription {
    socket: Arc<Path>,
    connection: Connection,
    first: Option<Event>,
}

impl FuseClient {
    /// Attaches to the fuse of `state`, which it starts as `program fuse
    /// --state STATE` if none runs.
    ///
    /// # Errors
    /// When the program cannot be executed or does not listen within `budget`.
    pub async fn attach_or_spawn(
        program: &Path,
        state: &Path,
        budget: Duration,
    ) -> Result<Self, FuseError> {
        let client = Self::new(state);
        if client.status().await.is_ok() {
            return Ok(client);
        }
        spawn(program, state)?;
        let until = Instant::now() + budget;
        loop {
            match client.status().await {
                Ok(_) => return Ok(client),
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_not_yet) => sleep(RETRY).await,
            }
        }
    }

    /// A client of the fuse of `state`, whether or not it runs.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self {
            socket: socket_path(state).into(),
            connection: Arc::default(),
        }
    }

    /// Starts PostgreSQL, and returns its process identifier.
    ///
    /// # Errors
    /// When anything of this data directory runs already.
    pub async fn start(&self, spec: StartSpec) -> Result<u32, FuseError> {
        match self.ask(&Request::Start(spec), ANSWER).await? {
            Reply::Started { pid } => Ok(pid),
            other => Err(unexpected(other)),
        }
    }

    /// Stops PostgreSQL and returns when no descendant is left; at once when
    /// nothing runs.
    ///
    /// # Errors
    /// [`FuseError::Late`] when it has not stopped within `budget`: it still may.
    pub async fn stop(&self, mode: StopMode, budget: Duration) -> Result<(), FuseError> {
        let gone = async {
            let mut events = self.subscribe().await?;
            loop {
                match events.next().await? {
                    Event::Now(status) if !status.running => return Ok(()),
                    Event::Now(_) => self.signal_stop(mode).await?,
                    Event::Exited { all_gone: true, .. } => return Ok(()),
                    _ => {}
                }
            }
        };
        timeout(budget, gone)
            .await
            .map_err(|_| FuseError::Late(budget))?
    }

    async fn signal_stop(&self, mode: StopMode) -> Result<(), FuseError> {
        match self.done(&Request::Stop(mode)).await {
            // It died between the event and the signal; the event follows.
            Err(FuseError::Refused(_)) => Ok(()),
            other => other,
        }
    }

    /// Kills PostgreSQL and everything that it ever started; returns the time
    /// that this took, once nothing is left.
    ///
    /// # Errors
    /// When that cannot be said within `budget`: then nothing is fenced.
    pub async fn kill(&self, budget: Duration) -> Result<Duration, FuseError> {
        match self.ask(&Request::Kill, budget).await? {
            Reply::Killed { took } => Ok(took),
            other => Err(unexpected(other)),
        }
    }

    /// Has PostgreSQL read its configuration again.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn reload(&self) -> Result<(), FuseError> {
        self.done(&Request::Reload).await
    }

    /// # Errors
    /// When the fuse cannot be reached.
    pub async fn status(&self) -> Result<Status, FuseError> {
        match self.ask(&Request::Status, ANSWER).await? {
            Reply::Status(status) => Ok(status),
            other => Err(unexpected(other)),
        }
    }

    /// Has the fuse act `remaining` after `noted`, this host's clocks as they
    /// stood when the lease's time began. Replaces an earlier deadline.
    ///
    /// # Errors
    /// When the fuse cannot be reached: then the earlier deadline stands.
    pub async fn set_deadline(
        &self,
        noted: Reading,
        remaining: Duration,
        hard: bool,
    ) -> Result<(), FuseError> {
        let deadline = Deadline {
            noted,
            remaining,
            hard,
        };
        self.done(&Request::SetDeadline(deadline)).await
    }

    /// # Errors
    /// When the fuse cannot be reached: then the deadline stands.
    pub async fn clear_deadline(&self) -> Result<(), FuseError> {
        self.done(&Request::ClearDeadline).await
    }

    /// Subscribes: whatever happens from the return of this call on is seen.
    ///
    /// # Errors
    /// When the fuse cannot be reached.
    pub async fn subscribe(&self) -> Result<Subscription, FuseError> {
        let mut connection = self.connect().await?;
        let first = timeout(ANSWER, async {
            connection.send(&Request::Subscribe).await?;
            connection.receive().await
        });
        let first = first.await.map_err(|_| FuseError::Late(ANSWER))?;
        Ok(Subscription {
            socket: Arc::clone(&self.socket),
            first: Some(first.map_err(|source| self.unreachable(source))?),
            connection,
        })
    }

    /// Ends the fuse.
    ///
    /// # Errors
    /// When anything runs below it.
    pub async fn shutdown(&self) -> Result<(), FuseError> {
        self.done(&Request::Shutdown).await
    }

    async fn done(&self, request: &Request) -> Result<(), FuseError> {
        match self.ask(request, ANSWER).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Asks once. A connection that broke, or whose answer was not awaited to
    /// its end, is never used again.
    async fn ask(&self, request: &Request, budget: Duration) -> Result<Reply, FuseError> {
        let mut slot = self.connection.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let reply = timeout(budget, connection.exchange(request)).await;
        let reply = reply.map_err(|_| FuseError::Late(budget))?;
        let reply = reply.map_err(|source| self.unreachable(source))?;
        *slot = Some(connection);
        Ok(reply)
    }

    async fn connect(&self) -> Result<Connection, FuseError> {
        let stream = UnixStream::connect(&self.socket).await;
        let (reader, writer) = stream
            .map_err(|source| self.unreachable(source))?
            .into_split();
        let lines = BufReader::new(reader).lines();
        Ok(Connection { lines, writer })
    }

    fn unreachable(&self, source: io::Error) -> FuseError {
        FuseError::Unreachable {
            socket: self.socket.to_path_buf(),
            source,
        }
    }
}

impl Connection {
    async fn exchange(&mut self, request: &Request) -> io::Result<Reply> {
        self.send(request).await?;
        self.receive().await
    }

    async fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.writer.write_all(&line).await
    }

    async fn receive<T: serde::de::DeserializeOwned>(&mut self) -> io::Result<T> {
        let line = self.lines.next_line().await?;
        let line = line.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Subscription {
    /// The next event.
    ///
    /// # Errors
    /// When the fuse has ended, or dropped a subscriber that did not read:
    /// subscribe again.
    pub async fn next(&mut self) -> Result<Event, FuseError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let event = self.connection.receive().await;
        event.map_err(|source| FuseError::Unreachable {
            socket: self.socket.to_path_buf(),
            source,
        })
    }
}

fn unexpected(reply: Reply) -> FuseError {
    match reply {
        Reply::Refused { reason } => FuseError::Refused(reason),
        other => FuseError::Unexpected(other),
    }
}

/// Starts a fuse that outlives its agent. Should two agents race, the fuse's
/// lock lets one win.
fn spawn(program: &Path, state: &Path) -> Result<(), FuseError> {
    let failed = |source| FuseError::Spawn {
        program: program.to_owned(),
        source,
    };
    let state = std::path::absolute(state).map_err(failed)?;
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(state.join("fuse.log"))
        .map_err(failed)?;
    let fuse = Command::new(program)
        .arg("fuse")
        .arg("--state")
        .arg(state)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(false)
        .spawn();
    // Dropped without waiting: tokio reaps it should it end before the agent.
    drop(fuse.map_err(failed)?);
    Ok(())
}
