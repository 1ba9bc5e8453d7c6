//! `primacy ctl failover`: a change of primary whose holder need not help.

use std::io::{IsTerminal, Write, stderr, stdin};

use clap::Args;
use primacy_proto::v1::{self as proto, groups_client::GroupsClient};

use super::{
    Context,
    client::Call,
    failure::Failure,
    progress::during,
    switchover::{PATIENCE, say},
};

/// Take the lease away from the primary and promote a standby.
///
/// Safe by itself: nothing is granted before the primary can acknowledge
/// nothing more and its successor has every acknowledged write. The two flags
/// put your word in the place of that proof and are recorded in the history.
#[derive(Debug, Args)]
#[command(after_long_help = "Example: primacy ctl failover orders --to tokyo")]
pub struct Arguments {
    group: String,
    /// The member to make primary, if it has every acknowledged write.
    #[arg(long, value_name = "MEMBER")]
    to: Option<String>,
    /// You vouch that the primary's host is gone for good. If it still runs,
    /// two primaries may acknowledge writes.
    #[arg(long)]
    host_is_dead: bool,
    /// Writes that were acknowledged may be lost.
    #[arg(long)]
    accept_data_loss: bool,
    /// Do not ask before one of the two flags above is used.
    #[arg(long)]
    yes: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    if !arguments.yes {
        confirm(&arguments)?;
    }
    let request = proto::FailoverRequest {
        group: arguments.group.clone(),
        to_member: arguments.to.unwrap_or_default(),
        host_is_dead: arguments.host_is_dead,
        accept_data_loss: arguments.accept_data_loss,
    };
    let ask = |channel| {
        let request = request.clone();
        async move { GroupsClient::new(channel).failover(request).await }
    };
    let client = context.patient(PATIENCE);
    let asked = client.call(Call::Change, ask);
    let done = during(&format!("failing {} over", arguments.group), asked).await?;
    say(context, &arguments.group, &done.value)
}

/// Asks for the group's name where a proof is given up.
fn confirm(arguments: &Arguments) -> Result<(), Failure> {
    let Some(warning) = warning(arguments) else {
        return Ok(());
    };
    if !stdin().is_terminal() {
        return Err(Failure::Usage(format!("{warning} Add --yes to mean it.")));
    }
    let group = &arguments.group;
    let mut line = String::new();
    let asked = write!(stderr(), "{warning}\nType {group} to go on: ")
        .and_then(|()| stderr().flush())
        .and_then(|()| stdin().read_line(&mut line));
    match asked {
        Ok(_) if line.trim() == *group => Ok(()),
        _ => Err(Failure::Failed(
            "not confirmed; nothing was done".to_owned(),
        )),
    }
}

fn warning(arguments: &Arguments) -> Option<String> {
    let dead = "If the primary's host still runs, two primaries may acknowledge writes.";
    let loss = "Writes that clients were told are safe may be lost.";
    match (arguments.host_is_dead, arguments.accept_data_loss) {
        (false, false) => None,
        (true, false) => Some(dead.to_owned()),
        (false, true) => Some(loss.to_owned()),
        (true, true) => Some(format!("{dead} {loss}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(host_is_dead: bool, accept_data_loss: bool) -> Arguments {
        let group = "orders".to_owned();
        Arguments {
            group,
            to: None,
            host_is_dead,
            accept_data_loss,
            yes: false,
        }
    }

    #[test]
    fn only_what_gives_up_a_proof_is_asked_about() {
        assert_eq!(warning(&arguments(false, false)), None);
        let both = warning(&arguments(true, true)).expect("a warning");
        assert!(both.contains("two primaries") && both.contains("may be lost"));
    }
}
