//! The DNS server over real sockets, beside a quorum that obeys the test.

#[path = "../src/dns/fixtures/mod.rs"]
mod fixtures;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RecordType},
};
use primacy::{
    dns::{
        DnsError, Handle, Options, Server, Verdict,
        lookup::{LookupError, Unanswered, ask, lookup_primary},
    },
    domain::{self, Epoch, State},
    ports::{self, Quorum},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use fixtures::{
    GROUP, Mood, OneNode, Silent, begin_failover, create, grant_first, grant_second, group_name,
    seal, sealed, shown,
};

/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(400);
/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(60);

fn zone() -> Name {
    "db.internal.".parse().expect("a name")
}

fn name(text: &str) -> Name {
    format!("{text}.db.internal.").parse().expect("a name")
}

fn options(max_staleness: Duration) -> Options {
    Options {
        max_staleness,
        ..Options::new(([127, 0, 0, 1], 0).into(), zone())
    }
}

async fn start(quorum: &Arc<OneNode>, max_staleness: Duration) -> Handle {
    let quorum: Arc<dyn Quorum> = quorum.clone();
    let token = CancellationToken::new();
    let started = Server::start(options(max_staleness), quorum, Silent::new(), token).await;
    started.expect("a server")
}

async fn until(what: &str, reached: impl Fn() -> bool) {
    let poll = async {
        while !reached() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = timeout(Duration::from_secs(20), poll).await;
    waited.unwrap_or_else(|_| panic!("never {what}"));
}

async fn until_verdict(handle: &Handle, verdict: Verdict) {
    let what = format!("{verdict:?}");
    until(&what, || handle.verdict() == verdict).await;
}

/// A server that answers, and goes on to without further rounds.
async fn fresh(quorum: &Arc<OneNode>) -> Handle {
    let handle = start(quorum, LONG).await;
    until_verdict(&handle, Verdict::Fresh).await;
    handle
}

async fn fresh_with(state: State) -> SocketAddr {
    fresh(&OneNode::new(state, Mood::Confirms))
        .await
        .local_addr()
}

/// Waits until the change at the last applied index is served.
async fn until_served(handle: &Handle, quorum: &OneNode) {
    until("served", || u64::from(handle.serial()) == quorum.applied()).await;
}

async fn ask_tcp(server: SocketAddr, name: &Name, kind: RecordType) -> Message {
    let mut query = Message::query();
    query.add_query(Query::query(name.clone(), kind));
    let bytes = query.to_vec().expect("a query");
    let mut stream = TcpStream::connect(server).await.expect("a connection");
    stream.write_u16(bytes.len() as u16).await.expect("written");
    stream.write_all(&bytes).await.expect("written");
    let length = stream.read_u16().await.expect("a response");
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await.expect("a response");
    Message::from_vec(&buffer).expect("a message")
}

async fn ask_udp(server: SocketAddr, name: &Name, kind: RecordType) -> Message {
    ask(server, name, kind).await.expect("a response")
}

fn answers(message: &Message) -> Vec<String> {
    message.answers.iter().map(shown).collect()
}

fn extended_error(message: &Message) -> Option<u16> {
    use hickory_proto::rr::rdata::opt::EdnsOption;
    match message.edns.as_ref()?.option(15.into())? {
        EdnsOption::Unknown(_, data) => Some(u16::from_be_bytes([data[0], data[1]])),
        _ => None,
    }
}

#[tokio::test]
async fn name_service_and_facts_tell_of_one_primary() {
    let server = fresh_with(sealed()).await;
    let address = ask_udp(server, &name(GROUP), RecordType::A).await;
    assert!(address.metadata.authoritative);
    assert_eq!(answers(&address), ["10.0.0.1"]);
    assert_eq!(address.answers[0].ttl, 1);
    let facts = ask_udp(server, &name("_primacy.orders"), RecordType::TXT).await;
    assert_eq!(answers(&facts), ["\"epoch=1\" \"primary=paris\""]);
    let found = lookup_primary(&[server], &zone(), &group_name(GROUP))
        .await
        .expect("a primary");
    assert_eq!(found.address, "10.0.0.1:5501".parse().expect("an address"));
    assert_eq!(found.epoch, Some(Epoch(1)));
}

#[tokio::test]
async fn a_failover_moves_every_name_at_once_over_udp_and_tcp() {
    let quorum = OneNode::new(sealed(), Mood::Confirms);
    let handle = fresh(&quorum).await;
    let server = handle.local_addr();
    let seen = || async {
        let udp = ask_udp(server, &name(GROUP), RecordType::A).await;
        let tcp = ask_tcp(server, &name(GROUP), RecordType::A).await;
        assert_eq!(answers(&udp), answers(&tcp));
        assert_eq!(udp.metadata.response_code, ResponseCode::NoError);
        answers(&udp)
    };
    quorum.change(|state| begin_failover(state, GROUP, 1));
    assert_eq!(seen().await, ["10.0.0.1"]);
    quorum.change(|state| grant_second(state, GROUP, "oslo"));
    until_served(&handle, &quorum).await;
    assert!(seen().await.is_empty());
    quorum.change(|state| seal(state, GROUP, 2));
    until_served(&handle, &quorum).await;
    assert_eq!(seen().await, ["10.0.0.2"]);
    let found = lookup_primary(&[server], &zone(), &group_name(GROUP))
        .await
        .expect("a primary");
    assert_eq!(found.epoch, Some(Epoch(2)));
}

#[tokio::test]
async fn an_unsealed_grant_is_an_empty_answer_that_is_not_kept() {
    let mut state = State::default();
    create(&mut state, GROUP);
    grant_first(&mut state, GROUP);
    let server = fresh_with(state).await;
    let response = ask_udp(server, &name(GROUP), RecordType::A).await;
    assert_eq!(response.metadata.response_code, ResponseCode::NoError);
    assert!(response.answers.is_empty());
    assert_eq!(response.authorities[0].record_type(), RecordType::SOA);
    assert_eq!(response.authorities[0].ttl, 1);
    let found = lookup_primary(&[server], &zone(), &group_name(GROUP)).await;
    assert!(
        matches!(found, Err(LookupError::NotPublished(_))),
        "{found:?}"
    );
}

async fn assert_silent(server: SocketAddr) {
    for text in [GROUP, "nothing"] {
        let udp = ask_udp(server, &name(text), RecordType::A).await;
        assert_eq!(udp.metadata.response_code, ResponseCode::ServFail);
        assert_eq!((udp.metadata.authoritative, udp.answers.len()), (false, 0));
        assert!(udp.authorities.is_empty());
        assert_eq!(extended_error(&udp), Some(24));
        let tcp = ask_tcp(server, &name(text), RecordType::A).await;
        assert_eq!(tcp.metadata.response_code, ResponseCode::ServFail);
    }
}

#[tokio::test]
async fn without_the_quorum_the_node_falls_silent_and_comes_back() {
    let quorum = OneNode::new(sealed(), Mood::Confirms);
    let handle = start(&quorum, SHORT).await;
    for lost in [Mood::Fails, Mood::Hangs] {
        until_verdict(&handle, Verdict::Fresh).await;
        quorum.mood.send_replace(lost);
        until_verdict(&handle, Verdict::Stale).await;
        assert_silent(handle.local_addr()).await;
        quorum.mood.send_replace(Mood::Confirms);
    }
    let healed = async {
        while answers(&ask_udp(handle.local_addr(), &name(GROUP), RecordType::A).await).is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), healed)
        .await
        .expect("it never answered again");
}

#[tokio::test]
async fn a_node_that_starts_without_the_quorum_says_that_it_is_not_ready() {
    let quorum = OneNode::new(sealed(), Mood::Fails);
    let server = start(&quorum, LONG).await.local_addr();
    let response = ask_udp(server, &name(GROUP), RecordType::A).await;
    assert_eq!(response.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(extended_error(&response), Some(14));
}

#[tokio::test]
async fn lookups_go_past_servers_that_cannot_know() {
    let cut_off = OneNode::new(sealed(), Mood::Fails);
    let cut_off = start(&cut_off, LONG).await.local_addr();
    let mute = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mute_addr = mute.local_addr().expect("an address");
    let good = fresh_with(sealed()).await;
    let group = group_name(GROUP);
    let found = lookup_primary(&[cut_off, mute_addr, good], &zone(), &group).await;
    assert_eq!(found.expect("a primary").epoch, Some(Epoch(1)));
    let found = lookup_primary(&[cut_off, mute_addr], &zone(), &group).await;
    let Err(LookupError::NoAnswer(tried)) = found else {
        panic!("{found:?}");
    };
    assert!(matches!(
        tried[0].1,
        Unanswered::Code(ResponseCode::ServFail)
    ));
    assert!(matches!(tried[1].1, Unanswered::Timeout(_)));
}

/// A server that says of everything that the answer does not fit.
async fn truncating() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let mut message = Message::from_vec(&buffer[..length])
                .expect("a query")
                .into_response();
            message.metadata.truncation = true;
            let bytes = message.to_vec().expect("a response");
            socket.send_to(&bytes, client).await.expect("sent");
        }
    });
    address
}

