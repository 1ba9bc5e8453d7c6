//! Finds the primary as an application is told to: names first, then the
//! quorum's word, and nobody is written to before both agree.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use fastrand::Rng;
use tokio::{task::JoinSet, time};

use crate::{
    client::{
        dns::{NameServer, Names, Transport},
        grpc::Nodes,
    },
    history::{Answer, Primary},
    targets::Targets,
};

/// Between two name servers that are asked the same.
const MOMENT: Duration = Duration::from_millis(25);
/// For one name server.
const RESOLVE: Duration = Duration::from_millis(400);
/// For one node.
const CHECK: Duration = Duration::from_millis(600);
/// For all of it.
const FIND: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
pub struct Directory {
    servers: Vec<NameServer>,
    nodes: Nodes,
}

/// Whom names and quorum call primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub member: String,
    pub address: SocketAddr,
}

impl Directory {
    /// Within a runtime.
    pub fn new(targets: &Targets) -> anyhow::Result<Self> {
        let servers = name_servers(targets)?;
        let nodes = Nodes::new(targets)?;
        Ok(Self { servers, nodes })
    }

    pub async fn find(&self, rng: &mut Rng) -> anyhow::Result<Found> {
        let (server, node) = (rng.usize(..), rng.usize(..));
        let found = time::timeout(FIND, async {
            let addresses = self.resolve(server % self.servers.len()).await?;
            let first = node % self.nodes.all().len();
            let check = |node: crate::client::grpc::Node| async move { node.check().await };
            let checked = self.nodes.ask(first, CHECK, check).await?;
            agreed(&addresses, checked)
        });
        found.await.context("no primary in time")?
    }

    /// Asks the name servers a moment apart, and takes the first that knows:
    /// one that is silent costs no timeout.
    async fn resolve(&self, first: usize) -> anyhow::Result<Vec<String>> {
        let mut asked = JoinSet::new();
        let count = self.servers.len();
        for (turn, wait) in (0_u32..).map(|turn| MOMENT * turn).take(count).enumerate() {
            let server = self.servers[(first + turn) % count].clone();
            asked.spawn(async move {
                time::sleep(wait).await;
                server.addresses(Transport::Udp, RESOLVE).await
            });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok(Ok(Answer::Addresses { addresses, .. })) = answer {
                return Ok(addresses);
            }
        }
        bail!("no name server knows")
    }
}

/// Every name server, in the order of `About::name_servers`.
pub fn name_servers(targets: &Targets) -> anyhow::Result<Vec<NameServer>> {
    let names = Names::new(&targets.zone, &targets.group)?;
    let server = |node: &crate::targets::Node| NameServer {
        address: node.dns,
        names: names.clone(),
    };
    Ok(targets.nodes.iter().map(server).collect())
}

fn agreed(addresses: &[String], checked: Answer) -> anyhow::Result<Found> {
    let Answer::Checked {
        primary: Some(Primary {
            member, address, ..
        }),
        ..
    } = checked
    else {
        bail!("nobody is primary");
    };
    ensure!(
        addresses == [address.as_str()],
        "names say {addresses:?}, the quorum {address}"
    );
    let address = address.parse().context("the primary's address")?;
    Ok(Found { member, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARIS: &str = "10.0.0.1:5501";
    const TOKYO: &str = "10.0.0.2:5502";

    fn checked(address: &str) -> Answer {
        let primary = Primary {
            member: "paris".to_owned(),
            address: address.to_owned(),
            epoch: 3,
        };
        Answer::Checked {
            primary: Some(primary),
            valid_for_ms: 0,
            revision: 9,
        }
    }

    #[test]
    fn nobody_is_written_to_before_names_and_quorum_agree() {
        let addresses = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let found = agreed(&addresses(&[PARIS]), checked(PARIS)).unwrap();
        assert_eq!(found.member, "paris");
        assert!(agreed(&addresses(&[TOKYO]), checked(PARIS)).is_err());
        assert!(agreed(&addresses(&[PARIS, TOKYO]), checked(PARIS)).is_err());
        assert!(agreed(&[], checked(PARIS)).is_err());
        let nobody = Answer::Checked {
            primary: None,
            valid_for_ms: 0,
            revision: 9,
        };
        assert!(agreed(&addresses(&[PARIS]), nobody).is_err());
    }
}
