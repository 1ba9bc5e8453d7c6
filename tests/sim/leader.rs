//! The leader's loop, driven as `src/leader.rs` drives it.
//!
//! The decisions are the product's: `Reconciler`, `Lessor`, the detector and
//! `Group::instruction`. Here is what that file does around them with channels
//! and tasks, said with events.

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use crate::{
    control::{detector::View, lessor::Lessor, reconciler::Reconciler},
    domain::{Cause, Change, Command, Epoch, Group, GroupName, MemberName, Outcome, State},
};

use super::{
    agent::Directive,
    event::{Event, Process},
    mutant::Mutant,
    time::{At, MS, SECOND},
    world::World,
};

const TICK: At = 100 * MS;
const REPEAT: Duration = Duration::from_secs(1);
const LOOK_AHEAD: usize = 3;
/// A proposal that was not applied by then is given up.
const PROPOSAL: At = 5 * SECOND;
const PREPARE: At = 60 * SECOND;

#[derive(Debug)]
pub struct Office {
    pub term: u64,
    reconciler: Reconciler,
    pub lessor: Lessor,
    /// Log indices of what was proposed and is not applied yet.
    pub awaits: BTreeSet<u64>,
    proposed_at: At,
    /// When the next step is due; an event for any other time is an old one.
    due: At,
    switchover: Option<Switchover>,
}

/// A planned change that an operator asked for.
#[derive(Debug)]
struct Switchover {
    epoch: Epoch,
    to: MemberName,
    since: At,
}

/// What the loop knows of a member.
struct Seen {
    member: usize,
    report: Rc<crate::domain::Report>,
    connected: bool,
    age: Duration,
}

impl Seen {
    fn view(&self) -> View<'_> {
        View {
            report: &self.report,
            connected: self.connected,
            age: self.age,
            contested: false,
        }
    }
}

impl World {
    /// Begins and ends the office with the leadership of this node.
    pub fn change_office(&mut self, node: usize) {
        let this = &self.nodes[node];
        let term = this.raft.hard.term;
        let held = this.office.as_ref().map(|office| office.term);
        let ready = this.is_ready();
        if held.is_some_and(|held| held != term || !this.raft.is_leader()) {
            self.nodes[node].office = None;
            self.note(format!("node {node} leads no more"));
        }
        if ready && self.nodes[node].office.is_none() {
            self.take_office(node, term);
        }
    }

    fn take_office(&mut self, node: usize, term: u64) {
        let now = self.nodes[node]
            .elapsed
            .least(self.clocks[node].reading(self.now));
        let mut office = Office {
            term,
            reconciler: Reconciler::default(),
            lessor: Lessor::default(),
            awaits: BTreeSet::new(),
            proposed_at: 0,
            due: At::MAX,
            switchover: None,
        };
        office.reconciler.take_office(now);
        let inherits = self.mutant == Some(Mutant::DeadlinesInherited);
        let since = if inherits {
            now.saturating_sub(Duration::from_secs(9))
        } else {
            now
        };
        office.lessor.take_office(since, &self.nodes[node].state);
        self.nodes[node].office = Some(office);
        self.took_office(node, term);
        self.wake_leader(node, 0);
    }

    pub fn wake_leader(&mut self, node: usize, delay: At) {
        let at = self.now + delay;
        if let Some(office) = &mut self.nodes[node].office
            && at < office.due
        {
            office.due = at;
            self.after(Process::Node(node), delay, Event::LeaderStep);
        }
    }

    pub fn leader_step(&mut self, node: usize) {
        let now = self.now;
        match &mut self.nodes[node].office {
            // A node that was paused comes to it late.
            Some(office) if office.due <= now => office.due = At::MAX,
            _ => return,
        }
        let mut office = match self.nodes[node].office.take() {
            Some(office) => office,
            None => return,
        };
        let waits = !office.awaits.is_empty() && now < office.proposed_at + PROPOSAL;
        if !waits {
            office.awaits.clear();
            let commands = self.plan_commands(node, &mut office);
            office.proposed_at = now;
            for command in commands {
                let index = self.nodes[node].raft.propose(Some(Rc::new(command)));
                office.awaits.insert(index);
            }
        }
        self.nodes[node].office = Some(office);
        self.settle(node);
        self.wake_leader(node, TICK);
    }

    fn plan_commands(&mut self, node: usize, office: &mut Office) -> Vec<Command> {
        let state = Rc::clone(&self.nodes[node].state);
        let name = self.plan.group();
        let Some(group) = state.group(&name) else {
            let spec = self.plan.spec.clone();
            return vec![self.command(node, Change::ApplyGroup { spec })];
        };
        let now = self.nodes[node]
            .elapsed
            .least(self.clocks[node].reading(self.now));
        let seen = self.seen_by(node);
        let views: Vec<View<'_>> = seen.iter().map(Seen::view).collect();
        let mut commands = self.expiries(node, now, &state, office);
        office.reconciler.retain(&state);
        let plan = office.reconciler.plan(now, &name, group, &views);
        let (change, prepare_stop) = self.follow_switchover(office, group, &seen);
        let directed = Told {
            urgency: plan.urgency,
            watchful: plan.watchful,
            prepare_stop,
        };
        self.direct_all(node, office.term, group, &directed);
        let first: Vec<_> = plan
            .changes
            .into_iter()
            .chain(change)
            .map(|change| self.command(node, change))
            .collect();
        let plan_on = |group: &Group| {
            let next = office.reconciler.plan(now, &name, group, &views);
            next.changes
                .into_iter()
                .map(|change| self.command(node, change))
                .collect()
        };
        commands.extend(with_what_follows(&state, &name, first, plan_on));
        commands
    }

