//! The layout's rules, as far as a machine can check them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Look again at a file this long: it may hold two ideas.
const LONGEST: usize = 600;

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a source directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn all(root: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("readable source");
        (path.display().to_string(), text)
    };
    paths.into_iter().map(read).collect()
}

/// Lines of `text` that name one of `banned`, outside comments.
fn offenders<'a>(text: &'a str, banned: &[&str]) -> Vec<&'a str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .filter(|line| banned.iter().any(|word| line.contains(word)))
        .collect()
}

#[test]
fn decisions_know_no_adapter_no_runtime_and_no_clock() {
    let banned = [
        "tokio",
        "tonic",
        "tracing",
        "hickory",
        "sled",
        "openraft",
        "primacy_proto",
        "std::fs",
        "std::time::Instant",
        "SystemTime",
        "crate::raft",
        "crate::grpc",
        "crate::dns",
        "crate::postgres",
        "crate::fuse",
        "crate::clock",
        "crate::ports",
        "crate::leader",
    ];
    let pure = [
        "src/agent/promise.rs",
        "src/agent/reconcile.rs",
        "src/agent/holder.rs",
    ];
    let mut files = all("src/domain");
    files.extend(all("src/control"));
    let agent = all("src/agent").into_iter();
    files.extend(agent.filter(|(path, _)| pure.iter().any(|pure| path.ends_with(pure))));
    for (path, text) in files {
        assert_eq!(offenders(&text, &banned), Vec::<&str>::new(), "{path}");
    }
}

#[test]
fn domain_knows_nothing_but_itself() {
    for (path, text) in all("src/domain") {
        assert_eq!(
            offenders(&text, &["crate::control", "crate::agent"]),
            Vec::<&str>::new(),
            "{path}"
        );
    }
}

#[test]
fn generated_types_stay_at_the_edge() {
    for (path, text) in all("src") {
        let edge = [
            "/grpc/",
            "/raft/",
            "/ctl/",
            "/demo/",
            "/bench/",
            "/agent/session.rs",
        ];
        if !edge.iter().any(|edge| path.contains(edge)) {
            // The composition root mounts the services it is given.
            let allowed = path.ends_with("/server.rs");
            assert!(
                allowed || offenders(&text, &["primacy_proto"]).is_empty(),
                "{path}"
            );
        }
    }
}

#[test]
fn the_storage_engine_stays_in_one_file() {
    for (path, text) in all("src/raft") {
        let engine = path.ends_with("sled_store.rs");
        assert!(engine || offenders(&text, &["sled::"]).is_empty(), "{path}");
    }
}

#[test]
fn no_file_outgrows_a_reader() {
    for root in ["src", "tests"] {
        for (path, text) in all(root) {
            assert!(
                text.lines().count() <= LONGEST,
                "{path} has more than {LONGEST} lines"
            );
        }
    }
}

#[test]
fn nothing_is_left_undone_in_the_code() {
    let marks = ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX"];
    for (path, text) in all("src") {
        for mark in marks {
            assert!(!text.contains(mark), "{path} holds {mark}");
        }
    }
}
