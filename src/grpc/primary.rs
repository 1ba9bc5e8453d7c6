//! Who is primary, as the applied state has it.

use primacy_proto::v1 as proto;

use crate::domain::{Failover, Group, Lease, State};

/// The answer of `state` for `group`.
///
/// A primary is named only once its epoch's barrier is through: before, its
/// predecessor's writes are safe but its own are not yet shown to be.
/// `valid_for` is 0, for the moment of the answer: no window is given out, so
/// no grant ever has to wait for one.
#[must_use]
pub fn answer(state: &State, group: &Group) -> proto::CheckResponse {
    let (primary, reason) = match (&group.lease, group.published()) {
        (None, _) => (None, "no primary yet: the group never had one".to_owned()),
        (Some(_), Some(lease)) => (primary(group, lease), doubt(group)),
        (Some(lease), None) => (None, unsealed(lease)),
    };
    proto::CheckResponse {
        group: group.spec.name.to_string(),
        primary,
        reason,
        valid_for_ms: 0,
        revision: state.applied,
    }
}

fn primary(group: &Group, lease: &Lease) -> Option<proto::Primary> {
    let spec = group.spec.member(&lease.member)?;
    Some(proto::Primary {
        member: spec.name.to_string(),
        region: spec.region.to_string(),
        address: spec.address.to_string(),
        epoch: lease.epoch.0,
    })
}

/// The holder of record stays it until another is granted.
fn doubt(group: &Group) -> String {
    match &group.failover {
        None => String::new(),
        Some(Failover { cause, epoch, .. }) => {
            format!("suspect: epoch {epoch} is being closed ({cause}); a successor is being chosen")
        }
    }
}

fn unsealed(lease: &Lease) -> String {
    let Lease { member, epoch, .. } = lease;
    match lease.promoted {
        false => format!("{member} was granted epoch {epoch} and is not promoted yet"),
        true => format!("{member} waits for its standbys to confirm a write under epoch {epoch}"),
    }
}