    fn command(&self, node: usize, change: Change) -> Command {
        Command {
            at_ms: self.clocks[node].wall_ms(self.now),
            group: self.plan.group(),
            change,
        }
    }

    fn seen_by(&self, node: usize) -> Vec<Seen> {
        let now = self.clocks[node].boottime(self.now);
        let seen = |(member, session): (&usize, &super::node::Session)| {
            Some(Seen {
                member: *member,
                report: Rc::clone(session.report.as_ref()?),
                connected: session.connected,
                age: now.saturating_sub(session.heard),
            })
        };
        self.nodes[node].hub.iter().filter_map(seen).collect()
    }

    fn expiries(
        &self,
        node: usize,
        now: Duration,
        state: &State,
        office: &mut Office,
    ) -> Vec<Command> {
        office.lessor.observe(now, state);
        let is_news = |name: &GroupName| {
            let lease = state.group(name).and_then(|group| group.lease.as_ref());
            lease.is_some_and(|lease| !lease.expired)
        };
        let due = office.lessor.expire(now).into_iter();
        due.filter(|(name, _)| is_news(name))
            .map(|(_, epoch)| self.command(node, Change::ExpireLease { epoch }))
            .collect()
    }

    // What members are told.

    fn direct_all(&mut self, node: usize, term: u64, group: &Group, told: &Told) {
        for (name, incarnation) in group.driven() {
            let member = self.number_of(name);
            let holds = group
                .lease
                .as_ref()
                .is_some_and(|lease| lease.holder == incarnation);
            let directive = Directive {
                term,
                incarnation,
                instruction: group.instruction(name, told.urgency),
                watchful: told.watchful || told.prepare_stop.is_some(),
                prepare_stop: told.prepare_stop.filter(|_| holds),
            };
            self.direct(node, member, directive);
        }
    }

    fn direct(&mut self, node: usize, member: usize, directive: Directive) {
        let now = self.clocks[node].boottime(self.now);
        let Some(session) = self.nodes[node].hub.get_mut(&member) else {
            return;
        };
        let unchanged = |(told, at): &(Directive, Duration)| {
            *told == directive && now.saturating_sub(*at) < REPEAT
        };
        if !session.connected || session.told.as_ref().is_some_and(unchanged) {
            return;
        }
        session.told = Some((directive.clone(), now));
        let stream = session.stream;
        let directive = Rc::new(directive);
        let event = Event::Directed {
            stream,
            node,
            directive: Rc::clone(&directive),
        };
        self.on_stream(stream, Process::Node(node), event);
        self.maybe_repeat_late(member, node, directive);
    }

    pub fn renewed(&mut self, node: usize, member: usize, sequence: u64, ttl_ms: u64) {
        let Some(session) = self.nodes[node].hub.get(&member) else {
            return;
        };
        let stream = session.stream;
        let event = Event::Renewed {
            node,
            sequence,
            ttl_ms,
        };
        self.on_stream(stream, Process::Node(node), event);
    }

    // Planned changes.

    pub fn ask_switchover(&mut self, to: usize) {
        let Some(node) = (0..self.nodes.len()).find(|node| self.nodes[*node].is_ready()) else {
            return;
        };
        let name = self.plan.member_name(to);
        let group = self.nodes[node].state.group(&self.plan.group()).cloned();
        let lease = group.as_ref().and_then(|group| group.published()).cloned();
        let Some(lease) = lease.filter(|lease| lease.member != name) else {
            return;
        };
        let since = self.now;
        if let Some(office) = &mut self.nodes[node].office {
            office.switchover = Some(Switchover {
                epoch: lease.epoch,
                to: name,
                since,
            });
            self.wake_leader(node, 0);
        }
    }

    fn follow_switchover(
        &self,
        office: &mut Office,
        group: &Group,
        seen: &[Seen],
    ) -> (Option<Change>, Option<Epoch>) {
        let Some(asked) = &office.switchover else {
            return (None, None);
        };
        let (epoch, to) = (asked.epoch, asked.to.clone());
        let late = self.now > asked.since + PREPARE;
        if late || group.epoch != epoch || group.failover.is_some() {
            office.switchover = None;
            return (None, None);
        }
        let holder = group.lease.as_ref().map(|lease| lease.member.clone());
        let ready = seen.iter().any(|seen| {
            Some(self.plan.member_name(seen.member)) == holder
                && seen.report.checkpointed == Some(epoch)
        });
        if !ready {
            return (None, Some(epoch));
        }
        office.switchover = None;
        let begin = Change::BeginFailover {
            epoch,
            cause: Cause::Switchover,
            silence_ms: 0,
            prefer: Some(to),
        };
        (Some(begin), None)
    }
}

struct Told {
    urgency: crate::domain::Urgency,
    watchful: bool,
    prepare_stop: Option<Epoch>,
}

/// `first`, and what will be due once that is applied.
fn with_what_follows(
    state: &State,
    name: &GroupName,
    first: Vec<Command>,
    mut plan_on: impl FnMut(&Group) -> Vec<Command>,
) -> Vec<Command> {
    if first.is_empty() {
        return first;
    }
    let mut expected = state.clone();
    let mut all = Vec::new();
    let mut due = first;
    for _ in 0..LOOK_AHEAD {
        let accepted = |command: &Command| {
            let index = expected.applied + 1;
            matches!(expected.apply(index, command), Outcome::Applied(_))
        };
        let as_expected = !due.is_empty() && due.iter().map(accepted).fold(true, |a, b| a & b);
        all.append(&mut due);
        let Some(group) = expected.group(name).filter(|_| as_expected) else {
            break;
        };
        due = plan_on(group);
    }
    all.append(&mut due);
    all
}
