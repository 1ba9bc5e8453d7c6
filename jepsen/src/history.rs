//! What happened, as far as anybody outside can know.
//!
//! ```text
//! workloads ─ begin/end ─┐
//! watchers ─── saw ──────┼─► Recorder ─► History ─► checkers, report, EDN
//! nemeses ─── fault ─────┘
//! ```
//!
//! Jepsen's discipline: an operation whose outcome is not known is `info` and
//! stays so; it may have happened at any time after its invocation, or never.
//! Times are of one clock, in nanoseconds since the run began.

pub mod edn;
mod recorder;

use serde::{Deserialize, Serialize};

pub use recorder::Recorder;

/// Nanoseconds since the run began.
pub type Nanos = u64;

/// A whole run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    pub about: About,
    /// In the order of their invocation.
    pub operations: Vec<Operation>,
    /// In the order in which they were seen.
    pub seen: Vec<Seen>,
    /// In the order in which they began.
    pub faults: Vec<Fault>,
    pub phases: Phases,
    /// The group's history at the end, as the quorum tells it.
    pub events: Vec<Event>,
}

/// What the run was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub seed: u64,
    pub nodes: usize,
    pub workloads: Vec<String>,
    pub nemeses: Vec<String>,
    pub seconds: u64,
    /// What to type to run it again.
    pub command: String,
    /// Of the program under test, as it prints it.
    pub version: String,
    pub max_staleness_ms: u64,
    pub ttl_ms: u64,
    /// Of the members.
    pub members: Vec<String>,
    /// Name servers by index, for `Request::Resolve`, with their regions.
    pub name_servers: Vec<String>,
}

/// When what went on; 0 for a phase that was not reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// The fleet serves, workloads begin. No fault before `faults`.
    pub load: Nanos,
    pub faults: Nanos,
    /// Every fault is taken back.
    pub healed: Nanos,
    /// The workloads ended; rows are read back from here on.
    pub quiet: Nanos,
    pub end: Nanos,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Operation {
    pub id: u64,
    /// Who asked: one after the other, so that two operations of a process
    /// never overlap. A process whose operation ended as `info` asks no more
    /// under this number.
    pub process: u64,
    /// The workload it belongs to.
    pub workload: String,
    pub request: Request,
    pub invoked: Nanos,
    /// Unset: no answer before the run ended.
    pub completed: Option<Nanos>,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok(Answer),
    /// It did not happen, and will not.
    Fail(String),
    /// Whether it happened is not known.
    Info(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A row of this number, inserted once, in a synchronous group.
    Write { row: i64 },
    /// Every row that a member has, at the end of the run.
    ReadBack { member: String },
    /// A write that asks whether this member acknowledges, bypassing DNS and
    /// checks, on a path that no nemesis cuts.
    Probe { member: String, row: i64 },
    /// Who is primary; `node` is a node's id.
    Check { node: u64 },
    /// Address and port by SRV and A; `server` is an index of `About::name_servers`.
    ResolveAddress { server: usize },
    /// `epoch=` by TXT.
    ResolveEpoch { server: usize },
    /// An operator's command, in words: `switchover tokyo`.
    Admin { what: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The row is committed; `timeline` is what the session saw before it
    /// wrote, 0 where it did not ask.
    Written {
        member: String,
        timeline: u32,
    },
    Rows {
        rows: Vec<i64>,
    },
    /// The lease check's answer. `primary` is unset while nobody is known to be.
    Checked {
        primary: Option<Primary>,
        valid_for_ms: u64,
        revision: u64,
    },
    /// `IP:PORT`s of the primary's name; empty: the name has no address now.
    Addresses {
        addresses: Vec<String>,
        ttl: u32,
    },
    Epoch {
        epoch: u32,
    },
    /// SERVFAIL, with the extended error (RFC 8914) where one was given.
    ServFail {
        extended: Option<u16>,
    },
    /// NXDOMAIN or another code, by its number (RFC 1035 and later).
    Refused {
        code: u16,
    },
    Done {
        member: String,
        epoch: u32,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Primary {
    pub member: String,
    pub address: String,
    pub epoch: u32,
}

/// What a watcher was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    pub at: Nanos,
    pub watcher: u64,
    /// Counts this watcher's streams; each resumes where the last one ended.
    pub stream: u64,
    /// Of the node that served it.
    pub node: u64,
    pub what: Sight,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sight {
    /// The stream was opened, for events from this revision on.
    Opened {
        from_revision: u64,
    },
    Event(Event),
    Current {
        primary: Option<Primary>,
        revision: u64,
    },
    CaughtUp {
        revision: u64,
    },
    Closed {
        reason: String,
    },
}

/// A line of the group's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub revision: u64,
    pub at_ms: u64,
    pub group: String,
    pub epoch: u32,
    pub kind: String,
    pub text: String,
    pub detail: String,
}

/// What a nemesis did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    pub id: u64,
    /// Of the nemesis.
    pub name: String,
    /// In words, for the report: `kill -9 the agent of paris`.
    pub what: String,
    /// Regions that it falls on.
    pub regions: Vec<String>,
    pub began: Nanos,
    /// Unset: it was an instant, or was never taken back.
    pub ended: Option<Nanos>,
    /// Ordered pairs of regions that lost all packets meanwhile.
    pub cut: Vec<(String, String)>,
    /// What it saw of its own effect; a fault that shows none did not happen.
    pub effect: Option<String>,
}

impl History {
    /// Operations of one kind that were answered, with their answers.
    pub fn answered(&self) -> impl Iterator<Item = (&Operation, &Answer, Nanos)> {
        self.operations.iter().filter_map(|operation| {
            let Outcome::Ok(answer) = &operation.outcome else {
                return None;
            };
            Some((operation, answer, operation.completed?))
        })
    }
}
