//! Small histories for tests, in milliseconds.
//!
//! Epoch 1 is held by paris, 2 by tokyo, 3 by lima, 4 by paris again. The seal
//! of epoch e has revision 10·e, its grant the one before the seal's.

use crate::{
    check::findings::millis,
    history::{
        About, Answer, Event, Fault, History, Nanos, Operation, Outcome, Phases, Primary, Request,
        Seen, Sight,
    },
};

pub const MEMBERS: [&str; 3] = ["paris", "tokyo", "lima"];

pub fn holder(epoch: u32) -> &'static str {
    MEMBERS[(epoch as usize + 2) % 3]
}

pub fn address(member: &str) -> String {
    let index = MEMBERS.iter().position(|name| *name == member);
    format!("10.0.0.{}:5432", index.map_or(9, |index| index + 1))
}

pub fn primary(epoch: u32) -> Primary {
    let member = holder(epoch).to_owned();
    Primary {
        address: address(&member),
        member,
        epoch,
    }
}

/// The answer of a check after everything up to the seal of `epoch`.
pub fn checked(epoch: u32) -> Answer {
    Answer::Checked {
        primary: Some(primary(epoch)),
        valid_for_ms: 0,
        revision: u64::from(epoch) * 10,
    }
}

pub fn written(epoch: u32) -> Answer {
    Answer::Written {
        member: holder(epoch).to_owned(),
        timeline: epoch,
    }
}

pub fn addresses(epoch: u32) -> Answer {
    Answer::Addresses {
        addresses: vec![address(holder(epoch))],
        ttl: 1,
    }
}

pub fn write(row: i64) -> Request {
    Request::Write { row }
}

pub fn probe(member: &str, row: i64) -> Request {
    let member = member.to_owned();
    Request::Probe { member, row }
}

pub fn check() -> Request {
    Request::Check { node: 1 }
}

/// A history under construction.
#[derive(Debug, Clone)]
pub struct Build(pub History);

impl Build {
    pub fn new() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let about = About {
            nodes: 3,
            max_staleness_ms: 2_000,
            ttl_ms: 3_000,
            members: names(&MEMBERS),
            name_servers: names(&["r1", "r2", "r3"]),
            ..About::default()
        };
        Self(History {
            about,
            ..History::default()
        })
    }

    /// With phases that begin at these times.
    pub fn phases(mut self, faults: u64, healed: u64, quiet: u64) -> Self {
        self.0.phases = Phases {
            load: 0,
            faults: millis(faults),
            healed: millis(healed),
            quiet: millis(quiet),
            end: millis(quiet + 1_000),
        };
        self
    }

    pub fn add(
        mut self,
        process: u64,
        request: Request,
        from: u64,
        to: Option<u64>,
        outcome: Outcome,
    ) -> Self {
        self.0.operations.push(Operation {
            id: self.0.operations.len() as u64,
            process,
            workload: String::new(),
            request,
            invoked: millis(from),
            completed: to.map(millis),
            outcome,
        });
        self
    }

    /// Answered, by a process of its own.
    pub fn ok(self, request: Request, from: u64, to: u64, answer: Answer) -> Self {
        let process = 1_000 + self.0.operations.len() as u64;
        self.add(process, request, from, Some(to), Outcome::Ok(answer))
    }

    pub fn fail(self, request: Request, from: u64, to: u64) -> Self {
        self.add(0, request, from, Some(to), Outcome::Fail("no".to_owned()))
    }

    pub fn info(self, request: Request, from: u64) -> Self {
        self.add(0, request, from, None, Outcome::Info("late".to_owned()))
    }

    /// Every row that `member` has at the end.
    pub fn read_back(self, member: &str, rows: &[i64]) -> Self {
        let request = Request::ReadBack {
            member: member.to_owned(),
        };
        let rows = rows.to_vec();
        self.ok(request, 900_000, 900_100, Answer::Rows { rows })
    }

    /// Puts a failover to `epoch` on record: begun, granted, sealed.
    pub fn elected(mut self, epoch: u32) -> Self {
        let revision = u64::from(epoch) * 10;
        if epoch > 1 {
            let before = epoch - 1;
            self = self.event(revision - 2, before, "failover_began", holder(before));
        }
        self.event(revision - 1, epoch, "lease_granted", holder(epoch))
            .event(revision, epoch, "epoch_sealed", holder(epoch))
    }

    pub fn event(mut self, revision: u64, epoch: u32, kind: &str, holder: &str) -> Self {
        self.0.events.push(event(revision, epoch, kind, holder));
        self
    }

    pub fn sees(mut self, at: u64, watcher: u64, stream: u64, what: Sight) -> Self {
        self.0.seen.push(Seen {
            at: millis(at),
            watcher,
            stream,
            node: 1,
            what,
        });
        self
    }

    /// Watcher 1 is sent the events on record from this revision to that.
    pub fn watched(mut self, at: u64, from: u64, to: u64) -> Self {
        let events: Vec<_> = self.0.events.clone();
        for event in events {
            if (from..=to).contains(&event.revision) {
                self = self.sees(at, 1, 1, Sight::Event(event));
            }
        }
        self
    }

    pub fn fault(mut self, name: &str, from: u64, to: u64, cut: &[(&str, &str)]) -> Self {
        let began: Nanos = millis(from);
        self.0.faults.push(Fault {
            id: self.0.faults.len() as u64,
            name: name.to_owned(),
            what: format!("{name} somebody"),
            regions: vec!["r1".to_owned()],
            began,
            ended: Some(millis(to)),
            cut: cut
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect(),
            effect: Some("it was seen".to_owned()),
        });
        self
    }
}

pub fn event(revision: u64, epoch: u32, kind: &str, holder: &str) -> Event {
    let cause = match kind {
        "failover_began" => ",\"cause\":\"silence\"",
        _ => "",
    };
    Event {
        revision,
        at_ms: revision,
        group: "orders".to_owned(),
        epoch,
        kind: kind.to_owned(),
        text: format!("{kind} {holder}"),
        detail: format!("{{\"holder\":\"{holder}\"{cause}}}"),
    }
}

/// The verdict is good; says what it found otherwise.
pub fn passes(checker: &dyn crate::check::Checker, build: &Build) {
    let verdict = checker.check(&build.0);
    assert!(verdict.is_good(), "{verdict:?}");
}

/// One thing was broken, and the text says `what`.
pub fn is_caught(checker: &dyn crate::check::Checker, build: &Build, what: &str) {
    let verdict = checker.check(&build.0);
    let texts: Vec<_> = verdict.violations.iter().map(|found| &found.text).collect();
    assert!(
        texts.iter().any(|text| text.contains(what)),
        "{what:?} is not in {texts:?}"
    );
}

/// Nothing was broken, and nothing was shown.
pub fn shows_nothing(checker: &dyn crate::check::Checker, build: &Build) {
    let verdict = checker.check(&build.0);
    assert!(verdict.too_little.is_some(), "{verdict:?}");
    assert!(verdict.violations.is_empty(), "{verdict:?}");
}
