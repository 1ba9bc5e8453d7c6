//! The tests run their own program once more as a child whose clocks are
//! skewed. This process's own stay right; [`clock::now`] does in the child too.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, mpsc},
    time::{Instant, SystemTime},
};

use tempfile::TempDir;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
/// Milliseconds for which a busy machine may hold up whoever reads one clock
/// after the other.
const HELD_UP: i64 = 100;
const PART: &str = "JEPSEN_CLOCK_PART";
type Wait = (&'static str, fn(Duration));

const WAITS: [Wait; 7] = [
    ("sleep", thread::sleep),
    ("park", park),
    ("condvar", wait_on_condvar),
    ("channel", wait_on_channel),
    ("tokio", sleep_in_tokio),
    ("poll", poll),
    ("nothing to select", select),
];

fn park(length: Duration) {
    thread::spawn(move || thread::park_timeout(length))
        .join()
        .unwrap();
}

fn wait_on_condvar(length: Duration) {
    let (mutex, condition) = (Mutex::new(()), Condvar::new());
    let waiting = condition.wait_timeout_while(mutex.lock().unwrap(), length, |()| true);
    assert!(waiting.unwrap().1.timed_out());
}

fn wait_on_channel(length: Duration) {
    let (_sender, receiver) = mpsc::channel::<()>();
    let timeout = mpsc::RecvTimeoutError::Timeout;
    assert_eq!(receiver.recv_timeout(length), Err(timeout));
}

fn sleep_in_tokio(length: Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::sleep(length).await });
}

/// A socket's read timeout is the kernel's own affair; an interpreter's
/// `select.poll` and `select.select` are libc's.
fn poll(length: Duration) {
    python("select.poll().poll", length.as_millis().to_string());
}

fn select(length: Duration) {
    python(
        "select.select",
        format!("[],[],[],{}", length.as_secs_f64()),
    );
}

fn python(call: &str, arguments: String) {
    let text = format!("import select; {call}({arguments})");
    let status = Command::new("python3").args(["-c", &text]).status();
    assert!(status.is_ok_and(|status| status.success()));
}

#[expect(
    clippy::disallowed_methods,
    reason = "what the shim skews is std's clock"
)]
fn shown() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

struct Actor {
    child: Child,
    orders: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Actor {
    /// Runs `part` of [`in_a_child`] with these variables.
    fn start<K: AsRef<std::ffi::OsStr>>(
        part: &str,
        env: impl IntoIterator<Item = (K, PathBuf)>,
    ) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "ground::clocks::tests::in_a_child"])
            .args(["--ignored", "--nocapture"])
            .env(PART, part)
            .envs(env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let orders = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The harness says a word on the same line before the first one.
                let said = line.rsplit_once("> ").map(|(_, said)| said.to_owned());
                if let Some(said) = said
                    && sender.send(said).is_err()
                {
                    return;
                }
            }
        });
        Self {
            child,
            orders,
            lines,
        }
    }

    fn next(&self) -> Option<String> {
        self.lines.recv_timeout(PATIENCE).ok()
    }

    /// All that it says until it ends.
    fn end(mut self) -> Vec<String> {
        drop(self.orders.take());
        let lines = std::iter::from_fn(|| self.next()).collect();
        assert!(self.child.wait().unwrap().success());
        lines
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Run by the other tests, with its part in the environment.
#[test]
#[ignore = "is run by the others"]
fn in_a_child() {
    match std::env::var(PART).unwrap().as_str() {
        "waits" => report_waits(Duration::from_millis(300)),
        "long waits" => report_long_waits(),
        "looks" => look_until_told(),
        "cost" => report_cost(),
        other => panic!("no part is called {other}"),
    }
}

fn say(line: &str) {
    println!("> {line}");
    std::io::stdout().flush().unwrap();
}

/// For each way to wait: how long by the clock it knows, and how long really.
fn report_waits(length: Duration) {
    for (name, wait) in WAITS {
        let ((began, _), really) = (shown(), clock::now());
        wait(length);
        let shown = began.elapsed().as_millis();
        say(&format!(
            "{name}:{shown}:{}",
            (clock::now() - really).as_millis()
        ));
    }
}

fn report_long_waits() {
    let waits = WAITS.map(|(name, wait)| {
        thread::spawn(move || {
            wait(Duration::from_secs(30));
            say(name);
        })
    });
    say("waiting");
    waits.into_iter().for_each(|it| it.join().unwrap());
}

/// Four threads look at the clock until the parent closes their input.
fn look_until_told() {
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let look = || {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            let (mut last, mut wall) = shown();
            let (mut back, mut wall_back) = (0_u64, 0);
            while !stop.load(Ordering::Relaxed) {
                let (now, now_wall) = shown();
                back += u64::from(now < last);
                wall_back =
                    wall_back.max(wall.duration_since(now_wall).map_or(0, |by| by.as_millis()));
                (last, wall) = (now, now_wall);
            }
            (back, wall_back)
        })
    };
    let looking: Vec<_> = (0..4).map(|_| look()).collect();
    say("looking");
    let ((began, _), really) = (shown(), clock::now());
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let date = Command::new("date").arg("+%s").output().unwrap().stdout;
        let wall = shown().1.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let date: u64 = String::from_utf8(date).unwrap().trim().parse().unwrap();
        assert!(wall.as_secs() - date <= 2, "a child of its own sees {date}");
        let passed = began.elapsed().as_millis();
        say(&format!(
            "{line}:{passed}:{}:{}",
            (clock::now() - really).as_millis(),
            wall.as_millis()
        ));
    }
    stop.store(true, Ordering::Relaxed);
    for it in looking {
        let (back, wall_back) = it.join().unwrap();
        say(&format!("back:{back}:{wall_back}:0"));
    }
}

