//! A query and a zone make a response: a pure function.
//!
//! Refusals come first and in a fixed order; data is looked up only for a
//! plain query of class IN, for a name of the zone, while it is fresh.
//!
//! Invariant: a response that is not fresh carries no record and no AA bit,
//! whatever was asked, so that resolvers go to another server and keep nothing.

use hickory_proto::{
    op::{Edns, LowerQuery, Metadata, OpCode, ResponseCode, emit_message_parts},
    rr::{DNSClass, LowerName, RData, Record, RecordType, rdata::opt::EdnsOption},
    serialize::binary::BinEncoder,
};

use super::{Lookup, Node, Verdict, Zone};

/// Largest UDP payload sent or asked for: fits every path without fragments
/// (DNS flag day 2020).
const MAX_UDP: u16 = 1232;
/// Largest UDP payload without EDNS (RFC 1035, 4.2.1).
const PLAIN_UDP: u16 = 512;
/// Option code of extended errors (RFC 8914, 2).
pub(super) const EXTENDED_ERROR: u16 = 15;

/// Only a mutation sets this, to see that the tests need proof of freshness.
const MUTANT: bool = cfg!(primacy_mutant = "freshness");

/// Why there is no data, for people (RFC 8914, 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum ExtendedError {
    NotReady = 14,
    Prohibited = 18,
    NotAuthoritative = 20,
    /// "Its most recent zone being too old."
    InvalidData = 24,
}

impl ExtendedError {
    fn text(self) -> &'static str {
        match self {
            Self::NotReady => "starting: the quorum has confirmed nothing yet",
            Self::Prohibited => "zone transfers are not offered",
            Self::NotAuthoritative => "not a name of this zone",
            Self::InvalidData => "the quorum has not confirmed this node's data lately",
        }
    }

    fn option(self) -> EdnsOption {
        let mut data = (self as u16).to_be_bytes().to_vec();
        data.extend_from_slice(self.text().as_bytes());
        EdnsOption::Unknown(EXTENDED_ERROR, data)
    }
}

/// A query that could be parsed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'q> {
    pub metadata: &'q Metadata,
    pub questions: &'q [LowerQuery],
    pub edns: Option<&'q Edns>,
    pub over_udp: bool,
}

/// A response without its question: who sends it repeats the bytes of the
/// query, in the letters they came in.
#[derive(Debug, Clone)]
pub struct Response<'z> {
    pub metadata: Metadata,
    pub answers: Vec<&'z Record>,
    pub authorities: Vec<&'z Record>,
    pub additionals: Vec<&'z Record>,
    pub edns: Option<Edns>,
}

/// A response that is an error code and nothing else.
type Refusal = (ResponseCode, Option<ExtendedError>);

/// Answers `request` from `zone`.
#[must_use]
pub fn answer<'z>(request: &Request<'_>, zone: &'z Zone, verdict: Verdict) -> Response<'z> {
    let mut response = Response::to(request);
    match find(request, zone, verdict) {
        Ok((kind, Lookup::Found(node))) => response.fill(zone, node, kind),
        Ok(_) => response.deny(zone, ResponseCode::NXDomain),
        Err(refusal) => response.refuse(refusal),
    }
    response.fit(request);
    response
}

fn find<'z>(
    request: &Request<'_>,
    zone: &'z Zone,
    verdict: Verdict,
) -> Result<(RecordType, Lookup<'z>), Refusal> {
    let question = plain_question(request)?;
    let found = zone.lookup(question.name());
    if found == Lookup::Elsewhere {
        return Err((ResponseCode::Refused, Some(ExtendedError::NotAuthoritative)));
    }
    check_fresh(verdict)?;
    match question.query_type() {
        RecordType::AXFR | RecordType::IXFR => {
            Err((ResponseCode::Refused, Some(ExtendedError::Prohibited)))
        }
        // A pseudo-record that no name has (RFC 6891, 6.1.1).
        RecordType::OPT => Err((ResponseCode::FormErr, None)),
        kind => Ok((kind, found)),
    }
}

/// The one question of a plain query of class IN (RFC 8906, 3; RFC 9619).
fn plain_question<'q>(request: &Request<'q>) -> Result<&'q LowerQuery, Refusal> {
    if request.metadata.op_code != OpCode::Query {
        return Err((ResponseCode::NotImp, None));
    }
    if request.edns.is_some_and(|edns| edns.version() > 0) {
        return Err((ResponseCode::BADVERS, None));
    }
    match request.questions {
        [question] if question.query_class() == DNSClass::IN => Ok(question),
        [_] => Err((ResponseCode::Refused, None)),
        _ => Err((ResponseCode::FormErr, None)),
    }
}

