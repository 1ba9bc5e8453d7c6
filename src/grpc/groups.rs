//! For operators: groups, and who should be their primary.

use std::{sync::Arc, time::Duration};

use primacy_proto::v1 as proto;
use tonic::{Request, Response, Status, metadata::MetadataValue};

use super::{
    convert, group_view,
    refuse::{self, NodeAddresses},
};
use crate::{
    clock,
    domain::{Change, Command, Control, Durability, EventKind, GroupName, GroupSpec, State},
    ports::{
        Agents, Applied, FailoverRequest, OperationDone, OperationError, Operations, Quorum,
        SwitchoverTarget,
    },
};

/// What the service works with.
pub struct GroupsService {
    pub quorum: Arc<dyn Quorum>,
    pub agents: Arc<dyn Agents>,
    pub operations: Arc<dyn Operations>,
    pub nodes: Arc<NodeAddresses>,
    /// A lease must outlive a change of leader twice over.
    pub worst_leader_change: Duration,
}

impl GroupsService {
    async fn propose(&self, group: &GroupName, change: Change) -> Result<Applied, Status> {
        let command = Command {
            at_ms: clock::wall_ms(),
            group: group.clone(),
            change,
        };
        let proposed = self.quorum.propose(command).await;
        proposed.map_err(|error| refuse::proposal(&error, &self.nodes))
    }

    /// Proposes, and makes a refusal an error.
    async fn change(&self, name: &str, change: Change) -> Result<u64, Status> {
        let group = convert::group_name(name)?;
        let Applied { index, outcome } = self.propose(&group, change).await?;
        outcome
            .into_result()
            .map_err(|refusal| refuse::refusal(&refusal))?;
        Ok(index)
    }

    /// The newest state there is, and whether a quorum confirmed it. Operators
    /// want to see what is known most of all while the quorum is lost.
    async fn look(&self) -> (Arc<State>, bool) {
        let confirmed = self.quorum.read_index().await.is_ok();
        (Arc::clone(&self.quorum.published().borrow()), confirmed)
    }

    /// What this release cannot keep, however well-formed it is.
    fn check_supported(&self, spec: &GroupSpec) -> Result<(), Status> {
        let refuse = |text: String| Err(Status::invalid_argument(text));
        if spec.durability != Durability::Strict {
            return refuse(format!(
                "durability = {:?}: this release runs synchronous groups only; write \"strict\"",
                spec.durability.to_string()
            ));
        }
        if let Some(member) = spec.members.iter().find(|it| it.control == Control::Sql) {
            return refuse(format!(
                "member {} has control = \"sql\": this release drives members through an agent \
                 beside them only; write \"process\"",
                member.name
            ));
        }
        if spec.check_window_ms > 0 {
            return refuse(format!(
                "check_window = {}ms: this release gives out no check windows; leave it at 0",
                spec.check_window_ms
            ));
        }
        let least = self.worst_leader_change * 2;
        if Duration::from_millis(spec.ttl_ms) <= least {
            return refuse(format!(
                "ttl = {}ms must be above {}ms, twice the longest change of the quorum's leader",
                spec.ttl_ms,
                least.as_millis()
            ));
        }
        Ok(())
    }

    fn done(
        &self,
        result: Result<OperationDone, OperationError>,
    ) -> Result<Response<proto::OperationResponse>, Status> {
        let done = result.map_err(|error| refuse::operation(&error, &self.nodes))?;
        Ok(Response::new(proto::OperationResponse {
            member: done.member.to_string(),
            epoch: done.epoch.0,
            took_ms: u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX),
        }))
    }

    /// The group, which an operation needs to know before it is asked for.
    fn known(&self, name: &str) -> Result<GroupName, Status> {
        let group = convert::group_name(name)?;
        match self.quorum.published().borrow().group(&group) {
            Some(_) => Ok(group),
            None => Err(refuse::unknown_group(&group)),
        }
    }

    /// Operations run at the leader, where alone the state is known to be new.
    fn lead(&self) -> Result<(), Status> {
        let leadership = *self.quorum.leadership().borrow();
        match leadership.is_me {
            true => Ok(()),
            false => Err(refuse::not_leader(leadership.leader, &self.nodes)),
        }
    }
}

fn marked<T>(message: T, confirmed: bool) -> Response<T> {
    let mut response = Response::new(message);
    let value = MetadataValue::from_static(if confirmed { "true" } else { "false" });
    response.metadata_mut().insert(refuse::CONFIRMED, value);
    response
}

