//! Log on its way from a primary to its standbys, and their replies.

use crate::domain::{Incarnation, Role, SyncConfig};

use super::{
    event::{Attached, Event, Process},
    postgres::{Receiver, Sender},
    time::{At, MS},
    wal::{Branch, Link, Write},
    world::World,
};

/// `wal_retrieve_retry_interval`.
const RETRY: At = 100 * MS;

impl World {
    // The standby's side.

    /// Starts a receiver if the standby is configured to have one.
    pub fn connect_receiver(&mut self, member: usize) {
        let incarnation = self.members[member].agent.incarnation();
        let database = &self.members[member].database;
        let (Some(upstream), Some(server)) = (database.upstream, &database.server) else {
            return;
        };
        if server.role != Role::Standby || server.receiver.is_some() || !server.ready {
            return;
        }
        let (timeline, end) = (database.wal.timeline(), database.wal.end());
        let (from, to) = (
            Process::Postgres(member),
            Process::Postgres(upstream.member),
        );
        let Some(stream) = self.open_stream(from, to) else {
            self.retry_receiver(member);
            return;
        };
        let attached = Attached {
            stream,
            from: member,
            standby: incarnation,
            timeline,
            end,
        };
        if let Some(server) = &mut self.members[member].database.server {
            server.receiver = Some(Receiver {
                stream,
                streaming: false,
            });
        }
        self.on_stream(stream, from, Event::Attached(Box::new(attached)));
    }

    fn retry_receiver(&mut self, member: usize) {
        let run = self.members[member].database.run;
        self.after(Process::Postgres(member), RETRY, Event::ReceiverRetry(run));
    }

    pub fn receiver_retry(&mut self, member: usize, run: u64) {
        if self.members[member].database.run == run {
            self.connect_receiver(member);
        }
    }

    /// Ends the receiver; what it wrote it flushes first.
    pub fn end_receiver(&mut self, member: usize) {
        let database = &mut self.members[member].database;
        let Some(server) = &mut database.server else {
            return;
        };
        if let Some(receiver) = server.receiver.take() {
            database.flushed = database.wal.end();
            self.break_stream(receiver.stream);
        }
    }

    fn receiver_of(&mut self, member: usize, stream: u64) -> Option<&mut Receiver> {
        let server = self.members[member].database.server.as_mut()?;
        server
            .receiver
            .as_mut()
            .filter(|receiver| receiver.stream == stream)
    }

    pub fn receiver_accepted(&mut self, member: usize, stream: u64) {
        let Some(receiver) = self.receiver_of(member, stream) else {
            return;
        };
        receiver.streaming = true;
        let end = self.members[member].database.flushed;
        self.on_stream(
            stream,
            Process::Postgres(member),
            Event::Replied { stream, end },
        );
        self.wake_agent(member, MS);
        self.judge_acknowledgers();
    }

    pub fn receiver_closed(&mut self, member: usize, stream: u64) {
        if self.receiver_of(member, stream).is_some() {
            self.end_receiver(member);
            self.retry_receiver(member);
            self.wake_agent(member, MS);
        }
    }

    pub fn streamed(
        &mut self,
        member: usize,
        stream: u64,
        from: usize,
        records: &[Write],
        branches: &[Branch],
    ) {
        if self.receiver_of(member, stream).is_none() {
            return;
        }
        let wal = &mut self.members[member].database.wal;
        if from != wal.end() {
            let what = format!(
                "standby {member} ends at {} and is sent what follows {from}",
                wal.end()
            );
            self.judge("a simulated stream has no gap", Err(what));
            return;
        }
        wal.receive(records, branches);
        let end = wal.end();
        let takes = self.rng.skewed(200, 10 * MS);
        self.after(
            Process::Postgres(member),
            takes,
            Event::ReceiverFlush { stream, end },
        );
    }

    pub fn receiver_flush(&mut self, member: usize, stream: u64, end: usize) {
        if self.receiver_of(member, stream).is_none() {
            return;
        }
        let database = &mut self.members[member].database;
        database.flushed = database.flushed.max(end);
        let end = database.flushed;
        self.on_stream(
            stream,
            Process::Postgres(member),
            Event::Replied { stream, end },
        );
    }

    // The primary's side.

    pub fn attach(&mut self, member: usize, attached: &Attached) {
        let Attached {
            stream,
            from,
            standby,
            timeline,
            end,
        } = *attached;
        let database = &mut self.members[member].database;
        let (flushed, sync) = (database.flushed, database.sync.clone());
        let admitted = database.server.as_ref().is_some_and(|server| {
            server.ready
                && server.role == Role::Primary
                && !server.stopping
                && server.slots.contains(&standby)
        });
        let link = match admitted {
            true => database.wal.link(flushed, timeline, end),
            false => Link::Refused,
        };
        if link == Link::Refused {
            self.on_stream(stream, Process::Postgres(member), Event::Refused { stream });
            return;
        }
        let sender = Sender {
            stream,
            member: from,
            sent: end,
            flush: 0,
            view: sync,
            told: None,
            ahead: link == Link::AheadOfFork,
        };
        let server = database.server.as_mut();
        // One walsender per member: a slot that is in use is taken over.
        let before = server.and_then(|server| server.senders.insert(standby, sender));
        if let Some(before) = before {
            self.break_stream(before.stream);
        }
        self.judge_fork(member, standby);
        self.on_stream(
            stream,
            Process::Postgres(member),
            Event::Accepted { stream },
        );
        self.feed_standby(member, standby, true);
    }

