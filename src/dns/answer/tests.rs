//! What each kind of query gets, by the RFC that says so.

use hickory_proto::op::{MessageType, Query};
use hickory_proto::rr::Name;

use super::*;
use crate::dns::{
    ReplicaFacts, ZoneConfig,
    fixtures::{self, GROUP, create, grant_first, sealed},
};
use crate::domain::State;

/// A query to a zone, and how it is asked.
struct Ask {
    name: &'static str,
    kind: RecordType,
    class: DNSClass,
    op_code: OpCode,
    questions: usize,
    edns: Option<Edns>,
    over_udp: bool,
    verdict: Verdict,
}

fn ask(name: &'static str, kind: RecordType) -> Ask {
    Ask {
        name,
        kind,
        class: DNSClass::IN,
        op_code: OpCode::Query,
        questions: 1,
        edns: Some(Edns::new()),
        over_udp: true,
        verdict: Verdict::Fresh,
    }
}

/// A response with its records counted and its first answer as text.
#[derive(Debug, PartialEq)]
struct Got {
    code: ResponseCode,
    authoritative: bool,
    truncated: bool,
    answers: Vec<String>,
    authorities: Vec<RecordType>,
    additionals: Vec<RecordType>,
    edns: Option<Edns>,
}

impl Got {
    fn is_bare(&self) -> bool {
        self.answers.is_empty() && self.authorities.is_empty() && self.additionals.is_empty()
    }

    fn extended_error(&self) -> Option<u16> {
        let option = self.edns.as_ref()?.option(EXTENDED_ERROR.into())?;
        match option {
            EdnsOption::Unknown(_, data) => Some(u16::from_be_bytes([data[0], data[1]])),
            _ => None,
        }
    }
}

impl Ask {
    fn of(self, state: &State) -> Got {
        let origin: Name = "db.internal.".parse().expect("a name");
        let server = "ns1.db.internal.".parse().expect("a name");
        let config = ZoneConfig::new(&origin, 1, &[(server, [192, 0, 2, 1].into())]);
        let zone = Zone::build(&config, state, &ReplicaFacts::default());
        let metadata = Metadata::new(7, MessageType::Query, self.op_code);
        let name = Name::from_ascii(self.name).expect("a name");
        let mut query = Query::query(name, self.kind);
        query.set_query_class(self.class);
        let questions = vec![LowerQuery::query(query); self.questions];
        let request = Request {
            metadata: &metadata,
            questions: &questions,
            edns: self.edns.as_ref(),
            over_udp: self.over_udp,
        };
        got(&answer(&request, &zone, self.verdict))
    }
}

fn got(response: &Response<'_>) -> Got {
    assert_eq!(response.metadata.message_type, MessageType::Response);
    assert!(!response.metadata.recursion_available);
    let text = |record: &&Record| record.data.to_string();
    let kinds = |records: &[&Record]| {
        records
            .iter()
            .map(|record| record.record_type())
            .collect::<Vec<_>>()
    };
    Got {
        code: response.metadata.response_code,
        authoritative: response.metadata.authoritative,
        truncated: response.metadata.truncation,
        answers: response.answers.iter().map(text).collect(),
        authorities: kinds(&response.authorities),
        additionals: kinds(&response.additionals),
        edns: response.edns.clone(),
    }
}

#[test]
fn a_name_with_the_type_is_answered_with_authority() {
    let got = ask("OrDeRs.db.internal.", RecordType::A).of(&sealed());
    assert_eq!((got.code, got.authoritative), (ResponseCode::NoError, true));
    assert_eq!(got.answers, ["10.0.0.1"]);
}

#[test]
fn one_srv_response_tells_address_port_and_epoch() {
    let got = ask("_postgresql._tcp.orders.db.internal.", RecordType::SRV).of(&sealed());
    assert_eq!(got.answers, ["0 0 5501 paris.orders.db.internal."]);
    assert_eq!(got.additionals, [RecordType::A, RecordType::TXT]);
}

