//! `primacy ctl watch`: who is primary now, and each change from here on.

use clap::Args;
use serde_json::json;

use super::{
    Context, events,
    failure::Failure,
    follow::{Follow, Item},
    json, output, words,
};

/// Who is primary, and every event from now on, until interrupted.
#[derive(Debug, Args)]
#[command(after_long_help = "Example: primacy ctl watch orders invoices")]
pub struct Arguments {
    /// Only these groups; without any, all.
    groups: Vec<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let follow = Follow {
        client: context.client.clone(),
        groups: arguments.groups,
        from: 0,
    };
    follow
        .run(|item| match item {
            Item::Event(event) => events::print(context, &event),
            Item::Current(current) if context.is_json() => {
                output::json_line(&json!({ "current": json::check(&current) }))
            }
            Item::Current(current) => output::text(&words::check(&current)),
        })
        .await
}
