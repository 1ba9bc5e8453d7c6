//! What the leader proposes next, from the record and what agents report.
//!
//! ```text
//! reports ─► detector ─► BeginFailover ─► RecordFence… ─► GrantLease
//!                                                             │
//!    SealEpoch ◄─ barrier held by k members ◄─ RecordPromotion ◄┘
//! ```
//!
//! Level-triggered: every step is derived from what is on record and what is
//! reported now, so a new leader goes on where the old one stopped. What is
//! remembered here is only patience: since when something has been waited for.

mod first_grant;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::domain::{
    Barrier, Blocked, Cause, Change, Epoch, Failover, Group, GroupName, Incarnation, Lease,
    MemberName, Receiving, Report, State, Urgency,
};

use self::first_grant::{first_grant, first_grant_trouble};
use super::{
    detector::{self, Finding, View},
    sync_set::SyncSet,
};

/// How long a grant that is legal waits for further reachable standbys, so
/// that the new primary has somebody to wait for.
const GATHER: Duration = Duration::from_millis(150);
/// How long it waits for the member that an operator asked for.
const GATHER_PREFERRED: Duration = Duration::from_secs(3);
/// After this a planned stop is treated as an unplanned one.
const PLANNED_STOP: Duration = Duration::from_secs(3);
/// After this the stopped holder is brought up to complete the fence, or the
/// running one goes on under the next epoch.
const STUCK: Duration = Duration::from_secs(1);

/// One leadership's memory of what it waits for.
#[derive(Debug, Default)]
pub struct Reconciler {
    office: Duration,
    groups: BTreeMap<GroupName, Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    failover: Option<(Epoch, Duration)>,
    accounted: Option<(Epoch, Duration)>,
    sync: SyncSet,
    /// Since when nobody receives anything of this epoch's holder.
    starved: Option<(Epoch, Duration)>,
    suspect: bool,
    incidents: BTreeSet<(Option<MemberName>, String, String)>,
}

/// What to propose for one group, and how members are to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub changes: Vec<Change>,
    pub urgency: Urgency,
    /// Agents should look closely and report at once.
    pub watchful: bool,
    /// Why a failover does not go on.
    pub blocked: Option<Blocked>,
}

impl Reconciler {
    /// Starts anew under a new leadership.
    pub fn take_office(&mut self, now: Duration) {
        *self = Self {
            office: now,
            groups: BTreeMap::new(),
        };
    }

    /// Forgets groups that are gone.
    pub fn retain(&mut self, state: &State) {
        self.groups
            .retain(|name, _| state.groups.contains_key(name));
    }

