//! One fleet, one writer, and the last word: nothing acknowledged is missing.

use std::{net::Ipv4Addr, path::PathBuf, sync::LazyLock, time::Duration};

use primacy::demo::{
    fleet::{Api, Fleet, Options, installed_postgres, wait_for},
    verdict::read_back,
    writer::{SCHEMA, Writer},
};
use primacy_proto::v1::{Event, Group, GroupSpec, Member};
use tokio::sync::{Mutex, MutexGuard};

/// Far beyond what anything here takes; a test that meets it has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Fleets take turns.
static TURN: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

pub struct Scene {
    pub fleet: Fleet,
    pub api: Api,
    pub writer: Writer,
    _turn: MutexGuard<'static, ()>,
}

/// Files are in place, and nothing runs yet.
pub struct Ready {
    pub fleet: Fleet,
    pub api: Api,
    turn: MutexGuard<'static, ()>,
}

impl Ready {
    pub async fn new(number: u8, change: impl FnOnce(&mut Options)) -> Self {
        let turn = TURN.lock().await;
        let mut options = Options::new(installed_postgres().unwrap());
        options.base = Ipv4Addr::new(127, 1, number, 0);
        options.program = PathBuf::from(env!("CARGO_BIN_EXE_primacy"));
        change(&mut options);
        let fleet = Fleet::prepare(options).await.unwrap();
        let api = fleet.api().unwrap();
        Self { fleet, api, turn }
    }

    /// Starts every region, and waits for a leader.
    pub async fn run(&mut self) {
        for index in 0..self.fleet.places().len() {
            self.fleet.start_region(index).unwrap();
        }
        let leader = || async { Ok(self.api.leader().await.ok()) };
        wait_for("a leader", PATIENCE, leader).await.unwrap();
    }

    /// Starts all that does not run yet, makes the group, and lets a writer loose.
    pub async fn serve(mut self, spec: GroupSpec) -> Scene {
        self.run().await;
        self.begin(spec).await
    }

    /// The same, where every region runs already.
    pub async fn begin(self, spec: GroupSpec) -> Scene {
        let Self { fleet, api, turn } = self;
        api.apply(spec).await.unwrap();
        let group = api.whole(PATIENCE).await.unwrap();
        let primary = fleet.place(&group.holder).unwrap().index;
        fleet.create_client(primary, SCHEMA).unwrap();
        let writer = Writer::start(&fleet).unwrap();
        let scene = Scene {
            fleet,
            api,
            writer,
            _turn: turn,
        };
        scene.writes().await;
        scene
    }
}

impl Scene {
    /// Three regions in place, and a writer at work. `number` keeps the
    /// addresses of tests apart.
    pub async fn start(number: u8) -> Self {
        Self::start_with(number, |_| {}).await
    }

    pub async fn start_with(number: u8, change: impl FnOnce(&mut Options)) -> Self {
        let ready = Ready::new(number, change).await;
        let spec = ready.fleet.spec();
        ready.serve(spec).await
    }

    /// Waits for writes that are acknowledged from now on.
    pub async fn writes(&self) {
        let before = self.writer.ledger().acked.len();
        let more = || async { Ok((self.writer.ledger().acked.len() > before + 20).then_some(())) };
        wait_for("acknowledged writes", PATIENCE, more)
            .await
            .unwrap();
    }

    pub async fn group(&self) -> Group {
        let answer = || async { Ok(self.api.group().await.ok()) };
        wait_for("the group", PATIENCE, answer).await.unwrap()
    }

    /// The index of the present holder's place.
    pub async fn primary(&self) -> usize {
        let holder = self.group().await.holder;
        self.fleet.place(&holder).unwrap().index
    }

    /// Waits for a primary that is published under a later epoch.
    pub async fn epoch_after(&self, epoch: u32) -> Group {
        let newer = || async {
            let group = self.api.group().await?;
            Ok((group.epoch > epoch && group.sealed).then_some(group))
        };
        wait_for("a sealed epoch after that", PATIENCE, newer)
            .await
            .unwrap()
    }

