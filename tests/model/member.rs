//! A member as the model knows it, and what an agent's step does to it.

use std::hash::{Hash, Hasher};

use crate::{
    agent::{
        holder::{Holder, Renewal},
        reconcile::{Actual, Directory},
    },
    domain::{Epoch, Fenced, InstructionOrder, Lsn, Position, Promised, Revision, Role},
};

use super::{
    fixture::Inc,
    log::Log,
    world::{ConfigId, LogId, MixId, World},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub inc: Inc,
    pub promised: Promised,
    pub directory: Directory,
    pub log: LogId,
    /// Whom it streams from; a running standby only.
    pub following: Option<(Epoch, Inc)>,
    /// The sync configuration in force; a running primary only.
    pub sync: Option<(InstructionOrder, ConfigId)>,
    /// Every configuration that some walsender may go by, while not all have
    /// read the one in force.
    pub mixed: Option<MixId>,
    pub fenced: Option<Fenced>,
    /// A promotion that PostgreSQL was asked for and has not finished; the
    /// agent turned to something else.
    pub promoting: Option<(InstructionOrder, ConfigId)>,
    /// The epoch of the lease at whose deadline it stops. A lease that it
    /// would outlive is none to the model.
    pub held: Option<Epoch>,
    /// A renewal that is not hard was sent in the epoch that was accepted.
    pub soft_sent: bool,
}

/// Members are hashed more often than anything else happens: two words do.
impl Hash for Member {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let directory = match self.directory {
            Directory::Absent => 0,
            Directory::Wreck => 1,
            Directory::Stopped { clean } => 2 + u32::from(clean),
            Directory::Running(Role::Standby) => 4,
            Directory::Running(Role::Primary) => 5,
        };
        let inc = |inc: Inc| 1 + (u32::from(inc.member) | u32::from(inc.life) << 2);
        let order = |order: InstructionOrder| order.epoch.0 << 4 | order.revision.0;
        let Promised {
            fenced,
            accepted,
            opened,
        } = self.promised;
        let (followed, upstream) = self.following.map_or((0, 0), |(e, i)| (e.0, inc(i)));
        let first = Packed::default()
            .put(5, inc(self.inc))
            .put(3, directory)
            .put(16, self.log.into())
            .put(4, fenced.0)
            .put(8, order(accepted))
            .put(4, opened.0)
            .put(4, followed)
            .put(5, upstream)
            .put(4, self.held.map_or(0, |epoch| epoch.0))
            .put(1, self.soft_sent.into())
            .put(8, self.mixed.map_or(0, |id| 1 + u32::from(id)));
        let at = self.fenced.and_then(|fenced| fenced.position);
        let named = |(o, id): (_, ConfigId)| (order(o), 1 + u32::from(id));
        let (in_force, config) = self.sync.map_or((0, 0), named);
        let (promoting, to) = self.promoting.map_or((0, 0), named);
        let (timeline, lsn) = at.map_or((0, 0), |at| (at.timeline.0, at.lsn.0 as u32));
        let second = Packed::default()
            .put(8, in_force)
            .put(13, config)
            .put(4, self.fenced.map_or(0, |fenced| fenced.epoch.0 + 1))
            .put(4, timeline)
            .put(6, lsn)
            .put(8, promoting)
            .put(13, to);
        state.write_u64(first.0);
        state.write_u64(second.0);
    }
}

#[derive(Default)]
struct Packed(u64);

impl Packed {
    fn put(self, bits: u32, value: u32) -> Self {
        assert!(value >> bits == 0, "{value} does not fit into {bits} bits");
        Self(self.0 << bits | u64::from(value))
    }
}

impl Member {
    /// A member with an empty directory, whose agent remembers nothing.
    pub fn blank(inc: Inc, log: LogId) -> Self {
        Self {
            inc,
            promised: Promised::default(),
            directory: Directory::Absent,
            log,
            following: None,
            sync: None,
            mixed: None,
            fenced: None,
            promoting: None,
            held: None,
            soft_sent: false,
        }
    }

