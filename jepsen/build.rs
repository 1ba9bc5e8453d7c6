//! Compiles the library that is preloaded into processes, so that the program
//! takes it along and nothing has to be found at run time.

use std::{env, path::Path, process::Command};

const SOURCE: &str = "clock-shim/src";

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let library = Path::new(&variable("OUT_DIR")).join("clock-shim.so");
    let mut compile = Command::new(variable("RUSTC"));
    compile
        .args(["--edition", "2024", "--crate-type", "cdylib"])
        .args(["--crate-name", "clock_shim"])
        .args(["--target", &variable("TARGET")])
        // A panic must not unwind into C.
        .args(["-C", "opt-level=2", "-C", "panic=abort"])
        .args(["-C", "strip=symbols", "-o"])
        .arg(&library)
        .arg(Path::new(SOURCE).join("lib.rs"));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compile.arg(format!("-Clinker={linker}"));
    }
    let done = compile.status().is_ok_and(|status| status.success());
    assert!(done, "the clock shim cannot be compiled: {compile:?}");
}
