//! One sentence for each event, for those who read the history.

use crate::domain::{Cause, Event, EventKind, Position};

/// What happened, in one sentence without the group's name.
#[must_use]
pub fn sentence(event: &Event) -> String {
    let epoch = event.epoch;
    match &event.kind {
        EventKind::GroupApplied { members } => {
            format!("The group's specification was applied with {members} members.")
        }
        EventKind::GroupDeleted => {
            "The group was deleted; its databases were left as they are.".to_owned()
        }
        EventKind::MemberRegistered {
            member,
            replaces: false,
        } => {
            format!("{member} presented itself for the first time.")
        }
        EventKind::MemberRegistered {
            member,
            replaces: true,
        } => {
            format!(
                "{member} presented itself with a new data directory; the former one no longer counts."
            )
        }
        EventKind::FailoverBegan {
            holder,
            cause,
            silence_ms,
        } => {
            format!(
                "Epoch {epoch} of {holder} is being closed: {}.",
                because(cause, *silence_ms)
            )
        }
        EventKind::MemberFenced { member, position } => {
            format!(
                "{member} follows epoch {epoch} no more{}.",
                standing(*position)
            )
        }
        EventKind::FenceComplete => format!(
            "Nothing can be acknowledged under epoch {epoch} any more, and all that was is at hand."
        ),
        EventKind::LeaseGranted { holder, sync } => {
            format!(
                "{holder} was made primary under epoch {epoch}; {}.",
                waiting(sync)
            )
        }
        EventKind::Promoted { holder, lineage } => {
            format!(
                "{holder} is out of recovery on timeline {}.",
                lineage.timeline
            )
        }
        EventKind::EpochSealed { holder } => format!(
            "{holder} is published as primary: its standbys confirmed a write under epoch {epoch}."
        ),
        other => rare(event, other),
    }
}

/// Events of operators and of sync changes.
fn rare(event: &Event, kind: &EventKind) -> String {
    let epoch = event.epoch;
    match kind {
        EventKind::LeaseExpired { holder } => {
            format!("{holder} let its lease of epoch {epoch} run out.")
        }
        EventKind::HostAssertedDead { holder } => {
            format!("An operator vouched that the host of {holder} is gone.")
        }
        EventKind::DataLossAccepted { holder } => {
            format!("An operator accepted that writes which {holder} acknowledged may be lost.")
        }
        EventKind::SyncProposed {
            sync_revision,
            sync,
        } => {
            format!(
                "A change is under way: {} (revision {sync_revision}).",
                waiting(sync)
            )
        }
        EventKind::SyncConfirmed {
            sync_revision,
            sync,
        } => {
            format!(
                "The change is through: {} (revision {sync_revision}).",
                waiting(sync)
            )
        }
        EventKind::Paused => "Automatic failover was paused.".to_owned(),
        EventKind::Resumed => "Automatic failover was resumed.".to_owned(),
        EventKind::Incident {
            member: Some(member),
            message,
            ..
        } => {
            format!("{member}: {}", ended(message))
        }
        EventKind::Incident {
            member: None,
            message,
            ..
        } => ended(message),
        // The others have their sentence above.
        _ => String::new(),
    }
}

fn because(cause: &Cause, silence_ms: u64) -> String {
    match cause {
        Cause::PostgresDied => "its PostgreSQL died".to_owned(),
        Cause::ConnectionLost => format!(
            "its agent's connections were lost, its standbys receive nothing (last sign of life {silence_ms} ms before)"
        ),
        Cause::Silence => {
            format!("nothing was heard of it for {silence_ms} ms and its standbys receive nothing")
        }
        Cause::Starved => {
            "for as long as a lease none of its standbys received anything of it".to_owned()
        }
        Cause::LeaseExpired => "its lease ran out".to_owned(),
        Cause::Operator => "an operator asked for a failover".to_owned(),
        Cause::Switchover => "an operator asked for a switchover".to_owned(),
    }
}

