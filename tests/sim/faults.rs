//! What goes wrong, and how it ends.

use std::rc::Rc;

use super::{
    agent::{Agent, Directive},
    event::{Event, Process},
    net::Host,
    plan::{Kind, Weather},
    time::{At, Elapsed, MS, SECOND},
    world::World,
};

/// The end of a fault that ends by itself.
#[derive(Debug, Clone)]
pub enum Fault {
    Uncut(Vec<(Host, Host)>),
    Calm {
        from: Host,
        to: Host,
        base: At,
        jitter: At,
    },
    Keep {
        from: Host,
        to: Host,
    },
}

impl World {
    pub fn schedule_fault(&mut self) {
        if self.plan.kinds.is_empty() {
            return;
        }
        let every = self.plan.fault_every;
        let wait = self.rng.between(every / 5, every * 2);
        self.after(Process::World, wait, Event::NextFault);
    }

    pub fn next_fault(&mut self) {
        if self.healed_at.is_some() {
            return;
        }
        let kinds: Vec<Kind> = self.plan.kinds.iter().copied().collect();
        let kind = self.rng.pick(&kinds);
        self.strike(kind);
        self.schedule_fault();
    }

    fn strike(&mut self, kind: Kind) {
        let node = self.rng.index(self.plan.nodes);
        let member = self.rng.index(self.plan.members);
        // Primaries are where it hurts.
        let holder = self.holder_now().filter(|_| self.rng.chance(400));
        let member = holder.unwrap_or(member);
        let down = self.rng.skewed(200 * MS, 60 * SECOND);
        match kind {
            Kind::KillNode => self.kill_for(&[Process::Node(node)], down),
            Kind::KillAgent => self.kill_for(&[Process::Agent(member)], down),
            Kind::KillPostgres => self.kill_for(&[Process::Postgres(member)], 0),
            Kind::KillHost => {
                self.kill_for(&[Process::Agent(member), Process::Postgres(member)], down);
            }
            Kind::KillRegion => {
                let node = member.min(self.plan.nodes - 1);
                let all = [
                    Process::Node(node),
                    Process::Agent(member),
                    Process::Postgres(member),
                ];
                self.kill_for(&all, down);
            }
            Kind::Pause => self.pause_some(node, member, down.min(30 * SECOND)),
            Kind::CutOneWay => self.cut_one_way(down),
            Kind::Isolate => {
                let host = self.rng.index(self.hosts());
                self.isolate(&[host], down);
            }
            Kind::Partition => {
                let side: Vec<Host> = (0..self.hosts()).filter(|_| self.rng.chance(400)).collect();
                self.isolate(&side, down);
            }
            Kind::SlowLinks => self.slow_links(down),
            Kind::LossyLinks => self.lossy_links(down),
            Kind::Clock => {
                let host = self.rng.index(self.hosts());
                let what = self.clocks[host].disturb(self.now, &mut self.rng);
                self.fault(format!("host {host}: {what}"));
            }
            Kind::Switchover => {
                let to = self.rng.index(self.plan.members);
                self.fault(format!("an operator asks for a switchover to {to}"));
                self.ask_switchover(to);
            }
            Kind::Wipe => self.wipe(member, down),
            // They come with every directive.
            Kind::LateDirectives => {}
        }
    }

    fn kill_for(&mut self, processes: &[Process], down: At) {
        if self.plan.weather == Weather::LeaderChanges && self.nodes_down() > 0 {
            return;
        }
        let down = match self.plan.weather {
            Weather::LeaderChanges => down.min(3 * SECOND),
            _ => down,
        };
        self.fault(format!("{processes:?} killed for {} ms", down / MS));
        for process in processes {
            self.kill(*process);
            if !matches!(process, Process::Postgres(_)) {
                self.after(Process::World, down, Event::Restart(*process));
            }
        }
    }

    fn kill(&mut self, process: Process) {
        match process {
            Process::Postgres(member) => self.end_server(member, false),
            process => self.kill_process(process),
        }
    }

    /// Starts a process from what it had persisted.
    pub fn restart(&mut self, process: Process) {
        if self.is_alive(process) {
            return;
        }
        self.start_process(process);
        self.note(format!("{process:?} starts again"));
        match process {
            Process::Node(node) => {
                let elapsed = Elapsed::start(self.clocks[node].reading(self.now));
                self.nodes[node] = self.nodes[node].reborn(elapsed);
                self.start_node(node);
            }
            Process::Agent(member) => {
                let clocks = &self.clocks[self.host_of(process)];
                let elapsed = Elapsed::start(clocks.reading(self.now));
                let agent = &mut self.members[member].agent;
                *agent = Agent::new(agent.disk.clone(), self.plan.nodes, elapsed);
                self.promised_now(member);
                self.start_agent(member);
            }
            _ => {}
        }
    }

    fn pause_some(&mut self, node: usize, member: usize, length: At) {
        let processes = match self.rng.below(4) {
            0 => vec![Process::Node(node)],
            1 => vec![Process::Agent(member)],
            2 => vec![Process::Postgres(member)],
            _ => vec![Process::Agent(member), Process::Postgres(member)],
        };
        self.fault(format!("{processes:?} paused for {} ms", length / MS));
        for process in processes {
            self.pause(process, length);
        }
    }

