//! The agent's loop: look, say, obey, do one thing, look again.
//!
//! Nothing is remembered from one turn to the next that could not be found
//! out again, so a crash at any point costs only time.

mod beside;
mod failing;
mod interrupt;
mod silent;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    clock,
    domain::{Instruction, Position, Postgres, Report, Role, Trouble},
    fuse::{FuseClient, FuseError},
    ports::Directive,
    postgres,
};

use self::{
    failing::{Failing, RETRY_FIRST, RETRY_MOST},
    interrupt::superseded,
    silent::{Hunger, Silence, starved},
};
use super::{
    act::{self, ActError},
    chain,
    member::{Member, Options},
    memory::{Memory, MemoryError},
    observe::{Observed, renewable},
    promise,
    reconcile::{Directory, Step, next_step},
    session::{Said, Sessions, Speaker},
};

/// Between two looks while nothing changes.
const CALM: Duration = Duration::from_millis(500);
/// Between two looks while the leader waits for what they show.
const WATCHFUL: Duration = Duration::from_millis(5);
/// After this much watching without news the looks become rarer.
const ALERT: Duration = Duration::from_secs(5);
const WEARY: Duration = Duration::from_millis(50);
/// The longest pause of a step that waits for somebody else.
const WAIT_MOST: Duration = Duration::from_millis(500);
/// Stands in for the TTL until a first renewal told it.
const UNRENEWED: Duration = Duration::from_secs(10);
const ATTACH: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(
        "the agent runs as root, and PostgreSQL refuses to: run it as the owner of the data \
             directory"
    )]
    Root,
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error("start the fuse")]
    Fuse(#[from] FuseError),
}

/// Runs the agent of one member until `shutdown`. PostgreSQL and its fuse
/// live on: the next agent attaches to them.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), AgentError> {
    if rustix::process::geteuid().is_root() {
        return Err(AgentError::Root);
    }
    let memory = Memory::open(
        &options.state_dir,
        &options.data_dir,
        &options.group,
        &options.member,
    )?;
    let fuse = FuseClient::attach_or_spawn(&options.program, &options.state_dir, ATTACH).await?;
    let member = Member::new(options, memory, fuse)?;
    let speaker = Speaker {
        group: member.options.group.clone(),
        member: member.options.member.clone(),
        run: uuid::Uuid::new_v4().to_string(),
    };
    info!(group = %speaker.group, member = %speaker.member,
        incarnation = %member.memory.incarnation(), "agent started");
    let sessions = Sessions::start(&speaker, &member.options.servers, &shutdown);
    let turn = Turn {
        directive: sessions.directive(),
        sessions,
        exits: watch_exits(member.postgres.fuse().clone(), shutdown.clone()),
        member,
        prepared: false,
        noted: Duration::ZERO,
        failing: Failing::default(),
        lonely: None,
        silence: None,
        stirred: clock::boottime(),
        last: None,
        heartbeats: Heartbeats::default(),
    };
    turn.run(shutdown).await;
    info!("agent stopped; PostgreSQL lives on");
    Ok(())
}

/// Wakes the loop when the fuse sees PostgreSQL start or end.
fn watch_exits(fuse: FuseClient, shutdown: CancellationToken) -> Arc<Notify> {
    let exits = Arc::new(Notify::new());
    let notify = Arc::clone(&exits);
    tokio::spawn(shutdown.run_until_cancelled_owned(async move {
        loop {
            if let Ok(mut events) = fuse.subscribe().await {
                while events.next().await.is_ok() {
                    notify.notify_one();
                }
            }
            time::sleep(RETRY_FIRST).await;
        }
    }));
    exits
}

struct Turn {
    member: Member,
    sessions: Sessions,
    directive: watch::Receiver<Option<Directive>>,
    exits: Arc<Notify>,
    /// The directory was found fit to be worked with.
    prepared: bool,
    /// When it was last noted how far the log reaches.
    noted: Duration,
    /// Asks the sync set for a sign of life while no node renews the lease.
    lonely: Option<JoinHandle<bool>>,
    failing: Failing,
    /// A PostgreSQL that runs does not answer.
    silence: Option<Silence>,
    /// When something last changed.
    stirred: Duration,
    last: Option<Report>,
    heartbeats: Heartbeats,
}

/// How a step ended.
enum Acted {
    Done(Result<(), ActError>),
    /// Another instruction came.
    Superseded,
    /// The standby that it started waits for log that nobody has.
    Starved(Hunger),
}

/// When a quorum node last renewed the lease of a primary, and its TTL.
#[derive(Default)]
struct Heartbeats {
    renewed: Option<(Duration, Duration)>,
}

