//! The network does what it is told, and its counters say so.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::*;
use crate::{clock, ground};

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(10);

/// Skips a test where there can be no network.
fn network(hosts: &[&str]) -> Option<Network> {
    if let Some(why) = ground::missing() {
        eprintln!("skipped: {why}");
        return None;
    }
    Some(Network::new(Seed(1), hosts).unwrap())
}

fn slow(delay: Duration, jitter: Duration) -> LinkRule {
    LinkRule {
        delay,
        jitter,
        ..LinkRule::default()
    }
}

fn socket(network: &Network, host: &str) -> UdpSocket {
    let address = network.address(host).unwrap();
    let bind = || UdpSocket::bind((address, 0));
    let socket = network.spawn_in(host, bind).unwrap().unwrap();
    socket.set_read_timeout(Some(SHORT)).unwrap();
    socket
}

/// Sends numbers from 0 and says which arrived, in order of arrival.
fn arrived(from: &UdpSocket, to: &UdpSocket, count: u32) -> Vec<u32> {
    let (address, mut arrived) = (to.local_addr().unwrap(), Vec::new());
    for number in 0..count {
        from.send_to(&number.to_be_bytes(), address).unwrap();
    }
    let mut buffer = [0; 4];
    while to.recv(&mut buffer).is_ok() {
        arrived.push(u32::from_be_bytes(buffer));
    }
    arrived
}

fn round_trip(from: &UdpSocket, to: &UdpSocket) -> Duration {
    let (began, mut buffer) = (clock::now(), [0; 4]);
    to.set_read_timeout(Some(LONG)).unwrap();
    from.set_read_timeout(Some(LONG)).unwrap();
    from.send_to(b"ping", to.local_addr().unwrap()).unwrap();
    let (_, back) = to.recv_from(&mut buffer).unwrap();
    to.send_to(b"pong", back).unwrap();
    from.recv(&mut buffer).unwrap();
    clock::now() - began
}

#[test]
fn a_cut_is_one_way_and_lasts_until_everybody_healed_it() {
    let Some(network) = network(&["paris", "tokyo"]) else {
        return;
    };
    let (paris, tokyo) = (socket(&network, "paris"), socket(&network, "tokyo"));
    assert_eq!(arrived(&paris, &tokyo, 20).len(), 20);
    network.cut("paris", "tokyo").unwrap();
    network.cut("paris", "tokyo").unwrap();
    assert_eq!(arrived(&paris, &tokyo, 20).len(), 0);
    assert_eq!(arrived(&tokyo, &paris, 20).len(), 20);
    network.heal("paris", "tokyo").unwrap();
    assert_eq!(arrived(&paris, &tokyo, 20).len(), 0);
    network.heal("paris", "tokyo").unwrap();
    assert_eq!(arrived(&paris, &tokyo, 20).len(), 20);
    assert_eq!(network.counters("paris", "tokyo").unwrap().cut, 40);
    assert_eq!(network.counters("tokyo", "paris").unwrap().cut, 0);
}

#[test]
fn what_was_on_its_way_does_not_get_through_a_cut() {
    let Some(network) = network(&["paris", "tokyo"]) else {
        return;
    };
    let (paris, tokyo) = (socket(&network, "paris"), socket(&network, "tokyo"));
    let slow = slow(Duration::from_millis(60), Duration::ZERO);
    network.set("paris", "tokyo", slow).unwrap();
    let link = network.link("paris", "tokyo").unwrap();
    paris.send_to(b"late", tokyo.local_addr().unwrap()).unwrap();
    let deadline = clock::now() + LONG;
    while link.counters().delayed == 0 && clock::now() < deadline {
        std::thread::yield_now();
    }
    link.cut();
    assert!(tokyo.recv(&mut [0; 4]).is_err());
    assert_eq!((link.counters().cut, link.counters().forwarded), (1, 0));
}

#[test]
fn a_delay_is_waited_for_in_each_direction() {
    let Some(network) = network(&["paris", "tokyo"]) else {
        return;
    };
    let (paris, tokyo) = (socket(&network, "paris"), socket(&network, "tokyo"));
    let ms = Duration::from_millis;
    let slow = slow(ms(30), ms(5));
    network.set("paris", "tokyo", slow).unwrap();
    // The least of several: on a busy machine one may take any time.
    let least = || (0..10).map(|_| round_trip(&paris, &tokyo)).min().unwrap();
    let one_way = least();
    assert!(one_way >= ms(30) && one_way < ms(60), "{one_way:?}");
    network.set("tokyo", "paris", slow).unwrap();
    let both = least();
    assert!(both >= ms(60), "{both:?}");
    network.heal_all();
    let none = least();
    assert!(none < ms(30), "{none:?}");
}

#[test]
fn packets_overtake_each_other_only_where_they_may() {
    let Some(network) = network(&["paris", "tokyo"]) else {
        return;
    };
    let (paris, tokyo) = (socket(&network, "paris"), socket(&network, "tokyo"));
    let mut rule = slow(Duration::ZERO, Duration::from_millis(40));
    network.set("paris", "tokyo", rule).unwrap();
    let in_order: Vec<_> = (0..100).collect();
    assert_eq!(arrived(&paris, &tokyo, 100), in_order);
    rule.reorder = true;
    network.set("paris", "tokyo", rule).unwrap();
    let mut numbers = arrived(&paris, &tokyo, 100);
    assert_ne!(numbers, in_order);
    numbers.sort_unstable();
    assert_eq!(numbers, in_order);
}

