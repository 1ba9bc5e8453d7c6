//! The network: one link for every ordered pair of hosts.
//!
//! Datagrams are lost, doubled and overtaken. A stream keeps its order and
//! loses nothing until it breaks, as TCP does; what was lost on the way only
//! comes later. A cut takes one direction of a link.

use std::collections::BTreeMap;

use super::{
    event::Process,
    rng::Rng,
    time::{At, MS},
};

pub type Host = usize;
pub type StreamId = u64;

#[derive(Debug, Clone, Copy)]
pub struct Link {
    pub base: At,
    pub jitter: At,
    pub loss_per_mille: u64,
    pub double_per_mille: u64,
    /// How many faults cut it now.
    pub cuts: u32,
}

/// How a link behaves when nothing is wrong.
pub const CALM: Link = Link {
    base: MS / 2,
    jitter: MS,
    loss_per_mille: 0,
    double_per_mille: 0,
    cuts: 0,
};

/// TCP sends again after about this long.
const RETRANSMISSION: At = 200 * MS;

#[derive(Debug)]
struct Stream {
    ends: [(Process, Host); 2],
    /// The latest arrival in each direction: nothing overtakes it.
    latest: [At; 2],
}

#[derive(Debug)]
pub struct Net {
    hosts: usize,
    links: Vec<Link>,
    streams: BTreeMap<StreamId, Stream>,
    opened: StreamId,
}

/// What becomes of something sent on a stream.
pub enum Sent {
    Arrives {
        at: At,
        at_process: Process,
    },
    /// The stream breaks; each end learns of it in its own time.
    Breaks,
    /// It had broken before.
    Gone,
}

impl Net {
    pub fn new(hosts: usize) -> Self {
        Self {
            hosts,
            links: vec![CALM; hosts * hosts],
            streams: BTreeMap::new(),
            opened: 0,
        }
    }

    pub fn link(&mut self, from: Host, to: Host) -> &mut Link {
        &mut self.links[from * self.hosts + to]
    }

    pub fn is_cut(&self, from: Host, to: Host) -> bool {
        from != to && self.links[from * self.hosts + to].cuts > 0
    }

    /// Every link is as it was at the beginning.
    pub fn heal(&mut self) {
        for link in &mut self.links {
            *link = Link {
                cuts: 0,
                loss_per_mille: 0,
                double_per_mille: 0,
                ..*link
            };
        }
    }

    fn delay(&self, from: Host, to: Host, rng: &mut Rng) -> At {
        let link = self.links[from * self.hosts + to];
        if from == to {
            return 20 + rng.below(50);
        }
        link.base + rng.skewed(0, link.jitter * 4)
    }

    /// When a datagram sent now arrives: never, once or twice.
    pub fn datagram(&self, now: At, from: Host, to: Host, rng: &mut Rng) -> Vec<At> {
        let link = self.links[from * self.hosts + to];
        if self.is_cut(from, to) || rng.chance(link.loss_per_mille) {
            return Vec::new();
        }
        let mut arrivals = vec![now + self.delay(from, to, rng)];
        if rng.chance(link.double_per_mille) {
            arrivals.push(now + self.delay(from, to, rng) + rng.below(2000 * MS));
        }
        arrivals
    }

    pub fn open(&mut self, from: (Process, Host), to: (Process, Host)) -> StreamId {
        self.opened += 1;
        let stream = Stream {
            ends: [from, to],
            latest: [0; 2],
        };
        self.streams.insert(self.opened, stream);
        self.opened
    }

    /// Sends on a stream from one of its ends.
    pub fn send(&mut self, now: At, stream: StreamId, from: Process, rng: &mut Rng) -> Sent {
        let Some(known) = self.streams.get(&stream) else {
            return Sent::Gone;
        };
        let side = usize::from(known.ends[0].0 != from);
        let ((_, from), (process, to)) = (known.ends[side], known.ends[1 - side]);
        if self.is_cut(from, to) || self.is_cut(to, from) {
            return Sent::Breaks;
        }
        let mut at = now + self.delay(from, to, rng);
        let loss = self.links[from * self.hosts + to].loss_per_mille;
        while rng.chance(loss.min(800)) {
            at += RETRANSMISSION;
        }
        let Some(known) = self.streams.get_mut(&stream) else {
            return Sent::Gone;
        };
        at = at.max(known.latest[side]);
        known.latest[side] = at;
        Sent::Arrives {
            at,
            at_process: process,
        }
    }

    /// Nothing passes on it any more; its ends, unless it had broken before.
    pub fn break_stream(&mut self, stream: StreamId) -> Option<[Process; 2]> {
        let known = self.streams.remove(&stream)?;
        Some(known.ends.map(|(process, _)| process))
    }

    /// The streams that end at `process`.
    pub fn of(&self, process: Process) -> Vec<StreamId> {
        let ends_here = |stream: &Stream| stream.ends.iter().any(|(end, _)| *end == process);
        let of = self.streams.iter().filter(|(_, stream)| ends_here(stream));
        of.map(|(id, _)| *id).collect()
    }
}
