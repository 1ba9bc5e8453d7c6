//! What can happen, to whom, and in which order.
//!
//! Invariant: events are taken by time, and at one time in the order in which
//! they were scheduled, so that a seed replays exactly.

use std::{cmp::Reverse, collections::BinaryHeap, rc::Rc};

use crate::domain::{Incarnation, Report};

use super::{
    agent::Directive,
    client::Answer,
    faults::Fault,
    net::StreamId,
    raft::Message,
    time::At,
    wal::{Branch, Write},
};

/// A process that can be paused, killed and started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    Node(usize),
    Agent(usize),
    Postgres(usize),
    Client(usize),
    /// The simulator itself, which never fails.
    World,
}

/// What an agent says on its stream to a node.
#[derive(Debug, Clone)]
pub struct Said {
    pub sequence: u64,
    /// None in a mere heartbeat.
    pub report: Option<Rc<Report>>,
    /// Asks for the lease of an epoch to be renewed; whether it is hard.
    pub renewal: Option<(crate::domain::Epoch, bool)>,
}

#[derive(Debug, Clone)]
pub enum Event {
    // Quorum nodes.
    Raft {
        from: usize,
        message: Message,
    },
    NodeTick,
    /// What was on its way to the node's disk has arrived there.
    Synced(u64),
    LeaderStep,
    ReadTimeout(u64),
    ReadIndexAsked {
        from: usize,
        id: u64,
    },
    ReadIndexAnswered {
        id: u64,
        index: Option<u64>,
    },
    Hello {
        stream: StreamId,
        member: usize,
    },
    Heard {
        stream: StreamId,
        member: usize,
        said: Said,
    },
    CheckAsked {
        client: usize,
        call: u64,
    },

    // Agents.
    Turn(u64),
    Heartbeat {
        node: usize,
        number: u64,
    },
    Connect {
        node: usize,
    },
    Directed {
        stream: StreamId,
        node: usize,
        directive: Rc<Directive>,
    },
    Renewed {
        node: usize,
        sequence: u64,
        ttl_ms: u64,
    },
    StepDone(u64),
    Knock(u64),
    KnockEnds {
        number: u64,
        answered: bool,
    },
    KnockAsked {
        from: usize,
        number: u64,
    },

    // PostgreSQL.
    Started(u64),
    Promoted(u64),
    ReceiverRetry(u64),
    Attached(Box<Attached>),
    Accepted {
        stream: StreamId,
    },
    Refused {
        stream: StreamId,
    },
    Streamed {
        stream: StreamId,
        from: usize,
        records: Rc<[Write]>,
        branches: Rc<[Branch]>,
    },
    LocalFlush {
        life: u64,
        end: usize,
    },
    ReceiverFlush {
        stream: StreamId,
        end: usize,
    },
    Replied {
        stream: StreamId,
        end: usize,
    },
    SenderReloads {
        life: u64,
        standby: Incarnation,
    },
    CheckpointerTells {
        life: u64,
    },
    Stopping(u64),
    WriteAsked {
        client: usize,
        write: Write,
    },

    // Clients.
    ClientTurn,
    CheckAnswered {
        call: u64,
        answer: Answer,
    },
    CheckTimeout(u64),
    WriteEnded {
        write: Write,
        acknowledged: bool,
    },
    WriteTimeout(Write),

    /// One end of a stream learns that it is no more.
    Closed {
        stream: StreamId,
    },

    // The world around.
    Fault(Box<Fault>),
    NextFault,
    Restart(Process),
}

/// A standby asks a primary for its log.
#[derive(Debug, Clone)]
pub struct Attached {
    pub stream: StreamId,
    pub from: usize,
    pub standby: Incarnation,
    pub timeline: crate::domain::Timeline,
    pub end: usize,
}

#[derive(Debug)]
pub struct Scheduled {
    pub at: At,
    pub order: u64,
    pub to: Process,
    /// The life of the process that it is meant for; None for any.
    pub life: Option<u32>,
    pub event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
}

impl Queue {
    pub fn push(&mut self, at: At, to: Process, life: Option<u32>, event: Event) {
        self.scheduled += 1;
        let order = self.scheduled;
        self.heap.push(Reverse(Scheduled {
            at,
            order,
            to,
            life,
            event,
        }));
    }

    /// Puts back what was taken too early. It keeps its place among what
    /// happens at the same time, or a stream could overtake itself.
    pub fn put_back(&mut self, scheduled: Scheduled) {
        self.heap.push(Reverse(scheduled));
    }

    pub fn pop(&mut self) -> Option<Scheduled> {
        self.heap.pop().map(|Reverse(next)| next)
    }
}
