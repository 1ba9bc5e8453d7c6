//! What an agent persists before it obeys.
//!
//! An instruction may come late, twice, or from a leader that lost its office
//! a second ago. The promise is what makes that harmless: it only ever rises,
//! it is on disk before anything is done under it, and nothing below it is
//! obeyed again, not even after a restart.

use crate::domain::{Epoch, Instruction, InstructionOrder, Promised, Revision, rule::Rule};

/// Why an instruction was not obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    #[error("the instruction is of epoch {asked}, and nothing up to {fenced} is obeyed any more")]
    Fenced { asked: Epoch, fenced: Epoch },
    #[error("the instruction is of epoch {}, revision {}; {} {} was accepted before",
        asked.epoch, asked.revision, accepted.epoch, accepted.revision)]
    Superseded {
        asked: InstructionOrder,
        accepted: InstructionOrder,
    },
}

/// Decides whether `instruction` may be obeyed, and what must be on disk
/// first: the returned promise, if it differs from `promised`.
pub fn admit(promised: Promised, instruction: &Instruction) -> Result<Promised, NotAdmitted> {
    match instruction {
        Instruction::Hold => Ok(promised),
        Instruction::Fence { epoch, .. } => admit_fence(promised, *epoch),
        Instruction::Primary(primary) => admit_order(promised, primary.order),
        Instruction::Standby(standby) => {
            // A standby has no sync revision; it keeps the one it has seen.
            let revision = match standby.epoch == promised.accepted.epoch {
                true => promised.accepted.revision,
                false => Revision::default(),
            };
            admit_order(
                promised,
                InstructionOrder {
                    epoch: standby.epoch,
                    revision,
                },
            )
        }
    }
}

/// Whether `news` makes what is done for `current` pointless: another epoch,
/// another upstream, a fence. What would not be obeyed interrupts nothing: a
/// rewind that is cut off leaves a wreck.
#[must_use]
pub fn interrupts(promised: Promised, news: &Instruction, current: &Instruction) -> bool {
    admit(promised, news).is_ok() && differs(news, current)
}

fn differs(news: &Instruction, current: &Instruction) -> bool {
    match (news, current) {
        (Instruction::Hold, _) => false,
        (Instruction::Standby(news), Instruction::Standby(current)) => {
            (news.epoch, news.upstream.incarnation) != (current.epoch, current.upstream.incarnation)
        }
        (Instruction::Primary(news), Instruction::Primary(current)) => {
            news.order.epoch != current.order.epoch
        }
        (news, current) => news != current,
    }
}

/// A fence of an epoch that this member has left behind is old news.
fn admit_fence(promised: Promised, epoch: Epoch) -> Result<Promised, NotAdmitted> {
    if epoch < promised.accepted.epoch {
        let asked = InstructionOrder {
            epoch,
            revision: Revision::default(),
        };
        return Err(NotAdmitted::Superseded {
            asked,
            accepted: promised.accepted,
        });
    }
    Ok(Promised {
        fenced: promised.fenced.max(epoch),
        ..promised
    })
}

fn admit_order(promised: Promised, asked: InstructionOrder) -> Result<Promised, NotAdmitted> {
    if asked.epoch <= promised.fenced && Rule::Promise.holds() {
        return Err(NotAdmitted::Fenced {
            asked: asked.epoch,
            fenced: promised.fenced,
        });
    }
    let accepted = promised.accepted;
    let stale = if Rule::RevisionOrder.holds() {
        asked < accepted
    } else {
        asked.epoch < accepted.epoch
    };
    if stale && Rule::Promise.holds() {
        return Err(NotAdmitted::Superseded { asked, accepted });
    }
    Ok(Promised {
        accepted: asked,
        ..promised
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Incarnation, Lineage, Peer, Rejoin, StandbyOrder, Stop};

    fn fence(epoch: u32) -> Instruction {
        Instruction::Fence {
            epoch: Epoch(epoch),
            stop: Stop::No,
        }
    }

    fn accepted(epoch: u32, revision: u32) -> Promised {
        let accepted = InstructionOrder {
            epoch: Epoch(epoch),
            revision: Revision(revision),
        };
        Promised {
            accepted,
            ..Promised::default()
        }
    }

    fn following(epoch: u32) -> Instruction {
        let upstream = Peer {
            member: "a".parse().expect("a name"),
            incarnation: Incarnation(uuid::Uuid::from_u128(2)),
            address: "192.0.2.1:5432".parse().expect("an address"),
        };
        Instruction::Standby(StandbyOrder {
            epoch: Epoch(epoch),
            upstream,
            lineage: Lineage::first(),
            rejoin: Rejoin::Rewind,
        })
    }

    #[test]
    fn a_later_instruction_interrupts_and_the_same_one_twice_does_not() {
        let interrupts = |news: &Instruction| interrupts(accepted(4, 0), news, &following(4));
        assert!(interrupts(&fence(4)));
        assert!(interrupts(&following(5)));
        assert!(!interrupts(&following(4)));
    }

    #[test]
    fn a_late_instruction_of_a_deposed_leader_interrupts_nothing() {
        let interrupts = |news: &Instruction| interrupts(accepted(4, 0), news, &following(4));
        assert!(!interrupts(&fence(3)));
        assert!(!interrupts(&following(3)));
    }

    #[test]
    fn a_fenced_member_obeys_nothing_of_that_epoch_again() {
        let promised = admit(accepted(3, 1), &fence(3)).expect("the fence of its epoch");
        let order = InstructionOrder {
            epoch: Epoch(3),
            revision: Revision(9),
        };
        assert!(admit_order(promised, order).is_err());
        let next = InstructionOrder {
            epoch: Epoch(4),
            revision: Revision(1),
        };
        assert!(admit_order(promised, next).is_ok());
    }

    #[test]
    fn a_late_fence_of_an_epoch_left_behind_is_refused() {
        assert!(admit(accepted(4, 1), &fence(3)).is_err());
    }

    #[test]
    fn a_late_order_to_be_a_standby_is_refused() {
        let order = |epoch| InstructionOrder {
            epoch: Epoch(epoch),
            revision: Revision::default(),
        };
        assert!(admit_order(accepted(4, 0), order(3)).is_err());
        assert!(admit_order(accepted(4, 0), order(5)).is_ok());
    }

    #[test]
    fn a_fence_that_comes_twice_changes_nothing_the_second_time() {
        let promised = admit(accepted(3, 1), &fence(3)).expect("the first");
        assert_eq!(admit(promised, &fence(3)), Ok(promised));
    }

    #[test]
    fn a_late_revision_of_the_same_epoch_is_refused() {
        let late = InstructionOrder {
            epoch: Epoch(3),
            revision: Revision(1),
        };
        assert!(admit_order(accepted(3, 2), late).is_err());
        let again = InstructionOrder {
            epoch: Epoch(3),
            revision: Revision(2),
        };
        assert_eq!(admit_order(accepted(3, 2), again), Ok(accepted(3, 2)));
    }
}
