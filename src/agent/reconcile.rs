//! From what a member should be and what it is to the one next step.
//!
//! Pure: the agent's loop observes, asks, does the step, and observes again,
//! so a step that was interrupted, by a crash of the agent or of PostgreSQL,
//! is simply asked for again.
//!
//! Invariant: a step that opens a member read-write is returned only for an
//! instruction that [`super::promise::admit`] let through, and only once per epoch.

use crate::domain::{
    Epoch, Fenced, Incarnation, Instruction, InstructionOrder, Lineage, Lsn, Position,
    PrimaryOrder, Promised, Rejoin, Role, StandbyOrder, Stop, SyncConfig, Verdict,
};

/// What the agent found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actual {
    pub directory: Directory,
    pub lineage: Option<Lineage>,
    /// Where the log ends, known once no receiver can extend it.
    pub end: Option<Lsn>,
    /// Set while nothing is received and the promise of this epoch is kept.
    pub fenced: Option<Fenced>,
    /// Whom a standby is configured to stream from, and under which epoch.
    pub following: Option<(Epoch, Incarnation)>,
    /// The sync configuration seen in force by a new session.
    pub sync: Option<(InstructionOrder, SyncConfig)>,
    /// The order under which a barrier went through.
    pub barrier: Option<InstructionOrder>,
    /// Clients are let in.
    pub open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Directory {
    Absent,
    Wreck,
    /// No process of it is left.
    Stopped {
        clean: bool,
    },
    Running(Role),
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// It is as it should be, or nothing can be done about it here.
    Nothing,
    /// `initdb`, then start read-write. Opens.
    Create,
    /// Start an adopted directory read-write. Opens.
    StartPrimary,
    /// Promote onto the timeline of the epoch. Opens.
    Promote {
        sync: SyncConfig,
    },
    /// Go on as primary under a later epoch, never having stopped. Opens.
    Continue,
    /// Put the sync configuration in force, and see it so in a new session.
    ApplySync {
        order: InstructionOrder,
        sync: SyncConfig,
    },
    /// Let a synchronous write through.
    Barrier {
        order: InstructionOrder,
    },
    Open,
    Close,
    StopFast,
    StopImmediate,
    /// Make receiving impossible, then read where the log ends.
    Fence {
        epoch: Epoch,
    },
    /// Report a directory that was stopped as fenced.
    CountStopped {
        epoch: Epoch,
    },
    /// Start as a standby without upstream, which replays to the end of its log.
    StartAlone,
    /// Learn where the log of a stopped directory ends.
    ReadEnd,
    Follow,
    StartFollowing,
    Rewind {
        from: Position,
    },
    Clone {
        keep_old: bool,
    },
    /// Nothing may be done yet; an operator should see why.
    Wait(Waiting),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Waiting {
    /// It holds foreign log, and nothing may be wiped before the epoch is sealed.
    DivergedUnsealed { from: Position },
    /// It was opened under this epoch and is down: only a later epoch opens it again.
    DownInOwnEpoch,
}

/// The next step from `actual` towards an instruction that was admitted.
#[must_use]
pub fn next_step(promised: Promised, instruction: &Instruction, actual: &Actual) -> Step {
    match instruction {
        Instruction::Hold => Step::Nothing,
        Instruction::Fence { epoch, stop } => fence_step(*epoch, *stop, promised, actual),
        Instruction::Primary(order) => primary_step(promised, order, actual),
        Instruction::Standby(order) => standby_step(order, actual),
    }
}

fn fence_step(epoch: Epoch, stop: Stop, promised: Promised, actual: &Actual) -> Step {
    let counted = actual.fenced.filter(|fenced| fenced.epoch >= epoch);
    let was_primary = promised.opened == promised.accepted.epoch && promised.opened > Epoch::NONE;
    match actual.directory {
        Directory::Running(Role::Primary) if stop == Stop::Fast => Step::StopFast,
        // It is to be counted as a standby: nothing acknowledged hangs on it running.
        Directory::Running(Role::Primary) if stop == Stop::Recover => Step::StopImmediate,
        Directory::Running(Role::Primary) => Step::Nothing,
        Directory::Running(Role::Standby) if counted.is_some_and(|f| f.position.is_some()) => {
            Step::Nothing
        }
        Directory::Running(Role::Standby) => Step::Fence { epoch },
        Directory::Stopped { .. } if was_primary && stop != Stop::Recover => match counted {
            Some(_) => Step::Nothing,
            None => Step::CountStopped { epoch },
        },
        Directory::Stopped { .. } => Step::StartAlone,
        Directory::Absent | Directory::Wreck => Step::Nothing,
    }
}

fn primary_step(promised: Promised, order: &PrimaryOrder, actual: &Actual) -> Step {
    if promised.opened == order.order.epoch {
        return opened_primary_step(order, actual);
    }
    match (actual.directory, order.promote) {
        (Directory::Running(Role::Standby), true) => Step::Promote {
            sync: order.sync.clone(),
        },
        (Directory::Stopped { .. }, true) => Step::StartAlone,
        // A promotion under an earlier epoch ended after its agent had turned
        // away from it: this timeline is not the one that goes on record.
        (Directory::Running(Role::Primary), true) if is_elsewhere(order, actual) => {
            Step::StopImmediate
        }
        (Directory::Running(Role::Primary), _) => Step::Continue,
        (Directory::Absent, false) if order.create => Step::Create,
        (Directory::Stopped { .. }, false) if promised.opened == Epoch::NONE => Step::StartPrimary,
        (Directory::Stopped { .. }, false) => Step::Wait(Waiting::DownInOwnEpoch),
        (Directory::Running(Role::Standby), false) => Step::Nothing,
        (Directory::Absent | Directory::Wreck, _) => Step::Nothing,
    }
}

/// Whether it is known to run on another timeline than the epoch's.
fn is_elsewhere(order: &PrimaryOrder, actual: &Actual) -> bool {
    let timeline = order.order.epoch.timeline();
    let lineage = actual.lineage.as_ref();
    lineage.is_some_and(|lineage| lineage.timeline != timeline)
}

fn opened_primary_step(order: &PrimaryOrder, actual: &Actual) -> Step {
    match actual.directory {
        Directory::Running(Role::Primary) => {}
        // The promotion that was begun goes on: the epoch was opened for it.
        Directory::Running(Role::Standby) if order.promote => {
            return Step::Promote {
                sync: order.sync.clone(),
            };
        }
        _ => return Step::Wait(Waiting::DownInOwnEpoch),
    }
    let wanted = (order.order, order.sync.clone());
    if actual.sync.as_ref() != Some(&wanted) {
        return Step::ApplySync {
            order: wanted.0,
            sync: wanted.1,
        };
    }
    if actual.barrier != Some(order.order) && !order.sync.set.is_empty() {
        return Step::Barrier { order: order.order };
    }
    match (order.open, actual.open) {
        (true, false) => Step::Open,
        (false, true) => Step::Close,
        _ => Step::Nothing,
    }
}

fn standby_step(order: &StandbyOrder, actual: &Actual) -> Step {
    let wanted = (order.epoch, order.upstream.incarnation);
    match actual.directory {
        Directory::Running(Role::Primary) => Step::StopImmediate,
        Directory::Running(Role::Standby) if actual.following == Some(wanted) => Step::Nothing,
        Directory::Running(Role::Standby) if actual.following.is_some() => {
            // Stop receiving before looking where the log ends.
            Step::Fence {
                epoch: Epoch(order.epoch.0.saturating_sub(1)),
            }
        }
        Directory::Absent => Step::Clone { keep_old: false },
        Directory::Wreck => Step::Clone { keep_old: true },
        Directory::Running(Role::Standby) => approach(order, actual, Step::Follow),
        Directory::Stopped { .. } => approach(order, actual, Step::StartFollowing),
    }
}

/// Follows from behind the fork; from beyond it, rewinds or waits.
fn approach(order: &StandbyOrder, actual: &Actual, follow: Step) -> Step {
    let (Some(lineage), Some(end)) = (&actual.lineage, actual.end) else {
        return Step::ReadEnd;
    };
    match (lineage.verdict(end, &order.lineage), order.rejoin) {
        (Verdict::Follow, _) => follow,
        (Verdict::Diverged { from }, Rejoin::Rewind) => Step::Rewind { from },
        (Verdict::Diverged { .. }, Rejoin::Aside) => Step::Clone { keep_old: true },
        (Verdict::Diverged { from }, Rejoin::Wait) => {
            Step::Wait(Waiting::DivergedUnsealed { from })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Revision;

    fn primary_on(lineage: Lineage) -> Actual {
        Actual {
            directory: Directory::Running(Role::Primary),
            lineage: Some(lineage),
            end: None,
            fenced: None,
            following: None,
            sync: None,
            barrier: None,
            open: false,
        }
    }

    #[test]
    fn a_promotion_that_ended_too_late_is_not_taken_for_the_next() {
        let order = PrimaryOrder {
            order: InstructionOrder {
                epoch: Epoch(3),
                revision: Revision::FIRST,
            },
            sync: SyncConfig::nobody(),
            promote: true,
            create: false,
            open: false,
            peers: Vec::new(),
        };
        let promised = Promised {
            opened: Epoch(2),
            ..Promised::default()
        };
        let step = |epoch: Epoch| {
            let lineage = Lineage::first().promoted(Lsn(7), epoch.timeline());
            primary_step(promised, &order, &primary_on(lineage))
        };
        assert_eq!(step(Epoch(2)), Step::StopImmediate);
        assert_eq!(step(Epoch(3)), Step::Continue);
    }

    #[test]
    fn a_primary_whose_promotion_came_too_late_for_its_epoch_is_brought_back() {
        let promised = Promised {
            fenced: Epoch(3),
            opened: Epoch(3),
            ..Promised::default()
        };
        let promoted = primary_on(Lineage::first().promoted(Lsn(7), Epoch(3).timeline()));
        let step = |stop| fence_step(Epoch(3), stop, promised, &promoted);
        assert_eq!(step(Stop::No), Step::Nothing);
        assert_eq!(step(Stop::Recover), Step::StopImmediate);
        let stopped = Actual {
            directory: Directory::Stopped { clean: false },
            ..promoted
        };
        let step = fence_step(Epoch(3), Stop::Recover, promised, &stopped);
        assert_eq!(step, Step::StartAlone);
    }

    #[test]
    fn what_went_down_under_its_own_epoch_is_opened_only_by_a_later_one() {
        let order = |epoch| PrimaryOrder {
            order: InstructionOrder {
                epoch: Epoch(epoch),
                revision: Revision::FIRST,
            },
            sync: SyncConfig::nobody(),
            promote: true,
            create: true,
            open: true,
            peers: Vec::new(),
        };
        let promised = Promised {
            opened: Epoch(2),
            ..Promised::default()
        };
        for clean in [true, false] {
            let crashed = Actual {
                directory: Directory::Stopped { clean },
                ..primary_on(Lineage::first())
            };
            let step = |epoch| primary_step(promised, &order(epoch), &crashed);
            assert_eq!(step(2), Step::Wait(Waiting::DownInOwnEpoch));
            assert_eq!(step(3), Step::StartAlone);
        }
    }
}
