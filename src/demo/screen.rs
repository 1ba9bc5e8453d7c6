//! What is seen while it happens: the story's lines, and on a terminal a
//! table below them that shows the fleet as it is.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::Context as _;
use comfy_table::{Table, TableComponent, presets};
use indicatif::{ProgressBar, ProgressStyle};
use primacy_proto::v1::{ClusterStatusResponse, Group, Member};
use tokio::{task::JoinHandle, time};

use super::fleet::Api;
use crate::clock;

const REFRESH: Duration = Duration::from_millis(200);

pub(super) struct Screen {
    began: Duration,
    /// Drawn on terminals only.
    table: Option<ProgressBar>,
    refresh: Option<JoinHandle<()>>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            began: clock::boottime(),
            table: None,
            refresh: None,
        }
    }

    /// Shows the fleet from here on, where there is a terminal.
    pub(super) fn show(&mut self, api: Api) -> anyhow::Result<()> {
        if !io::stdout().is_terminal() || !io::stderr().is_terminal() {
            return Ok(());
        }
        let table = ProgressBar::new_spinner();
        table.set_style(ProgressStyle::with_template("{msg}").context("the table's style")?);
        self.table = Some(table.clone());
        self.refresh = Some(tokio::spawn(async move {
            loop {
                let cluster = api.cluster().await.ok();
                if let Ok(group) = api.group().await {
                    table.set_message(format!("\n{}", render(&group, cluster.as_ref())));
                    table.tick();
                }
                time::sleep(REFRESH).await;
            }
        }));
        Ok(())
    }

    /// A line of the story.
    pub(super) fn say(&self, line: &str) {
        let elapsed = clock::boottime().saturating_sub(self.began);
        self.print(&format!("{:6.1}s  {line}", elapsed.as_secs_f64()));
    }

    /// A line without a time.
    pub(super) fn print(&self, line: &str) {
        match &self.table {
            Some(table) => table.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    /// Takes the table away.
    pub(super) fn close(&mut self) {
        if let Some(refresh) = self.refresh.take() {
            refresh.abort();
        }
        if let Some(table) = self.table.take() {
            table.finish_and_clear();
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}

/// The fleet at a glance, one line for each region.
pub(super) fn render(group: &Group, cluster: Option<&ClusterStatusResponse>) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .remove_style(TableComponent::HorizontalLines)
        .remove_style(TableComponent::MiddleIntersections)
        .set_header([
            "region",
            "node",
            "agent",
            "PostgreSQL",
            "timeline",
            "lag",
            "in the sync set",
        ]);
    for member in &group.members {
        table.add_row([
            member.region.clone(),
            node(member, cluster),
            if member.agent_connected {
                "connected"
            } else {
                "away"
            }
            .to_owned(),
            role(member, group),
            member.timeline.to_string(),
            member
                .lag_bytes
                .map_or_else(|| "-".to_owned(), |bytes| format!("{bytes} B")),
            if member.synchronous { "yes" } else { "" }.to_owned(),
        ]);
    }
    table
}

fn node(member: &Member, cluster: Option<&ClusterStatusResponse>) -> String {
    let nodes = cluster
        .map(|cluster| cluster.nodes.as_slice())
        .unwrap_or_default();
    let node = nodes.iter().find(|node| node.region == member.region);
    match node {
        Some(node) if node.leader => "leads",
        Some(node) if node.behind.is_some_and(|behind| behind > 100) => "behind",
        Some(_) => "votes",
        None => "?",
    }
    .to_owned()
}

fn role(member: &Member, group: &Group) -> String {
    if !member.agent_connected {
        return "?".to_owned();
    }
    if member.name == group.holder && member.state == "primary" {
        let sealed = if group.sealed { "PRIMARY" } else { "opening" };
        return format!("{sealed}, epoch {}", group.epoch);
    }
    match member.doing.as_str() {
        "" => member.state.clone(),
        doing => doing.to_owned(),
    }
}
