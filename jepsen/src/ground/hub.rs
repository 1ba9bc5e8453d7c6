//! Forwards packets between hosts, as each link's rule says.
//!
//! One thread, woken by packets and by what is due. Its memory is fixed from
//! the start: what does not fit is dropped and counted. It runs before other
//! processes, so that starving the fleet of CPU does not look like a network
//! that fails.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    num::NonZeroU64,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use fastrand::Rng;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    process::setpriority_process,
    thread::set_current_timer_slack,
};

use super::{
    GroundError, doing,
    link::{Link, count},
    network::{Links, host_at},
};
use crate::clock;

/// Ethernet's, in bytes: a lost packet is then as small a loss as it is in the
/// world.
pub(super) const MTU: usize = 1500;
/// Packets on their way through the whole network: 24 MiB.
const ON_THEIR_WAY: usize = 16 * 1024;
/// Through one link: 80 ms at 600 Mbit/s.
const ON_A_LINK: usize = 4 * 1024;
/// Packets taken from one host before the next one has its turn.
const TURN: usize = 64;
const PRIORITY: i32 = -18;

/// Ends with this.
#[derive(Debug)]
pub(super) struct Hub {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// `ports`: one device for each host.
pub(super) fn start(
    ports: Vec<OwnedFd>,
    links: Arc<Links>,
    random: Rng,
) -> Result<Hub, GroundError> {
    let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(doing("make an eventfd"))?;
    let stop = Arc::new(stop);
    let stopped = Arc::clone(&stop);
    let switch = Switch {
        ports: ports.into(),
        links,
        random,
        queue: Queue::new(),
    };
    let work = move || switch.run(&stopped);
    let thread = thread::Builder::new().name("hub".to_owned()).spawn(work);
    Ok(Hub {
        stop,
        thread: Some(thread.map_err(doing("start the hub"))?),
    })
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _cannot_fail = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the network's hub panicked");
        }
    }
}

struct Switch {
    ports: Arc<[OwnedFd]>,
    links: Arc<Links>,
    random: Rng,
    queue: Queue,
}

impl Switch {
    fn run(mut self, stop: &OwnedFd) {
        // Without root it is slower, not wrong.
        let _slower = setpriority_process(None, PRIORITY);
        let _coarser = set_current_timer_slack(NonZeroU64::new(1));
        let ports = Arc::clone(&self.ports);
        let mut waits: Vec<_> = (ports.iter().chain([stop]))
            .map(|port| PollFd::new(port, PollFlags::IN))
            .collect();
        loop {
            let left = self.left();
            // An interrupted call says that nothing is ready, or the same again.
            let _interrupted = poll(&mut waits, left.as_ref());
            self.deliver_due();
            for (from, wait) in waits.iter().enumerate() {
                if wait.revents().is_empty() {
                    continue;
                }
                if from == ports.len() {
                    return;
                }
                self.take_turn(from);
            }
        }
    }

