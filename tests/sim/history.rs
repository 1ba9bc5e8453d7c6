//! What happened, as far as somebody may want to read it.

use std::{
    collections::VecDeque,
    fmt,
    hash::{Hash, Hasher},
};

use super::{
    event::{Event, Process},
    time::{At, MS, SECOND},
    world::World,
};

/// Lines of the timeline that are kept.
const KEPT: usize = 80;

/// Something that must never happen, and the invariant that says so.
#[derive(Debug, Clone)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

#[derive(Debug, Default)]
pub struct History {
    pub violation: Option<Violation>,
    /// An invariant that nobody looks at, to see what comes of its breach.
    blind_to: Option<&'static str>,
    pub events: u64,
    pub acknowledged: u64,
    pub grants: u64,
    /// Client writes that were acknowledged since everything healed.
    pub acknowledged_after_healing: u64,
    lines: VecDeque<(At, String)>,
    faults: Vec<(At, String)>,
    hash: u64,
}

impl History {
    pub fn blind_to(blind_to: Option<&'static str>) -> Self {
        Self {
            blind_to,
            ..Self::default()
        }
    }

    /// Counts an event, and makes it part of the fingerprint.
    pub fn count(&mut self, at: At, to: Process, event: &Event) {
        self.events += 1;
        let mut hasher = Fnv(self.hash);
        at.hash(&mut hasher);
        to.hash(&mut hasher);
        std::mem::discriminant(event).hash(&mut hasher);
        self.hash = hasher.finish();
    }

    /// The same for two runs in which the same happened.
    pub fn fingerprint(&self) -> u64 {
        self.hash
    }

    fn line(&mut self, at: At, text: String) {
        let mut hasher = Fnv(self.hash);
        text.hash(&mut hasher);
        self.hash = hasher.finish();
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back((at, text));
    }
}

/// FNV-1a: the standard hasher's seed differs between releases.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
        }
    }
}

impl World {
    /// A line of the timeline.
    pub fn note(&mut self, text: String) {
        self.history.line(self.now, text);
    }

    pub fn fault(&mut self, text: String) {
        self.history.faults.push((self.now, text.clone()));
        self.history.line(self.now, format!("FAULT {text}"));
    }

    /// The first violation ends the world.
    pub fn judge(&mut self, invariant: &'static str, verdict: Result<(), String>) {
        if self.history.blind_to == Some(invariant) {
            return;
        }
        if let (Err(what), None) = (verdict, &self.history.violation) {
            self.history
                .line(self.now, format!("VIOLATION {invariant}: {what}"));
            self.history.violation = Some(Violation { invariant, what });
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "faults:")?;
        for (at, text) in &self.faults {
            writeln!(f, "  {} {text}", Shown(*at))?;
        }
        writeln!(f, "the last that happened:")?;
        for (at, text) in &self.lines {
            writeln!(f, "  {} {text}", Shown(*at))?;
        }
        Ok(())
    }
}

struct Shown(At);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4}.{:03} s", self.0 / SECOND, self.0 % SECOND / MS)
    }
}
