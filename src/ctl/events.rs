//! `primacy ctl events`: what happened.

use clap::Args;
use primacy_proto::v1::{self as proto, cluster_client::ClusterClient};
use serde_json::Value;

use super::{
    Context,
    client::Call,
    failure::Failure,
    follow::{Follow, Item},
    json, output,
    progress::during,
    words,
};

/// The history: when, which revision, which group, which epoch, what.
#[derive(Debug, Args)]
#[command(after_long_help = "Example: primacy ctl events orders --follow")]
pub struct Arguments {
    /// Only of this group.
    group: Option<String>,
    /// Go on with what happens.
    #[arg(long)]
    follow: bool,
    /// From this revision on, oldest first.
    #[arg(long, value_name = "REVISION")]
    since: Option<u64>,
    /// How many at most; the newest, unless --since is given.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let follow = arguments.follow;
    let groups: Vec<String> = arguments.group.iter().cloned().collect();
    if let (true, Some(since)) = (follow, arguments.since) {
        return go_on(context, groups, since.max(1)).await;
    }
    let events = page(context, &arguments).await?;
    match (context.is_json(), follow) {
        (true, false) => {
            return output::json(&Value::Array(events.iter().map(json::event).collect()));
        }
        _ => events.iter().try_for_each(|event| print(context, event))?,
    }
    match (follow, events.last()) {
        (false, _) => Ok(()),
        (true, Some(last)) => go_on(context, groups, last.revision + 1).await,
        (true, None) => go_on(context, groups, 1).await,
    }
}

async fn page(context: &Context, arguments: &Arguments) -> Result<Vec<proto::Event>, Failure> {
    let request = proto::EventsRequest {
        group: arguments.group.clone().unwrap_or_default(),
        from_revision: arguments.since.unwrap_or_default(),
        limit: arguments.limit.max(1),
        newest: arguments.since.is_none(),
    };
    let ask = |channel| {
        let request = request.clone();
        async move { ClusterClient::new(channel).events(request).await }
    };
    let answer = during("reading the history", context.client.call(Call::Read, ask)).await?;
    Ok(answer.value.events)
}

async fn go_on(context: &Context, groups: Vec<String>, from: u64) -> Result<(), Failure> {
    let follow = Follow {
        client: context.client.clone(),
        groups,
        from,
    };
    follow
        .run(|item| match item {
            Item::Event(event) => print(context, &event),
            Item::Current(_) => Ok(()),
        })
        .await
}

/// One event on one line.
pub fn print(context: &Context, event: &proto::Event) -> Result<(), Failure> {
    match context.is_json() {
        true => output::json_line(&json::event(event)),
        false => output::text(&words::event(event)),
    }
}
