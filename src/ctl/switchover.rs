//! `primacy ctl switchover`: a planned change of primary.

use std::time::Duration;

use clap::Args;
use primacy_proto::v1::{self as proto, groups_client::GroupsClient};
use serde_json::json;

use super::{Context, client::Call, failure::Failure, output, progress::during};

/// A checkpoint of a busy database, then the change itself.
pub const PATIENCE: Duration = Duration::from_secs(100);

/// Make another member primary, losing nothing.
///
/// The primary checkpoints first, so writes are interrupted only for the stop
/// and the promotion. Returns when the new primary is published.
#[derive(Debug, Args)]
#[command(after_long_help = "Example: primacy ctl switchover orders --to-region tokyo")]
pub struct Arguments {
    group: String,
    /// The member to make primary; without it the best placed.
    #[arg(long, value_name = "MEMBER", conflicts_with = "to_region")]
    to: Option<String>,
    /// The region whose member to make primary.
    #[arg(long, value_name = "REGION")]
    to_region: Option<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let request = proto::SwitchoverRequest {
        group: arguments.group.clone(),
        to_member: arguments.to.unwrap_or_default(),
        to_region: arguments.to_region.unwrap_or_default(),
    };
    let ask = |channel| {
        let request = request.clone();
        async move { GroupsClient::new(channel).switchover(request).await }
    };
    let client = context.patient(PATIENCE);
    let asked = client.call(Call::Change, ask);
    let done = during(&format!("switching {} over", arguments.group), asked).await?;
    say(context, &arguments.group, &done.value)
}

/// What came of a switchover or failover.
pub fn say(context: &Context, group: &str, done: &proto::OperationResponse) -> Result<(), Failure> {
    if context.is_json() {
        return output::json(&json!({
            "group": group,
            "member": done.member,
            "epoch": done.epoch,
            "took_ms": done.took_ms,
        }));
    }
    output::text(&format!(
        "{group}: {} is primary under epoch {} after {}",
        done.member,
        done.epoch,
        output::duration(done.took_ms)
    ))
}