fn standing(position: Option<Position>) -> String {
    match position {
        Some(at) => format!(" and stands at {} on timeline {}", at.lsn, at.timeline),
        None => "; it was stopped, and where its log ends is not known yet".to_owned(),
    }
}

fn waiting(sync: &str) -> String {
    format!("commits wait for {}", sync_words(sync))
}

/// `ANY 1 (lima, tokyo)` in words: `1 of lima, tokyo`.
#[must_use]
pub fn sync_words(sync: &str) -> String {
    let any = sync
        .strip_prefix("ANY ")
        .and_then(|rest| rest.split_once(" ("));
    match (sync, any) {
        (_, Some((k, names))) => {
            let names = names.trim_end_matches(')');
            match (k, names.contains(", ")) {
                ("1", false) => names.to_owned(),
                _ => format!("{k} of {names}"),
            }
        }
        ("nobody can answer", _) => "a standby to join: none can answer yet".to_owned(),
        ("nobody is waited for", _) => "nobody (asynchronous)".to_owned(),
        _ => sync.to_owned(),
    }
}

/// `message` with a full stop.
fn ended(message: &str) -> String {
    match message.ends_with(['.', '!', '?']) {
        true => message.to_owned(),
        false => format!("{message}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, Lineage, Lsn, Revision, Timeline};

    fn every_kind() -> Vec<EventKind> {
        let holder: crate::domain::MemberName = "paris".parse().expect("a name");
        let member = holder.clone();
        let position = Some(Position {
            timeline: Timeline(1),
            lsn: Lsn(0x400_0060),
        });
        let began = |cause| EventKind::FailoverBegan {
            holder: holder.clone(),
            cause,
            silence_ms: 900,
        };
        let (sync, sync_revision) = ("ANY 1 (lima, tokyo)".to_owned(), Revision(2));
        let (code, message) = ("code".to_owned(), "the disk is full".to_owned());
        vec![
            EventKind::GroupApplied { members: 3 },
            EventKind::GroupDeleted,
            EventKind::MemberRegistered {
                member: member.clone(),
                replaces: false,
            },
            EventKind::MemberRegistered {
                member: member.clone(),
                replaces: true,
            },
            began(Cause::PostgresDied),
            began(Cause::ConnectionLost),
            began(Cause::Silence),
            began(Cause::Starved),
            began(Cause::LeaseExpired),
            began(Cause::Operator),
            began(Cause::Switchover),
            EventKind::MemberFenced {
                member: member.clone(),
                position,
            },
            EventKind::MemberFenced {
                member: member.clone(),
                position: None,
            },
            EventKind::FenceComplete,
            EventKind::LeaseExpired {
                holder: holder.clone(),
            },
            EventKind::HostAssertedDead {
                holder: holder.clone(),
            },
            EventKind::DataLossAccepted {
                holder: holder.clone(),
            },
            EventKind::LeaseGranted {
                holder: holder.clone(),
                sync: sync.clone(),
            },
            EventKind::Promoted {
                holder: holder.clone(),
                lineage: Lineage::first(),
            },
            EventKind::SyncProposed {
                sync_revision,
                sync: sync.clone(),
            },
            EventKind::SyncConfirmed {
                sync_revision,
                sync,
            },
            EventKind::EpochSealed { holder },
            EventKind::Paused,
            EventKind::Resumed,
            EventKind::Incident {
                member: Some(member),
                code: code.clone(),
                message: message.clone(),
            },
            EventKind::Incident {
                member: None,
                code,
                message,
            },
        ]
    }

    #[test]
    fn every_event_is_one_sentence() {
        for kind in every_kind() {
            let group = "orders".parse().expect("a name");
            let event = Event {
                revision: 1,
                at_ms: 0,
                group,
                epoch: Epoch(1),
                kind,
            };
            let text = sentence(&event);
            assert!(text.len() > 10, "{event:?}: {text:?}");
            assert!(text.ends_with('.') && !text.contains(". "), "{text}");
        }
    }
}