#[tokio::test]
async fn a_truncated_answer_is_not_taken_for_an_empty_one() {
    let found = lookup_primary(&[truncating().await], &zone(), &group_name(GROUP)).await;
    assert!(matches!(found, Err(LookupError::NoAnswer(_))), "{found:?}");
}

#[tokio::test]
async fn the_question_comes_back_in_the_letters_it_was_asked_in() {
    let server = fresh_with(sealed()).await;
    let mixed = Name::from_ascii("oRdErS.dB.iNtErNaL.").expect("a name");
    let response = ask_udp(server, &mixed, RecordType::A).await;
    assert_eq!(
        response.queries[0].name().to_string(),
        "oRdErS.dB.iNtErNaL."
    );
    assert_eq!(answers(&response), ["10.0.0.1"]);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let listen = taken.local_addr().expect("an address");
    let options = Options {
        listen,
        ..options(LONG)
    };
    let quorum = OneNode::new(sealed(), Mood::Confirms);
    let started = Server::start(options, quorum, Silent::new(), CancellationToken::new()).await;
    let error = started.expect_err("was started");
    assert!(matches!(error, DnsError::PortTaken { address, .. } if address == listen));
    assert!(error.to_string().contains("dns.listen"), "{error}");
}

#[tokio::test]
async fn a_cancelled_server_closes_its_sockets() {
    let token = CancellationToken::new();
    let quorum = OneNode::new(sealed(), Mood::Confirms);
    let started = Server::start(options(LONG), quorum, Silent::new(), token.clone()).await;
    let handle = started.expect("a server");
    token.cancel();
    timeout(Duration::from_secs(5), handle.stopped())
        .await
        .expect("it never stopped");
    TcpListener::bind(handle.local_addr())
        .await
        .expect("TCP is still taken");
    UdpSocket::bind(handle.local_addr())
        .await
        .expect("UDP is still taken");
}
