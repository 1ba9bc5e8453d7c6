//! What an operator says of the DNS server, and what cannot be meant.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use hickory_proto::rr::Name;

use super::ZoneConfig;

/// Longest zone name that leaves room for `_postgresql._tcp.<group>-all` and
/// `<member>.<group>` in the 255 octets of a name (RFC 1035, 2.3.4).
const MAX_ZONE_LENGTH: usize = 255 - 2 * 64;

/// What a node answers that cannot reach the quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WithoutQuorum {
    /// SERVFAIL for every name, so that resolvers ask another node.
    #[default]
    Servfail,
}

/// A mode that this version does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchMode {
    #[error(
        "dns.without_quorum = \"witness\" is not available in this version: \
         use \"servfail\", and a node without the quorum answers nothing"
    )]
    Witness,
    #[error("dns.without_quorum = {0:?} is not known: use \"servfail\"")]
    Unknown(String),
}

impl FromStr for WithoutQuorum {
    type Err = NoSuchMode;

    fn from_str(text: &str) -> Result<Self, NoSuchMode> {
        match text {
            "servfail" => Ok(Self::Servfail),
            "witness" => Err(NoSuchMode::Witness),
            other => Err(NoSuchMode::Unknown(other.to_owned())),
        }
    }
}

/// How the zone is served.
#[derive(Debug, Clone)]
pub struct Options {
    /// UDP and TCP; port 0 takes one that is free for both.
    pub listen: SocketAddr,
    pub zone: Name,
    /// Of every record, and of "no such name" too; whole seconds.
    pub ttl: Duration,
    /// How old the quorum's last word may be for the node to answer.
    pub max_staleness: Duration,
    /// Name servers of the zone, the primary one first; one with two
    /// addresses is listed twice. Empty: `ns.<zone>` at the address of `listen`.
    pub ns: Vec<(Name, IpAddr)>,
    pub without_quorum: WithoutQuorum,
}

/// Why the zone cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error(
        "{transport} {address} is taken by another process (a local resolver?): \
         stop it, or change dns.listen"
    )]
    PortTaken {
        address: SocketAddr,
        transport: &'static str,
        source: io::Error,
    },
    #[error(
        "listening on {transport} {address} is not permitted: \
         ports below 1024 need CAP_NET_BIND_SERVICE; grant it, or change dns.listen"
    )]
    NotPermitted {
        address: SocketAddr,
        transport: &'static str,
        source: io::Error,
    },
    #[error("listen on {transport} {address}")]
    Listen {
        address: SocketAddr,
        transport: &'static str,
        source: io::Error,
    },
    #[error("dns.zone = {zone} has {found} octets, {MAX_ZONE_LENGTH} at most leave room for names")]
    ZoneTooLong { zone: Name, found: usize },
    #[error("dns.zone is the root: give the zone that is delegated to these nodes")]
    ZoneIsRoot,
    #[error("dns.ttl = {}ms: DNS counts whole seconds, from 1 to 60 here", .0.as_millis())]
    Ttl(Duration),
    #[error("dns.max_staleness = {}ms is not within 100ms and 60s", .0.as_millis())]
    MaxStaleness(Duration),
    #[error(
        "dns.ns is empty and dns.listen = {0} names no address to publish: list the name servers"
    )]
    NoNameServer(SocketAddr),
}

impl DnsError {
    pub(super) fn listen(address: SocketAddr, transport: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortTaken {
                address,
                transport,
                source,
            },
            io::ErrorKind::PermissionDenied => Self::NotPermitted {
                address,
                transport,
                source,
            },
            _ => Self::Listen {
                address,
                transport,
                source,
            },
        }
    }
}

impl Options {
    /// The defaults: TTL 1 s, `max_staleness` 2 s, one name server.
    #[must_use]
    pub fn new(listen: SocketAddr, zone: Name) -> Self {
        Self {
            listen,
            zone,
            ttl: Duration::from_secs(1),
            max_staleness: Duration::from_secs(2),
            ns: Vec::new(),
            without_quorum: WithoutQuorum::Servfail,
        }
    }

    /// Whether a zone can be served by these values.
    pub fn validate(&self) -> Result<(), DnsError> {
        self.zone_config().map(|_| ())
    }

    /// Checks the values and makes the fixed part of the zone of them.
    pub(super) fn zone_config(&self) -> Result<ZoneConfig, DnsError> {
        self.check_zone()?;
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.max_staleness) {
            return Err(DnsError::MaxStaleness(self.max_staleness));
        }
        Ok(ZoneConfig::new(
            &self.zone,
            self.ttl_seconds()?,
            &self.name_servers()?,
        ))
    }

    fn check_zone(&self) -> Result<(), DnsError> {
        let found = self.zone.len();
        if self.zone.num_labels() == 0 {
            return Err(DnsError::ZoneIsRoot);
        }
        if found > MAX_ZONE_LENGTH {
            let zone = self.zone.clone();
            return Err(DnsError::ZoneTooLong { zone, found });
        }
        Ok(())
    }

    fn ttl_seconds(&self) -> Result<u32, DnsError> {
        match u32::try_from(self.ttl.as_secs()) {
            Ok(seconds @ 1..=60) if self.ttl.subsec_nanos() == 0 => Ok(seconds),
            _ => Err(DnsError::Ttl(self.ttl)),
        }
    }

    fn name_servers(&self) -> Result<Vec<(Name, IpAddr)>, DnsError> {
        if !self.ns.is_empty() {
            return Ok(self.ns.clone());
        }
        let ip = self.listen.ip();
        match super::zone::below(&self.zone, "ns") {
            Some(name) if !ip.is_unspecified() => Ok(vec![(name, ip)]),
            _ => Err(DnsError::NoNameServer(self.listen)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        let zone = "db.internal.".parse().expect("a name");
        Options::new(([127, 0, 0, 1], 0).into(), zone)
    }

    #[test]
    fn the_witness_mode_is_refused_by_name() {
        let refused = "witness".parse::<WithoutQuorum>().expect_err("was taken");
        assert!(
            refused
                .to_string()
                .contains("not available in this version")
        );
        assert_eq!("servfail".parse(), Ok(WithoutQuorum::Servfail));
    }

    #[test]
    fn a_ttl_that_dns_cannot_carry_is_refused() {
        for millis in [0, 500, 1500, 61_000] {
            let ttl = Duration::from_millis(millis);
            let refused = Options { ttl, ..options() }.zone_config();
            assert!(
                matches!(refused, Err(DnsError::Ttl(_))),
                "{millis}ms was taken"
            );
        }
    }

    #[test]
    fn a_wildcard_address_is_never_published_as_a_name_server() {
        let listen = ([0, 0, 0, 0], 53).into();
        let refused = Options {
            listen,
            ..options()
        }
        .zone_config();
        assert!(matches!(refused, Err(DnsError::NoNameServer(_))));
    }

    #[test]
    fn a_zone_that_leaves_no_room_for_names_is_refused() {
        let label = "x".repeat(63);
        let zone = format!("{label}.{label}.").parse().expect("a name");
        let refused = Options { zone, ..options() }.zone_config();
        assert!(matches!(
            refused,
            Err(DnsError::ZoneTooLong { found: 128, .. })
        ));
    }
}
