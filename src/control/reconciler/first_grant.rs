//! The first epoch: who may open it, and what an operator has to settle before.

use crate::{
    control::detector::View,
    domain::{Change, Epoch, Group, Lineage, MemberName, Postgres},
};

pub(super) fn first_grant(group: &Group, views: &[View<'_>]) -> Option<Change> {
    let view = initial_primary(group, views)?;
    if !first_grant_trouble(group, views).is_empty() {
        return None;
    }
    let lineage = match view.report.postgres {
        Postgres::Absent => Lineage::first(),
        _ => view.report.lineage.clone()?,
    };
    let epoch = Epoch(lineage.timeline.0).max(group.epoch.next());
    Some(Change::GrantFirst {
        epoch,
        holder: view.report.incarnation,
        lineage,
    })
}

fn initial_primary<'a>(group: &Group, views: &'a [View<'a>]) -> Option<&'a View<'a>> {
    let incarnation = group.incarnations.get(&group.spec.initial_primary)?;
    views
        .iter()
        .find(|view| view.connected && view.report.incarnation == *incarnation)
}

/// Why nobody is made the first primary, where an operator has to choose.
pub(super) fn first_grant_trouble(
    group: &Group,
    views: &[View<'_>],
) -> Vec<(Option<MemberName>, String, String)> {
    let Some(view) = initial_primary(group, views).filter(|_| group.lease.is_none()) else {
        return Vec::new();
    };
    let trouble = |member: &MemberName, code: &str, message: String| {
        (Some(member.clone()), code.to_owned(), message)
    };
    let initial = &view.report.member;
    let adopts = group.spec.system_identifier;
    let mut list = Vec::new();
    match (adopts, view.report.system_identifier) {
        (None, Some(found)) => list.push(trouble(
            initial,
            "directory_not_empty",
            format!(
                "the data directory of {initial} holds a cluster: to adopt it, write \
             system_identifier = {found} in the group file; to make a new one, empty it"
            ),
        )),
        (Some(wanted), None) => list.push(trouble(
            initial,
            "nothing_to_adopt",
            format!(
                "the group adopts system identifier {wanted}, and {initial} has no data directory"
            ),
        )),
        _ => {}
    }
    for other in views.iter().map(|view| view.report) {
        if other.incarnation != view.report.incarnation && other.is_primary() {
            list.push(trouble(
                &other.member,
                "two_primaries",
                format!(
                    "{} runs as primary beside {initial}: stop one of them first",
                    other.member
                ),
            ));
        }
    }
    list
}
