//! `primacy ctl cluster`: the quorum nodes.

use clap::Subcommand;
use primacy_proto::v1::{self as proto, cluster_client::ClusterClient};
use serde_json::json;

use super::{
    Context,
    client::{Call, Client},
    failure::Failure,
    json, output,
    progress::during,
    status, words,
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Nodes, leader, and who is behind.
    #[command(after_long_help = "Example: primacy ctl cluster status")]
    Status,
    /// Hand the quorum's leadership to a node; no group is affected.
    #[command(after_long_help = "Example: primacy ctl cluster transfer-leader 2")]
    TransferLeader {
        /// Id of the node.
        node: u64,
    },
}

pub async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Status => show(context).await,
        Command::TransferLeader { node } => transfer(context, node).await,
    }
}

async fn show(context: &Context) -> Result<(), Failure> {
    let answer = fetch(context).await?;
    match context.is_json() {
        true => output::json(&json::cluster(&answer))?,
        false => output::text(&describe(&answer))?,
    }
    status::doubt(answer.confirmed)
}

/// The quorum as its leader sees it, or as any node does.
pub async fn fetch(context: &Context) -> Result<proto::ClusterStatusResponse, Failure> {
    let first = during("asking the quorum", ask(&context.client)).await?;
    let leader = first
        .nodes
        .iter()
        .find(|node| node.leader && node.id != first.node_id);
    match leader.filter(|leader| first.confirmed && !leader.grpc_address.is_empty()) {
        // Only the leader knows who is behind; without it the rest is as good.
        Some(leader) => Ok(ask(&context.client.only(&leader.grpc_address))
            .await
            .unwrap_or(first)),
        None => Ok(first),
    }
}

async fn ask(client: &Client) -> Result<proto::ClusterStatusResponse, Failure> {
    let ask = |channel| async move {
        ClusterClient::new(channel)
            .status(proto::ClusterStatusRequest {})
            .await
    };
    client
        .call(Call::Read, ask)
        .await
        .map(|answer| answer.value)
}

/// The quorum in words and a table.
pub fn describe(status: &proto::ClusterStatusResponse) -> String {
    let leader = match status.leader {
        Some(id) => format!("node {id} leads"),
        None => "no leader is known".to_owned(),
    };
    let confirmed = if status.confirmed {
        "confirmed"
    } else {
        "NOT confirmed by a quorum"
    };
    let mut table = output::table(&["NODE", "REGION", "ROLE", "RAFT", "GRPC", "BEHIND"]);
    for node in &status.nodes {
        let role = match (node.leader, node.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "learner",
        };
        let behind = match node.behind {
            _ if node.leader => "-".to_owned(),
            Some(entries) => entries.to_string(),
            None => "?".to_owned(),
        };
        table.add_row([
            node.id.to_string(),
            node.region.clone(),
            role.to_owned(),
            node.raft_address.clone(),
            words::or_dash(&node.grpc_address),
            behind,
        ]);
    }
    let cluster = &status.cluster_id;
    let headline = format!(
        "quorum {cluster}: {leader}, term {}, {confirmed}",
        status.term
    );
    format!("{headline}\n{}", output::rendered(&table))
}

async fn transfer(context: &Context, to: u64) -> Result<(), Failure> {
    let ask = |channel| async move {
        ClusterClient::new(channel)
            .transfer_leader(proto::TransferLeaderRequest { to })
            .await
    };
    during(
        "handing leadership over",
        context.client.call(Call::Change, ask),
    )
    .await?;
    match context.is_json() {
        true => output::json(&json!({ "leader": to })),
        false => output::text(&format!("node {to} leads the quorum")),
    }
}