fn report_cost() {
    const CALLS: u32 = 1_000_000;
    let began = clock::now();
    for _ in 0..CALLS {
        std::hint::black_box(shown());
    }
    say(&format!("{:?} a call", (clock::now() - began) / CALLS / 2));
}

fn skewed() -> (TempDir, SkewedClock) {
    let dir = TempDir::new().unwrap();
    let clock = SkewedClock::create(&dir.path().join("clock")).unwrap();
    (dir, clock)
}

/// A word and its three numbers.
fn numbers(line: &str) -> [i64; 3] {
    let mut fields = line.split(':').skip(1).map(|field| field.parse().unwrap());
    std::array::from_fn(|_| fields.next().unwrap_or(0))
}

#[test]
fn every_way_to_wait_is_as_long_as_the_skewed_clock_says() {
    for rate in [2.0, 0.5, 1.1] {
        let (_dir, clock) = skewed();
        clock.set_rate(rate).unwrap();
        let lines = Actor::start("waits", clock.env()).end();
        assert_eq!(lines.len(), WAITS.len(), "{lines:?}");
        for line in lines {
            let [shown, really, _] = numbers(&line);
            let least = (300.0 / rate) as i64;
            assert!(shown >= 300, "{rate}: {line}");
            assert!(
                really >= least - 2 && really < least + 10_000,
                "{rate}: {line}"
            );
            let expected = (really as f64 * rate) as i64;
            assert!((shown - expected).abs() <= 20, "{rate}: {line}");
        }
    }
}

#[test]
fn without_a_control_file_everything_is_as_ever() {
    let (dir, clock) = skewed();
    clock.set_rate(2.0).unwrap();
    let mut env = clock.env();
    env[1].1 = dir.path().join("nothing");
    let lines = Actor::start("waits", env).end();
    assert_eq!(lines.len(), WAITS.len(), "{lines:?}");
    for line in lines {
        let [shown, really, _] = numbers(&line);
        assert!(shown >= 300 && (shown - really).abs() <= HELD_UP, "{line}");
    }
}

