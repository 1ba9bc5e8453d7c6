//! Synchronous writes of an agent: the barrier, and a sign of life.

use std::time::Duration;

use crate::domain::{BarrierReport, Incarnation, InstructionOrder, Position, SyncConfig};

use super::{
    agent::BarrierUnderWay, mutant::Mutant, postgres::Waiter, time::MS, wal::Write, world::World,
};

const BUDGET: Duration = Duration::from_secs(5);
const HELD_UP: Duration = Duration::from_millis(500);

impl World {
    pub fn begin_barrier(&mut self, member: usize, order: InstructionOrder, sync: &SyncConfig) {
        let until = self.boottime_of(member) + BUDGET;
        let write = self.synchronous_write(member, sync);
        let sync = sync.clone();
        let under_way = BarrierUnderWay {
            order,
            sync,
            write,
            until,
            voters: None,
        };
        let at_once = self.mutant == Some(Mutant::BarrierNotAwaited);
        let position = self.end_position(member);
        let agent = &mut self.members[member].agent;
        match at_once {
            true => agent.known.barrier = Some(BarrierReport { order, position }),
            false => agent.barrier = Some(under_way),
        }
    }

    fn end_position(&self, member: usize) -> Position {
        let wal = &self.members[member].database.wal;
        wal.position(wal.end())
    }

    pub fn ask_sync_set(&mut self, member: usize) -> Write {
        let sync = self.members[member].agent.known.sync.clone();
        let sync = sync.map_or_else(SyncConfig::nobody, |(_, sync)| sync);
        self.synchronous_write(member, &sync)
    }

    /// Ends earlier ones, and walsenders that count without being in the set.
    fn synchronous_write(&mut self, member: usize, sync: &SyncConfig) -> Write {
        let write = self.new_write();
        let Some(server) = &mut self.members[member].database.server else {
            return write;
        };
        server.waits.retain(|wait| wait.waiter != Waiter::Agent);
        let strangers: Vec<Incarnation> = server
            .senders
            .iter()
            .filter(|(id, sender)| sender.view.set.contains(id) && !sync.set.contains(id))
            .map(|(id, _)| *id)
            .collect();
        for stranger in strangers {
            self.end_sender(member, stranger);
        }
        self.insert(member, write, Waiter::Agent);
        write
    }

    pub fn barrier_ended(&mut self, member: usize, write: Write, acknowledged: bool) {
        let now = self.boottime_of(member);
        let flushed = self.members[member].database.flushed;
        let agent = &mut self.members[member].agent;
        if let Some((asked, _, answered)) = &mut agent.lonely
            && *asked == write
        {
            // That the server ended says nothing about the standbys.
            *answered = Some(true);
        }
        let Some(barrier) = agent
            .barrier
            .as_mut()
            .filter(|barrier| barrier.write == write)
        else {
            return;
        };
        if !acknowledged {
            agent.barrier = None;
            return;
        }
        barrier.voters = Some((flushed, now));
        self.follow_barrier(member);
        self.wake_agent(member, MS);
    }

    /// Looks whether the barrier is through, or took too long.
    pub fn follow_barrier(&mut self, member: usize) {
        let now = self.boottime_of(member);
        let Some(barrier) = &self.members[member].agent.barrier else {
            return;
        };
        if now >= barrier.until {
            self.members[member].agent.barrier = None;
            return;
        }
        let Some((end, since)) = barrier.voters else {
            return;
        };
        let behind = match barrier.sync.k {
            0 | 1 => Vec::new(),
            _ => self.voters_behind(member, end),
        };
        if !behind.is_empty() {
            if now.saturating_sub(since) > HELD_UP {
                for standby in behind {
                    self.end_sender(member, standby);
                }
            }
            return;
        }
        let order = barrier.order;
        let position = self.members[member].database.wal.position(end);
        let agent = &mut self.members[member].agent;
        agent.known.barrier = Some(BarrierReport { order, position });
        agent.barrier = None;
    }

    /// Walsenders that count and have sent nothing behind the barrier.
    fn voters_behind(&self, member: usize, end: usize) -> Vec<Incarnation> {
        let Some(server) = &self.members[member].database.server else {
            return Vec::new();
        };
        let behind = server
            .senders
            .iter()
            .filter(|(id, sender)| sender.view.set.contains(id) && sender.flush < end);
        behind.map(|(id, _)| *id).collect()
    }
}
