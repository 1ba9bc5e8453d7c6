//! `primacy ctl pause` and `resume`.

use clap::Args;
use primacy_proto::v1::{self as proto, groups_client::GroupsClient};
use serde_json::json;

use super::{Context, client::Call, failure::Failure, output, progress::during};

#[derive(Debug, Args)]
pub struct Arguments {
    group: String,
}

pub async fn pause(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let request = proto::PauseRequest {
        group: arguments.group.clone(),
    };
    let ask = |channel| {
        let request = request.clone();
        async move { GroupsClient::new(channel).pause(request).await }
    };
    let answer = during("pausing", context.client.call(Call::Change, ask)).await?;
    let text = format!(
        "{group}: automatic failover is paused; `primacy ctl resume {group}` ends it",
        group = arguments.group
    );
    say(
        context,
        &arguments.group,
        true,
        answer.value.revision,
        &text,
    )
}

pub async fn resume(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let request = proto::ResumeRequest {
        group: arguments.group.clone(),
    };
    let ask = |channel| {
        let request = request.clone();
        async move { GroupsClient::new(channel).resume(request).await }
    };
    let answer = during("resuming", context.client.call(Call::Change, ask)).await?;
    let text = format!("{}: failover is automatic again", arguments.group);
    say(
        context,
        &arguments.group,
        false,
        answer.value.revision,
        &text,
    )
}

fn say(
    context: &Context,
    group: &str,
    paused: bool,
    revision: u64,
    text: &str,
) -> Result<(), Failure> {
    match context.is_json() {
        true => output::json(&json!({ "group": group, "paused": paused, "revision": revision })),
        false => output::text(text),
    }
}
