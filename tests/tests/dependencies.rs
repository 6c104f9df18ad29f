//! Who may use whom. The directions are what lets the simulator run whole clusters in one thread: one use of
//! a runtime, a clock or a random source in the pure parts, and a seed no longer says what happens.
//!
//! Example: `txn/src/leader/lease.rs` with `Instant::now()` in it fails
//! `pure_parts_name_no_runtime_thread_or_clock`, which names the file and the word.
//!
//! Not here: what a lint sees better (hash maps whose order escapes, prints, unsafe code).

use std::collections::{BTreeMap, BTreeSet};

use tests::repository::{code_of, files, is_test_file, names, names_crate, words};

/// The packages, in the order of the house, with the packages of ours that each may use.
const PACKAGES: [(&str, &[&str]); 8] = [
    ("truetime", &[]),
    ("proto", &["truetime"]),
    ("txn", &["proto", "truetime"]),
    ("sql", &["proto", "truetime"]),
    ("client", &["proto", "truetime"]),
    ("bench", &["client", "proto", "truetime"]),
    ("node", &["truetime", "proto", "txn", "sql", "client", "bench"]),
    ("tests", &["truetime", "proto", "txn", "sql", "client", "bench", "node"]),
];

/// What the packages without I/O may take off the shelf. `libc` is for the kernel's clock. What is optional
/// in `proto` is its feature `rpc`.
const PURE_PACKAGES: [(&str, &[&str]); 4] = [
    ("truetime", &["libc", "serde", "thiserror"]),
    ("proto", &["serde"]),
    ("txn", &["postcard", "serde", "thiserror"]),
    ("sql", &["jiff", "rust_decimal", "sqlparser", "thiserror"]),
];

/// The parts of `node` and the parts that each may use. The binary (`main.rs`, `cli`) may use all.
const NODE_PARTS: [(&str, &[&str]); 8] = [
    ("storage", &[]),
    ("shard", &["storage"]),
    ("routing", &["shard"]),
    ("system", &["routing", "shard"]),
    ("gateway", &["routing", "shard", "system"]),
    ("core", &["gateway", "routing", "shard", "storage", "system"]),
    ("host", &["core", "gateway", "routing", "shard", "storage", "system"]),
    ("server", &["core", "gateway", "host", "routing", "shard", "storage", "system"]),
];

/// Where nothing may happen but what comes in as data.
const PURE_FOLDERS: [&str; 9] = [
    "txn/src/",
    "sql/src/",
    "proto/src/",
    "node/src/shard/",
    "node/src/shard.rs",
    "node/src/routing/",
    "node/src/system/",
    "node/src/gateway/",
    "node/src/core/",
];

/// Crates that do things, and words of the standard library that do.
const EFFECTS: [&str; 12] = [
    "tokio",
    "tonic",
    "axum",
    "hyper",
    "tracing",
    "getrandom",
    "rand",
    "parking_lot",
    "fjall",
    "clap",
    "libc",
    "mimalloc",
];
const EFFECT_WORDS: [&str; 10] = [
    "Instant",
    "SystemTime",
    "UNIX_EPOCH",
    "thread",
    "TcpStream",
    "TcpListener",
    "Mutex",
    "Condvar",
    "RandomState",
    "HashMap",
];

/// A crate of the shelf, and where alone it may be named, so that it can be replaced or is out of the
/// simulator's way.
const CONFINED: [(&str, &[&str]); 12] = [
    ("raft", &["node/src/shard/raft.rs", "node/src/shard/raft/"]),
    ("raft_protobuf", &["node/src/shard/raft.rs", "node/src/shard/raft/"]),
    ("protobuf", &["node/src/shard/raft.rs", "node/src/shard/raft/"]),
    ("slog", &["node/src/shard/raft.rs", "node/src/shard/raft/"]),
    ("fjall", &["node/src/storage/versions/fjall_store"]),
    ("libc", &["truetime/src/machine.rs"]),
    ("tokio", &ASYNC),
    ("tonic", &RPC),
    ("axum", &["node/src/server/", "node/src/host/"]),
    ("rustyline", &["client/src/shell/input.rs"]),
    ("unicode_width", &["client/src/shell/render/"]),
    ("toml", &["node/src/cli/config.rs"]),
];
const ASYNC: [&str; 6] = [
    "client/src/",
    "bench/src/",
    "node/src/server/",
    "node/src/host/",
    "node/src/cli/",
    "node/src/main.rs",
];
const RPC: [&str; 7] = [
    "client/src/",
    "bench/src/",
    "node/src/server/",
    "node/src/host/",
    "node/src/cli/",
    "node/src/main.rs",
    "proto/src/rpc",
];

/// Sources that are not only tests, as code.
fn sources() -> BTreeMap<String, String> {
    let sources =
        files().into_iter().filter(|(path, _)| path.ends_with(".rs") && !is_test_file(path));
    let code: BTreeMap<_, _> = sources.map(|(path, text)| (path, code_of(&text))).collect();
    assert!(code.contains_key("node/src/lib.rs"), "the sources were found");
    code
}

