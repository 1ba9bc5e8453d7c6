use super::*;

const GOOD: &str = r#"
group = "orders"
member = "paris"
servers = ["127.0.0.1:7400", "127.0.0.2:7400"]
data_dir = "/var/lib/pg/data"
state_dir = "/var/lib/primacy"
bin_dir = "/opt/pg/bin"
listen = "127.0.0.1:5432"
secret_file = "/etc/primacy/secret"
client_hba = ["host all app 127.0.0.0/8 trust", "hostssl all all all scram-sha-256"]
[settings]
work_mem = "64MB"
"#;

fn checked(text: &str) -> Result<Checked<Options>, ConfigError> {
    check(toml::from_str(text).expect("the right shape"))
}

fn refusal(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from} is not there");
    let refused = checked(&GOOD.replacen(from, to, 1)).expect_err("was taken");
    refused.to_string()
}

fn names(refusal: &str, settings: &[&str]) {
    for setting in settings {
        assert!(refusal.contains(setting), "{setting} is not in: {refusal}");
    }
}

#[test]
fn a_member_on_loopback_is_taken_without_a_warning() {
    let checked = checked(GOOD).expect("valid");
    assert_eq!(checked.warnings, Vec::<String>::new());
    assert_eq!(checked.options.settings["work_mem"], "64MB");
}

#[test]
fn a_node_listed_twice_is_refused() {
    let refusal = refusal("127.0.0.2:7400", "127.0.0.1:7400");
    names(&refusal, &["servers[0]", "servers[1]"]);
}

#[test]
fn the_agent_s_files_are_kept_out_of_the_data_directory() {
    let inside = refusal("/var/lib/primacy", "/var/lib/pg/data/primacy");
    names(&inside, &["state_dir", "data_dir"]);
    let around = refusal("/var/lib/primacy", "/var/lib/pg");
    names(&around, &["data_dir", "state_dir"]);
    let secret = refusal("/etc/primacy/secret", "/var/lib/pg/data/secret");
    names(&secret, &["secret_file", "data_dir"]);
}

#[test]
fn a_relative_path_is_refused() {
    names(&refusal("/var/lib/pg/data", "data"), &["data_dir"]);
}

#[test]
fn settings_that_lose_acknowledged_writes_are_refused() {
    for (name, value) in [
        ("fsync", "off"),
        ("full_page_writes", "false"),
        ("Synchronous_Commit", "OFF"),
        ("synchronous_commit", "local"),
    ] {
        let text = format!("{name} = \"{value}\"");
        let refusal = refusal("work_mem = \"64MB\"", &text);
        names(&refusal, &[name, "acknowledged"]);
    }
}

#[test]
fn settings_that_primacy_owns_are_refused() {
    for name in [
        "synchronous_standby_names",
        "primary_conninfo",
        "port",
        "hot_standby",
    ] {
        let refusal = refusal("work_mem", name);
        names(&refusal, &[name, "primacy sets this one itself"]);
    }
}

#[test]
fn plaintext_beyond_loopback_is_refused_or_warned_about() {
    let listen = refusal("127.0.0.1:5432", "10.0.0.1:5432");
    names(&listen, &["listen", "insecure = false"]);
    let server = refusal("127.0.0.2:7400", "db2.example:7400");
    names(&server, &["servers[1]", "insecure = false"]);
    let meant = GOOD.replacen("127.0.0.1:5432", "10.0.0.1:5432", 1);
    let checked = checked(&format!("insecure = true\n{meant}")).expect("meant");
    assert!(checked.warnings[0].contains("10.0.0.1:5432"));
}

#[test]
fn clients_are_not_trusted_across_the_network() {
    for line in [
        "host all all 0.0.0.0/0 trust",
        "host all all 10.0.0.0 255.0.0.0 trust",
    ] {
        let refusal = refusal("host all app 127.0.0.0/8 trust", line);
        names(&refusal, &["client_hba", "insecure = false"]);
    }
    let replication = refusal("host all app", "host replication app");
    names(&replication, &["client_hba", "replication"]);
    let hidden = refusal(
        "host all app 127.0.0.0/8 trust",
        "host all app 10.0.0.0/8 scram-sha-256\\nhost replication all all trust",
    );
    names(&hidden, &["client_hba", "one line"]);
    let garbage = refusal("host all app 127.0.0.0/8 trust", "let everybody in");
    names(&garbage, &["client_hba"]);
}

#[test]
fn a_name_that_is_no_dns_label_is_refused() {
    names(
        &refusal("\"orders\"", "\"Orders!\""),
        &["group = \"Orders!\""],
    );
}
