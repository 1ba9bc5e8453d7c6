//! Does one step. What a step leaves undone is asked for again.

use std::time::Duration;

use tracing::{info, warn};

use crate::{
    domain::{
        Epoch, Fenced, Instruction, InstructionOrder, Position, PrimaryOrder, Promised,
        StandbyOrder, SyncConfig,
    },
    fuse::StopMode,
    postgres::{self, SyncNames, Upstream},
};

use super::{
    knock::answers,
    member::Member,
    memory::MemoryError,
    reconcile::{Step, Waiting},
};

/// Opening, stopping and recovering take as long as the database is large.
const START: Duration = Duration::from_secs(600);
const STOP: Duration = Duration::from_secs(60);
const FENCE: Duration = Duration::from_secs(30);
const PROMOTE: Duration = Duration::from_secs(30);
const RELOAD: Duration = Duration::from_secs(5);
/// A sync set that has not answered for this long has lost its primary.
const PATIENCE: Duration = Duration::from_secs(5);
const REWIND: Duration = Duration::from_secs(3600);

/// Only a mutation sets this, to see that the tests need the fence.
pub(super) const MUTANT: bool = cfg!(primacy_mutant = "fence");

#[derive(Debug, thiserror::Error)]
pub(super) enum ActError {
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error("{0}")]
    Waiting(String),
}

impl ActError {
    /// Stable, for machines.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Postgres(error) => error.code(),
            Self::Memory(_) => "agent_state",
            Self::Waiting(_) => "waiting",
        }
    }
}

/// What is shown of a step that takes longer than a moment.
pub(super) fn describe(step: &Step) -> Option<&'static str> {
    match step {
        Step::Create => Some("making the first data directory"),
        Step::StartPrimary | Step::StartAlone | Step::StartFollowing => Some("starting"),
        Step::StopFast | Step::StopImmediate => Some("stopping"),
        Step::Rewind { .. } => Some("rewinding"),
        Step::Clone { .. } => Some("taking a base backup"),
        _ => None,
    }
}

impl Member {
    /// Does `step`, which was derived from `instruction`. `progress` is told
    /// how far a long step has come.
    pub(super) async fn act(
        &mut self,
        step: Step,
        instruction: &Instruction,
        progress: &mut (dyn FnMut(&Self, String) + Send),
    ) -> Result<(), ActError> {
        match (step, instruction) {
            (Step::Nothing, _) => Ok(()),
            (Step::Wait(waiting), _) => Err(ActError::Waiting(explain(waiting))),
            (Step::Create, Instruction::Primary(order)) => self.create(order).await,
            (Step::StartPrimary, Instruction::Primary(order)) => self.start_primary(order).await,
            (Step::Promote { sync }, Instruction::Primary(order)) => {
                self.promote(order, sync).await
            }
            (Step::Continue, Instruction::Primary(order)) => self.opened(order.order.epoch),
            (Step::ApplySync { order, sync }, _) => {
                self.prepare_primary().await?;
                self.postgres.set_sync(&names(&sync), RELOAD).await?;
                self.known.sync = Some((order, sync));
                Ok(())
            }
            (Step::Barrier { order }, Instruction::Primary(primary)) => {
                self.begin_barrier(order, &primary.sync);
                Ok(())
            }
            (Step::Open, _) => self.let_clients(true).await,
            (Step::Close, _) => self.let_clients(false).await,
            (Step::StopFast, _) => self.stop(StopMode::Fast).await,
            (Step::StopImmediate, _) => self.stop(StopMode::Immediate).await,
            (Step::Fence { epoch }, _) if MUTANT => self.pretend_fence(epoch, instruction).await,
            (Step::Fence { epoch }, _) => self.fence(epoch).await,
            (Step::CountStopped { epoch }, _) => self.count_stopped(epoch).await,
            (Step::StartAlone, _) => self.start_alone().await,
            (Step::ReadEnd, _) => self.read_end().await,
            (Step::Follow | Step::StartFollowing, Instruction::Standby(order)) => {
                self.follow(order).await
            }
            (Step::Rewind { from }, Instruction::Standby(order)) => self.rewind(order, from).await,
            (Step::Clone { keep_old }, Instruction::Standby(order)) => {
                self.clone_from(order, keep_old, progress).await
            }
            // `next_step` pairs them; another pair would be a mistake there.
            (step, _) => Err(ActError::Waiting(format!(
                "{step:?} does not fit the instruction"
            ))),
        }
    }

