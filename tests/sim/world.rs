//! One world: everything in it, and the order in which it happens.
//!
//! Invariant: nothing here depends on anything but the seed. No real clock, no
//! thread, no map whose order is not defined.

use std::collections::BTreeMap;

use crate::domain::{Incarnation, MemberName, Promised};

use super::{
    agent::{Agent, Memory},
    client::Client,
    event::{Event, Process, Queue, Scheduled},
    history::History,
    invariants::Checks,
    mutant::Mutant,
    net::{Host, Net, Sent, StreamId},
    node::Node,
    plan::Plan,
    postgres::Database,
    raft::Hard,
    rng::Rng,
    run::Case,
    time::{At, Clocks, Elapsed, MS, SECOND},
    wal::Write,
};

#[derive(Debug)]
pub struct Member {
    pub agent: Agent,
    pub database: Database,
}

/// Whether a process runs, and which of its lives this is.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    alive: bool,
    number: u32,
    paused_until: At,
}

#[derive(Debug)]
pub struct World {
    pub now: At,
    pub rng: Rng,
    pub plan: Plan,
    pub mutant: Option<Mutant>,
    pub net: Net,
    /// One pair for each host.
    pub clocks: Vec<Clocks>,
    pub nodes: Vec<Node>,
    pub members: Vec<Member>,
    pub clients: Vec<Client>,
    pub checks: Checks,
    pub history: History,
    pub healed_at: Option<At>,
    pub wiped: bool,
    queue: Queue,
    lives: BTreeMap<Process, Life>,
    writes: Write,
}

impl World {
    pub fn new(case: &Case) -> Self {
        let (mutant, mut rng) = (case.mutant, Rng::new(case.seed));
        let mut plan = Plan::draw(case.weather, &mut rng);
        if let Some(kinds) = case.kinds {
            plan.kinds = kinds.iter().copied().collect();
            plan.fault_every = plan.fault_every.min(2 * SECOND);
        }
        let hosts = plan.nodes + plan.members + plan.clients;
        let clocks: Vec<_> = (0..hosts).map(|_| Clocks::new(&mut rng)).collect();
        let node = |number: usize| {
            let elapsed = Elapsed::start(clocks[number].reading(0));
            Node::new(number, plan.nodes, Hard::default(), elapsed)
        };
        let nodes = (0..plan.nodes).map(node).collect();
        let mut world = Self {
            now: 0,
            net: Net::new(hosts),
            nodes,
            members: Vec::new(),
            clients: (0..plan.clients).map(|_| Client::default()).collect(),
            checks: Checks::default(),
            history: History::blind_to(case.blind_to),
            healed_at: None,
            wiped: false,
            queue: Queue::default(),
            lives: BTreeMap::new(),
            writes: 0,
            mutant,
            clocks,
            rng,
            plan,
        };
        world.lay_links();
        world.populate();
        world
    }

    fn populate(&mut self) {
        for member in 0..self.plan.members {
            let incarnation = self.new_incarnation();
            let elapsed =
                Elapsed::start(self.clocks[self.host_of(Process::Agent(member))].reading(0));
            let (promised, following) = (Promised::default(), None);
            let memory = Memory {
                incarnation,
                promised,
                following,
            };
            let agent = Agent::new(memory, self.plan.nodes, elapsed);
            self.members.push(Member {
                agent,
                database: Database::absent(),
            });
        }
        for node in 0..self.plan.nodes {
            self.start_process(Process::Node(node));
            self.start_node(node);
        }
        for member in 0..self.plan.members {
            self.start_process(Process::Agent(member));
            self.start_agent(member);
        }
        for client in 0..self.plan.clients {
            self.start_process(Process::Client(client));
            self.start_client(client);
        }
        self.start_process(Process::World);
    }

    pub fn start_agent(&mut self, member: usize) {
        for node in 0..self.plan.nodes {
            let delay = self.rng.below(100 * MS);
            self.after(Process::Agent(member), delay, Event::Connect { node });
        }
        self.wake_agent(member, 0);
    }

