//! Applications: they ask who is primary, write there, and note what came of it.

use crate::domain::Epoch;

use super::{
    event::{Event, Process},
    time::{At, SECOND},
    wal::Write,
    world::World,
};

const CHECK: At = SECOND;
const WRITE: At = 2 * SECOND;

/// What a node answers to a check.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// Log index of the state that the answer was read from.
    pub revision: u64,
    pub epoch: Epoch,
    /// The member that is published as primary.
    pub primary: Option<usize>,
}

#[derive(Debug, Default)]
pub struct Client {
    /// Where it believes the primary to be.
    primary: Option<usize>,
    /// The check or the write that it waits for.
    call: Option<u64>,
    write: Option<Write>,
}

impl World {
    pub fn start_client(&mut self, client: usize) {
        let delay = self.rng.below(SECOND);
        self.after(Process::Client(client), delay, Event::ClientTurn);
    }

    fn client_rests(&mut self, client: usize) {
        let rest = self
            .rng
            .between(self.plan.write_every / 2, self.plan.write_every * 2);
        self.after(Process::Client(client), rest, Event::ClientTurn);
    }

    pub fn client_turn(&mut self, client: usize) {
        let this = Process::Client(client);
        // Now and then somebody looks again, though nothing has failed.
        if self.rng.chance(20) {
            self.clients[client].primary = None;
        }
        match self.clients[client].primary {
            None => {
                let call = self.new_write();
                let node = self.rng.index(self.nodes.len());
                self.clients[client].call = Some(call);
                self.check_asked(call);
                self.datagram_once(
                    this,
                    Process::Node(node),
                    Event::CheckAsked { client, call },
                );
                self.after(this, CHECK, Event::CheckTimeout(call));
            }
            Some(primary) => {
                let write = self.new_write();
                self.clients[client].write = Some(write);
                let asked = Event::WriteAsked { client, write };
                self.datagram_once(this, Process::Postgres(primary), asked);
                self.after(this, WRITE, Event::WriteTimeout(write));
            }
        }
    }

    pub fn check_answered(&mut self, client: usize, call: u64, answer: Answer) {
        self.judge_answer(call, answer);
        let this = &mut self.clients[client];
        if this.call == Some(call) {
            (this.call, this.primary) = (None, answer.primary);
            self.client_rests(client);
        }
    }

    pub fn check_timeout(&mut self, client: usize, call: u64) {
        let this = &mut self.clients[client];
        if this.call == Some(call) {
            this.call = None;
            self.client_rests(client);
        }
    }

    pub fn write_ended(&mut self, client: usize, write: Write, acknowledged: bool) {
        let this = &mut self.clients[client];
        if this.write != Some(write) {
            return;
        }
        this.write = None;
        if acknowledged {
            self.client_was_told();
        } else {
            self.clients[client].primary = None;
        }
        self.client_rests(client);
    }

    /// Whether it was written stays unknown.
    pub fn write_timeout(&mut self, client: usize, write: Write) {
        let this = &mut self.clients[client];
        if this.write == Some(write) {
            (this.write, this.primary) = (None, None);
            self.client_rests(client);
        }
    }
}
