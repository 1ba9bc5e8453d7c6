//! What goes on beside an agent's loop: knocks at the upstream, and the
//! question whether a primary is forsaken.

use std::time::Duration;

use crate::{
    agent::reconcile::Directory,
    domain::{Instruction, Role},
};

use super::{
    agent::{Directive, Knocks},
    event::{Event, Process},
    time::{At, MS},
    turn::{Observed, is_renewable},
    world::World,
};

const UNRENEWED: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(5);
const KNOCK: At = 250 * MS;
const KNOCK_AGAIN: At = 100 * MS;

impl World {
    pub fn beside(&mut self, member: usize, directive: &Directive, observed: &Observed) {
        let agent = &mut self.members[member].agent;
        // A checkpoint takes no time that matters here.
        match directive.prepare_stop {
            Some(epoch) => agent.checkpoint = Some(epoch),
            None => agent.checkpoint = None,
        }
        let upstream = match &directive.instruction {
            Instruction::Standby(order) if directive.watchful => {
                Some(order.upstream.member.clone())
            }
            _ => None,
        };
        let standby = observed.directory == Directory::Running(Role::Standby);
        let at = upstream
            .filter(|_| standby)
            .map(|name| self.number_of(&name));
        self.knock_at(member, at);
    }

    fn knock_at(&mut self, member: usize, upstream: Option<usize>) {
        let agent = &mut self.members[member].agent;
        if agent.knocks.as_ref().map(|knocks| knocks.upstream) == upstream {
            return;
        }
        agent.knocked += 1;
        let number = agent.knocked;
        agent.knocks = upstream.map(|upstream| Knocks {
            upstream,
            number,
            latest: None,
        });
        if upstream.is_some() {
            self.knock(member, number);
        }
    }

    pub fn knock(&mut self, member: usize, number: u64) {
        let agent = &mut self.members[member].agent;
        let Some(knocks) = agent
            .knocks
            .as_mut()
            .filter(|knocks| knocks.number == number)
        else {
            return;
        };
        agent.knocked += 1;
        knocks.number = agent.knocked;
        let (upstream, number) = (knocks.upstream, knocks.number);
        let (from, to) = (Process::Agent(member), Process::Postgres(upstream));
        let asked = Event::KnockAsked {
            from: member,
            number,
        };
        self.datagram_once(from, to, asked);
        let late = Event::KnockEnds {
            number,
            answered: false,
        };
        self.after(from, KNOCK, late);
    }

    pub fn knock_asked(&mut self, member: usize, from: usize, number: u64) {
        let answer = Event::KnockEnds {
            number,
            answered: true,
        };
        self.datagram_once(Process::Postgres(member), Process::Agent(from), answer);
    }

    pub fn knock_ends(&mut self, member: usize, number: u64, answered: bool) {
        let agent = &mut self.members[member].agent;
        let Some(knocks) = agent
            .knocks
            .as_mut()
            .filter(|knocks| knocks.number == number)
        else {
            return;
        };
        knocks.latest = Some(answered);
        agent.knocked += 1;
        knocks.number = agent.knocked;
        let number = knocks.number;
        self.after(Process::Agent(member), KNOCK_AGAIN, Event::Knock(number));
    }

    /// Whether a primary has lost both the quorum and its sync set.
    pub fn is_forsaken(&mut self, member: usize, observed: &Observed) -> bool {
        let now = self.boottime_of(member);
        let agent = &mut self.members[member].agent;
        if !is_renewable(agent.memory.promised, observed) {
            (agent.renewed, agent.lonely) = (None, None);
            return false;
        }
        let (renewed, ttl) = *agent.renewed.get_or_insert((now, UNRENEWED));
        if now.saturating_sub(renewed) <= ttl {
            agent.lonely = None;
            return false;
        }
        match agent.lonely {
            Some((_, _, Some(answered))) => {
                agent.lonely = None;
                !answered
            }
            Some((_, until, None)) if now >= until => {
                agent.lonely = None;
                true
            }
            Some(_) => false,
            None => {
                if agent.known.sync.is_some() {
                    let write = self.ask_sync_set(member);
                    self.members[member].agent.lonely = Some((write, now + PATIENCE, None));
                }
                false
            }
        }
    }
}
