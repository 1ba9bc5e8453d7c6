//! Runs many seeds on a few threads, and stops at the first that fails.
//!
//! Threads share nothing but the number of the next seed; each world lives on
//! one of them. Here alone a real clock is read, to say how fast it goes.

use std::{
    panic::{self, UnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    plan::Weather,
    run::{Case, Outcome},
    time::{At, SECOND},
};

/// Which seeds to run, and how.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    pub from: u64,
    pub seeds: u64,
    pub threads: u64,
    /// Stop asking for more seeds after this.
    pub limit: Duration,
    /// Between two lines of progress.
    pub every: Duration,
}

/// What came of all of them together.
#[derive(Debug, Default)]
pub struct Sum {
    pub seeds: u64,
    pub lived: At,
    pub grants: u64,
    pub acknowledged: u64,
    pub events: u64,
    /// Worlds in which more than the first lease was granted.
    pub failed_over: u64,
    pub slowest: (At, u64),
    pub failed: Option<Outcome>,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.lived += outcome.lived;
        self.grants += outcome.grants;
        self.acknowledged += outcome.acknowledged;
        self.events += outcome.events;
        self.failed_over += u64::from(outcome.grants > 1);
        if outcome.weather == Weather::Stormy {
            self.slowest = self
                .slowest
                .max((outcome.recovered.unwrap_or(0), outcome.seed));
        }
        let first = self
            .failed
            .as_ref()
            .is_none_or(|failed| outcome.seed < failed.seed);
        if outcome.failure.is_some() && first {
            self.failed = Some(outcome);
        }
    }

    /// One line of progress.
    pub fn progress(&self, took: Duration) -> String {
        let hours = self.lived as f64 / SECOND as f64 / 3600.0;
        let wall = took.as_secs_f64() / 3600.0;
        format!(
            "{} seeds, {hours:.1} simulated hours, {:.0} hours per hour; {} grants, {} writes \
             acknowledged, {} worlds failed over; slowest recovery {} s (seed {})",
            self.seeds,
            hours / wall,
            self.grants,
            self.acknowledged,
            self.failed_over,
            self.slowest.0 / SECOND,
            self.slowest.1,
        )
    }
}

impl Soak {
    #[allow(
        clippy::disallowed_methods,
        reason = "tells how fast it goes; no world sees it"
    )]
    pub fn run(&self) -> Sum {
        let (next, failed) = (AtomicU64::new(self.from), AtomicBool::new(false));
        let sum = Mutex::new((Sum::default(), Duration::ZERO));
        let begun = Instant::now();
        let work = || {
            while !failed.load(Ordering::Relaxed) && begun.elapsed() < self.limit {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.from + self.seeds {
                    return;
                }
                let outcome = named(seed, || Case::of(seed).run());
                failed.fetch_or(outcome.failure.is_some(), Ordering::Relaxed);
                let mut sum = sum.lock().expect("no panic");
                sum.0.add(outcome);
                let took = begun.elapsed();
                if took > sum.1 + self.every {
                    sum.1 = took;
                    println!("{}", sum.0.progress(took));
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.threads {
                scope.spawn(work);
            }
            work();
        });
        let (sum, _) = sum.into_inner().expect("no panic");
        println!("{}", sum.progress(begun.elapsed()));
        sum
    }
}

/// What panics in a world is told by its seed.
fn named(seed: u64, run: impl FnOnce() -> Outcome + UnwindSafe) -> Outcome {
    panic::catch_unwind(run).unwrap_or_else(|cause| {
        println!("seed {seed} panicked: SIM_SEED={seed} replays it");
        panic::resume_unwind(cause)
    })
}