    /// A member whose host was replaced: an empty directory, nothing promised.
    pub fn forget_member(&mut self, member: usize) {
        let reused = self.mutant == Some(Mutant::IncarnationReused);
        let fresh = self.new_incarnation();
        let this = &mut self.members[member];
        let run = this.database.run;
        this.database = Database {
            run,
            ..Database::absent()
        };
        let disk = &mut this.agent.disk;
        (disk.promised, disk.following) = (Promised::default(), None);
        if !reused {
            disk.incarnation = fresh;
        }
    }

    // Who is where.

    pub fn hosts(&self) -> usize {
        self.clocks.len()
    }

    pub fn host_of(&self, process: Process) -> Host {
        let (nodes, members) = (self.plan.nodes, self.plan.members);
        match process {
            Process::Node(node) => node,
            Process::Agent(member) | Process::Postgres(member) => nodes + member,
            Process::Client(client) => nodes + members + client,
            Process::World => 0,
        }
    }

    fn region_of(&self, host: Host) -> usize {
        let (nodes, members) = (self.plan.nodes, self.plan.members);
        match host {
            host if host < nodes => host % members,
            host => (host - nodes) % members,
        }
    }

    fn lay_links(&mut self) {
        for from in 0..self.hosts() {
            for to in 0..self.hosts() {
                let near = self.region_of(from) == self.region_of(to);
                let (far, jitter) = (self.plan.far, self.plan.jitter);
                let link = self.net.link(from, to);
                link.base = if near { MS / 4 } else { far };
                link.jitter = jitter;
            }
        }
    }

    pub fn restore_links(&mut self) {
        self.net.heal();
        self.lay_links();
    }

    pub fn number_of(&self, name: &MemberName) -> usize {
        let found = self
            .plan
            .spec
            .members
            .iter()
            .position(|member| member.name == *name);
        found.unwrap_or_default()
    }

    pub fn member_with(&self, incarnation: Incarnation) -> Option<usize> {
        let bears = |member: &Member| member.agent.incarnation() == incarnation;
        self.members.iter().position(bears)
    }

    /// A number that nothing else in this world bears.
    pub fn new_write(&mut self) -> Write {
        self.writes += 1;
        self.writes
    }

    // Scheduling.

    /// Something that happens to the present life of a process.
    pub fn after(&mut self, process: Process, delay: At, event: Event) {
        let life = self.lives.get(&process).map(|life| life.number);
        self.queue.push(self.now + delay, process, life, event);
    }

    /// Something that happens whichever life the process is in by then.
    pub fn at_any_life(&mut self, process: Process, delay: At, event: Event) {
        self.queue.push(self.now + delay, process, None, event);
    }

    pub fn datagram(&mut self, from: Process, to: Process, event: Event) {
        let (here, there) = (self.host_of(from), self.host_of(to));
        for at in self.net.datagram(self.now, here, there, &mut self.rng) {
            self.queue.push(at, to, None, event.clone());
        }
    }

    /// A request or an answer on a connection of its own: it comes once or not.
    pub fn datagram_once(&mut self, from: Process, to: Process, event: Event) {
        let (here, there) = (self.host_of(from), self.host_of(to));
        let arrivals = self.net.datagram(self.now, here, there, &mut self.rng);
        if let Some(at) = arrivals.first() {
            let life = self.lives.get(&to).map(|life| life.number);
            self.queue.push(*at, to, life, event);
        }
    }

    // Streams.

    /// A connection, if one comes about.
    pub fn open_stream(&mut self, from: Process, to: Process) -> Option<StreamId> {
        let (here, there) = (self.host_of(from), self.host_of(to));
        let cut = self.net.is_cut(here, there) || self.net.is_cut(there, here);
        if cut || !self.is_alive(to) {
            return None;
        }
        Some(self.net.open((from, here), (to, there)))
    }

