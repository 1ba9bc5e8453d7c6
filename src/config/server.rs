//! A quorum node's file.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::Deserialize;

use super::{
    Checked, ConfigError, is_loopback,
    layers::{Kind, Raw},
    plaintext, port, quoted, setting,
};
use crate::{
    dns,
    domain::Region,
    ports::NodeId,
    raft,
    server::{self, Options},
};

/// Port of gRPC where a node's entry does not say.
const GRPC_PORT: u16 = 7400;
/// More voters make every decision slower and no failure easier to survive.
const MOST_VOTERS: usize = 5;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    cluster_id: String,
    node_id: NodeId,
    region: String,
    data_dir: PathBuf,
    #[serde(default)]
    listen: Listen,
    #[serde(default)]
    profile: Profile,
    #[serde(default)]
    insecure: bool,
    initial_node: Vec<InitialNode>,
    dns: Option<Dns>,
}

impl Raw for File {
    const SETTINGS: &'static [(&'static str, Kind)] = &[
        ("cluster_id", Kind::Text),
        ("node_id", Kind::Integer),
        ("region", Kind::Text),
        ("data_dir", Kind::Text),
        ("listen.grpc", Kind::Text),
        ("listen.raft", Kind::Text),
        ("listen.dns", Kind::Text),
        ("profile", Kind::Text),
        ("insecure", Kind::Boolean),
        ("dns.zone", Kind::Text),
        ("dns.ttl", Kind::Text),
        ("dns.max_staleness", Kind::Text),
        ("dns.without_quorum", Kind::Text),
    ];
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Listen {
    grpc: SocketAddr,
    raft: SocketAddr,
    dns: Option<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            grpc: ([127, 0, 0, 1], GRPC_PORT).into(),
            raft: ([127, 0, 0, 1], 7401).into(),
            dns: None,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Profile {
    #[default]
    Lan,
    Wan,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InitialNode {
    id: NodeId,
    region: String,
    /// Of Raft.
    address: String,
    grpc: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dns {
    zone: String,
    ttl: Option<String>,
    max_staleness: Option<String>,
    without_quorum: Option<String>,
    #[serde(default)]
    ns: Vec<NameServer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NameServer {
    name: String,
    address: IpAddr,
}

pub(super) fn check(file: File) -> Result<Checked<Options>, ConfigError> {
    check_alone(&file)?;
    check_nodes(&file.initial_node)?;
    check_own_entry(&file)?;
    let dns = check_dns(&file)?;
    let mut warnings = plaintext(file.insecure, &exposed(&file))?;
    warnings.extend(odd_numbers(file.initial_node.len()));
    let profile = match file.profile {
        Profile::Lan => raft::Profile::Lan,
        Profile::Wan => raft::Profile::Wan,
    };
    let mut raft = raft::Options::new(&file.cluster_id, file.node_id, file.data_dir, profile);
    let grpc_addresses = grpc_addresses(&file.initial_node);
    let node = |node: InitialNode| {
        Ok(raft::Node {
            id: node.id,
            region: region(&entry(node.id, "region"), &node.region)?,
            address: node.address,
        })
    };
    let nodes = file.initial_node.into_iter().map(node);
    raft.initial_nodes = nodes.collect::<Result<_, _>>()?;
    let options = server::Options {
        raft,
        listen_raft: file.listen.raft,
        listen_grpc: file.listen.grpc,
        grpc_addresses,
        dns,
    };
    Ok(Checked { options, warnings })
}

/// What can be told from one value by itself.
fn check_alone(file: &File) -> Result<(), ConfigError> {
    if file.cluster_id.trim().is_empty() {
        let reason = "give the same name to every node of the cluster";
        return Err(ConfigError::value(setting("cluster_id", "\"\""), reason));
    }
    if file.node_id == 0 {
        let reason = "ids count from 1";
        return Err(ConfigError::value(setting("node_id", 0), reason));
    }
    if !file.data_dir.is_absolute() {
        let given = setting("data_dir", quoted(&file.data_dir.to_string_lossy()));
        return Err(ConfigError::value(given, "an absolute path was expected"));
    }
    region("region", &file.region)?;
    let Listen { grpc, raft, .. } = file.listen;
    if grpc == raft {
        let (first, second) = (setting("listen.grpc", grpc), setting("listen.raft", raft));
        let advice = "two listeners cannot share a port";
        return Err(ConfigError::contradiction(first, second, advice));
    }
    Ok(())
}

fn region(name: &str, text: &str) -> Result<Region, ConfigError> {
    let parsed = text.parse::<Region>();
    parsed.map_err(|error| ConfigError::value(setting(name, quoted(text)), error))
}

fn entry(id: NodeId, field: &str) -> String {
    format!("initial_node[id = {id}].{field}")
}

fn check_nodes(nodes: &[InitialNode]) -> Result<(), ConfigError> {
    if nodes.is_empty() || nodes.len() > MOST_VOTERS {
        let given = setting("initial_node", format!("[{} entries]", nodes.len()));
        let reason = "a quorum has 1 to 5 voters, and 3 or 5 are sensible";
        return Err(ConfigError::value(given, reason));
    }
    for (i, node) in nodes.iter().enumerate() {
        region(&entry(node.id, "region"), &node.region)?;
        port(&entry(node.id, "address"), &node.address)?;
        if let Some(grpc) = &node.grpc {
            port(&entry(node.id, "grpc"), grpc)?;
        }
        for earlier in &nodes[..i] {
            check_pair(earlier, node)?;
        }
    }
    Ok(())
}

fn check_pair(earlier: &InitialNode, node: &InitialNode) -> Result<(), ConfigError> {
    if earlier.id == node.id {
        let both = [earlier, node].map(|node| {
            let name = format!("initial_node[address = {:?}].id", node.address);
            setting(name, node.id)
        });
        let [first, second] = both;
        let advice = "each node has an id of its own";
        return Err(ConfigError::contradiction(first, second, advice));
    }
    let [one, two] = [earlier, node].map(|node| {
        let both = [("address", node.address.clone()), ("grpc", grpc(node))];
        both.map(|(field, value)| setting(entry(node.id, field), quoted(&value)))
    });
    let mut same = one.into_iter().zip(two).filter(|(a, b)| a.value == b.value);
    same.next().map_or(Ok(()), |(first, second)| {
        let advice = "two nodes cannot share an address";
        Err(ConfigError::contradiction(first, second, advice))
    })
}

/// Where `node` serves gRPC: as given, else on Raft's host.
fn grpc(node: &InitialNode) -> String {
    node.grpc.clone().unwrap_or_else(|| {
        let host = node.address.rsplit_once(':').map_or("", |(host, _)| host);
        format!("{host}:{GRPC_PORT}")
    })
}

fn grpc_addresses(nodes: &[InitialNode]) -> BTreeMap<NodeId, String> {
    nodes.iter().map(|node| (node.id, grpc(node))).collect()
}

/// This node's settings against its own entry in the list.
fn check_own_entry(file: &File) -> Result<(), ConfigError> {
    let own = file
        .initial_node
        .iter()
        .find(|node| node.id == file.node_id);
    let Some(own) = own else {
        let ids: Vec<_> = file.initial_node.iter().map(|n| n.id.to_string()).collect();
        return Err(ConfigError::contradiction(
            setting("node_id", file.node_id),
            setting("initial_node[].id", format!("[{}]", ids.join(", "))),
            "this node has to be one of them",
        ));
    };
    if own.region != file.region {
        return Err(ConfigError::contradiction(
            setting("region", quoted(&file.region)),
            setting(entry(own.id, "region"), quoted(&own.region)),
            "a node is in one region",
        ));
    }
    let ports = [
        (
            "listen.raft",
            file.listen.raft,
            "address",
            own.address.clone(),
        ),
        ("listen.grpc", file.listen.grpc, "grpc", grpc(own)),
    ];
    for (name, listen, field, address) in ports {
        if port(&entry(own.id, field), &address)? != listen.port() {
            return Err(ConfigError::contradiction(
                setting(name, quoted(&listen.to_string())),
                setting(entry(own.id, field), quoted(&address)),
                "the others would knock at a port that this node does not open",
            ));
        }
    }
    Ok(())
}

fn check_dns(file: &File) -> Result<Option<dns::Options>, ConfigError> {
    let missing = "(missing)";
    let (listen, dns) = match (file.listen.dns, &file.dns) {
        (None, None) => return Ok(None),
        (Some(listen), Some(dns)) => (listen, dns),
        (Some(listen), None) => {
            return Err(ConfigError::contradiction(
                setting("listen.dns", quoted(&listen.to_string())),
                setting("dns.zone", missing),
                "a name server needs a zone to serve",
            ));
        }
        (None, Some(dns)) => {
            return Err(ConfigError::contradiction(
                setting("dns.zone", quoted(&dns.zone)),
                setting("listen.dns", missing),
                "a zone needs an address to be served on",
            ));
        }
    };
    let mut options = dns::Options::new(listen, name("dns.zone", &dns.zone)?);
    if let Some(ttl) = &dns.ttl {
        options.ttl = duration("dns.ttl", ttl)?;
    }
    if let Some(most) = &dns.max_staleness {
        options.max_staleness = duration("dns.max_staleness", most)?;
    }
    if let Some(mode) = &dns.without_quorum {
        let given = setting("dns.without_quorum", quoted(mode));
        options.without_quorum = mode.parse().map_err(|e| ConfigError::value(given, e))?;
    }
    for server in &dns.ns {
        let name = name("dns.ns[].name", &server.name)?;
        options.ns.push((name, server.address));
    }
    let given = setting("dns.zone", quoted(&dns.zone));
    options
        .validate()
        .map_err(|e| ConfigError::value(given, e))?;
    Ok(Some(options))
}

fn name(field: &str, text: &str) -> Result<dns::Name, ConfigError> {
    let parsed = dns::Name::from_ascii(text);
    let mut name = parsed.map_err(|e| ConfigError::value(setting(field, quoted(text)), e))?;
    name.set_fqdn(true);
    Ok(name)
}

fn duration(field: &str, text: &str) -> Result<Duration, ConfigError> {
    let parsed = humantime::parse_duration(text);
    parsed.map_err(|error| ConfigError::value(setting(field, quoted(text)), error))
}

/// Listeners and peers by which plaintext leaves this host. DNS is not among
/// them: it is plaintext by nature, and only a hint.
fn exposed(file: &File) -> Vec<super::Setting> {
    let mut addresses = vec![
        ("listen.grpc".to_owned(), file.listen.grpc.to_string()),
        ("listen.raft".to_owned(), file.listen.raft.to_string()),
    ];
    for node in &file.initial_node {
        addresses.push((entry(node.id, "address"), node.address.clone()));
        addresses.push((entry(node.id, "grpc"), grpc(node)));
    }
    addresses.retain(|(_, address)| !is_loopback(address));
    let setting = |(name, address): (String, String)| setting(name, quoted(&address));
    addresses.into_iter().map(setting).collect()
}

fn odd_numbers(voters: usize) -> Option<String> {
    let survives = (voters.max(1) - 1) / 2;
    let advice = match voters {
        1 => "losing it loses every decision",
        n if n % 2 == 0 => "an odd number survives as many losses with one node less",
        _ => return None,
    };
    Some(format!(
        "initial_node has {voters} entries: the quorum survives the loss of {survives}; {advice}"
    ))
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
