//! What the member is, for the leader and for `reconcile`.

use crate::{
    domain::{Epoch, Incarnation, Lineage, Postgres, Promised, Receiving, Report, Role, Running},
    postgres::{self, LocalPostgres, Probe, is_wreck},
};

use super::{
    act::MUTANT,
    member::Member,
    reconcile::{Actual, Directory},
};

/// A standby that streams from somebody the agent does not remember.
const UNKNOWN: (Epoch, Incarnation) = (Epoch::NONE, Incarnation(uuid::Uuid::nil()));

/// One look at PostgreSQL.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    pub directory: Directory,
    pub postgres: Postgres,
    pub lineage: Option<Lineage>,
    pub system_identifier: Option<u64>,
    /// Streams from nobody and reads no archive.
    pub cut_off: bool,
}

impl Observed {
    /// Nothing can be said of the directory.
    pub(super) fn unknown() -> Self {
        Self {
            directory: Directory::Absent,
            postgres: Postgres::Busy {
                doing: "nothing: see the trouble".to_owned(),
            },
            lineage: None,
            system_identifier: None,
            cut_off: true,
        }
    }
}

impl Member {
    /// Looks at PostgreSQL. `None`: it runs and does not answer yet.
    pub(super) async fn observe(&mut self) -> Result<Option<Observed>, postgres::Error> {
        if self.postgres.is_running().await? {
            self.stopped = None;
            return Ok(match self.postgres.probe().await {
                Ok(probe) => Some(running(&probe, self.open)),
                Err(error) => {
                    tracing::debug!(%error, "PostgreSQL does not answer");
                    None
                }
            });
        }
        if self.stopped.is_none() {
            self.stopped = Some(look_at_directory(&self.postgres)?);
        }
        Ok(self.stopped.clone())
    }

    /// Reads the lineage of a stopped directory. Slow, so only in peace: the
    /// leader asks for it before a first grant.
    pub(super) async fn look_closer(&mut self) -> Result<(), postgres::Error> {
        let Some(stopped) = self.stopped.clone() else {
            return Ok(());
        };
        if stopped.lineage.is_none() && matches!(stopped.directory, Directory::Stopped { .. }) {
            let lineage = Some(self.postgres.own_end_of_wal().await?.lineage);
            self.stopped = Some(Observed { lineage, ..stopped });
        }
        Ok(())
    }

    pub(super) fn actual(&self, observed: &Observed) -> Actual {
        let known = &self.known;
        let receives = observed.directory == Directory::Running(Role::Standby) && !observed.cut_off;
        Actual {
            directory: observed.directory,
            lineage: match observed.directory {
                Directory::Running(Role::Primary) => observed.lineage.clone(),
                _ => known.end.as_ref().map(|end| end.1.clone()),
            },
            end: known
                .end
                .as_ref()
                .map(|end| end.0.lsn)
                .filter(|_| !receives),
            fenced: known.fenced.filter(|_| MUTANT || !receives),
            following: self
                .memory
                .following()
                .filter(|_| receives)
                .or(receives.then_some(UNKNOWN)),
            sync: known.sync.clone(),
            barrier: known
                .barrier
                .map(|barrier| barrier.order)
                .max(self.barrier_under_way()),
            open: self.open,
        }
    }

    pub(super) fn report(&self, observed: &Observed, postgres: Option<Postgres>) -> Report {
        let receives = observed.directory == Directory::Running(Role::Standby) && !observed.cut_off;
        let is_primary = observed.directory == Directory::Running(Role::Primary);
        Report {
            group: self.options.group.clone(),
            member: self.options.member.clone(),
            incarnation: self.memory.incarnation(),
            system_identifier: observed.system_identifier,
            promised: self.memory.promised(),
            postgres: postgres.unwrap_or_else(|| observed.postgres.clone()),
            lineage: observed.lineage.clone(),
            fenced: self
                .known
                .fenced
                .filter(|_| (MUTANT || !receives) && !is_primary),
            barrier: self.known.barrier.filter(|_| is_primary),
            upstream_answers: self.background.knocks.answers(),
            checkpointed: self.checkpointed(),
            trouble: self.trouble.clone(),
        }
    }
}

/// Whether this epoch may be renewed: it was opened and runs as primary.
pub(super) fn renewable(promised: Promised, observed: &Observed) -> bool {
    observed.directory == Directory::Running(Role::Primary)
        && promised.opened == promised.accepted.epoch
        && promised.opened > promised.fenced
}

fn running(probe: &Probe, open: bool) -> Observed {
    let (role, replayed, receiving) = match &probe.role {
        postgres::Role::Primary { flush, .. } => (Role::Primary, *flush, Receiving::No),
        postgres::Role::Standby {
            replay, receiver, ..
        } => {
            let streams = receiver.as_ref().is_some_and(|it| it.status == "streaming");
            let receiving = if streams {
                Receiving::Streaming
            } else {
                Receiving::No
            };
            (Role::Standby, *replay, receiving)
        }
    };
    let position = probe.position;
    Observed {
        directory: Directory::Running(role),
        postgres: Postgres::Running(Running {
            role,
            position,
            replayed,
            receiving,
            open,
        }),
        lineage: Some(probe.lineage.clone()),
        system_identifier: Some(probe.system_identifier),
        cut_off: probe.cut_off,
    }
}

fn look_at_directory(local: &LocalPostgres) -> Result<Observed, postgres::Error> {
    let instance = local.instance();
    let nothing = |directory, postgres| Observed {
        directory,
        postgres,
        lineage: None,
        system_identifier: None,
        cut_off: true,
    };
    if !instance.holds_cluster()? {
        return Ok(nothing(Directory::Absent, Postgres::Absent));
    }
    if is_wreck(instance) {
        return Ok(nothing(Directory::Wreck, Postgres::Wreck));
    }
    let (system_identifier, clean) = instance.left_as()?;
    Ok(Observed {
        system_identifier: Some(system_identifier),
        ..nothing(Directory::Stopped { clean }, Postgres::Stopped { clean })
    })
}
