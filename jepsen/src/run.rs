//! One run, from an empty directory to a verdict.
//!
//! ```text
//! bring up ─► load, calm ─► faults ─► heal, calm ─► quiet: read back ─► judge
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::{Arc, Mutex, Once, PoisonError, Weak},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    check::{self, Verdict},
    clock,
    fleet::{CLIENTS, Fleet, OBSERVER, Options},
    ground,
    history::{About, Answer, History, Recorder, Request, edn},
    nemesis::{Field, Nemesis, torture},
    report,
    workload::{Ground, Workload},
};

/// Before the first fault: shows that the fleet is well and nothing fails over.
const CALM: Duration = Duration::from_secs(5);
/// After the last fault is taken back, for the fleet to be whole again.
const HEALED: Duration = Duration::from_secs(90);
/// And then, whole: workloads go on for as long.
const AFTERMATH: Duration = Duration::from_secs(6);
/// For workloads to end, and for standbys to replay.
const WIND_UP: Duration = Duration::from_secs(60);

/// What is to be run.
pub struct Plan {
    pub fleet: Options,
    pub workloads: Vec<Box<dyn Workload>>,
    pub nemeses: Vec<Box<dyn Nemesis>>,
    /// Of load, faults included.
    pub time: Duration,
    pub out: PathBuf,
    /// How to run it again.
    pub command: String,
}

/// What came of it: a line for each judge, and whether all are satisfied.
pub struct Outcome {
    pub verdicts: Vec<(String, String, Verdict)>,
    /// Why the run did not come to its end, if so.
    pub trouble: Option<String>,
}

impl Outcome {
    #[must_use]
    pub fn good(&self) -> bool {
        self.trouble.is_none()
            && self
                .verdicts
                .iter()
                .all(|(_, _, verdict)| verdict.is_good())
    }
}

/// Runs the plan and writes `history.json`, `history.edn`, `report.html` and
/// the logs into `plan.out`.
pub fn run(plan: Plan, tell: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Outcome> {
    if let Some(missing) = ground::missing() {
        bail!("{missing}");
    }
    fs::create_dir_all(&plan.out).with_context(|| format!("make {}", plan.out.display()))?;
    let recorder = Recorder::new();
    recorder.note(|history, _| history.about = about(&plan));
    let fleet = Arc::new(Fleet::prepare(plan.fleet.clone(), &recorder)?);
    end_when_told(&fleet);
    let done = drive(&plan, &fleet, &recorder, tell);
    if let Err(error) = copy_logs(&fleet, &plan.out) {
        tell(&format!("the logs are not kept: {error:#}"));
    }
    recorder.note(|history, now| history.phases.end = now);
    let history = recorder.history().clone();
    // What was recorded is judged and kept, also when the run did not get far.
    let outcome = judge(&history, &plan.out)?;
    let trouble = done.err().map(|error| format!("{error:#}"));
    Ok(Outcome { trouble, ..outcome })
}

/// The fleet that runs now, for whoever interrupts this process.
static CURRENT: Mutex<Weak<Fleet>> = Mutex::new(Weak::new());
static HANDLER: Once = Once::new();

/// Takes the fleet along when this process is interrupted or told to end.
/// Network and disks are tidied up by whoever runs next.
fn end_when_told(fleet: &Arc<Fleet>) {
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(fleet);
    HANDLER.call_once(|| {
        thread::spawn(|| {
            if let Err(error) = await_the_end() {
                eprintln!("an interruption will leave the fleet running: {error}");
                return;
            }
            let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Err(error)) = current.upgrade().map(|fleet| fleet.tear_down()) {
                eprintln!("{error:#}");
            }
            process::exit(130);
        });
    });
}

fn await_the_end() -> std::io::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(async {
        let mut told = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = told.recv() => Ok(()),
        }
    })
}

fn about(plan: &Plan) -> About {
    let regions = crate::fleet::REGIONS.iter().take(plan.fleet.nodes);
    let regions: Vec<String> = regions.map(|it| (*it).to_owned()).collect();
    About {
        seed: plan.fleet.seed.0,
        nodes: plan.fleet.nodes,
        workloads: plan
            .workloads
            .iter()
            .map(|it| it.name().to_owned())
            .collect(),
        nemeses: plan.nemeses.iter().map(|it| it.name().to_owned()).collect(),
        seconds: plan.time.as_secs(),
        command: plan.command.clone(),
        version: version(&plan.fleet.program),
        max_staleness_ms: Options::MAX_STALENESS_MS,
        ttl_ms: Options::TTL_MS,
        members: regions.iter().take(3).cloned().collect(),
        name_servers: regions,
    }
}

