//! Known histories, an exhaustive search beside it, and long ones.

use fastrand::Rng;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Write(u32),
    Read(u32),
    /// From, to; it succeeded.
    Swap(u32, u32),
}
use Op::{Read, Swap, Write};

struct Register;

impl Model for Register {
    type State = u32;
    type Op = Op;

    fn initial(&self) -> u32 {
        0
    }

    fn step(&self, state: &u32, op: &Op) -> Option<u32> {
        match *op {
            Write(value) => Some(value),
            Read(value) => (*state == value).then_some(value),
            Swap(from, to) => (*state == from).then_some(to),
        }
    }

    fn is_read(&self, op: &Op) -> bool {
        matches!(op, Read(_))
    }
}

fn call(op: Op, invoked: Nanos, completed: Nanos) -> Call<Op> {
    let completed = Some(completed);
    Call {
        op,
        invoked,
        completed,
    }
}

fn unknown(op: Op, invoked: Nanos) -> Call<Op> {
    Call {
        op,
        invoked,
        completed: None,
    }
}

fn is_linearizable(calls: &[Call<Op>]) -> bool {
    match judge(&Register, calls) {
        Judgement::Linearizable => true,
        Judgement::NotLinearizable { .. } => false,
        Judgement::TooHard => panic!("too hard: {} calls", calls.len()),
    }
}

#[test]
fn an_empty_history_is_linearizable() {
    assert!(is_linearizable(&[]));
}

#[test]
fn reads_beside_a_write_may_see_either_value() {
    let write = call(Write(1), 10, 40);
    let (old, new) = (call(Read(0), 11, 20), call(Read(1), 21, 30));
    assert!(is_linearizable(&[write, old, new]));
}

#[test]
fn a_read_of_the_old_value_after_one_of_the_new_is_caught() {
    let write = call(Write(1), 10, 40);
    let (new, old) = (call(Read(1), 11, 20), call(Read(0), 21, 30));
    let calls = [write, new, old];
    assert_eq!(
        judge(&Register, &calls),
        Judgement::NotLinearizable { stuck: 2 }
    );
}

#[test]
fn a_read_that_overlaps_both_reads_is_no_order_between_them() {
    let calls = [
        call(Write(1), 0, 100),
        call(Read(1), 10, 50),
        call(Read(0), 30, 60),
    ];
    assert!(is_linearizable(&calls));
}

#[test]
fn a_stale_read_after_the_write_returned_is_caught() {
    assert!(!is_linearizable(&[
        call(Write(1), 0, 10),
        call(Read(0), 11, 12)
    ]));
    // Touching ends overlap: which came first is not known.
    assert!(is_linearizable(&[
        call(Write(1), 0, 10),
        call(Read(0), 10, 12)
    ]));
}

#[test]
fn a_write_of_unknown_outcome_may_take_effect_late_or_never() {
    let write = unknown(Write(1), 0);
    assert!(is_linearizable(&[write.clone(), call(Read(0), 50, 60)]));
    let late = [
        write.clone(),
        call(Read(0), 50, 60),
        call(Read(1), 9_000, 9_001),
    ];
    assert!(is_linearizable(&late));
    let twice = [
        write.clone(),
        call(Read(1), 50, 60),
        call(Write(2), 70, 80),
        call(Read(1), 90, 91),
    ];
    assert!(!is_linearizable(&twice));
    assert!(
        !is_linearizable(&[call(Read(1), 0, 5), unknown(Write(1), 6)]),
        "an effect before its cause was let through"
    );
}

#[test]
fn a_write_of_the_value_that_is_there_may_be_needed_later() {
    let calls = [
        call(Write(1), 0, 10),
        call(Write(0), 0, 20),
        call(Read(0), 30, 31),
    ];
    assert!(is_linearizable(&calls));
}