#[test]
fn a_name_without_the_type_is_empty_and_a_missing_one_is_nxdomain() {
    // RFC 2308: both carry the SOA record. RFC 8020: a name that only leads to others exists.
    let cases = [
        ("orders.db.internal.", ResponseCode::NoError),
        ("_tcp.orders.db.internal.", ResponseCode::NoError),
        ("db.internal.", ResponseCode::NoError),
        ("nothing.db.internal.", ResponseCode::NXDomain),
        ("nothing.orders.db.internal.", ResponseCode::NXDomain),
    ];
    for (name, code) in cases {
        let got = ask(name, RecordType::MX).of(&sealed());
        assert_eq!((got.code, got.authoritative), (code, true), "{name}");
        assert_eq!(got.authorities, [RecordType::SOA], "{name}");
        assert!(got.answers.is_empty(), "{name}");
    }
}

#[test]
fn the_primary_of_an_unsealed_grant_is_an_empty_answer() {
    let mut state = State::default();
    create(&mut state, GROUP);
    grant_first(&mut state, GROUP);
    for (name, kind) in [
        ("orders.db.internal.", RecordType::A),
        ("_postgresql._tcp.orders.db.internal.", RecordType::SRV),
        ("_primacy.orders.db.internal.", RecordType::TXT),
    ] {
        let got = ask(name, kind).of(&state);
        assert_eq!(got.code, ResponseCode::NoError, "{name}");
        assert_eq!((got.answers.len(), got.authorities.len()), (0, 1), "{name}");
    }
}

#[test]
fn without_freshness_every_name_of_the_zone_is_a_bare_servfail() {
    for (verdict, error) in [(Verdict::Stale, 24), (Verdict::Starting, 14)] {
        for (name, kind) in [
            ("orders.db.internal.", RecordType::A),
            ("nothing.db.internal.", RecordType::A),
            ("db.internal.", RecordType::SOA),
            ("db.internal.", RecordType::AXFR),
            ("orders.db.internal.", RecordType::ANY),
        ] {
            let got = Ask {
                verdict,
                ..ask(name, kind)
            }
            .of(&sealed());
            assert_eq!(
                (got.code, got.authoritative),
                (ResponseCode::ServFail, false),
                "{name}"
            );
            assert!(got.is_bare(), "{name}: {got:?}");
            assert_eq!(got.extended_error(), Some(error), "{name}");
        }
    }
}

#[test]
fn a_name_of_another_zone_is_refused_fresh_or_not() {
    for verdict in [Verdict::Fresh, Verdict::Stale] {
        for name in ["example.com.", "internal.", "xdb.internal.", "."] {
            let got = Ask {
                verdict,
                ..ask(name, RecordType::A)
            }
            .of(&sealed());
            assert_eq!(
                (got.code, got.authoritative),
                (ResponseCode::Refused, false),
                "{name}"
            );
            assert_eq!(got.extended_error(), Some(20), "{name}");
        }
    }
}

#[test]
fn what_is_not_a_plain_query_is_refused_by_its_own_code() {
    let mut later = Edns::new();
    later.set_version(1);
    let plain = || ask("orders.db.internal.", RecordType::A);
    let cases = [
        (
            Ask {
                op_code: OpCode::Unknown(15),
                ..plain()
            },
            ResponseCode::NotImp,
        ),
        (
            Ask {
                op_code: OpCode::Notify,
                ..plain()
            },
            ResponseCode::NotImp,
        ),
        (
            Ask {
                op_code: OpCode::Update,
                ..plain()
            },
            ResponseCode::NotImp,
        ),
        (
            Ask {
                op_code: OpCode::Unknown(15),
                questions: 0,
                ..plain()
            },
            ResponseCode::NotImp,
        ),
        (
            Ask {
                edns: Some(later),
                ..plain()
            },
            ResponseCode::BADVERS,
        ),
        (
            Ask {
                class: DNSClass::CH,
                ..plain()
            },
            ResponseCode::Refused,
        ),
        (
            Ask {
                class: DNSClass::ANY,
                ..plain()
            },
            ResponseCode::Refused,
        ),
        (
            Ask {
                questions: 0,
                ..plain()
            },
            ResponseCode::FormErr,
        ),
        (
            Ask {
                questions: 2,
                ..plain()
            },
            ResponseCode::FormErr,
        ),
        (
            Ask {
                kind: RecordType::OPT,
                ..plain()
            },
            ResponseCode::FormErr,
        ),
        (
            Ask {
                kind: RecordType::AXFR,
                over_udp: false,
                ..plain()
            },
            ResponseCode::Refused,
        ),
        (
            Ask {
                kind: RecordType::IXFR,
                ..plain()
            },
            ResponseCode::Refused,
        ),
    ];
    for (place, (ask, code)) in cases.into_iter().enumerate() {
        let got = ask.of(&sealed());
        assert_eq!(got.code, code, "case {place}");
        assert!(got.is_bare() && !got.authoritative, "case {place}: {got:?}");
    }
}

