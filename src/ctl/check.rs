//! `primacy ctl check`: who is primary, confirmed by the quorum.

use clap::Args;
use primacy_proto::v1 as proto;

use super::{Context, client::Call, failure::Failure, json, output, progress::during, words};

/// Who is primary right now, confirmed by a quorum round.
///
/// Ends with 0 only when there is a primary to talk to, with 1 when there is
/// none for the moment, and with 3 when no quorum confirms anything.
#[derive(Debug, Args)]
#[command(after_long_help = "Example: primacy ctl check orders --output json")]
pub struct Arguments {
    group: String,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let request = proto::CheckRequest {
        group: arguments.group,
    };
    let ask = |channel| {
        let request = request.clone();
        async move {
            proto::leases_client::LeasesClient::new(channel)
                .check(request)
                .await
        }
    };
    let answer = during("asking the quorum", context.client.call(Call::Read, ask))
        .await?
        .value;
    match context.is_json() {
        true => output::json(&json::check(&answer))?,
        false => output::text(&words::check(&answer))?,
    }
    match answer.primary {
        Some(_) => Ok(()),
        None => Err(Failure::Failed(format!(
            "group {} has no primary for the moment",
            answer.group
        ))),
    }
}