    /// The next step of `group`. `views` are of its members only.
    pub fn plan(
        &mut self,
        now: Duration,
        name: &GroupName,
        group: &Group,
        views: &[View<'_>],
    ) -> Plan {
        let office = now.saturating_sub(self.office);
        let memory = self.groups.entry(name.clone()).or_default();
        let mut plan = Plan::default();
        plan.changes.extend(registrations(group, views));
        plan.changes.extend(memory.incidents(group, views));
        // A foreign cluster's positions mean nothing here.
        let own: Vec<View<'_>> = views
            .iter()
            .filter(|view| has_the_groups_system(group, view.report))
            .copied()
            .collect();
        let views = own.as_slice();
        match (&group.lease, &group.failover) {
            (None, _) => plan.changes.extend(first_grant(group, views)),
            (Some(lease), None) => memory.serve(now, office, group, lease, views, &mut plan),
            (Some(lease), Some(failover)) => {
                memory.fail_over(now, group, lease, failover, views, &mut plan);
            }
        }
        plan
    }
}

// Members as they present themselves.

/// Agents whose incarnation, or whose system identifier, is not on record.
fn registrations(group: &Group, views: &[View<'_>]) -> Vec<Change> {
    let unknown = |report: &Report| {
        let known = group.incarnations.get(&report.member) == Some(&report.incarnation);
        let names_system = group.system_identifier.is_none()
            && report.system_identifier.is_some()
            && group
                .lease
                .as_ref()
                .is_some_and(|lease| lease.holder == report.incarnation);
        !known || names_system
    };
    let register = |report: &Report| Change::RegisterMember {
        member: report.member.clone(),
        incarnation: report.incarnation,
        system_identifier: report.system_identifier,
    };
    views
        .iter()
        .filter(|view| view.connected)
        .map(|view| view.report)
        .filter(|report| group.spec.member(&report.member).is_some() && unknown(report))
        .filter(|report| has_the_groups_system(group, report))
        .map(register)
        .collect()
}

/// Whether a member's data directory may be of this group.
#[must_use]
pub fn has_the_groups_system(group: &Group, report: &Report) -> bool {
    match (group.system_identifier, report.system_identifier) {
        (Some(expected), Some(found)) => expected == found,
        _ => true,
    }
}

impl Memory {
    /// Trouble that is not in the history yet.
    fn incidents(&mut self, group: &Group, views: &[View<'_>]) -> Vec<Change> {
        let mut found: BTreeSet<(Option<MemberName>, String, String)> = BTreeSet::new();
        for view in views {
            let report = view.report;
            let member = Some(report.member.clone());
            if view.contested {
                let message = format!("two agents for member {}: stop one of them", report.member);
                found.insert((member.clone(), "two_agents".to_owned(), message));
            }
            if let Some(trouble) = &report.trouble {
                found.insert((
                    member.clone(),
                    trouble.code.clone(),
                    trouble.message.clone(),
                ));
            }
            if !has_the_groups_system(group, report) {
                let message = wrong_system(group, report);
                found.insert((member, "wrong_system_identifier".to_owned(), message));
            }
        }
        found.extend(first_grant_trouble(group, views));
        let news = found.difference(&self.incidents).cloned();
        let changes = news
            .map(|(member, code, message)| Change::RecordIncident {
                member,
                code,
                message,
            })
            .collect();
        self.incidents = found;
        changes
    }
}

fn wrong_system(group: &Group, report: &Report) -> String {
    format!(
        "the data directory of {} belongs to another cluster: its system identifier is {}, the \
         group's is {}; move it away, or correct the agent's data_dir",
        report.member,
        report.system_identifier.unwrap_or_default(),
        group.system_identifier.unwrap_or_default(),
    )
}

// While a primary serves.

impl Memory {
    fn serve(
        &mut self,
        now: Duration,
        office: Duration,
        group: &Group,
        lease: &Lease,
        views: &[View<'_>],
        plan: &mut Plan,
    ) {
        (self.failover, self.accounted) = (None, None);
        let finding = detector::judge(group, lease, views, office);
        self.suspect = finding != Finding::Well;
        plan.watchful = self.suspect || !lease.sealed || pending(group);
        match finding {
            Finding::Failed { cause, silence } => plan.changes.extend(begin(group, cause, silence)),
            _ if lease.expired => {
                plan.changes
                    .extend(begin(group, Cause::LeaseExpired, Duration::ZERO));
            }
            Finding::Suspect => {}
            Finding::Well if self.is_starved_for_good(now, group, lease, views) => {
                plan.changes
                    .extend(begin(group, Cause::Starved, Duration::ZERO));
            }
            Finding::Well => {
                plan.changes.extend(progress(group, lease, views));
                if plan.changes.is_empty() && holder_serves(lease, views) {
                    plan.changes
                        .extend(self.sync.change(now, group, lease, views));
                }
            }
        }
        plan.watchful |= !plan.changes.is_empty();
    }

    /// Standbys that restart are back within a TTL.
    fn is_starved_for_good(
        &mut self,
        now: Duration,
        group: &Group,
        lease: &Lease,
        views: &[View<'_>],
    ) -> bool {
        if !detector::is_starved(group, lease, views) {
            self.starved = None;
            return false;
        }
        let ttl = Duration::from_millis(group.spec.ttl_ms);
        since(&mut self.starved, lease.epoch, now) > ttl
    }
}

fn begin(group: &Group, cause: Cause, silence: Duration) -> Option<Change> {
    if group.paused {
        return None;
    }
    let silence_ms = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
    Some(Change::BeginFailover {
        epoch: group.epoch,
        cause,
        silence_ms,
        prefer: None,
    })
}

/// A sync change or a seal is under way.
fn pending(group: &Group) -> bool {
    group.record.len() > 1
}

fn holder_serves(lease: &Lease, views: &[View<'_>]) -> bool {
    views
        .iter()
        .any(|view| view.report.incarnation == lease.holder && view.report.is_primary())
}

/// The next step of a grant towards being sealed, or of a pending sync change.
fn progress(group: &Group, lease: &Lease, views: &[View<'_>]) -> Option<Change> {
    let holder = views
        .iter()
        .map(|view| view.report)
        .find(|r| r.incarnation == lease.holder)?;
    if !lease.promoted {
        let lineage = holder.lineage.clone()?;
        let opened = holder.is_primary() && holder.promised.opened == lease.epoch;
        let incarnation = lease.holder;
        let done = opened && lineage.timeline == lease.epoch.timeline();
        return done.then_some(Change::RecordPromotion {
            epoch: lease.epoch,
            incarnation,
            lineage,
        });
    }
    let barrier = holder
        .barrier
        .filter(|barrier| barrier.order.epoch == lease.epoch)?;
    let entry = group
        .latest_sync()
        .filter(|entry| entry.revision == barrier.order.revision)?;
    let confirmed: BTreeSet<Incarnation> = views
        .iter()
        .filter(|view| view.report.holds(barrier.position))
        .map(|view| view.report.incarnation)
        .collect();
    if entry.config.set.is_empty() || !entry.config.confirmed_by(&confirmed) {
        return None;
    }
    let (epoch, revision) = (lease.epoch, entry.revision);
    let barrier = Barrier {
        position: barrier.position,
        confirmed,
    };
    match (lease.sealed, pending(group)) {
        (false, _) => Some(Change::SealEpoch {
            epoch,
            revision,
            barrier,
        }),
        (true, true) => Some(Change::ConfirmSync {
            epoch,
            revision,
            barrier,
        }),
        (true, false) => None,
    }
}

// While one is being replaced.

impl Memory {
    fn fail_over(
        &mut self,
        now: Duration,
        group: &Group,
        lease: &Lease,
        failover: &Failover,
        views: &[View<'_>],
        plan: &mut Plan,
    ) {
        let waited = since(&mut self.failover, failover.epoch, now);
        plan.watchful = true;
        let fences = fences(failover, views);
        plan.urgency = urgency(failover, lease, views, waited);
        if !fences.is_empty() {
            plan.changes.extend(fences);
            return;
        }
        let live = live_standbys(views);
        match group.choose(&live) {
            Ok(choice) => {
                let ready = since(&mut self.accounted, failover.epoch, now);
                let patience = match awaits_preferred(group, failover, &live) {
                    true => GATHER_PREFERRED,
                    false => GATHER,
                };
                if ready >= patience || all_fenced(group, failover, lease, views) {
                    let epoch = failover.epoch.next();
                    let (holder, sync) = (choice.holder, choice.sync);
                    plan.changes.push(Change::GrantLease {
                        epoch,
                        holder,
                        sync,
                    });
                }
            }
            Err(blocked) => {
                plan.changes
                    .extend(self.go_on(group, lease, failover, views, waited));
                plan.blocked = Some(blocked);
            }
        }
    }

    /// A failover that cannot complete ends with the running holder under the
    /// next epoch: its standbys promised not to follow this one any more.
    fn go_on(
        &self,
        group: &Group,
        lease: &Lease,
        failover: &Failover,
        views: &[View<'_>],
        waited: Duration,
    ) -> Option<Change> {
        let suspect_after = Duration::from_millis(group.spec.suspect_after_ms);
        let serves = views.iter().any(|view| {
            view.report.incarnation == lease.holder
                && view.connected
                && view.age <= suspect_after
                && view.report.is_primary()
        });
        if !serves || waited < STUCK || !lease.promoted {
            return None;
        }
        let choice = group.choose_continuation(&live_standbys(views))?;
        let (holder, sync) = (choice.holder, choice.sync);
        Some(Change::GrantLease {
            epoch: failover.epoch.next(),
            holder,
            sync,
        })
    }
}

fn since(memory: &mut Option<(Epoch, Duration)>, epoch: Epoch, now: Duration) -> Duration {
    match *memory {
        Some((known, since)) if known == epoch => now.saturating_sub(since),
        _ => {
            *memory = Some((epoch, now));
            Duration::ZERO
        }
    }
}

/// Fences that are reported and not on record, or on record without a position.
fn fences(failover: &Failover, views: &[View<'_>]) -> Vec<Change> {
    let news = |report: &Report| {
        let fenced = report
            .fenced
            .filter(|fenced| fenced.epoch >= failover.epoch)?;
        let known = failover.fences.get(&report.incarnation);
        let better = known.is_none_or(|known| fenced.position > *known);
        better.then_some(Change::RecordFence {
            epoch: failover.epoch,
            incarnation: report.incarnation,
            position: fenced.position,
        })
    };
    views.iter().filter_map(|view| news(view.report)).collect()
}

fn urgency(failover: &Failover, lease: &Lease, views: &[View<'_>], waited: Duration) -> Urgency {
    let holder = views
        .iter()
        .find(|view| view.report.incarnation == lease.holder);
    let gone = holder.is_none_or(|view| !view.connected);
    let stopped = failover.fences.contains_key(&lease.holder);
    Urgency {
        fence_now: gone || waited > PLANNED_STOP,
        handed_over: holder.is_some_and(|view| !view.report.is_primary()) && nobody_receives(views),
        recover_holder: stopped && waited > STUCK,
        recover_others: waited > STUCK,
    }
}

/// A primary that stops ends its streams once everything is handed over.
fn nobody_receives(views: &[View<'_>]) -> bool {
    let mut standbys = views.iter().filter(|view| is_live_standby(view));
    standbys.all(|view| {
        let running = view.report.running();
        running.is_none_or(|running| running.receiving == Receiving::No)
    })
}

fn live_standbys(views: &[View<'_>]) -> BTreeSet<Incarnation> {
    let live = views.iter().filter(|view| is_live_standby(view));
    live.map(|view| view.report.incarnation).collect()
}

fn is_live_standby(view: &View<'_>) -> bool {
    view.connected && view.report.is_standby()
}

/// The member that was asked for is up, and its fence is not on record yet.
fn awaits_preferred(group: &Group, failover: &Failover, live: &BTreeSet<Incarnation>) -> bool {
    let preferred = failover
        .prefer
        .as_ref()
        .and_then(|name| group.incarnations.get(name));
    preferred.is_some_and(|id| live.contains(id) && failover.position(*id).is_none())
}

fn all_fenced(group: &Group, failover: &Failover, lease: &Lease, views: &[View<'_>]) -> bool {
    live_standbys(views)
        .iter()
        .filter(|member| group.member_of(**member).is_some() && **member != lease.holder)
        .all(|member| failover.position(*member).is_some())
}