/// Dependencies of a package outside `dev-dependencies`, with whether each is optional.
fn dependencies(manifest: &str) -> BTreeMap<String, bool> {
    let mut found = BTreeMap::new();
    let mut counts = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            counts = line.trim_end() == "[dependencies]";
        } else if let Some((name, value)) = line.split_once('=').filter(|_| counts) {
            let name = name.trim().trim_end_matches(".workspace");
            found.insert(name.to_owned(), value.contains("optional = true"));
        }
    }
    found
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn packages_use_only_what_is_below_them() {
    let files = files();
    let ours: BTreeSet<&str> = PACKAGES.iter().map(|(package, _)| *package).collect();
    let mut found = Vec::new();
    for (package, allowed) in PACKAGES {
        let manifest = &files[&format!("{package}/Cargo.toml")];
        for (dependency, _) in dependencies(manifest) {
            if ours.contains(dependency.as_str()) && !allowed.contains(&dependency.as_str()) {
                found.push(format!("{package} depends on {dependency}"));
            }
        }
    }
    assert_none("a package may use only packages below it", &found);
}

#[test]
fn every_package_of_the_workspace_has_its_place() {
    let root = &files()["Cargo.toml"];
    let members = root.lines().find(|line| line.starts_with("members")).expect("has members");
    let members: BTreeSet<_> = members.split('"').skip(1).step_by(2).collect();
    let known: BTreeSet<_> = PACKAGES.iter().map(|(package, _)| *package).collect();
    assert_eq!(members, known);
}

#[test]
fn pure_packages_take_nothing_else_off_the_shelf() {
    let files = files();
    let mut found = Vec::new();
    for (package, shelf) in PURE_PACKAGES {
        let (_, ours) = PACKAGES.iter().find(|(name, _)| *name == package).expect("it is listed");
        for (name, optional) in dependencies(&files[&format!("{package}/Cargo.toml")]) {
            let of_rpc = package == "proto" && optional;
            if !of_rpc && !shelf.contains(&name.as_str()) && !ours.contains(&name.as_str()) {
                found.push(format!("{package} depends on {name}"));
            }
        }
    }
    assert_none("these packages are to stay small; see docs/adr/0001-dependencies.md", &found);
    let txn = &files["txn/Cargo.toml"];
    assert!(!txn.contains("rpc"), "txn needs no wire format: proto without its feature rpc");
}

#[test]
fn pure_parts_name_no_runtime_thread_or_clock() {
    let mut found = Vec::new();
    for (path, code) in sources() {
        if !PURE_FOLDERS.iter().any(|folder| path.starts_with(folder))
            || path.starts_with("proto/src/rpc")
        {
            continue;
        }
        let effects = EFFECTS.iter().filter(|name| names_crate(&code, name));
        let words = EFFECT_WORDS.iter().filter(|name| names(&code, name));
        found.extend(effects.chain(words).map(|name| format!("{path} names {name}")));
        for folder in ["std::fs", "std::net", "std::env", "std::process", "proto::rpc", "async fn"]
        {
            let polls = path.starts_with("sql/src/") || path.starts_with("node/src/gateway/sql");
            let allowed = path == "txn/src/golden.rs" && matches!(folder, "std::fs" | "std::env")
                || polls && folder == "async fn";
            if code.contains(folder) && !allowed {
                found.push(format!("{path} has {folder}"));
            }
        }
    }
    assert_none("the pure parts get time, chance and bytes as data, and return effects", &found);
}

#[test]
fn parts_of_node_use_only_parts_below_them() {
    let mut found = Vec::new();
    for (path, code) in sources() {
        let Some((part, allowed)) = node_part(&path) else { continue };
        for (before, word, _) in words(&code) {
            let is_part = NODE_PARTS.iter().any(|(name, _)| *name == word) || word == "cli";
            let of_crate = before.ends_with("crate::");
            if is_part && of_crate && word != part && !allowed.contains(&word) {
                found.push(format!("{path} uses {word}"));
            }
        }
        for outer in ["client", "bench"] {
            if names_crate(&code, outer) {
                found.push(format!("{path} uses {outer}: that is for the binary alone"));
            }
        }
    }
    assert_none("a part of node may use only parts below it", &found);
}

#[test]
fn every_part_of_node_has_its_place() {
    for path in sources().into_keys().filter(|path| path.starts_with("node/src/")) {
        let known = ["node/src/lib.rs", "node/src/main.rs"].contains(&path.as_str())
            || path.starts_with("node/src/cli/")
            || node_part(&path).is_some();
        assert!(known, "{path} belongs to no part that tests/tests/dependencies.rs knows");
    }
}

fn node_part(path: &str) -> Option<(&'static str, &'static [&'static str])> {
    let inner = path.strip_prefix("node/src/")?;
    NODE_PARTS.into_iter().find(|(part, _)| {
        inner.strip_prefix(part).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    })
}

#[test]
fn confined_crates_are_named_at_home_only() {
    let mut found = Vec::new();
    for (path, code) in sources() {
        for (name, homes) in CONFINED {
            let at_home = homes.iter().any(|home| path.starts_with(home));
            if !at_home && names_confined(&code, name) {
                found.push(format!("{path} names {name}, which belongs to {homes:?}"));
            }
        }
    }
    assert_none("docs/adr/ says why these crates are confined", &found);
}

/// `raft` is also a module of ours, which others import: only `::raft` and `use raft` are the crate.
fn names_confined(code: &str, name: &str) -> bool {
    if name != "raft" {
        return names_crate(code, name);
    }
    words(code).any(|(before, word, after)| {
        let before = before.trim_end();
        let path = before.strip_suffix("::");
        let from_root =
            path.is_some_and(|path| path.ends_with(|c: char| !c.is_alphanumeric() && c != '_'));
        let imported = before.ends_with("use") && after.starts_with("::");
        word == "raft" && (from_root || imported)
    })
}
