//! A client of every node: whoever answers will do.

use std::{net::SocketAddr, time::Duration};

use super::wait_for;
use anyhow::{Context as _, anyhow, ensure};
use futures::future::select_ok;
use primacy_proto::v1::{
    ApplyGroupRequest, CheckRequest, CheckResponse, ClusterStatusRequest, ClusterStatusResponse,
    Event, EventsRequest, FailoverRequest, GetGroupRequest, Group, GroupSpec, Member,
    SwitchoverRequest, TransferLeaderRequest, cluster_client::ClusterClient,
    groups_client::GroupsClient, leases_client::LeasesClient,
};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

const CONNECT: Duration = Duration::from_millis(300);
/// A node without the quorum takes longer to say that it knows nothing.
const ASK: Duration = Duration::from_secs(1);
/// Between two nodes that are asked the same.
const MOMENT: Duration = Duration::from_millis(25);
/// Changes wait for elections, switchovers for a checkpoint.
const CHANGE: Duration = Duration::from_secs(20);
const EVENTS: u32 = 1_000;

/// Cheap to clone; connections are made when used, and again when lost.
#[derive(Clone)]
pub struct Api {
    nodes: Vec<(u64, Channel)>,
    group: String,
}

impl Api {
    pub(super) fn new(nodes: Vec<(u64, SocketAddr)>, group: &str) -> anyhow::Result<Self> {
        let connect = |(id, address): (u64, SocketAddr)| {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
            let endpoint = endpoint.connect_timeout(CONNECT).tcp_nodelay(true);
            anyhow::Ok((id, endpoint.connect_lazy()))
        };
        let nodes = nodes.into_iter().map(connect).collect::<Result<_, _>>()?;
        let group = group.to_owned();
        Ok(Self { nodes, group })
    }

    /// Asks nodes in turn until one has an answer that is not "ask another".
    async fn ask<T, F>(&self, limit: Duration, call: impl Fn(Channel) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut last = None;
        for (id, channel) in &self.nodes {
            let answer = tokio::time::timeout(limit, call(channel.clone())).await;
            match answer.unwrap_or_else(|_| Err(Status::unavailable("no answer in time"))) {
                Ok(answer) => return Ok(answer),
                Err(status) if status.code() == Code::Unavailable => {
                    last = Some(anyhow!("node {id}: {}", status.message()));
                }
                Err(status) => return Err(anyhow!("node {id}: {}", status.message())),
            }
        }
        Err(last.unwrap_or_else(|| anyhow!("there are no nodes")))
    }

    /// Asks all nodes, each a moment after the one before, and takes the first
    /// answer: a region that fell silent costs a moment, not a timeout.
    async fn race<T, F>(&self, call: impl Fn(Channel) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let asked = (0_u32..).zip(&self.nodes).map(|(turn, (id, channel))| {
            let call = call(channel.clone());
            Box::pin(async move {
                tokio::time::sleep(MOMENT * turn).await;
                let answer = tokio::time::timeout(ASK, call).await;
                let answer = answer.with_context(|| format!("node {id}: no answer in time"))?;
                answer.map_err(|status| anyhow!("node {id}: {}", status.message()))
            })
        });
        let (answer, _) = select_ok(asked).await?;
        Ok(answer)
    }

    pub async fn group(&self) -> anyhow::Result<Group> {
        let request = GetGroupRequest {
            group: self.group.clone(),
        };
        self.race(|channel| {
            let request = request.clone();
            async { Ok(GroupsClient::new(channel).get(request).await?.into_inner()) }
        })
        .await
    }

    pub async fn apply(&self, spec: GroupSpec) -> anyhow::Result<()> {
        let request = ApplyGroupRequest { spec: Some(spec) };
        self.ask(CHANGE, |channel| {
            let request = request.clone();
            async { GroupsClient::new(channel).apply(request).await.map(|_| ()) }
        })
        .await
        .context("apply the group")
    }

    pub async fn switchover(&self, member: &str) -> anyhow::Result<()> {
        let request = SwitchoverRequest {
            group: self.group.clone(),
            to_member: member.to_owned(),
            to_region: String::new(),
        };
        self.switch(request)
            .await
            .with_context(|| format!("switch over to {member}"))
    }

    /// To whichever standby of `region` can take over.
    pub async fn switchover_to_region(&self, region: &str) -> anyhow::Result<()> {
        let request = SwitchoverRequest {
            group: self.group.clone(),
            to_member: String::new(),
            to_region: region.to_owned(),
        };
        self.switch(request)
            .await
            .with_context(|| format!("switch over to region {region}"))
    }

