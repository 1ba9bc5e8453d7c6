use hickory_proto::rr::rdata::{A, TXT};

use super::*;

fn names() -> Names {
    Names::new("db.example", "orders").unwrap()
}

fn response(kind: RecordType, code: ResponseCode) -> (Message, Message) {
    let name = match kind {
        RecordType::TXT => names().facts,
        _ => names().service,
    };
    let query = query(&name, kind);
    let mut response = query.clone().into_response();
    response.metadata.response_code = code;
    (query, response)
}

/// What arrives of it on the other side.
fn sent(query: &Message, response: &Message) -> Message {
    parse(&response.to_vec().unwrap(), query).unwrap()
}

#[test]
fn names_are_absolute_and_those_that_are_documented() {
    let Names { service, facts } = names();
    assert_eq!(service.to_ascii(), "_postgresql._tcp.orders.db.example.");
    assert_eq!(facts.to_ascii(), "_primacy.orders.db.example.");
}

#[test]
fn a_server_that_cannot_know_is_heard_with_its_reason() {
    let (query, mut response) = response(RecordType::SRV, ResponseCode::ServFail);
    let without = Answer::ServFail { extended: None };
    assert_eq!(refusal(&sent(&query, &response)), Some(without));

    let option = EdnsOption::Unknown(EXTENDED_ERROR, b"\x00\x18too old".to_vec());
    let mut edns = Edns::new();
    edns.options_mut().insert(option);
    response.set_edns(edns);
    let extended = Some(24);
    assert_eq!(
        refusal(&sent(&query, &response)),
        Some(Answer::ServFail { extended })
    );
}

#[test]
fn an_extended_error_of_one_byte_is_none() {
    let (query, mut response) = response(RecordType::SRV, ResponseCode::ServFail);
    let mut edns = Edns::new();
    let option = EdnsOption::Unknown(EXTENDED_ERROR, vec![24]);
    edns.options_mut().insert(option);
    response.set_edns(edns);
    assert_eq!(extended_error(&sent(&query, &response)), None);
}

#[test]
fn a_name_that_does_not_exist_is_not_an_empty_answer() {
    let (query, response) = response(RecordType::SRV, ResponseCode::NXDomain);
    let refused = Answer::Refused { code: 3 };
    assert_eq!(refusal(&sent(&query, &response)), Some(refused));
}

#[test]
fn the_response_to_another_question_is_not_taken() {
    let (mut query, response) = response(RecordType::SRV, ResponseCode::NoError);
    query.metadata.id = query.metadata.id.wrapping_add(1);
    assert!(parse(&response.to_vec().unwrap(), &query).is_err());
}

#[test]
fn the_epoch_is_found_among_other_facts_and_no_epoch_is_no_zero() {
    let (query, mut response) = response(RecordType::TXT, ResponseCode::NoError);
    let missing = Answer::Refused { code: 0 };
    assert_eq!(epoch_in(&sent(&query, &response)), missing);

    let facts = ["primary=paris", "epoch=7"].map(str::to_owned);
    let facts = RData::TXT(TXT::new(facts.into()));
    response.add_answer(Record::from_rdata(names().facts, 1, facts));
    assert_eq!(
        epoch_in(&sent(&query, &response)),
        Answer::Epoch { epoch: 7 }
    );
}

#[tokio::test]
async fn the_address_beside_the_service_is_taken_with_the_least_time_to_live() {
    let (query, mut response) = response(RecordType::SRV, ResponseCode::NoError);
    let target = Name::from_ascii("paris.orders.db.example.").unwrap();
    let service = RData::SRV(SRV::new(0, 0, 5501, target.clone()));
    response.add_answer(Record::from_rdata(names().service, 5, service));
    let stranger = Name::from_ascii("tokyo.orders.db.example.").unwrap();
    let ips = [(stranger, [10, 0, 0, 2]), (target, [10, 0, 0, 1])];
    for (name, [a, b, c, d]) in ips {
        let ip = RData::A(A::new(a, b, c, d));
        response.add_additional(Record::from_rdata(name, 1, ip));
    }
    // Nobody is asked for what is there.
    let server = NameServer {
        address: ([127, 0, 0, 1], 1).into(),
        names: names(),
    };
    let response = sent(&query, &response);
    let found = server.complete(&response, Transport::Udp).await.unwrap();
    let expected = Answer::Addresses {
        addresses: vec!["10.0.0.1:5501".to_owned()],
        ttl: 1,
    };
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = NameServer {
        address: silent.local_addr().unwrap(),
        names: names(),
    };
    let limit = Duration::from_millis(20);
    let asked = server.epoch(Transport::Udp, limit).await;
    assert!(matches!(asked, Err(AskError::Late(_))), "{asked:?}");
}