fn target(request: &proto::SwitchoverRequest) -> Result<SwitchoverTarget, Status> {
    match (request.to_member.as_str(), request.to_region.as_str()) {
        ("", "") => Ok(SwitchoverTarget::Any),
        (member, "") => Ok(SwitchoverTarget::Member(convert::member_name(member)?)),
        ("", region) => region
            .parse()
            .map(SwitchoverTarget::Region)
            .map_err(|error| convert::bad_name("region", &error)),
        _ => Err(Status::invalid_argument(
            "give to_member or to_region, not both",
        )),
    }
}

#[tonic::async_trait]
impl proto::groups_server::Groups for GroupsService {
    async fn apply(
        &self,
        request: Request<proto::ApplyGroupRequest>,
    ) -> Result<Response<proto::ApplyGroupResponse>, Status> {
        let message = request.into_inner().spec;
        let spec = convert::spec(message.ok_or_else(|| Status::invalid_argument("no spec"))?)?;
        spec.validate()
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.check_supported(&spec)?;
        let name = spec.name.clone();
        let created = self.quorum.published().borrow().group(&name).is_none();
        let applied = self.propose(&name, Change::ApplyGroup { spec }).await?;
        let events = applied
            .outcome
            .into_result()
            .map_err(|refusal| refuse::refusal(&refusal))?;
        debug_assert!(
            events
                .iter()
                .any(|it| matches!(it.kind, EventKind::GroupApplied { .. }))
        );
        Ok(Response::new(proto::ApplyGroupResponse {
            revision: applied.index,
            created,
        }))
    }

    async fn get(
        &self,
        request: Request<proto::GetGroupRequest>,
    ) -> Result<Response<proto::Group>, Status> {
        let name = convert::group_name(&request.into_inner().group)?;
        let (state, confirmed) = self.look().await;
        match state.group(&name) {
            Some(group) => {
                let view = group_view::view(group, &self.agents.views());
                Ok(marked(view, confirmed))
            }
            None if confirmed => Err(refuse::unknown_group(&name)),
            None => Err(Status::unavailable(format!(
                "this node does not know of group {name} and no quorum confirms that there is none"
            ))),
        }
    }

    async fn list(
        &self,
        _: Request<proto::ListGroupsRequest>,
    ) -> Result<Response<proto::ListGroupsResponse>, Status> {
        let (state, confirmed) = self.look().await;
        let views = self.agents.views();
        let groups = state
            .groups
            .values()
            .map(|group| group_view::view(group, &views))
            .collect();
        Ok(marked(proto::ListGroupsResponse { groups }, confirmed))
    }

    async fn delete(
        &self,
        request: Request<proto::DeleteGroupRequest>,
    ) -> Result<Response<proto::DeleteGroupResponse>, Status> {
        let revision = self
            .change(&request.into_inner().group, Change::DeleteGroup)
            .await?;
        Ok(Response::new(proto::DeleteGroupResponse { revision }))
    }

    async fn switchover(
        &self,
        request: Request<proto::SwitchoverRequest>,
    ) -> Result<Response<proto::OperationResponse>, Status> {
        let request = request.into_inner();
        let to = target(&request)?;
        self.lead()?;
        let group = self.known(&request.group)?;
        self.done(self.operations.switchover(group, to).await)
    }

    async fn failover(
        &self,
        request: Request<proto::FailoverRequest>,
    ) -> Result<Response<proto::OperationResponse>, Status> {
        let request = request.into_inner();
        let wanted = FailoverRequest {
            prefer: convert::optional_member(&request.to_member)?,
            host_is_dead: request.host_is_dead,
            accept_data_loss: request.accept_data_loss,
        };
        self.lead()?;
        let group = self.known(&request.group)?;
        self.done(self.operations.failover(group, wanted).await)
    }

    async fn pause(
        &self,
        request: Request<proto::PauseRequest>,
    ) -> Result<Response<proto::PauseResponse>, Status> {
        let revision = self
            .change(&request.into_inner().group, Change::Pause)
            .await?;
        Ok(Response::new(proto::PauseResponse { revision }))
    }

    async fn resume(
        &self,
        request: Request<proto::ResumeRequest>,
    ) -> Result<Response<proto::ResumeResponse>, Status> {
        let revision = self
            .change(&request.into_inner().group, Change::Resume)
            .await?;
        Ok(Response::new(proto::ResumeResponse { revision }))
    }
}
