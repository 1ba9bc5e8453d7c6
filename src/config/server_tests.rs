use super::*;

const GOOD: &str = r#"
cluster_id = "c"
node_id = 1
region = "paris"
data_dir = "/var/lib/primacy"
[listen]
grpc = "127.0.0.1:7400"
raft = "127.0.0.1:7401"
dns = "127.0.0.1:5300"
[dns]
zone = "db.example"
[[initial_node]]
id = 1
region = "paris"
address = "127.0.0.1:7401"
[[initial_node]]
id = 2
region = "tokyo"
address = "127.0.0.2:7401"
[[initial_node]]
id = 3
region = "lima"
address = "127.0.0.3:7401"
"#;

fn checked(text: &str) -> Result<Checked<Options>, ConfigError> {
    check(toml::from_str(text).expect("the right shape"))
}

/// What is said of `GOOD` with `from` replaced by `to`.
fn refusal(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from} is not there");
    let refused = checked(&GOOD.replacen(from, to, 1)).expect_err("was taken");
    refused.to_string()
}

fn names_both(refusal: &str, settings: [&str; 2]) {
    for setting in settings {
        assert!(refusal.contains(setting), "{setting} is not in: {refusal}");
    }
}

#[test]
fn three_nodes_on_loopback_are_taken_without_a_warning() {
    let checked = checked(GOOD).expect("valid");
    assert_eq!(checked.warnings, Vec::<String>::new());
    let options = checked.options;
    assert_eq!(options.raft.initial_nodes.len(), 3);
    assert_eq!(options.grpc_addresses[&2], "127.0.0.2:7400");
    assert!(options.dns.is_some());
}

#[test]
fn a_node_that_is_not_on_the_list_is_refused() {
    let refusal = refusal("node_id = 1", "node_id = 7");
    names_both(&refusal, ["node_id = 7", "initial_node[].id = [1, 2, 3]"]);
}

#[test]
fn a_region_other_than_the_entry_s_is_refused() {
    let refusal = refusal("region = \"paris\"", "region = \"oslo\"");
    let entry = "initial_node[id = 1].region = \"paris\"";
    names_both(&refusal, ["region = \"oslo\"", entry]);
}

#[test]
fn an_id_or_an_address_twice_is_refused() {
    let id = refusal("id = 2", "id = 1");
    names_both(&id, ["127.0.0.1:7401", "127.0.0.2:7401"]);
    let address = refusal("127.0.0.2:7401", "127.0.0.1:7401");
    let both = [
        "initial_node[id = 1].address",
        "initial_node[id = 2].address",
    ];
    names_both(&address, both);
}

#[test]
fn a_port_other_than_the_entry_s_is_refused() {
    let raft = refusal("raft = \"127.0.0.1:7401\"", "raft = \"127.0.0.1:7409\"");
    names_both(&raft, ["listen.raft", "initial_node[id = 1].address"]);
    let grpc = refusal("grpc = \"127.0.0.1:7400\"", "grpc = \"127.0.0.1:7409\"");
    names_both(&grpc, ["listen.grpc", "initial_node[id = 1].grpc"]);
}

#[test]
fn two_listeners_on_one_port_are_refused() {
    let refusal = refusal("grpc = \"127.0.0.1:7400\"", "grpc = \"127.0.0.1:7401\"");
    names_both(&refusal, ["listen.grpc", "listen.raft"]);
}

#[test]
fn plaintext_beyond_loopback_is_refused_or_warned_about() {
    let peer = refusal("127.0.0.2:7401", "10.0.0.2:7401");
    names_both(&peer, ["10.0.0.2:7401", "insecure = false"]);
    let listen = refusal("raft = \"127.0.0.1:7401\"", "raft = \"0.0.0.0:7401\"");
    names_both(&listen, ["listen.raft", "insecure = false"]);
    let meant = GOOD.replacen("127.0.0.2:7401", "10.0.0.2:7401", 1);
    let checked = checked(&format!("insecure = true\n{meant}")).expect("meant");
    assert!(checked.warnings[0].contains("plaintext"));
}

#[test]
fn dns_needs_both_an_address_and_a_zone() {
    let zone = refusal("[dns]\nzone = \"db.example\"", "");
    names_both(&zone, ["listen.dns", "dns.zone"]);
    let listen = refusal("dns = \"127.0.0.1:5300\"\n", "");
    names_both(&listen, ["dns.zone", "listen.dns"]);
}

#[test]
fn a_ttl_that_is_no_duration_is_refused_by_name() {
    let refusal = refusal("zone =", "ttl = \"soon\"\nzone =");
    assert!(refusal.contains("dns.ttl = \"soon\""), "{refusal}");
}

#[test]
fn an_even_number_of_voters_is_warned_about_and_six_are_refused() {
    let more = |n: u64| {
        (4..=n).fold(GOOD.to_owned(), |text, id| {
            let entry = format!("id = {id}\nregion = \"r{id}\"\naddress = \"127.0.0.{id}:7401\"");
            format!("{text}\n[[initial_node]]\n{entry}\n")
        })
    };
    let four = checked(&more(4)).expect("valid");
    assert!(four.warnings[0].contains("4 entries"));
    assert!(checked(&more(5)).expect("valid").warnings.is_empty());
    let six = checked(&more(6)).expect_err("was taken");
    assert!(six.to_string().contains("6 entries"));
}
