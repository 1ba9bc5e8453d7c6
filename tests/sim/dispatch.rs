//! Who does what with an event.

use super::{event::Event, reads::Asker, world::World};

impl World {
    pub fn at_node(&mut self, node: usize, event: Event) {
        match event {
            Event::Raft { from, message } => self.raft_message(node, from, message),
            Event::NodeTick => self.node_tick(node),
            Event::Synced(version) => self.synced(node, version),
            Event::LeaderStep => self.leader_step(node),
            Event::ReadTimeout(number) => self.read_timeout(node, number),
            Event::ReadIndexAsked { from, id } => self.read_index_asked(node, from, id),
            Event::ReadIndexAnswered { id, index } => self.read_index_answered(node, id, index),
            Event::Hello { stream, member } => self.hello(node, stream, member),
            Event::Heard {
                stream,
                member,
                said,
            } => self.heard(node, stream, member, said),
            Event::CheckAsked { client, call } => {
                self.ask_read(node, Asker::Client { client, call });
            }
            Event::Closed { stream } => self.session_closed(node, stream),
            other => unreachable!("a node got {other:?}"),
        }
    }

    pub fn at_agent(&mut self, member: usize, event: Event) {
        match event {
            Event::Turn(number) => self.turn(member, number),
            Event::Heartbeat { node, number } => self.heartbeat(member, node, number),
            Event::Connect { node } => self.connect_agent(member, node),
            Event::Directed {
                stream,
                node,
                directive,
            } => {
                self.directed(member, stream, node, &directive);
            }
            Event::Renewed {
                node,
                sequence,
                ttl_ms,
            } => {
                self.renewal_acknowledged(member, node, sequence, ttl_ms);
            }
            Event::StepDone(number) => self.step_done(member, number),
            Event::Knock(number) => self.knock(member, number),
            Event::KnockEnds { number, answered } => self.knock_ends(member, number, answered),
            Event::Closed { stream } => self.agent_stream_closed(member, stream),
            other => unreachable!("an agent got {other:?}"),
        }
    }

    pub fn at_postgres(&mut self, member: usize, event: Event) {
        match event {
            Event::Started(run) => self.server_started(member, run),
            Event::Promoted(run) => self.promoted(member, run),
            Event::Stopping(run) => self.stopping(member, run),
            Event::ReceiverRetry(run) => self.receiver_retry(member, run),
            Event::Attached(attached) => self.attach(member, &attached),
            Event::Accepted { stream } => self.receiver_accepted(member, stream),
            Event::Refused { stream } => self.receiver_closed(member, stream),
            Event::Streamed {
                stream,
                from,
                records,
                branches,
            } => {
                self.streamed(member, stream, from, &records, &branches);
            }
            Event::LocalFlush { life, end } => self.local_flush(member, life, end),
            Event::ReceiverFlush { stream, end } => self.receiver_flush(member, stream, end),
            Event::Replied { stream, end } => self.sender_replied(member, stream, end),
            Event::SenderReloads { life, standby } => self.sender_reloads(member, life, standby),
            Event::CheckpointerTells { life } => self.checkpointer_tells(member, life),
            Event::WriteAsked { client, write } => self.write_asked(member, client, write),
            Event::KnockAsked { from, number } => self.knock_asked(member, from, number),
            Event::Closed { stream } => {
                self.receiver_closed(member, stream);
                self.sender_closed(member, stream);
            }
            other => unreachable!("PostgreSQL got {other:?}"),
        }
    }

    pub fn at_client(&mut self, client: usize, event: Event) {
        match event {
            Event::ClientTurn => self.client_turn(client),
            Event::CheckAnswered { call, answer } => self.check_answered(client, call, answer),
            Event::CheckTimeout(call) => self.check_timeout(client, call),
            Event::WriteEnded {
                write,
                acknowledged,
            } => {
                self.write_ended(client, write, acknowledged);
            }
            Event::WriteTimeout(write) => self.write_timeout(client, write),
            other => unreachable!("a client got {other:?}"),
        }
    }

    pub fn at_world(&mut self, event: Event) {
        match event {
            Event::Fault(fault) => self.fault_ends(&fault),
            Event::NextFault => self.next_fault(),
            Event::Restart(process) => self.restart(process),
            other => unreachable!("the world got {other:?}"),
        }
    }
}
