//! The fuse: parent of one PostgreSQL, and what stops it.
//!
//! A process of its own, a few megabytes, so that a crash or an upgrade of
//! the agent stops no database, and so that a deadline is kept by something
//! that does nothing else. It executes `postgres` itself (`pg_ctl start`
//! would hand it to init), and as subreaper stays the ancestor of every
//! process that PostgreSQL ever starts.
//!
//! Invariants: one fuse per state directory (a lock); at most one postmaster;
//! nothing is reported gone while a descendant is left; a fuse ends only when
//! nothing runs. If it is killed, the kernel shuts PostgreSQL down.
//!
//! ```text
//!  agent ── requests ──► listener ─┐
//!  SIGTERM ────────────► signals ──┼─► main loop ── spawn, signal, kill ──► postgres
//!  children that end ──► reaper ───┘        └── events ──► subscribers
//! ```

mod client;
mod deadline;
mod listener;
mod protocol;
mod reaper;
mod server;
mod spawn;
mod sys;
mod tree;

use std::{
    fs, io,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::mpsc::{self, SyncSender},
    thread::{self, JoinHandle},
};

use rustix::{
    fs::{FlockOperation, Mode, flock},
    process::{getpid, set_child_subreaper, setsid, umask},
};

pub use client::{FuseClient, FuseError, Subscription};
pub use deadline::{Deadline, Reading};
pub use protocol::{Event, Exit, Reply, Request, StartSpec, Status, StopMode};
pub use tree::{children, descendants};

/// Stack of each thread: they parse one line or wait.
const STACK: usize = 128 * 1024;

/// What the main loop acts on.
enum Input {
    Request(Request, SyncSender<Reply>),
    Subscribe(UnixStream),
    Reaped(Exit),
    Terminate,
}

/// Why a fuse could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    #[error("another fuse holds {0}; one state directory has one fuse")]
    Taken(PathBuf),
    #[error("prepare the fuse in {state}: is it a directory that this user owns?")]
    Prepare { state: PathBuf, source: io::Error },
}

/// Where the fuse of `state` listens.
#[must_use]
pub fn socket_path(state: &Path) -> PathBuf {
    state.join("fuse.sock")
}

/// Runs a fuse until it is told to end; call it from the main thread, to
/// which PostgreSQL's death signal is bound.
///
/// # Errors
/// When another fuse runs, or the state directory cannot be used.
pub fn run(state: &Path) -> Result<(), StartupError> {
    let failed = |source| StartupError::Prepare {
        state: state.to_owned(),
        source,
    };
    let lock_path = state.join("fuse.lock");
    let lock = fs::File::create(&lock_path).map_err(failed)?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(StartupError::Taken(lock_path));
    }
    become_parent().map_err(failed)?;
    serve(state).map_err(failed)
}

fn become_parent() -> io::Result<()> {
    sys::hold_signals();
    // Fails when already a session leader, which is as good.
    let _leader = setsid();
    set_child_subreaper(Some(getpid()))?;
    // Needs a privilege that an agent seldom has; the fuse is small anyway.
    let _unprivileged = fs::write("/proc/self/oom_score_adj", "-900");
    Ok(())
}

fn serve(state: &Path) -> io::Result<()> {
    let (inputs, received) = mpsc::channel();
    let server = server::Server::new(inputs.clone())?;
    let terminate = inputs.clone();
    spawn_thread("signals", move || {
        loop {
            sys::wait_for_term();
            let _ended = terminate.send(Input::Terminate);
        }
    })?;
    listener::start(listen(&socket_path(state))?, inputs)?;
    server.run(&received);
    Ok(())
}

fn listen(socket: &Path) -> io::Result<UnixListener> {
    // The lock is held: a socket found here belongs to a fuse that is dead.
    if socket.exists() {
        fs::remove_file(socket)?;
    }
    umask(Mode::from_raw_mode(0o077));
    UnixListener::bind(socket)
}

fn spawn_thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(body)
}
