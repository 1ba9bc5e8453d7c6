//! What a nemesis works with: the fleet, the books, and a way to be told to end.

use std::{sync::Arc, thread, time::Duration};

use fastrand::Rng;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use crate::{
    check::facts::holder,
    clock,
    fleet::{Fleet, Place},
    history::{Answer, Nanos, Recorder, Request, Sight},
};

const LOOK: Duration = Duration::from_millis(20);
/// An operator's command takes less, and a pause with its resumption too.
const OPERATOR: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct Field {
    pub fleet: Arc<Fleet>,
    pub recorder: Recorder,
    /// Held by whoever acts as the operator: one at a time.
    pub operator: Arc<Mutex<()>>,
    /// Cancelled when all faults are to be taken back.
    pub stop: CancellationToken,
}

/// A fault under way; on record as taken back when this is dropped.
pub struct Stroke {
    recorder: Recorder,
    id: u64,
}

impl Stroke {
    /// Notes what was seen of the fault's effect.
    pub fn effect(&self, effect: impl Into<String>) {
        self.recorder.effect(self.id, effect.into());
    }
}

impl Drop for Stroke {
    fn drop(&mut self) {
        self.recorder.heal(self.id);
    }
}

impl Field {
    /// Puts a fault on record; make it after that.
    pub fn stroke(&self, name: &str, what: String, places: &[&Place]) -> Stroke {
        self.stroke_cutting(name, what, places, Vec::new())
    }

    /// The same, with the ordered pairs of regions that lose all packets.
    pub fn stroke_cutting(
        &self,
        name: &str,
        what: String,
        places: &[&Place],
        cut: Vec<(String, String)>,
    ) -> Stroke {
        let regions = places.iter().map(|place| place.region.to_owned());
        let id = self.recorder.fault(name, what, regions.collect(), cut);
        Stroke {
            recorder: self.recorder.clone(),
            id,
        }
    }

    /// Holds a fault for a while of `seconds`, or until it has to be taken back.
    pub fn hold(&self, random: &mut Rng, seconds: std::ops::Range<f64>) {
        let span = seconds.end - seconds.start;
        let time = Duration::from_secs_f64(seconds.start + random.f64() * span);
        self.wait(time, || false);
    }

    /// Acts as the operator until what is returned is dropped. None: somebody
    /// else does, and goes on doing so.
    pub fn operate(&self) -> Option<OwnedMutexGuard<()>> {
        let mut held = None;
        let began = clock::now();
        while clock::now().saturating_sub(began) < OPERATOR && !self.stop.is_cancelled() {
            held = Arc::clone(&self.operator).try_lock_owned().ok();
            if held.is_some() {
                break;
            }
            thread::sleep(LOOK);
        }
        held
    }

    /// Waits for `time`, until `seen`, or until faults have to be taken back.
    /// Says whether it was seen.
    pub fn wait(&self, time: Duration, seen: impl Fn() -> bool) -> bool {
        let began = clock::now();
        while clock::now().saturating_sub(began) < time && !self.stop.is_cancelled() {
            if seen() {
                return true;
            }
            thread::sleep(LOOK);
        }
        seen()
    }

    /// Any place with a member; the primary's half of the time.
    pub fn member(&self, random: &mut Rng) -> &Place {
        let members: Vec<&Place> = self.fleet.members().collect();
        let primary = self.primary().filter(|_| random.bool());
        primary.unwrap_or_else(|| members[random.usize(..members.len())])
    }

    /// Any place.
    pub fn place(&self, random: &mut Rng) -> &Place {
        let places = &self.fleet.places;
        let primary = self.primary().filter(|_| random.u8(..3) == 0);
        primary.unwrap_or_else(|| &places[random.usize(..places.len())])
    }

    /// The primary that clients were told of last.
    pub fn primary(&self) -> Option<&Place> {
        let (member, _) = self.told()?;
        self.fleet.place(&member).ok()
    }

    /// The greatest epoch that clients were told of.
    pub fn epoch(&self) -> u32 {
        self.told().map_or(0, |(_, epoch)| epoch)
    }

    /// The latest grant that a watcher was sent: its epoch and its holder. It
    /// comes before the epoch is sealed, and before clients are told.
    pub fn granted(&self) -> Option<(u32, &Place)> {
        let latest = {
            let history = self.recorder.history();
            let events = history
                .seen
                .iter()
                .rev()
                .filter_map(|seen| match &seen.what {
                    Sight::Event(event) if event.kind == "lease_granted" => Some(event),
                    _ => None,
                });
            let latest = events.take(RECENT_GRANTS).max_by_key(|event| event.epoch)?;
            (latest.epoch, holder(latest)?)
        };
        Some((latest.0, self.fleet.place(&latest.1).ok()?))
    }

    /// The same, of an epoch after this one.
    pub fn granted_after(&self, epoch: u32) -> Option<&Place> {
        let (granted, holder) = self.granted()?;
        (granted > epoch).then_some(holder)
    }

    fn told(&self) -> Option<(String, u32)> {
        let history = self.recorder.history();
        let recent = history.operations.iter().rev().take(RECENT);
        let primaries = recent.filter_map(|operation| match &operation.outcome {
            crate::history::Outcome::Ok(Answer::Checked {
                primary: Some(primary),
                ..
            }) => Some((primary.member.clone(), primary.epoch)),
            _ => None,
        });
        primaries.max_by_key(|(_, epoch)| *epoch)
    }

    /// Whether a write of an application was acknowledged that was begun after `since`.
    pub fn acknowledged_since(&self, since: Nanos) -> bool {
        let history = self.recorder.history();
        let later = history.operations.iter().rev();
        later
            .take_while(|operation| operation.invoked > since)
            .any(|operation| {
                let is_write = matches!(operation.request, Request::Write { .. });
                is_write && matches!(operation.outcome, crate::history::Outcome::Ok(_))
            })
    }
}

/// Operations that are looked through for the latest answer.
const RECENT: usize = 20_000;
/// Several watchers see each, and one of them may be behind.
const RECENT_GRANTS: usize = 50;
