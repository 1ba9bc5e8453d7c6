//! The files that a fleet starts from: the program, the secret, one
//! configuration for each process, the group.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use anyhow::Context as _;
use toml::{Table, Value, toml};

use super::{Fleet, GROUP, Options, Place, Service, ZONE};

/// Writes everything but what lies on the disks.
pub(super) fn write(fleet: &Fleet) -> anyhow::Result<()> {
    let work = &fleet.work;
    mode(work, 0o755)?;
    fs::create_dir_all(work.join("bin"))?;
    fs::create_dir_all(work.join("logs"))?;
    let program = fleet.program();
    fs::copy(&fleet.options.program, &program)
        .with_context(|| format!("copy {}", fleet.options.program.display()))?;
    mode(&program, 0o755)?;
    let secret = work.join("secret");
    fs::write(&secret, "")?;
    mode(&secret, 0o600)?;
    fs::write(&secret, fleet.secret())?;
    chown(&secret, Some(fleet.user.0), Some(fleet.user.1))?;
    for place in &fleet.places {
        write_table(&place.config(work, Service::Server), &server(fleet, place))?;
        write_table(&place.config(work, Service::Agent), &agent(fleet, place))?;
    }
    fs::write(fleet.group_file(), group(fleet)).context("write the group's file")
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

fn number(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or_default())
}

fn server(fleet: &Fleet, place: &Place) -> Table {
    let mut table = toml! {
        cluster_id = "jepsen"
        insecure = true
    };
    table.insert("node_id".into(), number(place.id));
    table.insert("region".into(), text(place.region));
    table.insert("data_dir".into(), path(&place.dir.join("node")));
    let mut listen = Table::new();
    listen.insert("grpc".into(), text(place.grpc()));
    listen.insert("raft".into(), text(place.raft()));
    listen.insert("dns".into(), text(place.dns()));
    table.insert("listen".into(), listen.into());
    let mut dns = Table::new();
    dns.insert("zone".into(), text(ZONE));
    let staleness = format!("{}ms", Options::MAX_STALENESS_MS);
    dns.insert("max_staleness".into(), text(staleness));
    let servers = fleet.places.iter().map(|place| {
        let mut server = Table::new();
        server.insert("name".into(), text(format!("ns-{}.{ZONE}", place.region)));
        server.insert("address".into(), text(place.ip));
        server.into()
    });
    dns.insert("ns".into(), Value::Array(servers.collect()));
    table.insert("dns".into(), dns.into());
    let nodes = fleet.places.iter().map(|place| {
        let mut node = Table::new();
        node.insert("id".into(), number(place.id));
        node.insert("region".into(), text(place.region));
        node.insert("address".into(), text(place.raft()));
        node.insert("grpc".into(), text(place.grpc()));
        node.into()
    });
    table.insert("initial_node".into(), Value::Array(nodes.collect()));
    table
}

fn agent(fleet: &Fleet, place: &Place) -> Table {
    let servers = fleet.places.iter().map(|place| text(place.grpc()));
    let hba = text(format!(
        "host all app,probe {} scram-sha-256",
        fleet.subnet()
    ));
    let mut settings = Table::new();
    // Small, and quick to copy and to cut off; nothing that changes what is durable.
    settings.insert("shared_buffers".into(), text("16MB"));
    settings.insert("max_wal_size".into(), text("128MB"));
    let mut table = Table::new();
    let entries = [
        ("group", text(GROUP)),
        ("member", text(place.region)),
        ("servers", Value::Array(servers.collect())),
        ("data_dir", path(&place.data())),
        ("state_dir", path(&place.dir.join("state"))),
        ("bin_dir", path(&fleet.options.bin_dir)),
        ("listen", text(place.postgres())),
        ("secret_file", path(&fleet.work.join("secret"))),
        ("client_hba", Value::Array(vec![hba])),
        ("settings", settings.into()),
        ("insecure", Value::Boolean(true)),
    ];
    table.extend(entries.map(|(key, value)| (key.to_owned(), value)));
    table
}

/// The group, as an operator would write it.
fn group(fleet: &Fleet) -> String {
    let members = fleet.members().map(|place| {
        format!(
            "\n[[member]]\nname = \"{0}\"\nregion = \"{0}\"\naddress = \"{1}\"\n",
            place.region,
            place.postgres()
        )
    });
    let head = format!(
        "name = \"{GROUP}\"\nttl = \"{}ms\"\ninitial_primary = \"{}\"\n",
        Options::TTL_MS,
        fleet.places[0].region
    );
    head + &members.collect::<String>()
}
