//! The fuse's main loop: one input at a time, on the main thread.

use std::{
    io,
    os::unix::net::UnixStream,
    process,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, Thread},
    time::Duration,
};

use rustix::process::Signal;

use super::{
    Input,
    deadline::{Deadline, Reading},
    listener::write_line,
    protocol::{Event, Exit, Reply, Request, StartSpec, Status, StopMode},
    reaper, spawn, tree,
};

/// The longest sleep while a deadline runs: a clock that suspend or NTP moves
/// is looked at this often.
const TICK: Duration = Duration::from_millis(20);

pub(super) struct Server {
    postmaster: Option<u32>,
    /// Killed, and known to be gone, but not reaped yet.
    killed: Option<u32>,
    exit: Option<Exit>,
    deadline: Option<Deadline>,
    /// Whether the deadline has passed and was acted upon.
    passed: bool,
    subscribers: Vec<UnixStream>,
    reaping: Arc<Mutex<()>>,
    reaper: Thread,
}

impl Server {
    pub(super) fn new(inputs: Sender<Input>) -> io::Result<Self> {
        let reaping = Arc::new(Mutex::new(()));
        let reaper = reaper::start(Arc::clone(&reaping), inputs)?;
        Ok(Self {
            postmaster: None,
            killed: None,
            exit: None,
            deadline: None,
            passed: false,
            subscribers: Vec::new(),
            reaping,
            reaper,
        })
    }

    /// Serves until told to end, which happens only when nothing runs.
    pub(super) fn run(mut self, inputs: &Receiver<Input>) {
        loop {
            let input = match self.deadline.filter(|_| !self.passed) {
                None => inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => inputs.recv_timeout(deadline.left(Reading::now()).min(TICK)),
            };
            let ended = match input {
                Ok(Input::Request(request, answer)) => {
                    let ends = request == Request::Shutdown && !self.anything_runs();
                    let _client_left = answer.send(self.answer(request));
                    ends
                }
                Ok(Input::Subscribe(stream)) => self.subscribe(stream),
                Ok(Input::Reaped(exit)) => self.reaped(exit),
                Ok(Input::Terminate) => !self.anything_runs(),
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if ended {
                return;
            }
            self.keep_deadline();
        }
    }

    fn answer(&mut self, request: Request) -> Reply {
        match request {
            Request::Start(spec) => self.start(&spec),
            Request::Stop(StopMode::Fast) => self.signal(Signal::INT),
            Request::Stop(StopMode::Immediate) => self.signal(Signal::QUIT),
            Request::Reload => self.signal(Signal::HUP),
            Request::Kill => self.kill(),
            Request::Status => Reply::Status(self.status()),
            Request::SetDeadline(deadline) => {
                self.deadline = Some(deadline);
                self.passed = false;
                Reply::Done
            }
            Request::ClearDeadline => {
                self.deadline = None;
                Reply::Done
            }
            Request::Shutdown if self.anything_runs() => refuse("PostgreSQL still runs"),
            Request::Shutdown | Request::Subscribe => Reply::Done,
        }
    }

    fn start(&mut self, spec: &StartSpec) -> Reply {
        if let Some(pid) = self.postmaster {
            return refuse(&format!("PostgreSQL runs already, as process {pid}"));
        }
        if self
            .deadline
            .is_some_and(|it| it.hard && it.left(Reading::now()).is_zero())
        {
            return refuse("a hard deadline has passed; set a new one or clear it first");
        }
        let started = {
            // A failed start is waited for by the standard library.
            let _nothing_is_reaped = self.reaping.lock();
            spawn::postgres(spec)
        };
        match started {
            Ok(pid) => {
                self.postmaster = Some(pid);
                self.exit = None;
                self.reaper.unpark();
                self.publish(&Event::Started { pid });
                Reply::Started { pid }
            }
            Err(reason) => Reply::Refused { reason },
        }
    }

    fn signal(&self, signal: Signal) -> Reply {
        match self.postmaster {
            Some(pid) => {
                tree::signal(pid, signal);
                Reply::Done
            }
            None => refuse("PostgreSQL does not run"),
        }
    }

    fn kill(&mut self) -> Reply {
        let begun = Reading::now();
        match tree::kill_all(process::id(), self.postmaster, &self.reaping) {
            Ok(()) => {
                self.killed = self.postmaster.take().or(self.killed);
                Reply::Killed {
                    took: begun.elapsed_at(Reading::now()),
                }
            }
            Err(error) => refuse(&format!("read /proc, so nothing can be said: {error}")),
        }
    }

    /// A postmaster that died leaves nobody behind who could acknowledge.
    fn reaped(&mut self, exit: Exit) -> bool {
        if self.postmaster == Some(exit.pid) {
            self.postmaster = None;
            self.exit = Some(exit);
            let all_gone = !self.anything_runs();
            self.publish(&Event::Exited { exit, all_gone });
            if !all_gone && matches!(self.kill(), Reply::Killed { .. }) {
                self.publish(&Event::Exited {
                    exit,
                    all_gone: true,
                });
            }
        } else if self.killed == Some(exit.pid) {
            self.killed = None;
            self.exit = Some(exit);
            self.publish(&Event::Exited {
                exit,
                all_gone: true,
            });
        }
        false
    }

    /// Acts on a deadline that has passed. It stays, so that nothing starts
    /// under it.
    fn keep_deadline(&mut self) {
        let Some(deadline) = self.deadline.filter(|_| !self.passed) else {
            return;
        };
        if !deadline.left(Reading::now()).is_zero() {
            return;
        }
        if deadline.hard && !matches!(self.kill(), Reply::Killed { .. }) {
            // Without /proc nothing can be said; try again, not too fast.
            thread::sleep(TICK);
            return;
        }
        self.passed = true;
        let hard = deadline.hard;
        self.publish(&Event::DeadlinePassed { hard });
    }

    fn subscribe(&mut self, mut stream: UnixStream) -> bool {
        let now = Event::Now(self.status());
        let ready = stream.set_nonblocking(true);
        if ready.and_then(|()| write_line(&mut stream, &now)).is_ok() {
            self.subscribers.push(stream);
        }
        false
    }

    /// A subscriber that does not read is dropped: it must not delay a kill.
    fn publish(&mut self, event: &Event) {
        self.subscribers
            .retain_mut(|stream| write_line(stream, event).is_ok());
    }

    fn status(&self) -> Status {
        Status {
            pid: self.postmaster,
            running: self.anything_runs(),
            exit: self.exit,
            deadline: self.deadline,
        }
    }

    /// Unreadable /proc counts as running. It is read, which takes a while,
    /// only where there may be something to find.
    fn anything_runs(&self) -> bool {
        self.postmaster.is_some()
            || tree::has_children()
                && tree::descendants(process::id()).map_or(true, |left| !left.is_empty())
    }
}

fn refuse(reason: &str) -> Reply {
    Reply::Refused {
        reason: reason.to_owned(),
    }
}