    /// Until something is due, if something waits.
    fn left(&self) -> Option<Timespec> {
        let left = self.queue.next_due()?.saturating_sub(clock::now());
        Some(Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        })
    }

    fn take_turn(&mut self, from: usize) {
        let mut packet = [0; MTU];
        for _ in 0..TURN {
            let Ok(length) = rustix::io::read(&self.ports[from], &mut packet) else {
                return;
            };
            self.handle(from, &packet[..length]);
        }
    }

    /// What is not for one of the hosts is for nobody.
    fn handle(&mut self, from: usize, packet: &[u8]) {
        let Some(to) = destination(packet).and_then(|it| host_at(it, self.ports.len())) else {
            return;
        };
        let links = Arc::clone(&self.links);
        let link = links.get(from, to);
        let rule = link.state().rule;
        if self.random.f64() < rule.loss {
            return count(&link.counts.lost);
        }
        self.forward(link, (from, to), packet);
        if self.random.f64() < rule.duplication {
            count(&link.counts.duplicated);
            self.forward(link, (from, to), packet);
        }
    }

    /// Delivers at once, or queues.
    fn forward(&mut self, link: &Link, way: (usize, usize), packet: &[u8]) {
        let mut state = link.state();
        if state.cuts > 0 || state.shut.is_some_and(|port| uses_port(packet, port)) {
            return count(&link.counts.cut);
        }
        let rule = state.rule;
        let in_order = state.queued > 0 && !rule.reorder;
        if rule.delay.is_zero() && rule.jitter.is_zero() && !in_order {
            return deliver(link, &self.ports[way.1], packet);
        }
        let mut due = clock::now() + rule.delay + rule.jitter.mul_f64(self.random.f64());
        if !rule.reorder {
            due = due.max(state.last_due);
        }
        if state.queued >= ON_A_LINK || !self.queue.push(due, way, packet) {
            return count(&link.counts.overflowed);
        }
        state.queued += 1;
        state.last_due = state.last_due.max(due);
        count(&link.counts.delayed);
    }

    fn deliver_due(&mut self) {
        let Some(next) = self.queue.next_due() else {
            return;
        };
        let now = clock::now();
        if next > now {
            return;
        }
        while let Some(((from, to), packet)) = self.queue.pop(now) {
            let link = self.links.get(from, to);
            let mut state = link.state();
            state.queued -= 1;
            if state.cuts > 0 {
                count(&link.counts.cut);
            } else {
                deliver(link, &self.ports[to], packet);
            }
        }
    }
}

/// The link is held, so that it is not cut meanwhile.
fn deliver(link: &Link, port: impl AsFd, packet: &[u8]) {
    let counter = match rustix::io::write(port, packet) {
        Ok(_) => &link.counts.forwarded,
        Err(_) => &link.counts.overflowed,
    };
    count(counter);
}

/// Of an IPv4 packet.
fn destination(packet: &[u8]) -> Option<[u8; 4]> {
    let is_ipv4 = packet.first()? >> 4 == 4;
    is_ipv4.then(|| packet.get(16..20)?.try_into().ok())?
}

/// Whether an IPv4 packet is TCP from or to `port` (RFC 791, RFC 9293).
fn uses_port(packet: &[u8], port: u16) -> bool {
    const TCP: u8 = 6;
    let ports = || {
        let header = usize::from(packet.first()? & 0x0f) * 4;
        let [a, b, c, d] = *packet.get(header..header + 4)?.as_array()?;
        Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])])
    };
    packet.get(9) == Some(&TCP) && ports().is_some_and(|ports| ports.contains(&port))
}

/// Packets on their way, the one that is due first, first; of two that are due
/// together, the older.
struct Queue {
    order: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    slots: Vec<Slot>,
    /// `MTU` bytes for each slot.
    bytes: Vec<u8>,
    free: Vec<usize>,
    /// How many there ever were.
    count: u64,
}

#[derive(Clone, Default)]
struct Slot {
    way: (usize, usize),
    length: usize,
}

impl Queue {
    fn new() -> Self {
        Self {
            order: BinaryHeap::with_capacity(ON_THEIR_WAY),
            slots: vec![Slot::default(); ON_THEIR_WAY],
            bytes: vec![0; ON_THEIR_WAY * MTU],
            free: (0..ON_THEIR_WAY).rev().collect(),
            count: 0,
        }
    }

    fn next_due(&self) -> Option<Duration> {
        self.order.peek().map(|Reverse((due, ..))| *due)
    }

    /// False when it is full.
    fn push(&mut self, due: Duration, way: (usize, usize), packet: &[u8]) -> bool {
        let Some(index) = self.free.pop() else {
            return false;
        };
        let (start, length) = (index * MTU, packet.len());
        self.bytes[start..start + length].copy_from_slice(packet);
        self.slots[index] = Slot { way, length };
        self.count += 1;
        self.order.push(Reverse((due, self.count, index)));
        true
    }

    fn pop(&mut self, now: Duration) -> Option<((usize, usize), &[u8])> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse((_, _, index)) = self.order.pop()?;
        self.free.push(index);
        let Slot { way, length } = self.slots[index];
        let start = index * MTU;
        Some((way, &self.bytes[start..start + length]))
    }
}
