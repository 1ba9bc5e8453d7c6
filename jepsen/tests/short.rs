//! A short run of everything, with a fixed seed, on the program as it is shipped.
//!
//! `make jepsen` is the long one.

use std::{
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

/// A run is on a clock: one at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Why a run cannot be made here, if so. A run that is left out says so.
fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces and disks are made by root");
    }
    let tun = Path::new("/dev/net/tun").exists();
    (!tun).then_some("there is no /dev/net/tun")
}

fn torture(arguments: &[&str]) {
    if let Some(missing) = missing() {
        eprintln!("left out: {missing}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let jepsen = Path::new(env!("CARGO_BIN_EXE_jepsen"));
    let program = jepsen.with_file_name("primacy");
    assert!(
        program.exists(),
        "{} is not there: cargo build --release",
        program.display()
    );
    let out = tempfile::tempdir().expect("a directory");
    let output = Command::new(jepsen)
        .args(["run", "--program"])
        .arg(program)
        .args(arguments)
        .arg("--out")
        .arg(out.path())
        .output()
        .expect("jepsen starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    println!("{said}");
}

#[test]
fn everything_that_was_promised_holds_for_a_minute_and_a_half_of_torture() {
    torture(&["--time", "90", "--seed", "1"]);
}

#[test]
fn five_nodes_keep_their_promises_too() {
    torture(&["--time", "40", "--seed", "2", "--nodes", "5"]);
}
