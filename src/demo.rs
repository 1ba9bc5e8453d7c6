//! `primacy demo`: three regions lose their primary, and an application that
//! never stops writing keeps the books.
//!
//! ```text
//! fleet   nodes, agents, PostgreSQL: real processes, real kills
//! writer  DNS ► lease check ► INSERT, every few milliseconds
//! story   what is done to the fleet, and what has to follow
//! measure how long each part took, from the cluster's own history
//! verdict every acknowledged row, looked for on every member
//! ```

pub mod fleet;
pub mod measure;
mod screen;
mod story;
pub mod verdict;
pub mod writer;

use std::{net::Ipv4Addr, path::PathBuf};

use anyhow::{bail, ensure};
use clap::Args;
use tokio_util::sync::CancellationToken;

use fleet::Fleet;
use screen::Screen;
use story::Story;
use verdict::Verdict;

/// How the demonstration is run.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Leaves the fleet running at the end and says how to use it.
    #[arg(long)]
    keep: bool,
    /// Prints what was measured as JSON, on the last line.
    #[arg(long)]
    json: bool,
    /// The fleet listens on the three addresses after this one.
    #[arg(long, value_name = "IP", default_value = "127.0.0.10")]
    base: Ipv4Addr,
    /// PostgreSQL's programs [default: the newest /usr/lib/postgresql/*/bin].
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// Runs the demonstration; tidies up however it ends.
pub async fn run(arguments: Arguments, stop: CancellationToken) -> anyhow::Result<()> {
    let bin_dir = match &arguments.bin_dir {
        Some(given) => given.clone(),
        None => fleet::installed_postgres()?,
    };
    let mut options = fleet::Options::new(bin_dir);
    ensure!(
        arguments.base.is_loopback(),
        "--base {} is not loopback",
        arguments.base
    );
    options.base = arguments.base;
    let mut fleet = Fleet::prepare(options).await?;
    let told = tokio::select! {
        told = tell(&mut fleet) => told,
        () = stop.cancelled() => bail!("interrupted"),
    };
    // Also of a story that went wrong, for whoever wants to know why.
    if arguments.keep {
        fleet.keep();
        println!("{}", cheat_sheet(&fleet));
    }
    let verdict = told?;
    if arguments.json {
        println!("{}", serde_json::to_string(&verdict)?);
    }
    let lost = verdict.writes.lost;
    ensure!(lost == 0, "{lost} acknowledged writes were lost");
    Ok(())
}

async fn tell(fleet: &mut Fleet) -> anyhow::Result<Verdict> {
    let api = fleet.api()?;
    let mut story = Story {
        fleet,
        api,
        screen: Screen::new(),
    };
    let writer = story.begin().await?;
    let told = story.tell(&writer).await;
    if let Some(ended) = story.fleet.ended() {
        story.screen.say(&ended);
    }
    let events = told?;
    story
        .screen
        .say("the writer stops; every row is read back from all three members");
    let ledger = writer.finish().await?;
    let holder = story.api.group().await?.holder;
    let primary = story.fleet.place(&holder)?.index;
    let writes = verdict::read_back(story.fleet, primary, &ledger).await?;
    story.screen.close();
    println!("\n{}\n", verdict::table(&events));
    println!(
        "{} writes acknowledged, {} of them lost, {} of unknown outcome",
        writes.acked, writes.lost, writes.unknown
    );
    Ok(Verdict { events, writes })
}

/// What can be done with a fleet that was kept.
fn cheat_sheet(fleet: &Fleet) -> String {
    let dir = fleet.dir().display();
    let options = fleet.options();
    let (group, zone) = (&options.group, &options.zone);
    let [first, ..] = fleet.places() else {
        return String::new();
    };
    let servers: Vec<_> = fleet
        .places()
        .iter()
        .map(|it| it.grpc().to_string())
        .collect();
    let servers = servers.join(",");
    let (dns, postgres) = (first.dns(), first.postgres());
    let region = &first.region;
    format!(
        "
The fleet runs on; its files and logs are in {dir}.
  who is primary   {program} ctl --server {servers} status
                   dig @{dns_ip} -p {dns_port} {group}.{zone} +short
  write to it      PGPASSWORD={password} psql -h {pg_ip} -p {pg_port} -U app postgres
  move it          {program} ctl --server {servers} switchover {group} --to {region}
  break it         kill -9 $(head -1 {dir}/{region}/data/postmaster.pid)
  end it           pkill -KILL -f {dir}/; rm -rf {dir}",
        program = fleet.program().display(),
        dns_ip = dns.ip(),
        dns_port = dns.port(),
        pg_ip = postgres.ip(),
        pg_port = postgres.port(),
        password = fleet.password(),
    )
}
