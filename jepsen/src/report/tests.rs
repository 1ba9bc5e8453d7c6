//! The page says what was found, whatever was recorded.

use super::*;
use crate::{
    check::{
        self,
        build::{
            Build, MEMBERS, addresses, check as asked, checked, holder, probe, write, written,
        },
    },
    history::{Answer, Outcome},
};

fn judged(history: &History) -> Vec<Judged> {
    let checkers = check::all();
    let judged = checkers.iter().map(|checker| {
        let (name, claim) = (checker.name().to_owned(), checker.claim().to_owned());
        (name, claim, checker.check(history))
    });
    judged.collect()
}

/// 300 s with 40 faults, every fourth of which costs the primary its office.
fn long() -> History {
    let names = [
        "kill-node",
        "kill-postgres",
        "pause-agent",
        "partition-majority",
        "clock-rate",
        "full-disk",
        "slow-links",
        "power-cut",
        "cpu-starvation",
        "two-failures",
    ];
    let mut build = Build::new().phases(5_000, 285_000, 296_000).elected(1);
    build = build.watched(100, 0, 10);
    let (mut epoch, mut row, mut at) = (1, 0, 300);
    for fault in 0..40_u64 {
        let began = 5_500 + fault * 7_000;
        let name = names[(fault as usize * 7) % names.len()];
        build = build.fault(name, began, began + 800 + (fault * 977) % 4_000, &[]);
        if fault % 13 == 5 {
            build.0.faults[fault as usize].effect = None;
        }
        if fault % 9 == 4 {
            build.0.faults[fault as usize].ended = Some(began * 1_000_000);
        }
        while at < began {
            (row, at) = (row + 1, at + 40);
            build = build.ok(write(row), at, at + 8, written(epoch));
        }
        if fault % 4 == 1 {
            epoch += 1;
            build = build.elected(epoch);
            let revision = u64::from(epoch) * 10;
            let gap = 900 + (fault * 331) % 2_500;
            build = build
                .watched(began + gap / 3, revision - 2, revision - 2)
                .watched(began + gap / 2, revision - 1, revision - 1)
                .watched(began + gap - 100, revision, revision);
            at = began + gap;
        }
    }
    while at < 295_000 {
        (row, at) = (row + 1, at + 40);
        build = build.ok(write(row), at, at + 8, written(epoch));
    }
    clients(build, row)
}

/// Name servers, checks and probes beside the writes.
fn clients(mut build: Build, rows: i64) -> History {
    let writes = build.0.operations.clone();
    for (index, operation) in writes.iter().enumerate().step_by(9) {
        let Outcome::Ok(Answer::Written { timeline, .. }) = &operation.outcome else {
            continue;
        };
        let at = operation.invoked / 1_000_000;
        let process = index as u64;
        build = build.add(
            process,
            asked(),
            at,
            Some(at + 5),
            Outcome::Ok(checked(*timeline)),
        );
        for server in 0..3 {
            let cut = (60_000..90_000).contains(&at) && server == 1;
            let dead = (150_000..163_000).contains(&at) && server == 2;
            let outcome = match (cut, dead) {
                (true, _) => Outcome::Ok(Answer::ServFail { extended: Some(24) }),
                (_, true) => Outcome::Info("no answer".to_owned()),
                _ => Outcome::Ok(addresses(*timeline)),
            };
            let request = Request::ResolveAddress { server };
            build = build.add(process, request, at, Some(at + 3), outcome);
        }
        let row = rows + 1 + index as i64;
        build = build.fail(probe(holder(*timeline + 1), row), at, at + 4);
    }
    let all: Vec<i64> = (1..=rows).collect();
    for member in MEMBERS {
        build = build.read_back(member, &all);
    }
    let mut history = build.0;
    history
        .operations
        .sort_by_key(|operation| operation.invoked);
    history.phases.end = 299_000_000_000;
    history.about.seed = 1;
    history.about.seconds = 300;
    history.about.version = "primacy 0.1.0".to_owned();
    history.about.command = "cargo run --release -p jepsen -- run --workload all --nemesis all --time 300 --seed 1 --nodes 3 --out /tmp/run".to_owned();
    history
}

/// For whoever wants to look at it.
fn keep(page: &str, variable: &str) {
    if let Ok(path) = std::env::var(variable) {
        std::fs::write(path, page).expect("a sample of the page");
    }
}

#[test]
fn a_good_run_says_so_and_how_much_it_was() {
    let history = long();
    let verdicts = judged(&history);
    for (name, _, verdict) in &verdicts {
        assert!(verdict.is_good(), "{name}: {verdict:?}");
    }
    let page = render(&history, &verdicts);
    keep(&page, "JEPSEN_SAMPLE_REPORT");
    assert!(page.contains("✓ Nothing was lost: "));
    assert!(page.contains("37 faults, 10 failovers, all read back on 3 members"));
    assert!(page.contains("--seed 1"));
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
}

#[test]
fn a_broken_promise_is_the_first_thing_to_read() {
    let mut history = long();
    let back = history
        .operations
        .iter_mut()
        .find_map(|operation| match &mut operation.outcome {
            Outcome::Ok(Answer::Rows { rows }) => Some(rows),
            _ => None,
        });
    back.expect("a read-back").retain(|row| *row != 17);
    let page = render(&history, &judged(&history));
    keep(&page, "JEPSEN_SAMPLE_BROKEN");
    assert!(page.contains("✗ A promise was broken: writes."));
    assert!(page.contains("write of row 17"));
    assert!(!page.contains("Nothing was lost"));
}

#[test]
fn an_empty_run_shows_nothing_and_still_renders() {
    let history = History::default();
    let page = render(&history, &judged(&history));
    assert!(page.contains("This run shows nothing"));
    assert!(!page.contains("✓ Nothing was lost"));
}

#[test]
fn what_was_recorded_is_never_markup_and_nothing_is_fetched() {
    let mut history = long();
    history.faults[0].what = "<script>alert(1)</script>".to_owned();
    history.about.command = "run --out '<b>'".to_owned();
    let page = render(&history, &judged(&history));
    assert!(!page.contains("<script>alert"));
    assert!(!page.contains("'<b>'"));
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}