    pub fn on_stream(&mut self, stream: StreamId, from: Process, event: Event) {
        match self.net.send(self.now, stream, from, &mut self.rng) {
            Sent::Arrives { at, at_process } => {
                let life = self.lives.get(&at_process).map(|life| life.number);
                self.queue.push(at, at_process, life, event);
            }
            Sent::Breaks => {
                let ends = self.net.break_stream(stream);
                for end in ends.into_iter().flatten() {
                    let notices = self.notices_after(end);
                    self.after(end, notices, Event::Closed { stream });
                }
            }
            Sent::Gone => {}
        }
    }

    /// How long a process takes to notice that nothing comes any more.
    fn notices_after(&mut self, process: Process) -> At {
        match process {
            Process::Postgres(_) => self.rng.between(SECOND, 5 * SECOND),
            _ => self.rng.between(300 * MS, 2200 * MS),
        }
    }

    /// Ends a stream whose end is gone or wants no more of it; the other
    /// learns of it soon, unless the network is in the way.
    pub fn break_stream(&mut self, stream: StreamId) {
        let Some(ends) = self.net.break_stream(stream) else {
            return;
        };
        let (a, b) = (self.host_of(ends[0]), self.host_of(ends[1]));
        let cut = self.net.is_cut(a, b) || self.net.is_cut(b, a);
        for end in ends {
            let late = if cut {
                self.notices_after(end)
            } else {
                self.rng.skewed(MS, 50 * MS)
            };
            self.after(end, late, Event::Closed { stream });
        }
    }

    // Processes.

    pub fn is_alive(&self, process: Process) -> bool {
        self.lives.get(&process).is_some_and(|life| life.alive)
    }

    pub fn is_paused(&self, process: Process) -> bool {
        self.lives
            .get(&process)
            .is_some_and(|life| life.paused_until > self.now)
    }

    pub fn nodes_down(&self) -> usize {
        let nodes = 0..self.plan.nodes;
        nodes
            .filter(|node| !self.is_alive(Process::Node(*node)))
            .count()
    }

    pub fn start_process(&mut self, process: Process) {
        let life = self.lives.entry(process).or_default();
        life.number += 1;
        (life.alive, life.paused_until) = (true, 0);
    }

    pub fn kill_process(&mut self, process: Process) {
        let life = self.lives.entry(process).or_default();
        life.alive = false;
        for stream in self.net.of(process) {
            self.break_stream(stream);
        }
    }

    /// Pauses a process, at most until everything heals. What comes meanwhile
    /// waits in order, so a pause once begun is neither extended nor cut short.
    pub fn pause(&mut self, process: Process, length: At) {
        let until = (self.now + length).min(self.plan.storm);
        if !self.is_paused(process) {
            self.lives.entry(process).or_default().paused_until = until;
        }
    }

    // The run.

    /// Lets the world go on until it has nothing to do, or until `end`, or
    /// until something is wrong.
    pub fn run_until(&mut self, end: At) {
        while self.history.violation.is_none() {
            let Some(next) = self.queue.pop() else { return };
            if next.at > end {
                self.queue.put_back(next);
                self.now = end;
                return;
            }
            self.take(next);
        }
    }

    fn take(&mut self, next: Scheduled) {
        self.now = self.now.max(next.at);
        let life = self.lives.get(&next.to).copied().unwrap_or_default();
        let meant = next.life.is_none_or(|number| number == life.number);
        if !life.alive || !meant {
            return;
        }
        if life.paused_until > self.now {
            let at = life.paused_until;
            self.queue.put_back(Scheduled { at, ..next });
            return;
        }
        self.history.count(self.now, next.to, &next.event);
        match next.to {
            Process::Node(node) => self.at_node(node, next.event),
            Process::Agent(member) => self.at_agent(member, next.event),
            Process::Postgres(member) => self.at_postgres(member, next.event),
            Process::Client(client) => self.at_client(client, next.event),
            Process::World => self.at_world(next.event),
        }
    }
}