    pub fn is_primary(&self) -> bool {
        self.directory == Directory::Running(Role::Primary)
    }

    pub fn is_standby(&self) -> bool {
        self.directory == Directory::Running(Role::Standby)
    }

    pub fn has_log(&self) -> bool {
        !matches!(self.directory, Directory::Absent | Directory::Wreck)
    }

    pub fn stop(&mut self, clean: bool) {
        self.directory = Directory::Stopped { clean };
        self.following = None;
        self.sync = None;
        self.mixed = None;
        self.fenced = None;
        self.promoting = None;
        self.held = None;
        self.soft_sent = false;
    }

    /// Runs as a standby; without `following` it receives from nobody.
    pub fn stand_by(&mut self, following: Option<(Epoch, Inc)>) {
        self.stop(true);
        self.directory = Directory::Running(Role::Standby);
        self.following = following;
    }

    /// Opens read-write. A configuration that asks nobody is not put in force
    /// here: only a hard lease, which is not held yet, would allow it.
    pub fn open(&mut self, world: &World, order: InstructionOrder, sync: ConfigId) {
        self.stop(true);
        self.directory = Directory::Running(Role::Primary);
        self.promised.opened = order.epoch;
        self.sync = (!world.config(sync).is_asynchronous()).then_some((order, sync));
    }

    /// Whether the lease of `epoch` is held and ends with a stop.
    pub fn stops_at_deadline(&self, epoch: Epoch) -> bool {
        self.held == Some(epoch)
    }

    /// Whether it acknowledges alone.
    pub fn asks_nobody(&self, world: &World) -> bool {
        let alone = |(_, config)| world.config(config).is_asynchronous();
        self.is_primary() && self.sync.is_some_and(alone)
    }

    /// Lets the agent's own lease arithmetic take an acknowledgement that was
    /// sent after the last one.
    pub fn acknowledge_renewal(&mut self, epoch: Epoch, hard: bool) {
        let ttl = std::time::Duration::from_secs(1);
        let mut holder = Holder::default();
        let held = self.held.map(|epoch| (epoch, true));
        let renewals = held.into_iter().chain([(epoch, hard)]);
        for (sent, (epoch, hard)) in (1..).map(|n| ttl * n).zip(renewals) {
            let renewal = Renewal { epoch, hard, sent };
            holder.acknowledged(renewal, ttl, ttl / 10);
        }
        self.held = holder.must_stop(ttl * 100).then_some(epoch);
    }

    /// Levels what no decision tells apart any more, so that fewer states
    /// differ: the lower of two promises, which refuses nothing that the higher
    /// does not, and which of the epochs left behind it was opened under.
    pub fn forget_unread(&mut self) {
        let promised = &mut self.promised;
        if promised.fenced < promised.accepted.epoch {
            promised.fenced = Epoch::NONE;
        } else {
            promised.accepted.revision = Revision::default();
        }
        if promised.opened < promised.accepted.epoch {
            promised.opened = promised.opened.min(Epoch(1));
        }
    }

    /// What its agent observes.
    pub fn actual(&self, world: &World) -> Actual {
        let log = world.log(self.log);
        let receives = self.following.is_some();
        Actual {
            directory: self.directory,
            lineage: self.has_log().then(|| log.lineage()),
            end: (self.has_log() && !receives).then(|| Lsn(log.end() as u64)),
            fenced: self.fenced,
            following: self.following.map(|(epoch, inc)| (epoch, inc.id())),
            sync: self
                .sync
                .map(|(order, id)| (order, world.config(id).clone())),
            barrier: None,
            open: false,
        }
    }

    /// What its agent reports of a position, were it asked now.
    pub fn holds(&self, log: &Log, position: Position) -> bool {
        let running = matches!(self.directory, Directory::Running(_));
        let at = log.position();
        running && at.timeline == position.timeline && at.lsn >= position.lsn
    }
}
