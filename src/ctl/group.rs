//! `primacy ctl group`: apply, get, list, delete.

use std::{io::Read, path::PathBuf};

use clap::Subcommand;
use primacy_proto::v1::{self as proto, groups_client::GroupsClient};
use serde_json::{Value, json};

use super::{
    Context,
    client::{Answer, Call},
    failure::Failure,
    group_file, json, output,
    progress::during,
    status, words,
};
use crate::grpc::spec_message;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a group, or change it to what the file says.
    #[command(after_long_help = "Example: primacy ctl group apply -f orders.toml")]
    Apply {
        /// The group file; `-` reads standard input.
        #[arg(short = 'f', long = "file", value_name = "FILE")]
        file: PathBuf,
    },
    /// Print a group as the file that would make it.
    #[command(after_long_help = "Example: primacy ctl group get orders > orders.toml")]
    Get { group: String },
    /// Every group on one line.
    #[command(after_long_help = "Example: primacy ctl group list --output json")]
    List,
    /// Forget a group; its databases are left as they are.
    #[command(after_long_help = "Example: primacy ctl group delete orders")]
    Delete { group: String },
}

pub async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Apply { file } => apply(context, &file).await,
        Command::Get { group } => get(context, group).await,
        Command::List => list(context).await,
        Command::Delete { group } => delete(context, group).await,
    }
}

async fn apply(context: &Context, file: &PathBuf) -> Result<(), Failure> {
    let text = read(file)?;
    let spec = group_file::parse(&text)
        .map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    let request = proto::ApplyGroupRequest {
        spec: Some(spec_message(&spec)),
    };
    let ask = |channel| {
        let request = request.clone();
        async move { GroupsClient::new(channel).apply(request).await }
    };
    let answer = during("applying the group", context.client.call(Call::Change, ask))
        .await?
        .value;
    if context.is_json() {
        return output::json(&json!({
            "group": spec.name, "created": answer.created, "revision": answer.revision,
        }));
    }
    let did = if answer.created { "created" } else { "changed" };
    output::text(&format!(
        "group {name} {did}; `primacy ctl status {name}` shows it",
        name = spec.name
    ))
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text).map(drop),
        false => std::fs::read_to_string(file).map(|found| text = found),
    };
    match read {
        Ok(()) => Ok(text),
        Err(error) => Err(Failure::Usage(format!("read {}: {error}", file.display()))),
    }
}

async fn get(context: &Context, group: String) -> Result<(), Failure> {
    let Answer { value, confirmed } = fetch(context, group).await?;
    match (context.is_json(), words::spec(&value)?) {
        (true, _) => output::json(&json::group(&value))?,
        (false, spec) => output::text(&group_file::render(&spec))?,
    }
    status::doubt(confirmed)
}

/// One group as a node sees it.
pub async fn fetch(context: &Context, group: String) -> Result<Answer<proto::Group>, Failure> {
    let request = proto::GetGroupRequest { group };
    let ask = |channel| {
        let request = request.clone();
        async move { GroupsClient::new(channel).get(request).await }
    };
    during("asking the quorum", context.client.call(Call::Read, ask)).await
}

/// Every group as a node sees it.
pub async fn fetch_all(context: &Context) -> Result<Answer<Vec<proto::Group>>, Failure> {
    let ask = |channel| async move {
        GroupsClient::new(channel)
            .list(proto::ListGroupsRequest {})
            .await
    };
    let answer = during("asking the quorum", context.client.call(Call::Read, ask)).await?;
    Ok(Answer {
        value: answer.value.groups,
        confirmed: answer.confirmed,
    })
}

async fn list(context: &Context) -> Result<(), Failure> {
    let Answer {
        value: groups,
        confirmed,
    } = fetch_all(context).await?;
    if context.is_json() {
        output::json(&Value::Array(groups.iter().map(json::group).collect()))?;
    } else {
        let mut table = output::table(&["GROUP", "PRIMARY", "EPOCH", "STATE", "MEMBERS"]);
        for group in &groups {
            let name = words::name(group).to_owned();
            let members = group.members.len().to_string();
            let primary = words::or_dash(&group.holder);
            table.add_row([
                name,
                primary,
                group.epoch.to_string(),
                words::state(group),
                members,
            ]);
        }
        output::text(&output::rendered(&table))?;
    }
    status::doubt(confirmed)
}

async fn delete(context: &Context, group: String) -> Result<(), Failure> {
    let request = proto::DeleteGroupRequest {
        group: group.clone(),
    };
    let ask = |channel| {
        let request = request.clone();
        async move { GroupsClient::new(channel).delete(request).await }
    };
    let answer = during("deleting the group", context.client.call(Call::Change, ask)).await?;
    match context.is_json() {
        true => output::json(&json!({ "group": group, "revision": answer.value.revision })),
        false => output::text(&format!(
            "group {group} is forgotten; its databases and agents were left as they are"
        )),
    }
}