    async fn switch(&self, request: SwitchoverRequest) -> anyhow::Result<()> {
        self.ask(CHANGE, |channel| {
            let request = request.clone();
            async {
                GroupsClient::new(channel)
                    .switchover(request)
                    .await
                    .map(|_| ())
            }
        })
        .await
    }

    /// Begins a failover although nothing failed.
    pub async fn failover(&self) -> anyhow::Result<()> {
        let request = FailoverRequest {
            group: self.group.clone(),
            ..FailoverRequest::default()
        };
        self.ask(CHANGE, |channel| {
            let request = request.clone();
            async {
                GroupsClient::new(channel)
                    .failover(request)
                    .await
                    .map(|_| ())
            }
        })
        .await
        .context("fail over")
    }

    /// Waits until every member is up and every standby is in the sync set.
    pub async fn whole(&self, limit: Duration) -> anyhow::Result<Group> {
        wait_for("every member in its place", limit, || async {
            let group = self.group().await?;
            ensure!(is_whole(&group), "{}", missing(&group));
            Ok(Some(group))
        })
        .await
    }

    /// Who is primary, confirmed by the quorum.
    pub async fn check(&self) -> anyhow::Result<CheckResponse> {
        let request = CheckRequest {
            group: self.group.clone(),
        };
        self.race(|channel| {
            let request = request.clone();
            async {
                Ok(LeasesClient::new(channel)
                    .check(request)
                    .await?
                    .into_inner())
            }
        })
        .await
    }

    /// The cluster as a node sees it that knows a leader.
    pub async fn cluster(&self) -> anyhow::Result<ClusterStatusResponse> {
        self.race(|channel| async {
            let request = ClusterStatusRequest {};
            let status = ClusterClient::new(channel).status(request).await?;
            let status = status.into_inner();
            let known = status.confirmed && status.leader.is_some();
            known
                .then_some(status)
                .ok_or_else(|| Status::unavailable("no leader is known"))
        })
        .await
    }

    pub async fn leader(&self) -> anyhow::Result<u64> {
        let leader = self.cluster().await?.leader;
        leader.context("no leader is known")
    }

    /// The cluster as one node sees it, leader or not.
    pub async fn node(&self, id: u64) -> anyhow::Result<ClusterStatusResponse> {
        let (_, channel) = self
            .nodes
            .iter()
            .find(|(node, _)| *node == id)
            .context("no such node")?;
        let mut request = Request::new(ClusterStatusRequest {});
        request.set_timeout(ASK);
        let status = ClusterClient::new(channel.clone()).status(request).await;
        Ok(status
            .map_err(|status| anyhow!("node {id}: {}", status.message()))?
            .into_inner())
    }

    pub async fn transfer_leader(&self, to: u64) -> anyhow::Result<()> {
        let request = TransferLeaderRequest { to };
        self.ask(CHANGE, |channel| async move {
            ClusterClient::new(channel)
                .transfer_leader(request)
                .await
                .map(|_| ())
        })
        .await
        .with_context(|| format!("hand Raft leadership to node {to}"))
    }

    /// The group's history from a revision on.
    pub async fn events(&self, from_revision: u64) -> anyhow::Result<Vec<Event>> {
        let request = EventsRequest {
            group: self.group.clone(),
            from_revision,
            limit: EVENTS,
            newest: false,
        };
        self.race(|channel| {
            let request = request.clone();
            async {
                Ok(ClusterClient::new(channel)
                    .events(request)
                    .await?
                    .into_inner()
                    .events)
            }
        })
        .await
    }
}

fn is_whole(group: &Group) -> bool {
    let in_place = |member: &Member| {
        let role = if member.name == group.holder {
            member.state == "primary"
        } else {
            member.state == "standby" && member.receiving && member.synchronous
        };
        role && member.agent_connected
    };
    group.sealed && !group.failing_over && group.members.iter().all(in_place)
}

/// Who is in what place, for whoever waited in vain.
fn missing(group: &Group) -> String {
    let member = |member: &Member| {
        let said = [&member.state, &member.doing, &member.trouble];
        let said = said.map(String::as_str);
        let said: Vec<_> = said.into_iter().filter(|text| !text.is_empty()).collect();
        format!("{}: {}", member.name, said.join(", "))
    };
    let members: Vec<_> = group.members.iter().map(member).collect();
    let (holder, epoch) = (&group.holder, group.epoch);
    let blocked = &group.blocked;
    format!(
        "epoch {epoch} of {holder:?}; {}; {blocked}",
        members.join("; ")
    )
}
