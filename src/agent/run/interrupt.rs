//! What interrupts a step that is under way.

use tokio::sync::watch;

use crate::{agent::promise, domain::Promised, ports::Directive};

/// Returns when an instruction came that makes the current one pointless.
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

/// What is meant for an earlier life of this member interrupts nothing.
fn interrupts(news: &Directive, current: &Directive, promised: Promised) -> bool {
    news.incarnation == current.incarnation
        && promise::interrupts(promised, &news.instruction, &current.instruction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, Incarnation, Instruction, Stop};

    fn fence(epoch: u32) -> Directive {
        Directive {
            term: 1,
            incarnation: Incarnation(uuid::Uuid::from_u128(1)),
            instruction: Instruction::Fence {
                epoch: Epoch(epoch),
                stop: Stop::No,
            },
            watchful: false,
            prepare_stop: None,
        }
    }

    #[test]
    fn an_instruction_for_an_earlier_life_of_the_member_interrupts_nothing() {
        let mut news = fence(5);
        assert!(interrupts(&news, &fence(4), Promised::default()));
        news.incarnation = Incarnation(uuid::Uuid::from_u128(9));
        assert!(!interrupts(&news, &fence(4), Promised::default()));
    }
}