#[test]
fn two_swaps_from_the_same_value_are_caught() {
    let calls = [
        call(Swap(0, 1), 0, 10),
        call(Swap(0, 2), 1, 11),
        call(Read(2), 20, 21),
    ];
    assert!(!is_linearizable(&calls));
    let calls = [
        call(Swap(0, 1), 0, 10),
        call(Swap(1, 2), 1, 11),
        call(Read(2), 20, 21),
    ];
    assert!(is_linearizable(&calls));
}

/// Every order of every choice of the calls of unknown outcome.
fn by_exhaustion(calls: &[Call<Op>], left: &[usize], state: u32) -> bool {
    if left.iter().all(|index| calls[*index].completed.is_none()) {
        return true;
    }
    let soonest = left.iter().map(|index| calls[*index].deadline()).min();
    (0..left.len()).any(|position| {
        let index = left[position];
        if Some(calls[index].invoked) > soonest {
            return false;
        }
        let Some(next) = Register.step(&state, &calls[index].op) else {
            return false;
        };
        let mut rest = left.to_vec();
        rest.remove(position);
        by_exhaustion(calls, &rest, next)
    })
}

#[test]
fn it_agrees_with_exhaustion_on_small_random_histories() {
    let mut rng = Rng::with_seed(7);
    let mut linearizable = 0;
    for round in 0..20_000 {
        let calls: Vec<_> = (0..rng.usize(1..7))
            .map(|_| {
                let op = match rng.u8(0..3) {
                    0 => Write(rng.u32(0..3)),
                    1 => Read(rng.u32(0..3)),
                    _ => Swap(rng.u32(0..3), rng.u32(0..3)),
                };
                let invoked = rng.u64(0..20);
                let completed = rng.u8(0..4).ne(&0).then(|| invoked + rng.u64(0..10));
                Call {
                    op,
                    invoked,
                    completed,
                }
            })
            .collect();
        let expected = by_exhaustion(&calls, &(0..calls.len()).collect::<Vec<_>>(), 0);
        assert_eq!(is_linearizable(&calls), expected, "{round}: {calls:?}");
        linearizable += usize::from(expected);
    }
    assert!((4_000..16_000).contains(&linearizable), "{linearizable}");
}

/// `count` calls of ten clients on a register that is one; of so many, the
/// outcome of one is not known.
fn honest(count: usize, unknown_in: u32, rng: &mut Rng) -> Vec<Call<Op>> {
    let mut planned: Vec<(Nanos, Nanos, Nanos)> = Vec::new();
    let mut free = [0; 10];
    for index in 0..count {
        let client = index % 10;
        let invoked = free[client] + rng.u64(1..20);
        let effect = invoked + rng.u64(0..100);
        let completed = effect + rng.u64(0..100);
        free[client] = completed + 1;
        planned.push((effect, invoked, completed));
    }
    planned.sort_unstable();
    let mut value = 0;
    let mut calls = Vec::new();
    for (_, invoked, completed) in planned {
        let op = match rng.u8(0..10) {
            0..4 => {
                value = rng.u32(0..5);
                Write(value)
            }
            4..6 => {
                let from = std::mem::replace(&mut value, rng.u32(0..5));
                Swap(from, value)
            }
            _ => Read(value),
        };
        let completed = rng.u32(0..unknown_in).ne(&0).then_some(completed);
        calls.push(Call {
            op,
            invoked,
            completed,
        });
    }
    calls
}

#[test]
fn a_long_honest_history_passes_and_one_lie_in_it_is_caught() {
    let mut rng = Rng::with_seed(1);
    let calls = honest(20_000, 1_000, &mut rng);
    let clock = crate::clock::now();
    assert!(is_linearizable(&calls));
    let passed = crate::clock::now() - clock;
    let mut calls = honest(20_000, u32::MAX, &mut rng);
    let lie = calls.iter().rposition(|call| matches!(call.op, Read(_)));
    calls[lie.expect("a read")].op = Read(99);
    let clock = crate::clock::now();
    assert!(!is_linearizable(&calls));
    let caught = crate::clock::now() - clock;
    println!("20,000 calls, ten at a time: {passed:?} to pass, {caught:?} to refuse");
}
