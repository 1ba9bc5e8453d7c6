//! A network of one host's own, and how threads get into it.
//!
//! A process cannot be sent into a namespace from outside; a thread can go
//! there itself, and what it starts is born there. `ip netns exec` is not used:
//! it hides the control groups from whoever it starts.

use std::{fs, io, net::Ipv4Addr, os::fd::AsFd as _, path::Path, sync::Arc, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{GroundError, doing, is_orphan, tool};

/// Where `ip netns` keeps the names.
const NAMES: &str = "/run/netns";
/// With the number of the process that made it.
pub(super) const PREFIX: &str = "pj";

/// Gone when the last clone is dropped; who is inside keeps what is left of it.
#[derive(Debug, Clone)]
pub struct Namespace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    address: Ipv4Addr,
    file: fs::File,
}

impl Namespace {
    /// A new one, with nothing in it.
    pub(super) fn create(name: String, address: Ipv4Addr) -> Result<Self, GroundError> {
        tool("ip", &["netns", "add", &name])?;
        let path = Path::new(NAMES).join(&name);
        let file = fs::File::open(&path).map_err(doing(format!("open {}", path.display())))?;
        Ok(Self(Arc::new(Inner {
            name,
            address,
            file,
        })))
    }

    /// As `ip netns` lists it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The address that the other hosts reach it by.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.0.address
    }

    /// Moves the calling thread inside, for good.
    pub fn enter(&self) -> io::Result<()> {
        let kind = Some(LinkNameSpaceType::Network);
        Ok(move_into_link_name_space(self.0.file.as_fd(), kind)?)
    }

    /// Does something in a thread inside. Processes that it starts stay inside.
    pub fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, GroundError> {
        let work = || {
            let what = || format!("enter namespace {}", self.name());
            self.enter().map_err(|error| doing(what())(error))?;
            Ok(act())
        };
        thread::scope(|scope| match scope.spawn(work).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// A runtime whose threads are all inside.
    ///
    /// `block_on` runs its future on the calling thread, outside: what opens
    /// sockets is to be given to `spawn`.
    pub fn runtime(&self, workers: usize) -> Result<tokio::runtime::Runtime, GroundError> {
        let inside = self.clone();
        let enter = move || {
            if let Err(error) = inside.enter() {
                // A thread outside would talk past every cut, and a run would
                // pass for the wrong reason.
                eprintln!("enter namespace {}: {error}", inside.name());
                std::process::abort();
            }
        };
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name(self.name())
            .on_thread_start(enter)
            .enable_all()
            .build()
            .map_err(doing("start a runtime"))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = tool("ip", &["netns", "del", &self.name]) {
            eprintln!("a namespace was not tidied up: {error}");
        }
    }
}

/// Takes away what killed processes left behind.
pub(super) fn remove_orphans() {
    let entries = fs::read_dir(NAMES).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| is_orphan(name, PREFIX)) {
        if let Err(error) = tool("ip", &["netns", "del", &name]) {
            eprintln!("a namespace was not tidied up: {error}");
        }
    }
}
