//! The agent's hold on its member, and what it knows of it in this run.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::JoinHandle;

use crate::{
    domain::{
        BarrierReport, Epoch, Fenced, GroupName, Incarnation, Instruction, InstructionOrder,
        Lineage, MemberName, Peer, Position, SyncConfig, Trouble,
    },
    fuse::FuseClient,
    postgres::{self, Instance, LocalPostgres, Secret},
};

use super::{knock::Knocks, memory::Memory, observe::Observed};

/// How an agent is set up; checked by `config`.
#[derive(Debug, Clone)]
pub struct Options {
    pub group: GroupName,
    pub member: MemberName,
    /// `host:port` of every quorum node's gRPC.
    pub servers: Vec<String>,
    pub bin_dir: PathBuf,
    pub data_dir: PathBuf,
    pub state_dir: PathBuf,
    /// Where this member's PostgreSQL listens.
    pub listen: SocketAddr,
    pub secret_file: PathBuf,
    /// Lines for pg_hba.conf that let clients in.
    pub client_hba: Vec<String>,
    pub settings: BTreeMap<String, String>,
    pub restore_command: Option<String>,
    /// This program, for the fuse.
    pub program: PathBuf,
}

/// Things found out or done since the agent started. Forgetting them costs
/// doing them again.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Where the log ends and by which lineage, no receiver being left.
    pub end: Option<(Position, Lineage)>,
    pub fenced: Option<Fenced>,
    pub sync: Option<(InstructionOrder, SyncConfig)>,
    pub barrier: Option<BarrierReport>,
    /// Members whose roles and slots this primary was given.
    pub peers: Option<Vec<Peer>>,
    /// This primary has what barriers and members need.
    pub prepared: bool,
}

pub(super) struct Member {
    pub options: Options,
    pub memory: Memory,
    pub postgres: LocalPostgres,
    pub known: Known,
    /// Clients are let in, as far as this run knows.
    pub open: bool,
    /// The directory as it was left; looked at again after every start.
    pub stopped: Option<Observed>,
    pub trouble: Option<Trouble>,
    pub background: Background,
}

/// What goes on beside the loop, and leaves its result here.
#[derive(Default)]
pub(super) struct Background {
    pub barrier: Option<(
        InstructionOrder,
        JoinHandle<Result<Position, postgres::Error>>,
    )>,
    pub checkpoint: Option<Epoch>,
    pub checkpointed: Arc<Mutex<Option<Epoch>>>,
    pub knocks: Knocks,
}

impl Member {
    pub(super) fn new(
        options: Options,
        memory: Memory,
        fuse: FuseClient,
    ) -> Result<Self, postgres::Error> {
        let instance = instance(&options, memory.incarnation())?;
        instance.validate()?;
        Ok(Self {
            postgres: LocalPostgres::new(instance, fuse),
            options,
            memory,
            known: Known::default(),
            open: false,
            stopped: None,
            trouble: None,
            background: Background::default(),
        })
    }

    /// Takes the member's new identity into use, after `Memory::reincarnate`.
    pub(super) fn renew_identity(&mut self) -> Result<(), postgres::Error> {
        let instance = instance(&self.options, self.memory.incarnation())?;
        self.postgres = LocalPostgres::new(instance, self.postgres.fuse().clone());
        self.forget();
        Ok(())
    }

    /// Forgets what was found out: something changed underneath.
    pub(super) fn forget(&mut self) {
        self.known = Known::default();
        self.stopped = None;
    }

    /// Whether this is a standby, and not the one that `instruction` wants.
    pub(super) fn is_standby_of_another(&self, instruction: &Instruction) -> bool {
        let other = match instruction {
            Instruction::Fence { .. } => true,
            Instruction::Standby(order) => {
                self.memory.following() != Some((order.epoch, order.upstream.incarnation))
            }
            Instruction::Primary(_) | Instruction::Hold => false,
        };
        other && postgres::is_standby(&self.postgres.instance().data)
    }

    /// The order of a barrier that waits for its standbys.
    pub(super) fn barrier_under_way(&self) -> Option<InstructionOrder> {
        self.background.barrier.as_ref().map(|(order, _)| *order)
    }

    pub(super) fn checkpointed(&self) -> Option<Epoch> {
        *self
            .background
            .checkpointed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn instance(options: &Options, incarnation: Incarnation) -> Result<Instance, postgres::Error> {
    Ok(Instance {
        bin_dir: options.bin_dir.clone(),
        data: options.data_dir.clone(),
        state: options.state_dir.clone(),
        socket_dir: options.state_dir.join("socket"),
        address: options.listen.ip(),
        port: options.listen.port(),
        incarnation,
        secret: Secret::read(&options.secret_file)?,
        client_hba: options.client_hba.clone(),
        settings: options.settings.clone(),
        restore_command: options.restore_command.clone(),
    })
}
