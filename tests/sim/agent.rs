//! An agent: its memory, its streams, and what it knows of its member.
//!
//! The loop follows `src/agent/run.rs`: look, say, obey, do one step, look
//! again. Which step is due is the product's (`promise::admit`,
//! `reconcile::next_step`), and so is the lease (`Holder`).

use std::{rc::Rc, time::Duration};

use crate::{
    agent::{
        holder::{Holder, Renewal},
        reconcile::Step,
    },
    domain::{
        BarrierReport, Epoch, Fenced, Incarnation, Instruction, InstructionOrder, Lineage,
        Position, Promised, Report, SyncConfig,
    },
};

use super::{net::StreamId, time::Elapsed, wal::Write};

/// What the leader wants of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    pub term: u64,
    pub incarnation: Incarnation,
    pub instruction: Instruction,
    pub watchful: bool,
    pub prepare_stop: Option<Epoch>,
}

/// What outlives the agent.
#[derive(Debug, Clone)]
pub struct Memory {
    pub incarnation: Incarnation,
    pub promised: Promised,
    pub following: Option<(Epoch, Incarnation)>,
}

/// Found out, and found out again whenever something changed underneath.
#[derive(Debug, Default)]
pub struct Known {
    pub end: Option<(Position, Lineage)>,
    pub fenced: Option<Fenced>,
    pub sync: Option<(InstructionOrder, SyncConfig)>,
    pub barrier: Option<BarrierReport>,
}

/// A synchronous write that is under way.
#[derive(Debug)]
pub struct BarrierUnderWay {
    pub order: InstructionOrder,
    pub sync: SyncConfig,
    pub write: Write,
    pub until: Duration,
    /// It was acknowledged; every walsender that counts has to get this far.
    pub voters: Option<(usize, Duration)>,
}

/// The stream to one node.
#[derive(Debug)]
pub struct NodeStream {
    pub stream: Option<StreamId>,
    pub sequence: u64,
    pub renewals: Vec<(u64, Renewal)>,
    /// When this node last directed, by the agent's clock.
    pub directed: Option<Duration>,
    pub retry: Duration,
    /// Number of the heartbeat that is due.
    pub beat: u64,
}

impl NodeStream {
    pub fn new() -> Self {
        Self {
            stream: None,
            sequence: 0,
            renewals: Vec::new(),
            directed: None,
            retry: Duration::from_millis(50),
            beat: 0,
        }
    }
}

/// A step that is being done.
#[derive(Debug)]
pub struct Act {
    pub number: u64,
    pub step: Step,
    pub directive: Rc<Directive>,
    pub stage: u32,
}

#[derive(Debug)]
pub struct Failing {
    pub step: Step,
    pub pause: Duration,
    pub until: Duration,
}

/// Whether the upstream's postmaster answers.
#[derive(Debug)]
pub struct Knocks {
    pub upstream: usize,
    pub number: u64,
    pub latest: Option<bool>,
}

#[derive(Debug)]
pub struct Agent {
    /// On disk.
    pub disk: Memory,
    /// What this life works with; the same as on disk but for a mutant.
    pub memory: Memory,
    pub known: Known,
    pub barrier: Option<BarrierUnderWay>,
    pub open: bool,
    pub directive: Option<Rc<Directive>>,
    pub streams: Vec<NodeStream>,
    pub said: Option<Rc<Report>>,
    pub renew: Option<Epoch>,
    pub holder: Holder,
    pub elapsed: Elapsed,
    /// When a node last renewed the lease, and its TTL.
    pub renewed: Option<(Duration, Duration)>,
    /// A write that asks the sync set for a sign of life: until when, and what came.
    pub lonely: Option<(Write, Duration, Option<bool>)>,
    pub failing: Option<Failing>,
    pub unanswered: Option<Duration>,
    pub stirred: Duration,
    pub act: Option<Act>,
    pub acts: u64,
    /// Number of the turn that is due.
    pub turn: u64,
    pub knocks: Option<Knocks>,
    pub knocked: u64,
    pub checkpoint: Option<Epoch>,
}

impl Agent {
    pub fn new(disk: Memory, nodes: usize, elapsed: Elapsed) -> Self {
        Self {
            memory: disk.clone(),
            disk,
            known: Known::default(),
            barrier: None,
            open: false,
            directive: None,
            streams: (0..nodes).map(|_| NodeStream::new()).collect(),
            said: None,
            renew: None,
            holder: Holder::default(),
            elapsed,
            renewed: None,
            lonely: None,
            failing: None,
            unanswered: None,
            stirred: Duration::ZERO,
            act: None,
            acts: 0,
            turn: 0,
            knocks: None,
            knocked: 0,
            checkpoint: None,
        }
    }

    pub fn incarnation(&self) -> Incarnation {
        self.memory.incarnation
    }

    pub fn promised(&self) -> Promised {
        self.memory.promised
    }

    /// Whether this incarnation may ever have acknowledged anything.
    pub fn may_be_counted(&self) -> bool {
        self.memory.following.is_some() || self.memory.promised.opened > Epoch::NONE
    }

    pub fn forget(&mut self) {
        self.known = Known::default();
    }
}
