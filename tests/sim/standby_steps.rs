//! What the steps of a standby do: fence, follow, rewind, base backup.

use crate::domain::{Epoch, Fenced, Promised, Role, StandbyOrder, SyncConfig};

use super::{
    event::Process,
    mutant::Mutant,
    postgres::{Directory, Upstream},
    steps::Progress::{self, Again, Done, Failed, Waits},
    time::{At, MS},
    turn::end_of,
    world::World,
};

impl World {
    pub fn begin_fence(&mut self, member: usize, epoch: Epoch, takes: At) -> Progress {
        let database = &mut self.members[member].database;
        if database
            .upstream
            .is_some_and(|upstream| upstream.epoch > epoch)
        {
            return Failed;
        }
        if self.mutant != Some(Mutant::FenceByAsking) {
            // From here on nothing can reconnect; the receiver lives a moment longer.
            database.upstream = None;
        }
        Again(takes)
    }

    pub fn fence(&mut self, member: usize, epoch: Epoch) -> Progress {
        let ready = self.await_ready(member);
        if !matches!(ready, Done) {
            return ready;
        }
        if self.members[member].database.is_primary() {
            return Failed;
        }
        if self.mutant != Some(Mutant::FenceByAsking) {
            self.end_receiver(member);
        }
        let end = end_of(&self.members[member].database);
        let known = &mut self.members[member].agent.known;
        let position = end.0;
        let fenced = Fenced {
            epoch,
            position: Some(position),
        };
        (known.end, known.fenced) = (Some(end), Some(fenced));
        self.note(format!(
            "agent {member} fenced epoch {epoch} at {}",
            position
        ));
        Done
    }

    pub fn count_stopped(&mut self, member: usize, epoch: Epoch) -> Progress {
        let database = &self.members[member].database;
        if database.server.is_some() {
            return Failed;
        }
        let position = database.clean.then(|| end_of(database).0);
        self.members[member].agent.known.fenced = Some(Fenced { epoch, position });
        Done
    }

    pub fn begin_follow(&mut self, member: usize, order: &StandbyOrder) -> Progress {
        let upstream = self.upstream_of(order);
        let super::world::Member { agent, database } = &mut self.members[member];
        let later = database
            .upstream
            .is_some_and(|upstream| upstream.epoch > order.epoch);
        if later || database.is_primary() {
            return Failed;
        }
        let following = Some((order.epoch, order.upstream.incarnation));
        (agent.disk.following, agent.memory.following) = (following, following);
        agent.forget();
        (database.upstream, database.sync) = (Some(upstream), SyncConfig::nobody());
        match database.server {
            Some(_) => Again(10 * MS),
            None => Again(self.start_server(member, Role::Standby)),
        }
    }

    pub fn await_following(&mut self, member: usize) -> Progress {
        let ready = self.await_ready(member);
        if matches!(ready, Done) {
            self.members[member].agent.open = true;
            self.connect_receiver(member);
        }
        ready
    }

    pub fn upstream_of(&self, order: &StandbyOrder) -> Upstream {
        Upstream {
            epoch: order.epoch,
            incarnation: order.upstream.incarnation,
            member: self.number_of(&order.upstream.member),
        }
    }

    /// Whether the upstream's postmaster answers now.
    pub fn answers(&self, member: usize, order: &StandbyOrder) -> bool {
        let upstream = self.number_of(&order.upstream.member);
        let (here, there) = (Process::Postgres(member), Process::Postgres(upstream));
        let (here, there_host) = (self.host_of(here), self.host_of(there));
        let cut = self.net.is_cut(here, there_host) || self.net.is_cut(there_host, here);
        self.is_alive(there) && !self.is_paused(there) && !cut
    }

    pub fn begin_rewind(&mut self, member: usize, order: &StandbyOrder) -> Progress {
        if !self.answers(member, order) {
            return Waits;
        }
        self.end_server(member, true);
        self.members[member].agent.forget();
        // Whatever ends it early leaves a directory of no use.
        self.members[member].database.directory = Directory::Wreck;
        self.note(format!(
            "agent {member} rewinds to follow {}",
            order.upstream.member
        ));
        Again(self.rng.skewed(100 * MS, 4000 * MS))
    }

    pub fn rewind(&mut self, member: usize, order: &StandbyOrder) -> Progress {
        let upstream = self.number_of(&order.upstream.member);
        let source = &self.members[upstream].database;
        if !self.answers(member, order) || !source.is_primary() || self.rng.chance(50) {
            return Failed;
        }
        let wal = self.members[member]
            .database
            .wal
            .rewound_to(&self.members[upstream].database.wal);
        let database = &mut self.members[member].database;
        (database.flushed, database.wal) = (wal.end(), wal);
        database.directory = Directory::Present;
        self.begin_follow(member, order)
    }

    pub fn begin_clone(&mut self, member: usize, order: &StandbyOrder) -> Progress {
        if !self.answers(member, order) {
            return Waits;
        }
        self.end_server(member, true);
        if self.members[member].agent.may_be_counted() {
            self.reincarnate(member);
            return Waits;
        }
        let incarnation = self.members[member].agent.incarnation();
        let upstream = self.number_of(&order.upstream.member);
        let source = self.members[upstream].database.server.as_ref();
        if !source.is_some_and(|server| server.slots.contains(&incarnation)) {
            return Waits;
        }
        self.note(format!(
            "agent {member} takes a base backup of {}",
            order.upstream.member
        ));
        Again(self.rng.skewed(300 * MS, 6000 * MS))
    }

    pub fn clone_from(&mut self, member: usize, order: &StandbyOrder) -> Progress {
        let upstream = self.number_of(&order.upstream.member);
        let source = &self.members[upstream].database;
        if !self.answers(member, order) || !source.is_primary() {
            return Failed;
        }
        let (wal, system) = (source.wal.copy_until(source.flushed), source.system);
        let database = &mut self.members[member].database;
        (database.flushed, database.wal, database.system) = (wal.end(), wal, system);
        database.directory = Directory::Present;
        self.members[member].agent.forget();
        self.begin_follow(member, order)
    }

    /// What was here before must never be counted again.
    pub fn reincarnate(&mut self, member: usize) {
        let incarnation = self.new_incarnation();
        let agent = &mut self.members[member].agent;
        agent.disk.incarnation = incarnation;
        (agent.disk.promised, agent.disk.following) = (Promised::default(), None);
        agent.memory = agent.disk.clone();
        agent.forget();
        self.note(format!("member {member} is a new incarnation"));
        self.promised_now(member);
    }
}