#[test]
fn whoever_waits_notices_that_the_clock_jumped() {
    let (_dir, clock) = skewed();
    let actor = Actor::start("long waits", clock.env());
    assert_eq!(actor.next().as_deref(), Some("waiting"));
    // Until the slowest has begun to wait.
    thread::sleep(Duration::from_secs(3));
    let began = clock::now();
    clock.jump(31_000, Which::All).unwrap();
    assert_eq!(actor.end().len(), WAITS.len());
    let took = clock::now() - began;
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[test]
fn only_the_wall_clock_goes_back_whatever_is_changed() {
    let (_dir, clock) = skewed();
    let mut actor = Actor::start("looks", clock.env());
    assert_eq!(actor.next().as_deref(), Some("looking"));
    let mut orders = actor.orders.take().unwrap();
    let mut look = |name: &str| {
        writeln!(orders, "{name}").unwrap();
        numbers(&actor.next().unwrap())
    };
    let [shown, really, _] = look("right");
    assert!((shown - really).abs() <= HELD_UP);

    clock.jump(30_000, Which::All).unwrap();
    assert!(clock.jump(-1, Which::All).is_err());
    let [shown, really, _] = look("all jumped");
    assert!(
        (shown - really - 30_000).abs() <= HELD_UP,
        "{shown} {really}"
    );

    let wall = |by: i64, wall: i64| (wall - read(ClockId::Realtime) / 1_000_000 - by).abs() < 1500;
    clock.jump(-5_000, Which::Wall).unwrap();
    let [shown, really, time] = look("the wall clock went back");
    assert!((shown - really - 30_000).abs() <= HELD_UP && wall(25_000, time));

    clock.suspend(Duration::from_secs(60)).unwrap();
    let [shown, really, time] = look("suspended");
    assert!((shown - really - 30_000).abs() <= HELD_UP && wall(85_000, time));

    for rate in [2.0, 0.5, 1.1, 50.0, 0.02].repeat(4) {
        clock.set_rate(rate).unwrap();
    }
    clock.reset().unwrap();
    let [.., time] = look("reset");
    assert!(wall(0, time), "{time}");
    let now = read(ClockId::Realtime);
    assert_eq!(clock.mapping.course(WALL).0.virtual_at(now), now);
    drop(orders);
    let ends: Vec<_> = actor.end().iter().map(|line| numbers(line)).collect();
    assert_eq!(ends.len(), 4);
    for [back, wall_back, _] in ends {
        assert_eq!(back, 0, "the monotonic clock went back");
        assert!(wall_back > 4_900, "{wall_back}");
    }
}

#[test]
fn a_process_is_known_to_see_the_skew_only_if_it_does() {
    let (_dir, clock) = skewed();
    let sees = Actor::start("looks", clock.env());
    let sees_not = Actor::start("looks", [("JEPSEN_CLOCK", clock.env()[1].1.clone())]);
    for actor in [&sees, &sees_not] {
        assert_eq!(actor.next().as_deref(), Some("looking"));
    }
    let soon = || clock::now() + Duration::from_millis(300);
    // Right clocks are no skew.
    assert_eq!(clock.served(sees.child.id()), 0);
    assert!(clock.assert_seen(sees.child.id(), soon()).is_err());
    clock.jump(3_600_000, Which::Wall).unwrap();
    let told = clock
        .assert_seen(sees.child.id(), clock::now() + PATIENCE)
        .unwrap();
    assert_eq!(
        (told.wall_ahead, told.monotonic_ahead),
        (3_600_000_000_000, 0)
    );
    assert!(clock.assert_seen(sees_not.child.id(), soon()).is_err());
}

#[test]
fn a_course_has_no_gap_where_its_pace_changes() {
    let rates = [ONE, ONE * 2, ONE / 2, ONE / 10 * 11, ONE / 3, ONE * 7 / 5];
    let (mut course, mut last) = (Course::REAL, 0);
    for (at, rate) in (1_000_003..).step_by(999_983).zip(rates.repeat(50)) {
        let turned = course.turn(at, 0, rate);
        for real in at - 3000..at + 3000 {
            let now = if real < at {
                course.virtual_at(real)
            } else {
                turned.virtual_at(real)
            };
            assert!(
                turned.virtual_at(real) >= now,
                "announced later, it would go back"
            );
            assert!(now >= last, "{course:?} {turned:?}");
            assert!(turned.virtual_at(turned.real_at(now, at - 3000)) >= now);
            last = now;
        }
        course = turned;
    }
}

/// To be run by hand.
#[test]
#[ignore = "measures"]
fn how_much_it_costs() {
    let (_dir, clock) = skewed();
    clock.set_rate(1.1).unwrap();
    eprintln!("skewed {:?}", Actor::start("cost", clock.env()).end());
    let nothing: [(&str, PathBuf); 0] = [];
    eprintln!("right {:?}", Actor::start("cost", nothing).end());
}
