//! The files that a fleet starts from: the program, the secret, one
//! configuration for each process.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::Context as _;
use toml::{Table, Value, toml};

use super::{Fleet, Place, Service};

pub(super) fn write(fleet: &Fleet) -> anyhow::Result<()> {
    mode(&fleet.dir, 0o755)?;
    copy_program(&fleet.options.program, &fleet.program)?;
    let secret = fleet.dir.join("secret");
    let parts = [(); 2].map(|()| uuid::Uuid::new_v4().simple().to_string());
    fs::write(&secret, "")?;
    mode(&secret, 0o600)?;
    fs::write(&secret, parts.concat())?;
    for place in &fleet.places {
        fs::create_dir(&place.dir)?;
        write_table(&place.config(Service::Server), &server(fleet, place))?;
        write_table(&place.config(Service::Agent), &agent(fleet, place))?;
    }
    fleet.user.own(&fleet.dir)
}

/// The program, where the databases' user can execute it.
fn copy_program(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir(dir)?;
    }
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    mode(to, 0o755)
}

fn mode(path: &Path, mode: u32) -> anyhow::Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

fn write_table(path: &Path, table: &Table) -> anyhow::Result<()> {
    fs::write(path, toml::to_string(table)?).with_context(|| format!("write {}", path.display()))
}

fn text(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

fn path(value: &Path) -> Value {
    text(value.display())
}

/// Namespaces of one host are no more exposed than its loopback addresses.
fn insecure(fleet: &Fleet) -> Value {
    Value::Boolean(!fleet.options.base.is_loopback())
}

fn server(fleet: &Fleet, place: &Place) -> Table {
    let id = i64::try_from(place.id).unwrap_or_default();
    let mut table = toml! { cluster_id = "demo" };
    table.insert("node_id".into(), Value::Integer(id));
    table.insert("region".into(), text(&place.region));
    table.insert("profile".into(), text(&fleet.options.profile));
    table.insert("insecure".into(), insecure(fleet));
    table.insert("data_dir".into(), path(&place.dir.join("node")));
    let mut listen = Table::new();
    listen.insert("grpc".into(), text(place.grpc()));
    listen.insert("raft".into(), text(place.raft()));
    listen.insert("dns".into(), text(place.dns()));
    table.insert("listen".into(), listen.into());
    let mut dns = Table::new();
    dns.insert("zone".into(), text(&fleet.options.zone));
    let servers = fleet.places.iter().map(|place| name_server(fleet, place));
    dns.insert("ns".into(), Value::Array(servers.collect()));
    table.insert("dns".into(), dns.into());
    let nodes = fleet.places.iter().map(initial_node).collect();
    table.insert("initial_node".into(), Value::Array(nodes));
    table
}

fn name_server(fleet: &Fleet, place: &Place) -> Value {
    let mut server = Table::new();
    let name = format!("ns-{}.{}", place.region, fleet.options.zone);
    server.insert("name".into(), text(name));
    server.insert("address".into(), text(place.dns().ip()));
    server.into()
}

fn initial_node(place: &Place) -> Value {
    let mut node = Table::new();
    let id = i64::try_from(place.id).unwrap_or_default();
    node.insert("id".into(), Value::Integer(id));
    node.insert("region".into(), text(&place.region));
    node.insert("address".into(), text(place.raft()));
    node.insert("grpc".into(), text(place.grpc()));
    node.into()
}

fn agent(fleet: &Fleet, place: &Place) -> Table {
    let options = &fleet.options;
    let servers = fleet.places.iter().map(|place| text(place.grpc()));
    // Clients are on this host, and give a password.
    let net = fleet.options.base;
    let net = if net.is_loopback() {
        "127.0.0.0/8".to_owned()
    } else {
        format!("{net}/24")
    };
    let hba = text(format!("host all app {net} scram-sha-256"));
    let settings = options.settings.iter();
    let settings: Table = settings.map(|(k, v)| (k.clone(), text(v))).collect();
    let mut table = Table::new();
    let entries = [
        ("group", text(&options.group)),
        ("member", text(&place.region)),
        ("servers", Value::Array(servers.collect())),
        ("data_dir", path(&place.data())),
        ("state_dir", path(&place.state())),
        ("bin_dir", path(&options.bin_dir)),
        ("listen", text(place.postgres())),
        ("secret_file", path(&fleet.dir.join("secret"))),
        ("client_hba", Value::Array(vec![hba])),
        ("settings", settings.into()),
        ("insecure", insecure(fleet)),
    ];
    table.extend(entries.map(|(key, value)| (key.to_owned(), value)));
    table
}
