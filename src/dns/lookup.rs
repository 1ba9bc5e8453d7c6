//! A stub resolver that asks for a group's primary, uncached.
//!
//! Applications use their own resolver; this one shows what is published
//! right now, for the demo's writer and for tests. It asks the servers in the
//! order given and goes on to the next one as a resolver would: when a server
//! does not answer, or answers that it cannot know (SERVFAIL).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{LowerName, Name, RData, Record, RecordType, rdata::SRV},
};
use tokio::{net::UdpSocket, time::timeout};

use super::zone::{below, service};
use crate::domain::{Epoch, GroupName};

/// How long one server may take for one question.
pub const PATIENCE: Duration = Duration::from_millis(300);

/// The primary as a server publishes it, all of it from one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    pub address: SocketAddr,
    /// None when a cache on the way kept only the address.
    pub epoch: Option<Epoch>,
}

/// Why no primary was found.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// A server that knows says so: between a grant and its seal, or before the first.
    #[error("group {0} has no published primary at present")]
    NotPublished(GroupName),
    #[error("there is no group {group} in {zone}")]
    NoSuchGroup { group: GroupName, zone: Name },
    #[error("{0} is too long a name")]
    TooLong(GroupName),
    /// What became of each server that was asked.
    #[error("no name server answered: {}", list(.0))]
    NoAnswer(Vec<(SocketAddr, Unanswered)>),
}

/// Why one server was of no use.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    #[error("no answer within {}ms", .0.as_millis())]
    Timeout(Duration),
    #[error("{0}")]
    Code(ResponseCode),
    #[error("the response makes no sense")]
    Garbled,
    #[error("could not be asked")]
    Io(#[from] io::Error),
}

fn list(tried: &[(SocketAddr, Unanswered)]) -> String {
    let one = |(server, reason): &(SocketAddr, Unanswered)| format!("{server}: {reason}");
    tried.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Asks `servers` in turn for the primary of `group`: one SRV query over UDP,
/// whose response carries the address and the epoch beside it.
pub async fn lookup_primary(
    servers: &[SocketAddr],
    zone: &Name,
    group: &GroupName,
) -> Result<Primary, LookupError> {
    let name = below(zone, group.as_str()).and_then(|owner| service(&owner));
    let name = name.ok_or_else(|| LookupError::TooLong(group.clone()))?;
    let mut tried = Vec::new();
    for server in servers {
        match ask_primary(*server, &name).await {
            Ok(Found::Primary(primary)) => return Ok(primary),
            Ok(Found::Nobody) => return Err(LookupError::NotPublished(group.clone())),
            Ok(Found::NoSuchName) => {
                let (group, zone) = (group.clone(), zone.clone());
                return Err(LookupError::NoSuchGroup { group, zone });
            }
            Err(reason) => tried.push((*server, reason)),
        }
    }
    Err(LookupError::NoAnswer(tried))
}

enum Found {
    Primary(Primary),
    Nobody,
    NoSuchName,
}

async fn ask_primary(server: SocketAddr, name: &Name) -> Result<Found, Unanswered> {
    let response = ask(server, name, RecordType::SRV).await?;
    if response.metadata.truncation {
        return Err(Unanswered::Garbled);
    }
    match response.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Ok(Found::NoSuchName),
        code => return Err(Unanswered::Code(code)),
    }
    let services = response
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(service) => Some(service),
            _ => None,
        });
    match services.collect::<Vec<_>>()[..] {
        [] => Ok(Found::Nobody),
        [service] => complete(server, service, &response)
            .await
            .map(Found::Primary),
        _ => Err(Unanswered::Garbled),
    }
}

/// The address beside the SRV record, or asked for if a cache left it out.
async fn complete(
    server: SocketAddr,
    service: &SRV,
    response: &Message,
) -> Result<Primary, Unanswered> {
    let beside = address_of(&service.target, &response.additionals);
    let ip = match beside {
        Some(ip) => ip,
        None => ask_address(server, &service.target).await?,
    };
    Ok(Primary {
        address: (ip, service.port).into(),
        epoch: response.additionals.iter().find_map(epoch_in),
    })
}

async fn ask_address(server: SocketAddr, target: &Name) -> Result<IpAddr, Unanswered> {
    for kind in [RecordType::A, RecordType::AAAA] {
        let response = ask(server, target, kind).await?;
        if let Some(ip) = address_of(target, &response.answers) {
            return Ok(ip);
        }
    }
    Err(Unanswered::Garbled)
}

/// Sends one query to `server` and returns the response to it, whatever its code.
pub async fn ask(server: SocketAddr, name: &Name, kind: RecordType) -> Result<Message, Unanswered> {
    let asked = timeout(PATIENCE, exchange(server, name, kind)).await;
    asked.unwrap_or(Err(Unanswered::Timeout(PATIENCE)))
}

async fn exchange(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
) -> Result<Message, Unanswered> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: packets of anybody else are dropped by the kernel.
    socket.connect(server).await?;
    let query = query(name, kind);
    let bytes = query.to_vec().map_err(|_| Unanswered::Garbled)?;
    socket.send(&bytes).await?;
    let mut buffer = [0; 1232];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Message::from_vec(&buffer[..length]) {
            Ok(response) if answers(&response, &query) => return Ok(response),
            _ => {}
        }
    }
}

fn query(name: &Name, kind: RecordType) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    let mut query = Message::query();
    query
        .add_query(Query::query(name.clone(), kind))
        .set_edns(edns);
    query
}

fn answers(response: &Message, query: &Message) -> bool {
    response.metadata.id == query.metadata.id && response.queries == query.queries
}

fn address_of(name: &Name, records: &[Record]) -> Option<IpAddr> {
    let name = LowerName::new(name);
    let owned = records
        .iter()
        .filter(|record| LowerName::new(&record.name) == name);
    owned.filter_map(|record| record.data.ip_addr()).next()
}

fn epoch_in(record: &Record) -> Option<Epoch> {
    let RData::TXT(text) = &record.data else {
        return None;
    };
    let strings = text.txt_data.iter();
    let mut texts = strings.filter_map(|bytes| std::str::from_utf8(bytes).ok());
    let epoch = texts.find_map(|text| text.strip_prefix("epoch="))?;
    epoch.parse().ok().map(Epoch)
}
