//! When which nemesis strikes: one or two at a time, all of them in turn.
//!
//! Every nemesis is dealt once before any is dealt again, so that a run that is
//! long enough has seen them all.

use std::{thread, time::Duration};

use fastrand::Rng;

use super::{Field, Nemesis};
use crate::history::Nanos;

/// Longest wait for an acknowledged write between two strokes.
const BREATH: Duration = Duration::from_secs(12);

/// Strikes until `field.stop`. What could not be done is told, and goes on
/// record as a fault without effect.
pub fn torture(
    field: &Field,
    nemeses: &[Box<dyn Nemesis>],
    random: &mut Rng,
    tell: &(dyn Fn(&str) + Sync),
) {
    let mut deck: Vec<usize> = Vec::new();
    while !field.stop.is_cancelled() {
        let mut hand = vec![deal(&mut deck, nemeses.len(), random)];
        // One in three strikes while another one is at it.
        let goes_with = |number: usize| !nemeses[number].alone();
        if random.u8(..3) == 0 && goes_with(hand[0]) {
            let next = deal(&mut deck, nemeses.len(), random);
            match goes_with(next) {
                true => hand.push(next),
                false => deck.push(next),
            }
        }
        thread::scope(|scope| {
            for (turn, number) in (0..).zip(hand) {
                let nemesis = &nemeses[number];
                let mut random = random.fork();
                let late = Duration::from_millis(random.u64(..1500) * turn);
                scope.spawn(move || {
                    field.wait(late, || false);
                    strike(field, nemesis.as_ref(), &mut random, tell);
                });
            }
        });
        breathe(field, random);
    }
}

fn deal(deck: &mut Vec<usize>, count: usize, random: &mut Rng) -> usize {
    if deck.is_empty() {
        deck.extend(0..count);
        random.shuffle(deck);
    }
    // Never empty here: there is at least one nemesis.
    deck.pop().unwrap_or(0)
}

fn strike(field: &Field, nemesis: &dyn Nemesis, random: &mut Rng, tell: &(dyn Fn(&str) + Sync)) {
    if field.stop.is_cancelled() {
        return;
    }
    tell(nemesis.name());
    if let Err(error) = nemesis.strike(field, random) {
        tell(&format!("{}: {error:#}", nemesis.name()));
    }
}

/// Mostly until clients are served again; at times only for a moment.
fn breathe(field: &Field, random: &mut Rng) {
    let now: Nanos = field.recorder.now();
    if random.u8(..4) > 0 {
        field.wait(BREATH, || field.acknowledged_since(now));
    }
    field.hold(random, 0.2..3.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nemesis_is_dealt_before_any_is_dealt_again() {
        let (mut deck, mut random) = (Vec::new(), Rng::with_seed(7));
        for _ in 0..3 {
            let mut round: Vec<_> = (0..9).map(|_| deal(&mut deck, 9, &mut random)).collect();
            round.sort_unstable();
            assert_eq!(round, (0..9).collect::<Vec<_>>());
        }
    }
}