#[test]
fn losses_and_duplicates_are_as_many_as_asked_for_and_counted() {
    let Some(network) = network(&["paris", "tokyo"]) else {
        return;
    };
    let (paris, tokyo) = (socket(&network, "paris"), socket(&network, "tokyo"));
    let rule = LinkRule {
        loss: 0.2,
        duplication: 0.1,
        ..LinkRule::default()
    };
    network.set("paris", "tokyo", rule).unwrap();
    let numbers = (0..20).flat_map(|_| arrived(&paris, &tokyo, 50));
    let there = u64::try_from(numbers.count()).unwrap();
    let counters = network.counters("paris", "tokyo").unwrap();
    assert_eq!(there, counters.forwarded);
    assert_eq!(there, 1000 - counters.lost + counters.duplicated);
    assert!((130..270).contains(&counters.lost), "{counters:?}");
    assert!((40..130).contains(&counters.duplicated), "{counters:?}");
}

#[test]
fn a_link_that_is_too_slow_drops_what_it_cannot_hold() {
    let Some(network) = network(&["paris", "tokyo"]) else {
        return;
    };
    let (paris, tokyo) = (socket(&network, "paris"), socket(&network, "tokyo"));
    let slow = slow(Duration::from_secs(60), Duration::ZERO);
    network.set("paris", "tokyo", slow).unwrap();
    for _ in 0..6000_u32 {
        let _sent = paris.send_to(b"many", tokyo.local_addr().unwrap());
    }
    let deadline = clock::now() + LONG;
    let counters = || network.counters("paris", "tokyo").unwrap();
    while counters().overflowed == 0 && clock::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(counters().overflowed > 0, "{:?}", counters());
    // Others are not kept waiting.
    assert!(round_trip_of_others(&network) < SHORT);
}

fn round_trip_of_others(network: &Network) -> Duration {
    network.link("paris", "tokyo").unwrap().restore();
    let (tokyo, again) = (socket(network, "tokyo"), socket(network, "tokyo"));
    round_trip(&tokyo, &again)
}

#[test]
fn threads_runtimes_and_processes_are_on_their_host() {
    let Some(network) = network(&["paris", "tokyo"]) else {
        return;
    };
    let listen = || TcpListener::bind((network.address("tokyo").unwrap(), 80));
    let tokyo = network.spawn_in("tokyo", listen).unwrap().unwrap();
    let address = tokyo.local_addr().unwrap();
    // Whoever answers to this address outside, it is not this host.
    tokyo.set_nonblocking(true).unwrap();
    let _outside = TcpStream::connect_timeout(&address, SHORT);
    assert!(tokyo.accept().is_err());
    let runtime = network.runtime("paris", 2).unwrap();
    let peer = async move {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.local_addr()
    };
    let from = runtime.block_on(runtime.spawn(peer)).unwrap().unwrap();
    assert_eq!(from.ip(), network.address("paris").unwrap());
    let blocking = runtime.spawn_blocking(move || TcpStream::connect(address));
    assert!(runtime.block_on(blocking).unwrap().is_ok());
    let mut command = Command::new("ip");
    command.args(["-4", "-brief", "address", "show", "tun0"]);
    command.stdout(Stdio::piped());
    let child = network
        .spawn_in("paris", || command.spawn())
        .unwrap()
        .unwrap();
    let said = child.wait_with_output().unwrap().stdout;
    assert!(String::from_utf8(said).unwrap().contains("10.77.0.1/24"));
}

#[test]
fn nothing_is_left_of_a_network() {
    let Some(network) = network(&["paris"]) else {
        return;
    };
    let path = Path::new("/run/netns").join(network.namespace("paris").unwrap().name());
    assert!(path.exists());
    drop(network);
    assert!(!path.exists());
    // Of a process that cannot be: the kernel's greatest number is smaller.
    let orphan = format!("{}4999999-0-paris", namespace::PREFIX);
    tool("ip", &["netns", "add", &orphan]).unwrap();
    namespace::remove_orphans();
    assert!(!fs::exists(Path::new("/run/netns").join(orphan)).unwrap());
}

/// To be run by hand, to see what the hub costs.
#[test]
#[ignore = "measures"]
fn how_fast_it_is() {
    const BYTES: usize = 256 << 20;
    let Some(network) = network(&["paris", "tokyo", "lima", "clients", "observer"]) else {
        return;
    };
    let (paris, tokyo) = (socket(&network, "paris"), socket(&network, "tokyo"));
    let mut trips: Vec<_> = (0..2000).map(|_| round_trip(&paris, &tokyo)).collect();
    trips.sort_unstable();
    eprintln!("round trip {:?}, p99 {:?}", trips[1000], trips[1980]);
    for delay in [0, 10] {
        let slow = slow(Duration::from_millis(delay), Duration::ZERO);
        network.set("paris", "tokyo", slow).unwrap();
        network.set("tokyo", "paris", slow).unwrap();
        let took = copy(&network, BYTES);
        let rate = BYTES as f64 * 8e-6 / took.as_secs_f64();
        eprintln!("{delay} ms each way: {rate:.0} Mbit/s");
    }
    eprintln!("{:?}", network.counters("paris", "tokyo").unwrap());
}

fn copy(network: &Network, bytes: usize) -> Duration {
    let address: SocketAddr = (network.address("tokyo").unwrap(), 0).into();
    let listen = || TcpListener::bind(address);
    let listener = network.spawn_in("tokyo", listen).unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect(address);
    let mut out = network.spawn_in("paris", connect).unwrap().unwrap();
    let (mut come_in, _) = listener.accept().unwrap();
    let began = clock::now();
    let send = move || {
        let block = vec![7; 1 << 16];
        for _ in 0..bytes >> 16 {
            out.write_all(&block).unwrap();
        }
    };
    let sender = std::thread::spawn(send);
    let (mut left, mut block) = (bytes, vec![0; 1 << 16]);
    while left > 0 {
        left -= come_in.read(&mut block).unwrap();
    }
    sender.join().unwrap();
    clock::now() - began
}
