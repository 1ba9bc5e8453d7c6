//! A name server, asked for a group's primary; nothing is cached.
//!
//! One answer is one packet's where the server puts the address beside the
//! service, as it may (RFC 2782); an address that it left out is asked for.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    ProtoError,
    op::{Edns, Message, Query, ResponseCode},
    rr::{
        LowerName, Name, RData, Record, RecordType,
        rdata::{SRV, opt::EdnsOption},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time,
};

use crate::history::Answer;

/// What a response over UDP may have, so that it is not fragmented.
const PAYLOAD: u16 = 1232;
/// RFC 8914.
const EXTENDED_ERROR: u16 = 15;

/// Names under which a group is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// `_postgresql._tcp.<group>.<zone>`
    pub service: Name,
    /// `_primacy.<group>.<zone>`
    pub facts: Name,
}

impl Names {
    /// `zone` is without a dot at its end.
    pub fn new(zone: &str, group: &str) -> Result<Self, ProtoError> {
        let mut base = Name::from_ascii(zone)?.prepend_label(group)?;
        base.set_fqdn(true);
        Ok(Self {
            service: base.prepend_label("_tcp")?.prepend_label("_postgresql")?,
            facts: base.prepend_label("_primacy")?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// Why a server has no answer to a question. It was only asked: whatever the
/// reason is, nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Refused, unreachable, reset.
    #[error("broken off: {0}")]
    Io(#[from] io::Error),
    #[error("the response makes no sense: {0}")]
    Garbled(String),
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
}

impl From<ProtoError> for AskError {
    fn from(error: ProtoError) -> Self {
        Self::Garbled(error.to_string())
    }
}

/// One name server.
#[derive(Debug, Clone)]
pub struct NameServer {
    pub address: SocketAddr,
    pub names: Names,
}

impl NameServer {
    /// Where the primary is: `Answer::Addresses`, or the server's refusal.
    /// `limit` is for all that is asked.
    pub async fn addresses(
        &self,
        transport: Transport,
        limit: Duration,
    ) -> Result<Answer, AskError> {
        let asked = async {
            let response = self
                .exchange(&self.names.service, RecordType::SRV, transport)
                .await?;
            if let Some(refusal) = refusal(&response) {
                return Ok(refusal);
            }
            self.complete(&response, transport).await
        };
        let answered = time::timeout(limit, asked).await;
        answered.unwrap_or(Err(AskError::Late(limit)))
    }

    /// The primary's epoch: `Answer::Epoch`, or the server's refusal. A name
    /// without such a record, as there is while nobody is published, is
    /// `Answer::Refused` with code 0.
    pub async fn epoch(&self, transport: Transport, limit: Duration) -> Result<Answer, AskError> {
        let asked = self.exchange(&self.names.facts, RecordType::TXT, transport);
        let answered = time::timeout(limit, asked).await;
        let response = answered.unwrap_or(Err(AskError::Late(limit)))?;
        Ok(refusal(&response).unwrap_or_else(|| epoch_in(&response)))
    }

    /// The addresses of all services named, with the least of the times to live.
    async fn complete(&self, response: &Message, transport: Transport) -> Result<Answer, AskError> {
        let mut addresses = Vec::new();
        let mut ttls = Vec::new();
        for (service, ttl) in services(response) {
            ttls.push(ttl);
            let mut found = addresses_of(&service.target, &response.additionals);
            if found.is_empty() {
                let asked = self.exchange(&service.target, RecordType::A, transport);
                let asked = asked.await?;
                if let Some(refusal) = refusal(&asked) {
                    return Ok(refusal);
                }
                found = addresses_of(&service.target, &asked.answers);
            }
            for (ip, ttl) in found {
                ttls.push(ttl);
                addresses.push(SocketAddr::new(ip, service.port).to_string());
            }
        }
        let ttl = ttls.into_iter().min().unwrap_or(0);
        Ok(Answer::Addresses { addresses, ttl })
    }

    /// One question and its response. One that does not fit is asked for again
    /// over TCP, as resolvers do.
    async fn exchange(
        &self,
        name: &Name,
        kind: RecordType,
        transport: Transport,
    ) -> Result<Message, AskError> {
        let query = query(name, kind);
        if transport == Transport::Udp {
            let response = over_udp(self.address, &query).await?;
            if !response.metadata.truncation {
                return Ok(response);
            }
        }
        over_tcp(self.address, &query).await
    }
}

fn query(name: &Name, kind: RecordType) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    let mut query = Message::query();
    query.add_query(Query::query(name.clone(), kind));
    query.set_edns(edns);
    query
}

async fn over_udp(server: SocketAddr, query: &Message) -> Result<Message, AskError> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: packets of anybody else are dropped by the kernel.
    socket.connect(server).await?;
    socket.send(&query.to_vec()?).await?;
    let mut buffer = vec![0; usize::from(PAYLOAD)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // The response to another question is not waited for by anybody: pass on.
        if let Ok(response) = parse(&buffer[..length], query) {
            return Ok(response);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &Message) -> Result<Message, AskError> {
    let mut stream = TcpStream::connect(server).await?;
    let bytes = query.to_vec()?;
    let length = u16::try_from(bytes.len());
    let length = length.map_err(|_| AskError::Garbled("too long a query".to_owned()))?;
    stream
        .write_all(&[&length.to_be_bytes(), &bytes[..]].concat())
        .await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    parse(&bytes, query)
}

fn parse(bytes: &[u8], query: &Message) -> Result<Message, AskError> {
    let response = Message::from_vec(bytes);
    let response = response.map_err(|error| AskError::Garbled(error.to_string()))?;
    if response.metadata.id != query.metadata.id || response.queries != query.queries {
        return Err(AskError::Garbled("it answers another question".to_owned()));
    }
    Ok(response)
}

/// What a response says instead of an answer.
fn refusal(response: &Message) -> Option<Answer> {
    match response.metadata.response_code {
        ResponseCode::NoError => None,
        ResponseCode::ServFail => Some(Answer::ServFail {
            extended: extended_error(response),
        }),
        code => Some(Answer::Refused { code: code.into() }),
    }
}

/// The extended error's code (RFC 8914).
fn extended_error(response: &Message) -> Option<u16> {
    let options = response.edns.as_ref()?.options();
    match options.get(EXTENDED_ERROR.into())? {
        EdnsOption::Unknown(_, data) => {
            let code = data.first_chunk::<2>()?;
            Some(u16::from_be_bytes(*code))
        }
        _ => None,
    }
}

fn services(response: &Message) -> impl Iterator<Item = (&SRV, u32)> {
    let records = response.answers.iter();
    records.filter_map(|record| match &record.data {
        RData::SRV(service) => Some((service, record.ttl)),
        _ => None,
    })
}

fn addresses_of(name: &Name, records: &[Record]) -> Vec<(IpAddr, u32)> {
    let name = LowerName::new(name);
    let owned = records
        .iter()
        .filter(|record| LowerName::new(&record.name) == name);
    owned
        .filter_map(|record| Some((record.data.ip_addr()?, record.ttl)))
        .collect()
}

fn epoch_in(response: &Message) -> Answer {
    let texts = response
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text.txt_data.iter()),
            _ => None,
        });
    let mut texts = texts
        .flatten()
        .filter_map(|bytes| std::str::from_utf8(bytes).ok());
    let epoch = texts.find_map(|text| text.strip_prefix("epoch=")?.parse().ok());
    epoch.map_or(Answer::Refused { code: 0 }, |epoch| Answer::Epoch { epoch })
}

#[cfg(test)]
mod tests;
