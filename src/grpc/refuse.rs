//! Refusals and failures as gRPC statuses.

use std::collections::BTreeMap;

use tonic::{Code, Status};

use crate::{
    domain::{GroupName, Refusal},
    ports::{NoQuorum, NodeId, OperationError, ProposeError, TransferError},
};

/// Metadata that names the leader's gRPC address.
pub const LEADER: &str = "primacy-leader";
/// Metadata of an answer that no quorum confirmed: `false`.
pub const CONFIRMED: &str = "primacy-confirmed";

/// gRPC addresses of the quorum nodes.
pub type NodeAddresses = BTreeMap<NodeId, String>;

/// A watch cannot go on from `revision`: what followed is not here.
#[must_use]
pub fn not_kept(revision: u64) -> Status {
    Status::out_of_range(format!(
        "this node does not have all that followed revision {revision}: watch from revision 0, or \
         ask another node"
    ))
}

/// The quorum did not answer: this node knows nothing for certain.
#[must_use]
pub fn no_quorum(error: &NoQuorum) -> Status {
    Status::unavailable(format!(
        "this node does not know: {error}; ask another node"
    ))
}

#[must_use]
pub fn unknown_group(group: &GroupName) -> Status {
    Status::not_found(Refusal::UnknownGroup(group.clone()).to_string())
}

/// Safety said no; an unknown name or a bad specification is the caller's.
#[must_use]
pub fn refusal(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::UnknownGroup(_) | Refusal::UnknownMember(..) => Code::NotFound,
        Refusal::Spec(_) => Code::InvalidArgument,
        _ => Code::FailedPrecondition,
    };
    Status::new(code, refusal.to_string())
}

#[must_use]
pub fn proposal(error: &ProposeError, nodes: &NodeAddresses) -> Status {
    match error {
        ProposeError::Unknown(_) => Status::unknown(error.to_string()),
        ProposeError::NoLeader | ProposeError::OfficeLost => Status::unavailable(error.to_string()),
        ProposeError::Unreachable { leader } => {
            naming_leader(Status::unavailable(error.to_string()), Some(*leader), nodes)
        }
    }
}

#[must_use]
pub fn operation(error: &OperationError, nodes: &NodeAddresses) -> Status {
    match error {
        OperationError::Refused(reason) => Status::failed_precondition(reason),
        OperationError::NotLeader(leader) => not_leader(*leader, nodes),
        OperationError::Unknown => Status::unknown(error.to_string()),
    }
}

#[must_use]
pub fn transfer(error: &TransferError, nodes: &NodeAddresses) -> Status {
    match error {
        TransferError::NotLeader(leader) => not_leader(*leader, nodes),
        TransferError::NotAVoter(_) => Status::invalid_argument(error.to_string()),
        TransferError::NotReady { .. } => Status::failed_precondition(error.to_string()),
        TransferError::Timeout(_) => Status::unknown(error.to_string()),
    }
}

/// This node does not lead; the metadata says who does.
#[must_use]
pub fn not_leader(leader: Option<NodeId>, nodes: &NodeAddresses) -> Status {
    let message = match leader {
        Some(id) => format!("this node does not lead; node {id} does"),
        None => {
            "this node does not lead, and no leader is known: the quorum may be lost".to_owned()
        }
    };
    naming_leader(Status::unavailable(message), leader, nodes)
}

fn naming_leader(mut status: Status, leader: Option<NodeId>, nodes: &NodeAddresses) -> Status {
    let address = leader.and_then(|id| nodes.get(&id));
    if let Some(value) = address.and_then(|address| address.parse().ok()) {
        status.metadata_mut().insert(LEADER, value);
    }
    status
}
