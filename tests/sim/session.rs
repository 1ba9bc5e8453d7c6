//! An agent's streams to the quorum nodes: heartbeats, reports, renewals.

use std::{rc::Rc, time::Duration};

use crate::{
    agent::holder::Renewal,
    domain::{Epoch, Report},
};

use super::{
    agent::{Directive, NodeStream},
    event::{Event, Process, Said},
    net::StreamId,
    time::{At, MS, SECOND},
    world::World,
};

const HEARTBEAT: At = 150 * MS;
const HEARTBEAT_ASIDE: At = 250 * MS;
const LEADS_FOR: Duration = Duration::from_secs(2);
const RENEW: Duration = Duration::from_millis(500);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(1);
/// What a holder leaves itself for stopping.
pub const FENCE_BUDGET: Duration = Duration::from_millis(500);

impl World {
    pub fn connect_agent(&mut self, member: usize, node: usize) {
        let (from, to) = (Process::Agent(member), Process::Node(node));
        let Some(stream) = self.open_stream(from, to) else {
            self.reconnect_agent(member, node);
            return;
        };
        let link = &mut self.members[member].agent.streams[node];
        link.stream = Some(stream);
        link.renewals.clear();
        link.retry = RETRY_FIRST;
        self.on_stream(stream, from, Event::Hello { stream, member });
        self.send_report(member, node, true);
    }

    fn reconnect_agent(&mut self, member: usize, node: usize) {
        let link = &mut self.members[member].agent.streams[node];
        let pause = link.retry;
        link.retry = (link.retry * 2).min(RETRY_MOST);
        let pause = u64::try_from(pause.as_micros()).unwrap_or(SECOND);
        self.after(Process::Agent(member), pause, Event::Connect { node });
    }

    pub fn agent_stream_closed(&mut self, member: usize, stream: StreamId) {
        let streams = &mut self.members[member].agent.streams;
        let Some(node) = streams.iter().position(|link| link.stream == Some(stream)) else {
            return;
        };
        streams[node].stream = None;
        self.reconnect_agent(member, node);
    }

    pub fn heartbeat(&mut self, member: usize, node: usize, number: u64) {
        if self.members[member].agent.streams[node].beat == number {
            self.send_report(member, node, false);
        }
    }

    /// Says this to every node from now on; at once when it differs.
    pub fn say(&mut self, member: usize, report: Report, renew: Option<Epoch>) {
        let agent = &mut self.members[member].agent;
        let same = agent.said.as_deref() == Some(&report) && agent.renew == renew;
        if same {
            return;
        }
        (agent.said, agent.renew) = (Some(Rc::new(report)), renew);
        for node in 0..self.nodes.len() {
            self.send_report(member, node, true);
        }
    }

    fn send_report(&mut self, member: usize, node: usize, whole: bool) {
        let now = self.now;
        let clocks = &self.clocks[self.host_of(Process::Agent(member))];
        let (boottime, reading) = (clocks.boottime(now), clocks.reading(now));
        let asked = self.members[member].agent.renew;
        let sent = self.members[member].agent.elapsed.greatest(reading);
        let agent = &mut self.members[member].agent;
        let said = agent.said.clone();
        let link = &mut agent.streams[node];
        let Some(stream) = link.stream else { return };
        link.beat += 1;
        let beat = link.beat;
        let leads = link
            .directed
            .is_some_and(|at| boottime.saturating_sub(at) < LEADS_FOR);
        if let Some(said) = said {
            link.sequence += 1;
            let renewal = renewal(link, asked, sent);
            let said = Said {
                sequence: link.sequence,
                report: whole.then_some(said),
                renewal,
            };
            self.on_stream(
                stream,
                Process::Agent(member),
                Event::Heard {
                    stream,
                    member,
                    said,
                },
            );
        }
        let pause = if leads { HEARTBEAT } else { HEARTBEAT_ASIDE };
        self.after(
            Process::Agent(member),
            pause,
            Event::Heartbeat { node, number: beat },
        );
    }

    /// `stream` 0 is a directive that comes again, long after it was sent.
    pub fn directed(
        &mut self,
        member: usize,
        stream: StreamId,
        node: usize,
        directive: &Rc<Directive>,
    ) {
        let clocks = &self.clocks[self.host_of(Process::Agent(member))];
        let boottime = clocks.boottime(self.now);
        let agent = &mut self.members[member].agent;
        if agent.streams[node].stream == Some(stream) {
            agent.streams[node].directed = Some(boottime);
        } else if stream != 0 {
            return;
        }
        let in_office = agent
            .directive
            .as_ref()
            .is_none_or(|known| known.term <= directive.term);
        if !in_office {
            return;
        }
        let same = agent.directive.as_ref() == Some(directive);
        agent.directive = Some(Rc::clone(directive));
        self.interrupt(member);
        if !same {
            self.wake_agent(member, 0);
        }
    }

    pub fn renewal_acknowledged(&mut self, member: usize, node: usize, sequence: u64, ttl_ms: u64) {
        let clocks = &self.clocks[self.host_of(Process::Agent(member))];
        let now = clocks.boottime(self.now);
        let agent = &mut self.members[member].agent;
        let link = &mut agent.streams[node];
        let Some(at) = link.renewals.iter().position(|(sent, _)| *sent == sequence) else {
            return;
        };
        let (_, renewal) = link.renewals[at];
        link.renewals.drain(..at);
        let ttl = Duration::from_millis(ttl_ms);
        agent.holder.acknowledged(renewal, ttl, FENCE_BUDGET);
        agent.renewed = Some((now, ttl));
    }
}

/// Asks for a lease to be renewed, now and then.
fn renewal(link: &mut NodeStream, asked: Option<Epoch>, sent: Duration) -> Option<(Epoch, bool)> {
    let epoch = asked?;
    let recent =
        |(_, last): &(u64, Renewal)| last.epoch == epoch && sent.saturating_sub(last.sent) < RENEW;
    if link.renewals.last().is_some_and(recent) {
        return None;
    }
    if link.renewals.len() >= 64 {
        link.renewals.remove(0);
    }
    let renewal = Renewal {
        epoch,
        hard: false,
        sent,
    };
    link.renewals.push((link.sequence, renewal));
    Some((epoch, false))
}