fn check_fresh(verdict: Verdict) -> Result<(), Refusal> {
    let error = match verdict {
        Verdict::Fresh => return Ok(()),
        _ if MUTANT => return Ok(()),
        Verdict::Starting => ExtendedError::NotReady,
        Verdict::Stale => ExtendedError::InvalidData,
    };
    Err((ResponseCode::ServFail, Some(error)))
}

impl<'z> Response<'z> {
    fn to(request: &Request<'_>) -> Self {
        let mut metadata = Metadata::response_from_request(request.metadata);
        // Nothing is signed, so nothing was checked (RFC 4035, 3.1.6).
        metadata.checking_disabled = false;
        Self {
            metadata,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            edns: request.edns.map(echo),
        }
    }

    fn refuse(&mut self, (code, error): Refusal) {
        self.metadata.response_code = code;
        if let (Some(edns), Some(error)) = (&mut self.edns, error) {
            edns.options_mut().insert(error.option());
        }
    }

    fn fill(&mut self, zone: &'z Zone, node: &'z Node, kind: RecordType) {
        let found = match kind {
            // One set is enough (RFC 8482, 4.1).
            RecordType::ANY => node.first(),
            kind => node.get(kind),
        };
        let Some(records) = found else {
            return self.deny(zone, ResponseCode::NoError);
        };
        self.metadata.authoritative = true;
        self.answers.extend(records);
        for record in records {
            self.add_companions(zone, record);
        }
    }

    /// NXDOMAIN or an empty answer, and for how long to believe it (RFC 2308, 3).
    fn deny(&mut self, zone: &'z Zone, code: ResponseCode) {
        self.metadata.authoritative = true;
        self.metadata.response_code = code;
        let soa = zone.apex().and_then(|apex| apex.get(RecordType::SOA));
        self.authorities.extend(soa.into_iter().flatten());
    }

    /// The addresses of what `record` names, where the zone has them
    /// (RFC 1035, 3.3.11; RFC 2782), and with a primary's SRV its epoch.
    fn add_companions(&mut self, zone: &'z Zone, record: &Record) {
        match &record.data {
            RData::NS(name) => self.add_addresses(zone, &LowerName::new(&name.0)),
            RData::SRV(service) => {
                self.add_addresses(zone, &LowerName::new(&service.target));
                self.add_facts(zone, &LowerName::new(&record.name));
            }
            _ => {}
        }
    }

    fn add_addresses(&mut self, zone: &'z Zone, name: &LowerName) {
        if let Lookup::Found(node) = zone.lookup(name) {
            let sets = [RecordType::A, RecordType::AAAA];
            let records = sets.iter().filter_map(|kind| node.get(*kind)).flatten();
            self.additionals.extend(records);
        }
    }

    /// One packet then tells address, port and epoch as of one index.
    fn add_facts(&mut self, zone: &'z Zone, service: &LowerName) {
        let owner = service.base_name().base_name();
        if let Some(Lookup::Found(node)) =
            super::zone::below(&owner, "_primacy").map(|name| zone.lookup(&LowerName::new(&name)))
        {
            self.additionals
                .extend(node.get(RecordType::TXT).into_iter().flatten());
        }
    }

    /// Over UDP: leaves out what is not needed, and if that is not enough
    /// says so in an empty answer (TC), for the client to ask over TCP.
    fn fit(&mut self, request: &Request<'_>) {
        let limit = match request.edns {
            _ if !request.over_udp => return,
            Some(edns) => edns.max_payload().clamp(PLAIN_UDP, MAX_UDP),
            None => PLAIN_UDP,
        };
        if self.encoded_len(request) <= usize::from(limit) {
            return;
        }
        self.additionals.clear();
        if self.encoded_len(request) > usize::from(limit) {
            self.answers.clear();
            self.authorities.clear();
            self.metadata.truncation = true;
        }
    }

    /// Length on the wire; what cannot be encoded is too long for anything.
    fn encoded_len(&self, request: &Request<'_>) -> usize {
        let mut bytes = Vec::with_capacity(usize::from(PLAIN_UDP));
        let written = emit_message_parts(
            &self.metadata,
            &mut request.questions.iter(),
            &mut self.answers.iter().copied(),
            &mut self.authorities.iter().copied(),
            &mut self.additionals.iter().copied(),
            self.edns.as_ref(),
            None,
            &mut BinEncoder::new(&mut bytes),
        );
        written.map_or(usize::MAX, |_| bytes.len())
    }
}

/// OPT answers OPT: our version and size, their DO bit, nothing that they
/// sent besides (RFC 6891, 6.1.1 and 7; RFC 3225, 3).
fn echo(theirs: &Edns) -> Edns {
    let mut ours = Edns::new();
    ours.set_max_payload(MAX_UDP);
    ours.set_dnssec_ok(theirs.flags().dnssec_ok);
    ours
}

#[cfg(test)]
mod tests;
