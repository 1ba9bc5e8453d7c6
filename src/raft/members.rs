//! Adding and removing quorum nodes.

use std::collections::BTreeSet;

use openraft::{
    ChangeMembers,
    errors::{ClientWriteError, RaftError},
};

use super::{
    Handle,
    read_index::leader_hint,
    types::{Node, TypeConfig},
};
use crate::ports::NodeId;

/// Why the members stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    #[error("this node is not the leader{}", leader_hint(*leader))]
    NotLeader { leader: Option<NodeId> },
    #[error("node id {id} is taken by the node at {address}; a wiped node needs a new id")]
    Taken { id: NodeId, address: String },
    #[error("{0}")]
    Refused(String),
}

type Refusal = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

impl From<Refusal> for MembersError {
    fn from(error: Refusal) -> Self {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => Self::NotLeader {
                leader: to.leader_id,
            },
            other => Self::Refused(other.to_string()),
        }
    }
}

impl Handle {
    /// Adds a node: it first catches up without a vote, then votes. To be
    /// called at the leader; returns once the change is committed.
    ///
    /// # Errors
    /// When this is not the leader, the id is taken, or another change is
    /// under way.
    pub async fn add_node(&self, node: Node) -> Result<(), MembersError> {
        if let Some(known) = self.node(node.id).filter(|known| *known != node) {
            return Err(MembersError::Taken {
                id: known.id,
                address: known.address,
            });
        }
        let id = node.id;
        self.consensus().add_learner(id, node, true).await?;
        let voters = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
        self.consensus().change_membership(voters, false).await?;
        Ok(())
    }

    /// Removes a node for good. To be called at the leader; a leader that
    /// removes itself hands over. Its id must not be used again.
    ///
    /// # Errors
    /// When this is not the leader or another change is under way.
    pub async fn remove_node(&self, id: NodeId) -> Result<(), MembersError> {
        let voters = ChangeMembers::RemoveVoters(BTreeSet::from([id]));
        self.consensus().change_membership(voters, false).await?;
        Ok(())
    }
}
