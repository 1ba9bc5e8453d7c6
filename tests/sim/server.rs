//! What PostgreSQL does by itself: start, recover, promote, take writes, wait
//! for standbys, crash.

use crate::domain::{Epoch, Role, SyncConfig, rule::Rule};

use super::{
    event::{Event, Process},
    mutant::Mutant,
    postgres::{Directory, Server, Wait, Waiter},
    time::{At, MS},
    wal::{Wal, Write},
    world::World,
};

impl World {
    /// Starts a server on the directory; it is ready after a while.
    pub fn start_server(&mut self, member: usize, role: Role) -> At {
        self.start_process(Process::Postgres(member));
        let sentinel = self.mutant != Some(Mutant::SentinelAbsent) || role == Role::Primary;
        let database = &mut self.members[member].database;
        database.run += 1;
        let run = database.run;
        database.is_standby = role == Role::Standby;
        database.clean = false;
        // A crash recovery replays what was on disk, acknowledged or not.
        database.flushed = database.wal.end();
        database.server = Some(Server::new(role, sentinel));
        let takes = self.rng.skewed(40 * MS, 800 * MS);
        self.after(Process::Postgres(member), takes, Event::Started(run));
        takes
    }

    pub fn server_started(&mut self, member: usize, run: u64) {
        let database = &mut self.members[member].database;
        let is_standby = database.is_standby;
        if let Some(server) = database.server.as_mut().filter(|_| database.run == run) {
            server.ready = true;
            if is_standby {
                self.connect_receiver(member);
            }
            self.wake_agent(member, MS);
        }
    }

    /// The server is gone; what was flushed stays, of the rest anything may.
    pub fn end_server(&mut self, member: usize, clean: bool) {
        let database = &mut self.members[member].database;
        let Some(server) = database.server.take() else {
            return;
        };
        if !clean {
            let lost = database.wal.end() - database.flushed;
            let kept = database.flushed + self.rng.index(lost + 1);
            let database = &mut self.members[member].database;
            database.wal.truncate(kept);
        }
        let database = &mut self.members[member].database;
        database.flushed = database.wal.end();
        database.clean = clean;
        for wait in server.waits {
            self.end_wait(member, wait, false);
        }
        self.kill_process(Process::Postgres(member));
        self.wake_agent(member, MS);
    }

    // Promotion.

    /// Asks for a promotion; PostgreSQL gets there whatever its agent does.
    pub fn begin_promotion(&mut self, member: usize, epoch: Epoch, sync: SyncConfig) {
        self.end_receiver(member);
        let takes = self.rng.skewed(20 * MS, 500 * MS);
        let database = &mut self.members[member].database;
        let run = database.run;
        (database.upstream, database.sync) = (None, sync);
        let Some(server) = database.server.as_mut() else {
            return;
        };
        server.open = false;
        if server.promoting.replace(epoch).is_none() {
            self.after(Process::Postgres(member), takes, Event::Promoted(run));
        }
    }

    pub fn promoted(&mut self, member: usize, run: u64) {
        let database = &mut self.members[member].database;
        let Some(server) = database.server.as_mut().filter(|_| database.run == run) else {
            return;
        };
        let Some(epoch) = server
            .promoting
            .take()
            .filter(|_| server.role == Role::Standby)
        else {
            return;
        };
        let timeline = match Rule::TimelineIsEpoch.holds() {
            true => epoch.timeline(),
            false => crate::domain::Timeline(database.wal.timeline().0 + 1),
        };
        database.wal.promote(timeline);
        database.flushed = database.wal.end();
        database.is_standby = false;
        server.role = Role::Primary;
        // Whether commits wait is a flag that the checkpointer sets late, but
        // never takes back from a list that was never empty.
        if !server.commits_wait {
            let late = self.rng.between(10, 400) * MS;
            self.after(
                Process::Postgres(member),
                late,
                Event::CheckpointerTells { life: run },
            );
        }
        self.note(format!(
            "postgres {member} is primary on timeline {timeline} from {}",
            { self.members[member].database.wal.end() }
        ));
        self.opened(member);
        self.wake_agent(member, MS);
    }

    pub fn checkpointer_tells(&mut self, member: usize, run: u64) {
        let database = &mut self.members[member].database;
        if let Some(server) = database.server.as_mut().filter(|_| database.run == run) {
            server.commits_wait = true;
        }
    }

    // Writes.

    pub fn write_asked(&mut self, member: usize, client: usize, write: Write) {
        let server = self.members[member].database.server.as_ref();
        let serves = server.is_some_and(|server| {
            server.role == Role::Primary && server.ready && server.open && !server.stopping
        });
        if serves {
            self.insert(member, write, Waiter::Client(client));
        } else {
            let ended = Event::WriteEnded {
                write,
                acknowledged: false,
            };
            self.datagram_once(Process::Postgres(member), Process::Client(client), ended);
        }
    }

    /// Appends a commit, which waits until it may be acknowledged.
    pub fn insert(&mut self, member: usize, write: Write, waiter: Waiter) {
        let database = &mut self.members[member].database;
        let lsn = database.wal.append(write);
        let run = database.run;
        if let Some(server) = &mut database.server {
            server.waits.push(Wait { write, lsn, waiter });
        }
        let takes = self.rng.skewed(200, 5 * MS);
        self.after(
            Process::Postgres(member),
            takes,
            Event::LocalFlush {
                life: run,
                end: lsn,
            },
        );
    }

    pub fn local_flush(&mut self, member: usize, run: u64, end: usize) {
        let database = &mut self.members[member].database;
        if database.run != run || database.flushed >= end {
            return;
        }
        database.flushed = end;
        let Some(server) = &mut database.server else {
            return;
        };
        if !server.commits_wait {
            self.release(member, end);
        }
        self.feed_standbys(member);
    }

    /// Acknowledges what waits up to `lsn`.
    pub fn release(&mut self, member: usize, lsn: usize) {
        let database = &mut self.members[member].database;
        let flushed = database.flushed;
        let Some(server) = &mut database.server else {
            return;
        };
        let due: Vec<_> = server
            .waits
            .extract_if(.., |wait| wait.lsn <= lsn.min(flushed))
            .collect();
        for wait in due {
            if matches!(wait.waiter, Waiter::Client(_)) {
                self.acknowledged(member, wait.write, wait.lsn);
            }
            self.end_wait(member, wait, true);
        }
    }

    fn end_wait(&mut self, member: usize, wait: Wait, acknowledged: bool) {
        let write = wait.write;
        match wait.waiter {
            Waiter::Client(client) => {
                let ended = Event::WriteEnded {
                    write,
                    acknowledged,
                };
                // A session that ends with its server leaves the client in the dark.
                if acknowledged {
                    self.datagram_once(Process::Postgres(member), Process::Client(client), ended);
                }
            }
            Waiter::Agent => self.barrier_ended(member, write, acknowledged),
        }
    }

    // The directory.

    pub fn create_cluster(&mut self, member: usize) {
        let system = self.rng.next() | 1;
        let database = &mut self.members[member].database;
        database.directory = Directory::Present;
        (database.wal, database.flushed) = (Wal::new(), 0);
        (database.system, database.clean) = (Some(system), true);
        database.sync = SyncConfig::nobody();
    }
}