    // The network.

    fn cut_one_way(&mut self, length: At) {
        let (from, to) = (self.rng.index(self.hosts()), self.rng.index(self.hosts()));
        self.cut(vec![(from, to)], length);
    }

    /// Cuts `side` off from everybody else; sometimes one way only.
    fn isolate(&mut self, side: &[Host], length: At) {
        let (out, back) =
            self.rng
                .pick(&[(true, true), (true, true), (true, false), (false, true)]);
        let mut pairs = Vec::new();
        for a in side {
            for b in (0..self.hosts()).filter(|b| !side.contains(b)) {
                pairs.extend(out.then_some((*a, b)));
                pairs.extend(back.then_some((b, *a)));
            }
        }
        self.cut(pairs, length);
    }

    fn cut(&mut self, pairs: Vec<(Host, Host)>, length: At) {
        self.fault(format!("cut for {} ms: {pairs:?}", length / MS));
        for (from, to) in &pairs {
            self.net.link(*from, *to).cuts += 1;
        }
        self.after(
            Process::World,
            length,
            Event::Fault(Box::new(Fault::Uncut(pairs))),
        );
    }

    /// One link, or all that leave a host.
    fn slow_links(&mut self, length: At) {
        let from = self.rng.index(self.hosts());
        let slow = self.rng.between(50, 2000) * MS;
        let to = self.rng.index(self.hosts());
        let all = self.rng.chance(400);
        self.fault(format!(
            "{} from {from} takes {} ms for {} ms",
            if all {
                "every link".to_owned()
            } else {
                format!("the link to {to}")
            },
            slow / MS,
            length / MS
        ));
        for to in (0..self.hosts()).filter(|other| all || *other == to) {
            let link = self.net.link(from, to);
            let (base, jitter) = (link.base, link.jitter);
            (link.base, link.jitter) = (slow, slow / 4);
            let end = Fault::Calm {
                from,
                to,
                base,
                jitter,
            };
            self.after(Process::World, length, Event::Fault(Box::new(end)));
        }
    }

    fn lossy_links(&mut self, length: At) {
        let (from, to) = (self.rng.index(self.hosts()), self.rng.index(self.hosts()));
        let link = self.net.link(from, to);
        (link.loss_per_mille, link.double_per_mille) = (300, 100);
        self.fault(format!(
            "link {from} to {to} loses and doubles for {} ms",
            length / MS
        ));
        let end = Fault::Keep { from, to };
        self.after(Process::World, length, Event::Fault(Box::new(end)));
    }

    pub fn fault_ends(&mut self, fault: &Fault) {
        match fault {
            Fault::Uncut(pairs) => {
                for (from, to) in pairs {
                    let link = self.net.link(*from, *to);
                    link.cuts = link.cuts.saturating_sub(1);
                }
            }
            Fault::Calm {
                from,
                to,
                base,
                jitter,
            } => {
                let link = self.net.link(*from, *to);
                // Another fault may have made it slow in between.
                (link.base, link.jitter) = (link.base.min(*base), link.jitter.min(*jitter));
            }
            Fault::Keep { from, to } => {
                let link = self.net.link(*from, *to);
                (link.loss_per_mille, link.double_per_mille) = (0, 0);
            }
        }
    }

    // Rarer things.

    /// A directive comes a second time, long after it was sent.
    pub fn maybe_repeat_late(&mut self, member: usize, node: usize, directive: Rc<Directive>) {
        if !self.plan.kinds.contains(&Kind::LateDirectives) || !self.rng.chance(100) {
            return;
        }
        let delay = self.rng.skewed(SECOND, 40 * SECOND);
        let event = Event::Directed {
            stream: 0,
            node,
            directive,
        };
        self.at_any_life(Process::Agent(member), delay, event);
    }

    /// The host of a standby is replaced by an empty one. Once in a world, and
    /// not while another member is the only one that has something.
    fn wipe(&mut self, member: usize, down: At) {
        let others = (0..self.plan.members).filter(|other| *other != member);
        let all_stand = others
            .clone()
            .all(|other| self.members[other].database.server.is_some());
        if self.wiped || self.holder_now() == Some(member) || !self.is_settled() || !all_stand {
            return;
        }
        self.wiped = true;
        self.fault(format!("member {member} is wiped"));
        self.kill(Process::Postgres(member));
        self.kill(Process::Agent(member));
        self.forget_member(member);
        self.after(Process::World, down, Event::Restart(Process::Agent(member)));
    }

    /// Everything that failed works again from now on.
    pub fn heal(&mut self) {
        self.healed_at = Some(self.now);
        self.note("everything heals".to_owned());
        self.restore_links();
        for node in 0..self.plan.nodes {
            self.restart(Process::Node(node));
        }
        for member in 0..self.plan.members {
            self.restart(Process::Agent(member));
        }
    }
}
