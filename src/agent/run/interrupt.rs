//! What interrupts a step that is under way.

use tokio::sync::watch;

use crate::{
    agent::promise,
    domain::{Instruction, Promised},
    ports::Directive,
};

/// Returns when an instruction came that makes the current one pointless:
/// another epoch, another upstream, a fence.
pub(super) async fn superseded(
    mut latest: watch::Receiver<Option<Directive>>,
    current: Directive,
    promised: Promised,
) {
    loop {
        if latest.changed().await.is_err() {
            return futures::future::pending().await;
        }
        let news = latest.borrow().clone();
        if news.is_some_and(|news| interrupts(&news, &current, promised)) {
            return;
        }
    }
}

/// What would not be obeyed interrupts nothing: a rewind that is cut off leaves
/// a wreck.
fn interrupts(news: &Directive, current: &Directive, promised: Promised) -> bool {
    news.incarnation == current.incarnation
        && promise::admit(promised, &news.instruction).is_ok()
        && differs(&news.instruction, &current.instruction)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Epoch, Incarnation, InstructionOrder, Lineage, Peer, Rejoin, Revision, StandbyOrder, Stop,
    };

    fn directive(instruction: Instruction) -> Directive {
        Directive {
            term: 1,
            incarnation: Incarnation(uuid::Uuid::from_u128(1)),
            instruction,
            watchful: false,
            prepare_stop: None,
        }
    }

    fn fence(epoch: u32) -> Directive {
        directive(Instruction::Fence {
            epoch: Epoch(epoch),
            stop: Stop::No,
        })
    }

    fn following(epoch: u32) -> Directive {
        let upstream = Peer {
            member: "a".parse().expect("a name"),
            incarnation: Incarnation(uuid::Uuid::from_u128(2)),
            address: "192.0.2.1:5432".parse().expect("an address"),
        };
        directive(Instruction::Standby(StandbyOrder {
            epoch: Epoch(epoch),
            upstream,
            lineage: Lineage::first(),
            rejoin: Rejoin::Rewind,
        }))
    }

    fn accepted(epoch: u32) -> Promised {
        Promised {
            accepted: InstructionOrder {
                epoch: Epoch(epoch),
                revision: Revision::default(),
            },
            ..Promised::default()
        }
    }

    #[test]
    fn a_later_instruction_interrupts_and_the_same_one_twice_does_not() {
        let interrupts = |news: &Directive| interrupts(news, &following(4), accepted(4));
        assert!(interrupts(&fence(4)));
        assert!(interrupts(&following(5)));
        assert!(!interrupts(&following(4)));
    }

    #[test]
    fn a_late_instruction_of_a_deposed_leader_interrupts_nothing() {
        let interrupts = |news: &Directive| interrupts(news, &following(4), accepted(4));
        assert!(!interrupts(&fence(3)));
        assert!(!interrupts(&following(3)));
    }

    #[test]
    fn an_instruction_for_an_earlier_life_of_the_member_interrupts_nothing() {
        let mut news = fence(4);
        news.incarnation = Incarnation(uuid::Uuid::from_u128(9));
        assert!(!interrupts(&news, &following(4), accepted(4)));
    }
}
