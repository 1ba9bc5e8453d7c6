//! The tree of names of a zone, with the names that only lead to others.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};

/// The records of one name, by type. Empty for a name that has none itself
/// but others below it (an empty non-terminal, RFC 8020), and for one that
/// has nothing to say at present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node(Vec<(RecordType, Vec<Record>)>);

impl Node {
    /// The records of `kind`, if there are any.
    #[must_use]
    pub fn get(&self, kind: RecordType) -> Option<&[Record]> {
        let (_, records) = self.0.iter().find(|(found, _)| *found == kind)?;
        Some(records)
    }

    /// The first set that was added, for a query of type ANY (RFC 8482, 4.1).
    #[must_use]
    pub fn first(&self) -> Option<&[Record]> {
        self.0.first().map(|(_, records)| records.as_slice())
    }

    fn add(&mut self, record: Record) {
        let kind = record.record_type();
        match self.0.iter_mut().find(|(found, _)| *found == kind) {
            // A set holds no record twice (RFC 2181, 5): members may share an address.
            Some((_, records)) if records.contains(&record) => {}
            Some((_, records)) => records.push(record),
            None => self.0.push((kind, vec![record])),
        }
    }
}

/// Names at and below an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nodes {
    origin: LowerName,
    ttl: u32,
    nodes: HashMap<LowerName, Node>,
    claimed: HashSet<LowerName>,
}

impl Nodes {
    pub(super) fn new(origin: &Name, ttl: u32) -> Self {
        let mut nodes = Self {
            origin: LowerName::new(origin),
            ttl,
            nodes: HashMap::new(),
            claimed: HashSet::new(),
        };
        nodes.touch(origin);
        nodes
    }

    pub(super) fn origin(&self) -> &LowerName {
        &self.origin
    }

    pub(super) fn get(&self, name: &LowerName) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Reserves `name` for one owner; false when it has another already.
    ///
    /// Names of groups, of name servers and those made from them share the
    /// zone. Two owners of one name would give a primary two addresses.
    pub(super) fn claim(&mut self, name: &Name) -> bool {
        self.claimed.insert(LowerName::new(name))
    }

    /// Makes `name` exist, and every name between it and the origin.
    pub(super) fn touch(&mut self, name: &Name) -> &mut Node {
        let mut above = LowerName::new(name).base_name();
        while self.origin.zone_of(&above) && !self.nodes.contains_key(&above) {
            self.nodes.insert(above.clone(), Node::default());
            above = above.base_name();
        }
        self.nodes.entry(LowerName::new(name)).or_default()
    }

    pub(super) fn add(&mut self, name: &Name, data: RData) {
        let record = Record::from_rdata(name.clone(), self.ttl, data);
        self.touch(name).add(record);
    }

    pub(super) fn add_address(&mut self, name: &Name, address: IpAddr) {
        let data = match address {
            IpAddr::V4(address) => RData::A(address.into()),
            IpAddr::V6(address) => RData::AAAA(address.into()),
        };
        self.add(name, data);
    }
}
