//! The system calls of the fuse that no safe wrapper offers.

#![allow(unsafe_code)] // Each use is argued for where it stands.

use std::{io, mem, os::unix::process::CommandExt, process::Command, ptr};

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal, setsid};

/// Signals that must not end a fuse: what a terminal or a service manager
/// sends to the agent's process group reaches the fuse as well.
const HELD: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

fn held() -> libc::sigset_t {
    // SAFETY: `sigset_t` is plain data, initialised by `sigemptyset` before
    // it is read; both calls only write to the set they are given.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in HELD {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// Blocks the held signals in this thread and all that it starts.
pub fn hold_signals() {
    let set = held();
    // SAFETY: reads an initialised set; a null old set is allowed.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
}

/// Waits until SIGTERM arrives.
pub fn wait_for_term() {
    let set = held();
    let mut signal = 0;
    while signal != libc::SIGTERM {
        // SAFETY: reads an initialised set and writes one integer.
        unsafe { libc::sigwait(&raw const set, &raw mut signal) };
    }
}

/// Makes the command's process the leader of its own session, which the
/// kernel shuts down (SIGQUIT) should its parent die.
///
/// The death signal belongs to the *thread* that spawns: call this only from
/// one that lives as long as the process.
pub fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    // SAFETY: between fork and exec only async-signal-safe system calls are
    // made, and nothing is allocated.
    unsafe { command.pre_exec(move || bind_to(parent)) };
}

fn bind_to(parent: Pid) -> io::Result<()> {
    setsid()?;
    set_parent_process_death_signal(Some(Signal::QUIT))?;
    // A parent that died before the line above sends no signal any more.
    if getppid() != Some(parent) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: as in `held`; an empty mask is what PostgreSQL expects.
    unsafe {
        let mut none = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
    Ok(())
}