#[test]
fn a_type_nobody_knows_is_an_empty_answer() {
    let got = ask("orders.db.internal.", RecordType::Unknown(1000)).of(&sealed());
    assert_eq!((got.code, got.authoritative), (ResponseCode::NoError, true));
}

#[test]
fn any_gets_one_set_only() {
    let got = ask("db.internal.", RecordType::ANY).of(&sealed());
    assert_eq!(got.answers.len(), 1);
}

#[test]
fn edns_is_answered_with_edns_and_its_options_are_not_repeated() {
    let mut theirs = Edns::new();
    theirs.set_max_payload(4096).set_dnssec_ok(true);
    theirs.flags_mut().z = 0x1234;
    theirs
        .options_mut()
        .insert(EdnsOption::Unknown(65001, vec![1]));
    let edns = Some(theirs);
    let ours = Ask {
        edns,
        ..ask("orders.db.internal.", RecordType::A)
    }
    .of(&sealed())
    .edns;
    let ours = ours.expect("no OPT record");
    assert_eq!((ours.max_payload(), ours.version()), (1232, 0));
    assert_eq!((ours.flags().dnssec_ok, ours.flags().z), (true, 0));
    assert!(ours.options().as_ref().is_empty());
    let got = Ask {
        edns: None,
        ..ask("orders.db.internal.", RecordType::A)
    }
    .of(&sealed());
    assert_eq!(got.edns, None);
}

/// `orders` with so many members that `-all` needs `members * 16` octets and more.
fn crowd(members: u8) -> State {
    let mut state = sealed();
    fixtures::edit(&mut state, |group| {
        let first = group.spec.members[0].clone();
        let member = |n: u8| {
            let mut spec = first.clone();
            spec.name = format!("m{n}").parse().expect("a name");
            spec.address.set_ip([10, 1, 0, n].into());
            spec
        };
        group.spec.members.extend((0..members).map(member));
    });
    state
}

#[test]
fn what_does_not_fit_over_udp_is_an_empty_answer_with_tc() {
    let all = || ask("orders-all.db.internal.", RecordType::A);
    let sized = |size| {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        Some(edns)
    };
    let truncated = |ask: Ask, members| {
        let got = ask.of(&crowd(members));
        assert_eq!(got.truncated, got.answers.is_empty());
        got.truncated
    };
    assert!(truncated(
        Ask {
            edns: None,
            ..all()
        },
        40
    ));
    assert!(!truncated(
        Ask {
            edns: sized(1232),
            ..all()
        },
        40
    ));
    // Not beyond 1232 octets, whatever the client would take.
    assert!(truncated(
        Ask {
            edns: sized(4096),
            ..all()
        },
        90
    ));
    assert!(!truncated(
        Ask {
            over_udp: false,
            ..all()
        },
        90
    ));
}

#[test]
fn additional_records_give_way_before_the_answer_does() {
    let services = ask("_postgresql._tcp.orders-all.db.internal.", RecordType::SRV);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    let got = Ask {
        edns: Some(edns),
        ..services
    }
    .of(&crowd(19));
    assert_eq!(
        (got.answers.len(), got.additionals.len(), got.truncated),
        (22, 0, false)
    );
}