impl Turn {
    async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let pause = tokio::select! {
                pause = self.turn() => pause,
                () = shutdown.cancelled() => break,
            };
            if pause.is_zero() {
                continue;
            }
            tokio::select! {
                () = time::sleep(pause) => {}
                _ = self.directive.changed() => {}
                () = self.exits.notified() => self.member.stopped = None,
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// One turn; returns how long to rest.
    async fn turn(&mut self) -> Duration {
        self.collect_background().await;
        if let Err(error) = self.prepare().await {
            return self.fail_to_look(&error);
        }
        let observed = match self.member.observe().await {
            Ok(Some(observed)) => observed,
            Ok(None) => return self.wait_for_an_answer().await,
            Err(error) => {
                self.revive_fuse(&error).await;
                return self.fail_to_look(&error.into());
            }
        };
        self.silence = None;
        self.note_reached(&observed);
        let directive = self.directive.borrow_and_update().clone();
        self.say(&observed, None);
        let Some(directive) =
            directive.filter(|d| d.incarnation == self.member.memory.incarnation())
        else {
            return self.wait_in_peace().await;
        };
        if directive.instruction == Instruction::Hold {
            return self.wait_in_peace().await;
        }
        self.beside(&directive, &observed);
        if self.is_forsaken(&observed).await {
            return self
                .do_step(Step::StopImmediate, &directive, &observed)
                .await;
        }
        let step = match self.admit(&directive.instruction) {
            Ok(true) => next_step(
                self.member.memory.promised(),
                &directive.instruction,
                &self.member.actual(&observed),
            ),
            Ok(false) => Step::Nothing,
            Err(error) => return self.fail(Step::Nothing, &error),
        };
        self.do_step(step, &directive, &observed).await
    }

    /// Leaves behind how far the log reaches, for the next agent.
    fn note_reached(&mut self, observed: &Observed) {
        let now = clock::boottime();
        let Postgres::Running(running) = &observed.postgres else {
            return;
        };
        if now.saturating_sub(self.noted) < CALM {
            return;
        }
        self.noted = now;
        let Some(lineage) = &observed.lineage else {
            return;
        };
        // Of the timeline that wrote it: at a fork that is the ancestor, though
        // the receiver is on the descendant already.
        let reached = Position {
            timeline: lineage.timeline_of(running.replayed),
            lsn: running.replayed,
        };
        if let Err(error) = self.member.memory.note_reached(reached) {
            warn!(reason = %chain(&error), "how far the log reaches is not noted");
        }
    }

    /// A fuse that died took PostgreSQL with it; a new one starts both again.
    async fn revive_fuse(&mut self, error: &postgres::Error) {
        if !matches!(error, postgres::Error::Fuse(FuseError::Unreachable { .. })) {
            return;
        }
        warn!("the fuse is gone; starting another");
        let options = &self.member.options;
        let revived =
            FuseClient::attach_or_spawn(&options.program, &options.state_dir, ATTACH).await;
        match revived {
            Ok(_) => self.member.forget(),
            Err(error) => error!(reason = %chain(&error), "no fuse can be started"),
        }
    }

    /// Nothing is asked of the member, so there is time for a closer look.
    async fn wait_in_peace(&mut self) -> Duration {
        match self.member.look_closer().await {
            Ok(()) => CALM,
            Err(error) => self.fail_to_look(&error.into()),
        }
    }

    /// What has to be so before anything is done, here rather than at the
    /// start: the operator should see in `status` why a member does nothing.
    async fn prepare(&mut self) -> Result<(), ActError> {
        if self.prepared {
            return Ok(());
        }
        let instance = self.member.postgres.instance();
        postgres::check_binaries(instance).await?;
        instance.make_socket_dir()?;
        instance.finish_swap()?;
        self.member.refuse_rollback().await?;
        self.prepared = true;
        Ok(())
    }

    /// Persists the promise that the instruction asks for. False: it is late.
    fn admit(&mut self, instruction: &Instruction) -> Result<bool, ActError> {
        match promise::admit(self.member.memory.promised(), instruction) {
            Ok(promised) => {
                self.member.memory.promise(promised)?;
                Ok(true)
            }
            Err(refused) => {
                debug!(%refused, "a late instruction is not obeyed");
                Ok(false)
            }
        }
    }

    async fn do_step(
        &mut self,
        step: Step,
        directive: &Directive,
        observed: &Observed,
    ) -> Duration {
        let rest = self.failing.rest(&step, clock::boottime());
        if !rest.is_zero() {
            return rest.min(CALM);
        }
        if step == Step::Nothing {
            if self.failing.forget() {
                self.member.trouble = None;
            }
            self.admit_peers(&directive.instruction, observed).await;
            return self.rest(directive.watchful);
        }
        if let Some(what) = act::describe(&step) {
            self.say(observed, Some(what));
            if !self.failing.is(&step) {
                info!(?step, "{what}");
            }
        } else {
            debug!(?step, "next step");
        }
        self.stirred = clock::boottime();
        match self.act(step.clone(), directive, observed).await {
            Acted::Done(Ok(())) => {
                if self.failing.is_mended_by(&step) {
                    self.member.trouble = None;
                }
                Duration::ZERO
            }
            Acted::Done(Err(error)) => {
                let most = match error {
                    ActError::Waiting(_) => WAIT_MOST,
                    _ => RETRY_MOST,
                };
                let now = clock::boottime();
                let pause = self.failing.note(step.clone(), now, most);
                // The first failure may be somebody else's restart.
                if pause > RETRY_FIRST {
                    self.complain(&error);
                } else {
                    info!(?step, reason = %chain(&error), "a step is tried again");
                }
                pause
            }
            // What was begun is looked at again.
            Acted::Superseded => Duration::ZERO,
            Acted::Starved(hunger) => {
                self.fall_silent(hunger);
                Duration::ZERO
            }
        }
    }

    /// Does a step unless it becomes pointless.
    async fn act(&mut self, step: Step, directive: &Directive, observed: &Observed) -> Acted {
        let sessions = &self.sessions;
        let mut progress = |member: &Member, doing: String| {
            let report = member.report(observed, Some(Postgres::Busy { doing }));
            sessions.say(said(&report, None));
        };
        let superseded = superseded(
            self.directive.clone(),
            directive.clone(),
            self.member.memory.promised(),
        );
        let starved = starved(
            self.member.postgres.clone(),
            step.clone(),
            directive.instruction.clone(),
        );
        let acted = tokio::select! {
            done = self.member.act(step, &directive.instruction, &mut progress) => {
                return Acted::Done(done);
            }
            () = superseded => Acted::Superseded,
            hunger = starved => Acted::Starved(hunger),
        };
        self.member.forget();
        acted
    }

    /// Roles and slots of members that came since the promotion.
    async fn admit_peers(&mut self, instruction: &Instruction, observed: &Observed) {
        let Instruction::Primary(order) = instruction else {
            return;
        };
        let opened = self.member.memory.promised().opened == order.order.epoch;
        if observed.directory != Directory::Running(Role::Primary) || !opened {
            return;
        }
        if let Err(error) = self.member.admit_peers(order).await {
            warn!(%error, "a member could not be given its slot");
        }
    }

    fn rest(&self, watchful: bool) -> Duration {
        let calm = clock::boottime().saturating_sub(self.stirred) > ALERT;
        match (watchful, calm) {
            (true, false) => WATCHFUL,
            (true, true) => WEARY,
            (false, _) => CALM,
        }
    }

    // What is said.

    fn say(&mut self, observed: &Observed, busy: Option<&str>) {
        let postgres = busy.map(|doing| Postgres::Busy {
            doing: doing.to_owned(),
        });
        let report = self.member.report(observed, postgres);
        let promised = self.member.memory.promised();
        let renew = renewable(promised, observed).then_some((promised.opened, false));
        self.sessions.say(said(&report, renew));
        self.last = Some(report);
    }

    fn say_busy(&mut self, doing: &str) {
        if let Some(mut report) = self.last.clone() {
            report.postgres = Postgres::Busy {
                doing: doing.to_owned(),
            };
            self.sessions.say(said(&report, None));
        }
    }

    fn complain(&mut self, error: &ActError) {
        let trouble = Trouble {
            code: error.code().to_owned(),
            message: chain(error),
        };
        if self.member.trouble.as_ref() != Some(&trouble) {
            match error {
                ActError::Waiting(_) => info!(reason = %trouble.message, "waiting"),
                _ => error!(code = %trouble.code, reason = %trouble.message, "a step failed"),
            }
        }
        let waits = matches!(error, ActError::Waiting(_));
        self.member.trouble = (!waits).then_some(trouble);
    }

    fn fail(&mut self, step: Step, error: &ActError) -> Duration {
        self.complain(error);
        self.failing
            .leave_alone(step, clock::boottime(), RETRY_MOST);
        RETRY_MOST
    }

    fn fail_to_look(&mut self, error: &ActError) -> Duration {
        let message = chain(error);
        let trouble = Trouble {
            code: error.code().to_owned(),
            message,
        };
        if self.member.trouble.as_ref() != Some(&trouble) {
            error!(code = %trouble.code, reason = %trouble.message, "the member cannot be looked at");
        }
        self.member.trouble = Some(trouble);
        let nothing_known = Observed::unknown();
        self.sessions
            .say(said(&self.member.report(&nothing_known, None), None));
        RETRY_MOST / 5
    }
}

fn said(report: &Report, renew: Option<(crate::domain::Epoch, bool)>) -> Said {
    // A report is plain data; it always serialises.
    let report = serde_json::to_vec(report).unwrap_or_default();
    Said {
        report: Arc::new(report),
        renew,
    }
}
