//! `primacy ctl status`: groups, members and quorum at a glance.

use clap::Args;
use primacy_proto::v1 as proto;
use serde_json::json;

use super::{Context, client::Answer, cluster, failure::Failure, group, json, output, words};

/// Groups with their members, and the quorum.
///
/// Shown even while the quorum is lost, then as the answering node last knew
/// it and with exit code 3.
#[derive(Debug, Args)]
#[command(after_long_help = "Example: primacy ctl status orders")]
pub struct Arguments {
    /// Only this group.
    group: Option<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let Answer {
        value: groups,
        confirmed,
    } = match arguments.group {
        None => group::fetch_all(context).await?,
        Some(name) => {
            let Answer { value, confirmed } = group::fetch(context, name).await?;
            Answer {
                value: vec![value],
                confirmed,
            }
        }
    };
    let quorum = cluster::fetch(context).await?;
    if context.is_json() {
        output::json(&json!({
            "confirmed": confirmed && quorum.confirmed,
            "groups": groups.iter().map(json::group).collect::<Vec<_>>(),
            "cluster": json::cluster(&quorum),
        }))?;
    } else {
        let mut parts: Vec<String> = groups.iter().map(describe).collect();
        if groups.is_empty() {
            parts.push("no groups; `primacy ctl group apply -f FILE` makes one".to_owned());
        }
        parts.push(cluster::describe(&quorum));
        output::text(&parts.join("\n\n"))?;
    }
    doubt(confirmed && quorum.confirmed)
}

/// The failure of an answer that no quorum stands behind.
pub fn doubt(confirmed: bool) -> Result<(), Failure> {
    match confirmed {
        true => Ok(()),
        false => Err(Failure::Unreachable(
            "no quorum confirmed this: it is what one node last knew".to_owned(),
        )),
    }
}

fn describe(group: &proto::Group) -> String {
    let mut lines = vec![
        words::headline(group),
        format!("  commits wait for: {}", words::sync(group)),
        format!("  rests on: {}", group.rests_on),
    ];
    lines.extend(words::failover(group).map(|text| format!("  failover: {text}")));
    lines.push(members(group));
    lines.join("\n")
}

fn members(group: &proto::Group) -> String {
    let mut table = output::table(&[
        "MEMBER", "REGION", "STATE", "TIMELINE", "LSN", "LAG", "SYNC", "AGENT", "TROUBLE",
    ]);
    for member in &group.members {
        let timeline = match member.timeline {
            0 => "-".to_owned(),
            timeline => timeline.to_string(),
        };
        table.add_row([
            member.name.clone(),
            member.region.clone(),
            words::member_state(group, member),
            timeline,
            words::lsn(member),
            words::lag(group, member),
            if member.synchronous { "yes" } else { "-" }.to_owned(),
            words::agent(member),
            words::or_dash(&member.trouble),
        ]);
    }
    output::rendered(&table)
}