    /// Waits for a later epoch, whatever became of its holder.
    pub async fn leased_after(&self, epoch: u32) -> Group {
        let newer = || async {
            let group = self.api.group().await?;
            Ok((group.epoch > epoch).then_some(group))
        };
        wait_for("an epoch after that", PATIENCE, newer)
            .await
            .unwrap()
    }

    /// Waits for a later epoch whose holder has been promoted.
    pub async fn granted_after(&self, epoch: u32) -> Group {
        let newer = || async {
            let group = self.api.group().await?;
            let promoted = group
                .members
                .iter()
                .any(|member| member.name == group.holder && member.state == "primary");
            Ok((group.epoch > epoch && promoted).then_some(group))
        };
        wait_for("a primary of an epoch after that", PATIENCE, newer)
            .await
            .unwrap()
    }

    pub async fn whole(&self) -> Group {
        self.api.whole(PATIENCE).await.unwrap()
    }

    /// Moves Raft leadership to the node of a place.
    pub async fn lead_from(&self, index: usize) {
        let id = self.fleet.places()[index].id;
        let there = || async {
            if self.api.leader().await? != id {
                self.api.transfer_leader(id).await?;
            }
            Ok((self.api.leader().await? == id).then_some(()))
        };
        wait_for("Raft leadership to move", PATIENCE, there)
            .await
            .unwrap();
    }

    pub async fn events(&self) -> Vec<Event> {
        self.api.events(0).await.unwrap()
    }

    /// Waits for an event of `kind` whose detail holds `text`.
    pub async fn event(&self, kind: &str, text: &str) -> Event {
        let found = || async {
            let events = self.api.events(0).await?;
            let wanted = |event: &Event| event.kind == kind && event.text.contains(text);
            Ok(events.into_iter().rev().find(wanted))
        };
        wait_for(&format!("{kind} with {text:?}"), PATIENCE, found)
            .await
            .unwrap()
    }

    /// Waits until an event of `kind` that is newer than `revision` is seen,
    /// without a pause between two looks.
    pub async fn newer_event(&self, kind: &str, revision: u64) -> Event {
        let search = async {
            loop {
                let events = self.api.events(revision + 1).await.unwrap_or_default();
                if let Some(event) = events.into_iter().find(|event| event.kind == kind) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search)
            .await
            .unwrap_or_else(|_| panic!("no {kind} after revision {revision}"))
    }

    /// The latest revision of the history.
    pub async fn revision(&self) -> u64 {
        let events = || async { Ok(self.api.events(0).await.ok()) };
        let events = wait_for("the history", PATIENCE, events).await.unwrap();
        events.last().map_or(0, |event| event.revision)
    }

    /// Waits until a member is shown so.
    pub async fn member(&self, name: &str, so: impl Fn(&Member) -> bool) -> Member {
        let shown = || async {
            let members = self.api.group().await?.members;
            Ok(members.into_iter().find(|it| it.name == name && so(it)))
        };
        wait_for(&format!("{name} to be shown so"), PATIENCE, shown)
            .await
            .unwrap()
    }

    /// What `primacy ctl` prints, whatever its exit code.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let nodes = self.fleet.places().iter().map(|it| it.grpc().to_string());
        let nodes: Vec<String> = nodes.collect();
        let mut command = self.fleet.command(0);
        command.arg("ctl").args(arguments);
        let output = command
            .args(["--server", &nodes.join(",")])
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Some place that is not the primary's.
    pub async fn elsewhere(&self) -> usize {
        (self.primary().await + 1) % 3
    }

    /// The name of a place's member.
    pub fn name(&self, index: usize) -> String {
        self.fleet.places()[index].region.clone()
    }

    /// Everybody back in place, the writer stopped, every row read back.
    pub async fn end(self) {
        self.writes().await;
        let group = self.whole().await;
        let primary = self.fleet.place(&group.holder).unwrap().index;
        let ledger = self.writer.finish().await.unwrap();
        let writes = read_back(&self.fleet, primary, &ledger).await.unwrap();
        assert!(
            writes.acked > 40,
            "only {} writes were acknowledged",
            writes.acked
        );
        assert_eq!(writes.lost, 0, "of {} acknowledged", writes.acked);
    }
}
