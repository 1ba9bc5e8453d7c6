//! What an agent and its fuse say to each other: one JSON object a line.
//!
//! A connection carries requests, each answered in turn. After `Subscribe`
//! it carries events only.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::deadline::Deadline;

/// What to execute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartSpec {
    /// The `postgres` binary itself, never a wrapper that forks.
    pub binary: PathBuf,
    pub args: Vec<String>,
    /// The whole environment; nothing of the fuse's own is inherited.
    pub env: Vec<(String, String)>,
    /// PGDATA.
    pub data: PathBuf,
    /// Appended to; receives standard output and error.
    pub log: PathBuf,
}

/// PostgreSQL's shutdown modes ("Shutting Down the Server").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopMode {
    /// SIGINT: sessions are ended, a shutdown checkpoint is written.
    Fast,
    /// SIGQUIT: crash recovery at the next start.
    Immediate,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Start(StartSpec),
    /// Signals; the end is seen by `Status` or an event.
    Stop(StopMode),
    /// Kills every descendant and answers when none is left.
    Kill,
    Reload,
    Status,
    SetDeadline(Deadline),
    ClearDeadline,
    Subscribe,
    /// Ends the fuse, which refuses while anything runs.
    Shutdown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Done,
    Started { pid: u32 },
    Killed { took: Duration },
    Status(Status),
    Refused { reason: String },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The postmaster, unless it has died.
    pub pid: Option<u32>,
    /// Whether any descendant is left, the postmaster included.
    pub running: bool,
    /// How the last postmaster ended.
    pub exit: Option<Exit>,
    pub deadline: Option<Deadline>,
}

/// How a postmaster ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub pid: u32,
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The first event of a subscription.
    Now(Status),
    Started {
        pid: u32,
    },
    /// Sent when the postmaster died and, unless that was one moment, again
    /// with `all_gone` when the last descendant has.
    Exited {
        exit: Exit,
        all_gone: bool,
    },
    DeadlinePassed {
        hard: bool,
    },
}
