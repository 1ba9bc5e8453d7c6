//! No two members can acknowledge a new write at one time.
//!
//! *Can* means: if a client wrote now and nothing were paused, cut or killed,
//! the commit would be released. What a standby flushed before it was fenced
//! may still release older commits; those are every successor's too.

use super::super::{
    postgres::{Sender, Server},
    world::World,
};
use crate::domain::{Incarnation, Role};

impl World {
    pub fn judge_acknowledgers(&mut self) {
        let able: Vec<usize> = (0..self.members.len())
            .filter(|m| self.can_acknowledge(*m))
            .collect();
        let verdict = match able.as_slice() {
            [] | [_] => Ok(()),
            several => Err(format!(
                "members {several:?} can acknowledge writes at one time"
            )),
        };
        self.judge("one can acknowledge", verdict);
    }

    pub fn can_acknowledge(&self, member: usize) -> bool {
        let Some(server) = &self.members[member].database.server else {
            return false;
        };
        if server.role != Role::Primary || server.stopping {
            return false;
        }
        !server.commits_wait || self.a_sender_could_release(server)
    }

    fn a_sender_could_release(&self, server: &Server) -> bool {
        let counts = |(id, sender): &(&Incarnation, &Sender)| {
            sender.view.set.contains(id) && (sender.ahead || self.is_received(sender))
        };
        let counting: Vec<&Sender> = server
            .senders
            .iter()
            .filter(counts)
            .map(|(_, s)| s)
            .collect();
        counting
            .iter()
            .any(|sender| counting.len() >= sender.view.k as usize)
    }

    /// Whether the standby at the other end still takes what is sent.
    fn is_received(&self, sender: &Sender) -> bool {
        let standby = &self.members[sender.member].database;
        let receiver = standby.server.as_ref().and_then(|server| server.receiver);
        receiver.is_some_and(|receiver| receiver.stream == sender.stream)
    }
}