    // As primary.

    /// Remembers, before it is so, that this epoch was opened here: whatever
    /// becomes of PostgreSQL, it is never opened under this epoch again.
    fn opened(&mut self, epoch: Epoch) -> Result<(), ActError> {
        let promised = Promised {
            opened: epoch,
            ..self.memory.promised()
        };
        Ok(self.memory.promise(promised)?)
    }

    async fn create(&mut self, order: &PrimaryOrder) -> Result<(), ActError> {
        self.postgres.instance().initdb().await?;
        self.start_primary(order).await
    }

    async fn start_primary(&mut self, order: &PrimaryOrder) -> Result<(), ActError> {
        self.opened(order.order.epoch)?;
        self.forget();
        self.open = false;
        self.postgres
            .start_primary(&SyncNames::Nobody, false, START)
            .await?;
        self.prepare_primary().await?;
        info!(epoch = %order.order.epoch, "PostgreSQL opened as primary");
        Ok(())
    }

    /// What barriers and standbys need; again in each life of the agent, which
    /// may have died between the start and this.
    async fn prepare_primary(&mut self) -> Result<(), ActError> {
        if !self.known.prepared {
            self.postgres.prepare_primary().await?;
            self.known.prepared = true;
        }
        Ok(())
    }

    async fn promote(&mut self, order: &PrimaryOrder, sync: SyncConfig) -> Result<(), ActError> {
        let epoch = order.order.epoch;
        self.opened(epoch)?;
        self.open = false;
        let siblings: Vec<_> = order.peers.iter().map(|peer| peer.incarnation).collect();
        let set = names(&sync);
        let promoted = self.postgres.promote(epoch, &set, &siblings, PROMOTE);
        let promotion = match promoted.await {
            Ok(promotion) => promotion,
            Err(error @ postgres::Error::WrongTimeline { .. }) => {
                // A timeline that is not the epoch's may be shared with another member.
                self.stop(StopMode::Immediate).await?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        self.forget();
        self.known.sync = Some((order.order, sync));
        self.admit_peers(order).await?;
        info!(%epoch, took = ?promotion.took, fork = ?promotion.fork, "promoted");
        Ok(())
    }

    /// Gives each member its role and slot on this primary.
    pub(super) async fn admit_peers(&mut self, order: &PrimaryOrder) -> Result<(), ActError> {
        if self.known.peers.as_ref() == Some(&order.peers) {
            return Ok(());
        }
        let mut members: Vec<_> = order.peers.iter().map(|peer| peer.incarnation).collect();
        members.push(self.memory.incarnation());
        self.postgres.ensure_members(&members).await?;
        self.known.peers = Some(order.peers.clone());
        Ok(())
    }

    /// The barrier waits for standbys, for ever if need be, so it waits
    /// beside the loop.
    fn begin_barrier(&mut self, order: InstructionOrder, sync: &SyncConfig) {
        let (postgres, sync) = (self.postgres.clone(), names(sync));
        let wait = Duration::from_secs(5);
        let task = tokio::spawn(async move {
            let barrier = postgres
                .barrier(order.epoch, order.revision, &sync, wait)
                .await?;
            Ok(barrier.position)
        });
        if let Some((_, earlier)) = self.background.barrier.replace((order, task)) {
            earlier.abort();
        }
    }

    /// Whether a commit still gets through to the sync set.
    pub(super) fn ask_sync_set(
        &self,
        order: InstructionOrder,
        sync: &SyncConfig,
    ) -> tokio::task::JoinHandle<bool> {
        let (postgres, sync) = (self.postgres.clone(), names(sync));
        tokio::spawn(async move {
            let barrier = postgres
                .barrier(order.epoch, order.revision, &sync, PATIENCE)
                .await;
            // Any other failure says nothing about the standbys.
            !matches!(barrier, Err(postgres::Error::Late { .. }))
        })
    }

    async fn let_clients(&mut self, open: bool) -> Result<(), ActError> {
        self.postgres.let_clients(open).await?;
        self.open = open;
        Ok(())
    }

    async fn stop(&mut self, mode: StopMode) -> Result<(), ActError> {
        self.forget();
        let stopped = self.postgres.stop(mode, STOP).await;
        if let Err(error) = stopped {
            warn!(%error, "PostgreSQL did not stop; every process of it is killed");
            self.postgres
                .fuse()
                .kill(STOP)
                .await
                .map_err(postgres::Error::from)?;
        }
        Ok(())
    }

    // As standby.

    async fn fence(&mut self, epoch: Epoch) -> Result<(), ActError> {
        let fenced = self.postgres.fence(epoch, FENCE).await?;
        let end = fenced.end;
        self.known.end = Some((end.position, end.lineage));
        self.known.fenced = Some(Fenced {
            epoch,
            position: Some(end.position),
        });
        info!(%epoch, position = %end.position, took = ?fenced.took, "fenced");
        Ok(())
    }

    /// What a failover without a fence does: it asks a standby that still
    /// receives where it stands, and points it at the new primary.
    async fn pretend_fence(
        &mut self,
        epoch: Epoch,
        instruction: &Instruction,
    ) -> Result<(), ActError> {
        if let Instruction::Standby(order) = instruction {
            return self.follow(order).await;
        }
        let position = Some(self.postgres.probe().await?.position);
        self.known.fenced = Some(Fenced { epoch, position });
        Ok(())
    }

    /// A primary that was stopped: nothing of it can acknowledge anything.
    /// After a clean stop its log ends where everybody's should; after a
    /// crash what lies beyond the standbys was never acknowledged.
    async fn count_stopped(&mut self, epoch: Epoch) -> Result<(), ActError> {
        let control = self.postgres.instance().control_data().await?;
        let position = match control.state.is_clean() {
            true => Some(self.postgres.own_end_of_wal().await?.position),
            false => None,
        };
        self.known.fenced = Some(Fenced { epoch, position });
        Ok(())
    }

    async fn start_alone(&mut self) -> Result<(), ActError> {
        self.forget();
        self.postgres.start_standby(None, START).await?;
        Ok(())
    }

    async fn read_end(&mut self) -> Result<(), ActError> {
        let end = self.postgres.own_end_of_wal().await?;
        self.known.end = Some((end.position, end.lineage));
        Ok(())
    }

    async fn follow(&mut self, order: &StandbyOrder) -> Result<(), ActError> {
        self.memory
            .follow(order.epoch, order.upstream.incarnation)?;
        self.forget();
        let ran = self.postgres.is_running().await?;
        self.postgres.follow(&upstream(order), START).await?;
        // A standby is started open; one that runs may have been closed for a
        // promotion that did not come about.
        if ran && !self.open {
            self.let_clients(true).await?;
        }
        self.open = true;
        Ok(())
    }

    async fn rewind(&mut self, order: &StandbyOrder, from: Position) -> Result<(), ActError> {
        expect_answer(order).await?;
        if self.postgres.is_running().await? {
            self.stop(StopMode::Fast).await?;
        }
        let own = self.postgres.own_end_of_wal().await?;
        self.forget();
        self.memory.forget_reached()?;
        info!(end = %own.position, fork = %from, upstream = %order.upstream.member, "rewinding");
        let rewound = self
            .postgres
            .rewind(&upstream(order), &own, &order.lineage, REWIND)
            .await;
        match rewound {
            Ok(_) => self.follow(order).await,
            Err(postgres::Error::NeedsClone(why)) => {
                warn!(%why, "a rewind cannot help");
                self.clone_from(order, true, &mut |_, _| {}).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces the directory by a base backup. What was here before must
    /// never be counted again, so the member becomes a new incarnation first.
    async fn clone_from(
        &mut self,
        order: &StandbyOrder,
        keep_old: bool,
        progress: &mut (dyn FnMut(&Self, String) + Send),
    ) -> Result<(), ActError> {
        expect_answer(order).await?;
        if self.postgres.is_running().await? {
            self.stop(StopMode::Fast).await?;
        }
        if self.memory.may_be_counted() {
            self.reincarnate(order)?;
            // The primary makes its slot once the new incarnation is on record.
            return Err(ActError::Waiting(
                "waiting for a slot at the primary".to_owned(),
            ));
        }
        self.memory.forget_reached()?;
        let (this, upstream) = (&*self, upstream(order));
        let cloned = this.postgres.clone_from(&upstream, keep_old, |so_far| {
            progress(this, format!("taking a base backup, {} %", so_far.percent));
        });
        let replaced = cloned.await?;
        info!(upstream = %order.upstream.member, ?replaced, "base backup taken");
        self.forget();
        self.follow(order).await
    }

    /// A directory that was restored from a backup or a snapshot may lack what
    /// it acknowledged: nothing of it is counted again.
    pub(super) async fn refuse_rollback(&mut self) -> Result<(), ActError> {
        if self.postgres.is_running().await? || !self.postgres.instance().holds_cluster()? {
            return Ok(());
        }
        // One that cannot be read does nothing: it might be trusted for what
        // it lost. A wreck is none, and is replaced whatever it had.
        let end = match self.postgres.own_end_of_wal().await {
            Err(_) if postgres::is_wreck(self.postgres.instance()) => return Ok(()),
            end => end?,
        };
        if self.memory.is_rolled_back(end.position) {
            let incarnation = self.memory.reincarnate()?;
            warn!(end = %end.position, %incarnation, "the data directory ends before what it \
                had reached: it was rolled back, and is a new incarnation now");
            self.renew_identity()?;
        }
        Ok(())
    }

    fn reincarnate(&mut self, order: &StandbyOrder) -> Result<(), ActError> {
        let incarnation = self.memory.reincarnate()?;
        info!(%incarnation, upstream = %order.upstream.member, "the member is a new incarnation");
        self.renew_identity()?;
        Ok(())
    }
}

fn explain(waiting: Waiting) -> String {
    match waiting {
        Waiting::DivergedUnsealed { from } => format!(
            "holds log beyond {from} that the primary does not have; it is kept until the epoch \
             is sealed, then rewound"
        ),
        Waiting::DownInOwnEpoch => {
            "PostgreSQL went down in this epoch; only a later one opens it again".to_owned()
        }
    }
}

/// Nothing is given up for a copy of somebody who is not there: a rewind whose
/// source dies leaves a wreck.
async fn expect_answer(order: &StandbyOrder) -> Result<(), ActError> {
    let upstream = &order.upstream;
    match answers(upstream.address).await {
        true => Ok(()),
        false => Err(ActError::Waiting(format!(
            "waiting for {} at {} to answer",
            upstream.member, upstream.address
        ))),
    }
}

fn names(sync: &SyncConfig) -> SyncNames {
    match (sync.k, sync.set.is_empty()) {
        (0, _) => SyncNames::Off,
        (_, true) => SyncNames::Nobody,
        (k, false) => SyncNames::Any {
            k,
            members: sync.set.iter().copied().collect(),
        },
    }
}

fn upstream(order: &StandbyOrder) -> Upstream {
    let address = order.upstream.address;
    Upstream {
        host: address.ip().to_string(),
        port: address.port(),
        epoch: order.epoch,
    }
}
