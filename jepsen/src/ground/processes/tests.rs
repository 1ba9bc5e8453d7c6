//! Found are all that are the fleet's, and none that is not. Shells play the
//! parts: a shell is run by the name of whom it plays.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);
/// Opening a pipe that nobody writes to takes for ever.
const WAITS: &str = "read x < never";
/// Has a child that waits, and others that come and go.
const POSTMASTER: &str = "(read x < never) &\nwhile :; do (:) & wait $!; done";

struct Stage {
    dir: TempDir,
    played: Vec<Child>,
}

impl Stage {
    fn set() -> Self {
        let dir = TempDir::new().unwrap();
        for (path, shell) in [("primacy", true), ("bin", false), ("paris", false)] {
            let path = dir.path().join(path);
            if shell {
                fs::copy("/bin/sh", path).unwrap();
            } else {
                fs::create_dir(path).unwrap();
            }
        }
        fs::copy("/bin/sh", dir.path().join("bin/postgres")).unwrap();
        fs::create_dir(dir.path().join("tokyo")).unwrap();
        Self {
            dir,
            played: Vec::new(),
        }
    }

    fn play(&mut self, program: &str, part: &str, script: &str, region: &str) -> i32 {
        let place = self.dir.path().join(region);
        fs::write(place.join(part), script).unwrap();
        let never = place.join("never");
        if !never.exists() {
            let made = Command::new("mkfifo").arg(never).status();
            assert!(made.unwrap().success());
        }
        let mut command = Command::new(self.dir.path().join(program));
        command.arg(part).current_dir(place).stdin(Stdio::null());
        let child = command.spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        self.played.push(child);
        pid
    }

    fn processes(&self, region: &str) -> Processes {
        let at = |name| self.dir.path().join(name);
        Processes::of(&at(region), &at("primacy"), &at("bin"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in &mut self.played {
            let _ended = child.kill();
            let _reaped = child.wait();
        }
        for region in ["paris", "tokyo"] {
            let _gone = self
                .processes(region)
                .kill(&Kind::ALL, clock::now() + PATIENCE);
        }
    }
}

fn found(processes: &Processes, kinds: &[Kind], count: usize) -> Vec<Found> {
    let deadline = clock::now() + PATIENCE;
    loop {
        let found = processes.find(kinds);
        if found.len() >= count || clock::now() > deadline {
            return found;
        }
        thread::sleep(LOOK_AGAIN);
    }
}

#[test]
fn only_what_is_the_regions_is_found_and_killed() {
    let mut stage = Stage::set();
    let agent = stage.play("primacy", "agent", WAITS, "paris");
    let server = stage.play("primacy", "server", WAITS, "paris");
    let _command = stage.play("primacy", "ctl", WAITS, "paris");
    let elsewhere = stage.play("primacy", "agent", WAITS, "tokyo");
    let paris = stage.processes("paris");
    let all = found(&paris, &Kind::ALL, 2);
    let seen: Vec<_> = all.iter().map(|it| (it.kind, it.pid)).collect();
    assert_eq!(seen.len(), 2, "{all:?}");
    assert!(seen.contains(&(Kind::Agent, agent)) && seen.contains(&(Kind::Server, server)));

    let deadline = clock::now() + PATIENCE;
    let killed = paris.kill(&[Kind::Agent], deadline).unwrap();
    assert_eq!(pids(&killed), [agent]);
    assert_eq!(pids(&paris.find(&Kind::ALL)), [server]);
    assert_eq!(
        pids(&stage.processes("tokyo").find(&Kind::ALL)),
        [elsewhere]
    );
}

#[test]
fn a_stopped_postgres_is_stopped_with_every_child_and_goes_on_when_told() {
    let mut stage = Stage::set();
    let postmaster = stage.play("bin/postgres", "main", POSTMASTER, "paris");
    let paris = stage.processes("paris");
    assert!(found(&paris, &[Kind::Postgres], 2).len() >= 2);
    let deadline = clock::now() + PATIENCE;
    let stopped = paris.stop(&[Kind::Postgres], deadline).unwrap();
    assert!(pids(&stopped).contains(&postmaster) && stopped.len() >= 2);
    let (now, later) = (paris.find(&[Kind::Postgres]), {
        thread::sleep(Duration::from_millis(50));
        paris.find(&[Kind::Postgres])
    });
    assert!(
        now.iter().all(Found::is_stopped) && now == later,
        "{later:?}"
    );
    paris.resume(&[Kind::Postgres], deadline).unwrap();
    let children = |of: &[Found]| of.iter().filter(|it| it.parent == postmaster).count();
    assert!(children(&paris.find(&[Kind::Postgres])) >= 1);
    // Those whose parent is killed are found all the same.
    let killed = paris.kill(&[Kind::Postgres], deadline).unwrap();
    assert!(killed.len() >= 2, "{killed:?}");
    assert!(paris.find(&Kind::ALL).is_empty());
}