fn version(program: &Path) -> String {
    let output = std::process::Command::new(program)
        .arg("--version")
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

/// Judges a history, and leaves it and the report in `out`.
pub fn judge(history: &History, out: &Path) -> anyhow::Result<Outcome> {
    let judges = check::all();
    let verdicts = judges.iter().map(|judge| {
        let verdict = judge.check(history);
        (judge.name().to_owned(), judge.claim().to_owned(), verdict)
    });
    let verdicts: Vec<_> = verdicts.collect();
    fs::write(out.join("history.json"), serde_json::to_vec(history)?)?;
    let mut file = std::io::BufWriter::new(fs::File::create(out.join("history.edn"))?);
    edn::write(history, &mut file)?;
    fs::write(out.join("report.html"), report::render(history, &verdicts))?;
    Ok(Outcome {
        verdicts,
        trouble: None,
    })
}

fn drive(
    plan: &Plan,
    fleet: &Arc<Fleet>,
    recorder: &Recorder,
    tell: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<()> {
    fleet.bring_up(tell)?;
    // How the fleet came to be is on the disks; what comes now is under torture.
    rustix::fs::sync();
    let hosts = [CLIENTS, OBSERVER].map(|host| fleet.network.runtime(host, 1));
    let [clients, observer] = hosts;
    let (clients, observer) = (clients?, observer?);
    let stop = CancellationToken::new();
    let ground = Ground {
        targets: fleet.targets(),
        recorder: recorder.clone(),
        seed: plan.fleet.seed,
        operator: Arc::default(),
        stop: stop.clone(),
    };
    let working = start_workloads(plan, &ground, [&clients, &observer]);
    recorder.note(|history, now| history.phases.load = now);
    tell(&format!("{} workloads at work", plan.workloads.len()));
    thread::sleep(CALM);
    let seen_calm = recorder.history().answered().count();
    ensure!(
        seen_calm > 0,
        "the workloads get no answer before any fault"
    );
    strike(plan, fleet, &ground, tell);
    fleet.network.heal_all();
    fleet
        .places
        .iter()
        .try_for_each(|place| fleet.clock(place).reset())?;
    recorder.note(|history, now| history.phases.healed = now);
    tell("all faults are taken back; waiting until every member is in its place");
    let whole = fleet.wait_until_whole(HEALED);
    thread::sleep(AFTERMATH);
    stop.cancel();
    let ended = wind_up(&clients, working);
    recorder.note(|history, now| history.phases.quiet = now);
    tell("reading back every row from every member");
    let read = read_back(fleet, recorder);
    whole?;
    ended?;
    read
}

fn start_workloads(
    plan: &Plan,
    ground: &Ground,
    [clients, observer]: [&Runtime; 2],
) -> Vec<JoinHandle<anyhow::Result<()>>> {
    let started = crate::workload::all().into_iter().filter(|workload| {
        let wanted = plan.workloads.iter();
        wanted
            .map(|it| it.name())
            .any(|name| name == workload.name())
    });
    started
        .map(|workload| {
            let host = if workload.observes() {
                observer
            } else {
                clients
            };
            let ground = ground.clone();
            host.spawn(async move {
                let name = workload.name();
                workload.run(ground).await.with_context(|| name)
            })
        })
        .collect()
}

/// Faults, until the run's time is over.
fn strike(plan: &Plan, fleet: &Arc<Fleet>, ground: &Ground, tell: &(dyn Fn(&str) + Sync)) {
    let stop = CancellationToken::new();
    let recorder = &ground.recorder;
    recorder.note(|history, now| history.phases.faults = now);
    let field = Field {
        fleet: Arc::clone(fleet),
        recorder: recorder.clone(),
        operator: Arc::clone(&ground.operator),
        stop: stop.clone(),
    };
    let mut random = plan.fleet.seed.stream("nemeses");
    let time = plan.time.saturating_sub(CALM);
    thread::scope(|scope| {
        if !plan.nemeses.is_empty() {
            scope.spawn(|| torture(&field, &plan.nemeses, &mut random, tell));
        }
        let began = clock::now();
        while clock::now().saturating_sub(began) < time {
            thread::sleep(Duration::from_millis(100));
        }
        stop.cancel();
    });
}

fn wind_up(runtime: &Runtime, working: Vec<JoinHandle<anyhow::Result<()>>>) -> anyhow::Result<()> {
    let first_error = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&first_error);
    let all = async move {
        for task in working {
            let result = match task.await {
                Ok(result) => result,
                Err(error) => Err(anyhow::anyhow!("a workload: {error}")),
            };
            if let Err(error) = result {
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                noted.get_or_insert(error);
            }
        }
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        all.await;
        let _gone = sender.send(());
    });
    receiver
        .recv_timeout(WIND_UP)
        .context("the workloads do not end")?;
    let error = first_error
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    error.map_or(Ok(()), Err)
}

/// Every row of every member, once standbys have replayed what there is.
fn read_back(fleet: &Fleet, recorder: &Recorder) -> anyhow::Result<()> {
    let events = fleet.events()?;
    recorder.note(|history, _| history.events = events);
    let primary = fleet.primary()?;
    let end = fleet.sql(primary, "SELECT pg_current_wal_flush_lsn();")?;
    for place in fleet.members() {
        let replayed = format!(
            "SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= '{end}'::pg_lsn;"
        );
        fleet.wait_for(&format!("{} to replay", place.region), WIND_UP, || {
            fleet
                .sql(place, &replayed)
                .is_ok_and(|answer| answer == "t")
        })?;
        let request = Request::ReadBack {
            member: place.region.to_owned(),
        };
        let ticket = recorder.begin("read-back", recorder.process(), request);
        let rows = fleet.sql(
            place,
            "SELECT id FROM writes UNION ALL SELECT id FROM probes ORDER BY 1;",
        );
        let rows = rows.and_then(|text| {
            let rows = text.lines().map(str::parse);
            rows.collect::<Result<Vec<i64>, _>>().context("row numbers")
        });
        match rows {
            Ok(rows) => ticket.ok(Answer::Rows { rows }),
            Err(error) => ticket.info(format!("{error:#}")),
        }
    }
    Ok(())
}

fn copy_logs(fleet: &Fleet, out: &Path) -> anyhow::Result<()> {
    let to = out.join("logs");
    fs::create_dir_all(&to)?;
    for entry in fs::read_dir(fleet.logs())? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    for place in fleet.members() {
        let log = place.postgres_log();
        if log.exists() {
            fs::copy(log, to.join(format!("{}-postgres.log", place.region)))?;
        }
    }
    Ok(())
}