    pub fn feed_standbys(&mut self, member: usize) {
        let Some(server) = &self.members[member].database.server else {
            return;
        };
        let standbys: Vec<Incarnation> = server.senders.keys().copied().collect();
        for standby in standbys {
            self.feed_standby(member, standby, false);
        }
    }

    fn feed_standby(&mut self, member: usize, standby: Incarnation, even_nothing: bool) {
        let now = self.now;
        let database = &mut self.members[member].database;
        let (flushed, wal) = (database.flushed, &database.wal);
        let Some(server) = &mut database.server else {
            return;
        };
        let Some(sender) = server
            .senders
            .get_mut(&standby)
            .filter(|sender| !sender.ahead)
        else {
            return;
        };
        if sender.sent >= flushed && !even_nothing {
            return;
        }
        if sender.told.is_some_and(|at| at <= now) {
            (sender.view, sender.told) = (database.sync.clone(), None);
        }
        let from = sender.sent;
        let records = wal.records()[from..flushed.max(from)].into();
        sender.sent = flushed.max(from);
        let event = Event::Streamed {
            stream: sender.stream,
            from,
            records,
            branches: wal.branches().into(),
        };
        let stream = sender.stream;
        self.on_stream(stream, Process::Postgres(member), event);
    }

    pub fn sender_replied(&mut self, member: usize, stream: u64, end: usize) {
        let Some(server) = &mut self.members[member].database.server else {
            return;
        };
        let Some((standby, sender)) = server.senders.iter_mut().find(|(_, s)| s.stream == stream)
        else {
            return;
        };
        sender.flush = sender.flush.max(end);
        let standby = *standby;
        if let Some(lsn) = server.released_by(standby) {
            self.release(member, lsn);
        }
    }

    pub fn sender_closed(&mut self, member: usize, stream: u64) {
        if let Some(server) = &mut self.members[member].database.server {
            server.senders.retain(|_, sender| sender.stream != stream);
        }
    }

    /// Ends a walsender, as `pg_terminate_backend` does.
    pub fn end_sender(&mut self, member: usize, standby: Incarnation) {
        let server = self.members[member].database.server.as_mut();
        let ended = server.and_then(|server| server.senders.remove(&standby));
        if let Some(sender) = ended {
            self.break_stream(sender.stream);
        }
    }

    // The sync configuration.

    /// Writes `synchronous_standby_names` and reloads: each walsender reads it
    /// in its own time.
    pub fn write_sync(&mut self, member: usize, sync: SyncConfig) {
        let database = &mut self.members[member].database;
        let run = database.run;
        let is_set = !sync.set.is_empty();
        database.sync = sync;
        let Some(server) = &database.server else {
            return;
        };
        let standbys: Vec<Incarnation> = server.senders.keys().copied().collect();
        let told = server.commits_wait;
        for standby in standbys {
            self.tell_sender(member, standby);
            let takes = self.rng.skewed(MS, 3000 * MS);
            self.after(
                Process::Postgres(member),
                takes,
                Event::SenderReloads { life: run, standby },
            );
        }
        if is_set && !told {
            let takes = self.rng.between(1, 400) * MS;
            self.after(
                Process::Postgres(member),
                takes,
                Event::CheckpointerTells { life: run },
            );
        }
    }

    /// The postmaster passes the signal on before any new session is let in.
    fn tell_sender(&mut self, member: usize, standby: Incarnation) {
        let at = self.now + self.rng.below(4 * MS);
        let server = self.members[member].database.server.as_mut();
        if let Some(sender) = server.and_then(|server| server.senders.get_mut(&standby)) {
            sender.told = Some(at);
        }
    }

    pub fn sender_reloads(&mut self, member: usize, run: u64, standby: Incarnation) {
        let database = &mut self.members[member].database;
        let sync = database.sync.clone();
        let Some(server) = database.server.as_mut().filter(|_| database.run == run) else {
            return;
        };
        if let Some(sender) = server.senders.get_mut(&standby) {
            (sender.view, sender.told) = (sync, None);
        }
        self.judge_fork(member, standby);
        self.judge_acknowledgers();
        let Some(server) = &self.members[member].database.server else {
            return;
        };
        // A configuration that is read may release what waits.
        if let Some(lsn) = server.released_by(standby) {
            self.release(member, lsn);
        }
    }
}
