//! Learns at once that a child has ended.

use std::{
    sync::{Arc, Mutex, mpsc::Sender},
    thread,
};

use rustix::{
    io::Errno,
    process::{WaitId, WaitIdOptions, WaitOptions, WaitStatus, wait, waitid},
};

use super::{Input, protocol::Exit, spawn_thread};

/// Starts the thread that reaps every child and re-parented descendant.
///
/// `reaping` is held while one is taken away: whoever holds it can be sure
/// that a process identifier it has just read still names that process.
/// With no child left the thread parks; unpark it after starting one.
pub(super) fn start(
    reaping: Arc<Mutex<()>>,
    inputs: Sender<Input>,
) -> std::io::Result<thread::Thread> {
    let handle = spawn_thread("reaper", move || {
        loop {
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Ok(_) => reap(&reaping, &inputs),
                Err(Errno::CHILD) => thread::park(),
                Err(_interrupted) => {}
            }
        }
    })?;
    Ok(handle.thread().clone())
}

fn reap(reaping: &Mutex<()>, inputs: &Sender<Input>) {
    let _held = reaping.lock();
    if let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        // Without a main loop there is nobody to tell, and no fuse either.
        let _no_main_loop = inputs.send(Input::Reaped(exit(pid.as_raw_nonzero().get(), status)));
    }
}

fn exit(pid: i32, status: WaitStatus) -> Exit {
    Exit {
        pid: pid.unsigned_abs(),
        code: status.exit_status(),
        signal: status.terminating_signal(),
    }
}
