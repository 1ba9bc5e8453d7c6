//! What the zone shows in each state of a group.

use hickory_proto::rr::RecordType;

use super::*;
use crate::dns::fixtures::{
    self, GROUP, begin_failover, change, create, edit, grant_first, grant_second, group_name,
    incarnation, seal, sealed, shown,
};
use crate::domain::{Change, SyncConfig};

fn name(text: &str) -> Name {
    format!("{text}.db.internal.").parse().expect("a name")
}

fn config() -> ZoneConfig {
    let servers = [
        (name("ns1"), [192, 0, 2, 1].into()),
        (name("ns1"), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()),
    ];
    ZoneConfig::new(&"DB.internal".parse().expect("a name"), 1, &servers)
}

fn build(state: &State) -> Zone {
    Zone::build(&config(), state, &ReplicaFacts::default())
}

/// The data of `kind` at `text`, as text; the name must exist.
fn data(zone: &Zone, text: &str, kind: RecordType) -> Vec<String> {
    match zone.lookup(&LowerName::new(&name(text))) {
        Lookup::Found(node) => {
            let records = node.get(kind).unwrap_or_default();
            records.iter().map(shown).collect()
        }
        other => panic!("{text}: {other:?}"),
    }
}

fn primary(zone: &Zone) -> Vec<String> {
    data(zone, GROUP, RecordType::A)
}

#[test]
fn a_sealed_holder_is_published_under_every_name_alike() {
    let zone = build(&sealed());
    assert_eq!(primary(&zone), ["10.0.0.1"]);
    let service = data(&zone, "_postgresql._tcp.orders", RecordType::SRV);
    assert_eq!(service, ["0 0 5501 paris.orders.db.internal."]);
    assert_eq!(data(&zone, "paris.orders", RecordType::A), ["10.0.0.1"]);
    let facts = data(&zone, "_primacy.orders", RecordType::TXT);
    assert_eq!(facts, ["\"epoch=1\" \"primary=paris\""]);
}

#[test]
fn an_unsealed_grant_publishes_nobody_and_keeps_the_names() {
    let mut state = State::default();
    create(&mut state, GROUP);
    grant_first(&mut state, GROUP);
    let zone = build(&state);
    assert!(primary(&zone).is_empty());
    assert!(data(&zone, "_postgresql._tcp.orders", RecordType::SRV).is_empty());
    assert!(data(&zone, "_primacy.orders", RecordType::TXT).is_empty());
}

#[test]
fn the_old_holder_stays_until_the_next_grant_and_the_new_one_waits_for_its_seal() {
    let mut state = sealed();
    begin_failover(&mut state, GROUP, 1);
    assert_eq!(primary(&build(&state)), ["10.0.0.1"]);
    grant_second(&mut state, GROUP, "oslo");
    assert!(primary(&build(&state)).is_empty());
    seal(&mut state, GROUP, 2);
    assert_eq!(primary(&build(&state)), ["10.0.0.2"]);
}

#[test]
fn a_holder_that_was_wiped_is_not_published() {
    let mut state = sealed();
    let register = Change::RegisterMember {
        member: "paris".parse().expect("a name"),
        incarnation: crate::domain::Incarnation(uuid::Uuid::from_u128(99)),
        system_identifier: None,
    };
    change(&mut state, GROUP, register);
    assert!(primary(&build(&state)).is_empty());
}

#[test]
fn standbys_are_those_reported_near_and_the_sync_set_where_nothing_was_reported() {
    let mut state = sealed();
    let sync = SyncConfig::any(1, [incarnation("oslo"), incarnation("tokyo")].into());
    edit(&mut state, |group| group.record[0].config = sync);
    let mut facts = ReplicaFacts::default();
    let standbys = |facts: &ReplicaFacts| {
        data(
            &Zone::build(&config(), &state, facts),
            "orders-ro",
            RecordType::A,
        )
    };
    assert_eq!(standbys(&facts), ["10.0.0.2", "10.0.0.3"]);
    facts.set(&group_name(GROUP), &"oslo".parse().expect("a name"), false);
    // Even a holder that claims to be a standby is none.
    facts.set(&group_name(GROUP), &"paris".parse().expect("a name"), true);
    assert_eq!(standbys(&facts), ["10.0.0.3"]);
}

#[test]
fn the_serial_moves_with_what_the_zone_shows_and_with_nothing_else() {
    let mut state = sealed();
    let first = build(&state);
    let shown_at = state.applied;
    begin_failover(&mut state, GROUP, 1);
    let second = first.next(&config(), &state, &ReplicaFacts::default());
    assert_eq!(u64::from(second.serial()), shown_at);
    assert_eq!(second.applied(), shown_at + 1);
    grant_second(&mut state, GROUP, "oslo");
    let third = second.next(&config(), &state, &ReplicaFacts::default());
    assert_eq!(u64::from(third.serial()), state.applied);
}

#[test]
fn the_serial_wraps_where_indexes_do_not() {
    let mut state = sealed();
    state.applied = (1 << 32) + 5;
    let zone = build(&state);
    assert_eq!(zone.serial(), 5);
    let soa = zone.apex().and_then(|apex| apex.get(RecordType::SOA));
    let data = soa.expect("a SOA record")[0].data.to_string();
    assert_eq!(data, "ns1.db.internal. hostmaster.db.internal. 5 1 1 4 1");
}

#[test]
fn two_groups_never_share_a_name() {
    let mut state = sealed();
    create(&mut state, "orders-ro");
    grant_first(&mut state, "orders-ro");
    seal(&mut state, "orders-ro", 1);
    let zone = build(&state);
    assert_eq!(data(&zone, "orders-ro", RecordType::A), ["10.0.0.1"]);
    assert_eq!(zone.clashes(), [name("orders-ro")]);
}

#[test]
fn a_group_named_like_a_name_server_does_not_join_its_addresses() {
    let mut state = State::default();
    create(&mut state, "ns1");
    grant_first(&mut state, "ns1");
    seal(&mut state, "ns1", 1);
    let zone = build(&state);
    assert_eq!(data(&zone, "ns1", RecordType::A), ["192.0.2.1"]);
    assert_eq!(zone.clashes(), [name("ns1")]);
}

#[test]
fn members_at_one_address_make_one_record() {
    let mut state = sealed();
    edit(&mut state, |group| {
        let ip = [127, 0, 0, 1].into();
        group
            .spec
            .members
            .iter_mut()
            .for_each(|member| member.address.set_ip(ip));
    });
    let zone = build(&state);
    assert_eq!(data(&zone, "orders-all", RecordType::A), ["127.0.0.1"]);
    let services = data(&zone, "_postgresql._tcp.orders-all", RecordType::SRV);
    assert_eq!(services.len(), fixtures::MEMBERS.len());
}
