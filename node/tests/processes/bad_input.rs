//! What people get wrong on the command line and on the disk: one clear sentence each, and the exit code that
//! scripts can tell them apart by.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::support::{
    Cluster, Ended, Node, client, create_table, free_address, put, spandrel, until,
};

const RUN_TIME: i32 = 1;
const USAGE: i32 = 2;
const CONFIGURATION: i32 = 3;
const DATA_DIRECTORY: i32 = 4;

/// It ended with this code, and its last words have all of these.
fn assert_refused(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    let sentence = ended.sentence();
    for word in words {
        assert!(sentence.contains(word), "'{word}' is missing: {sentence}");
    }
}

/// `spandrel start` that is not to come up; flags given twice are the caller's.
async fn start(data_dir: &Path, flags: &[&str]) -> Ended {
    let data_dir = data_dir.to_str().expect("temporary folders have plain names");
    let mut args = vec!["start", "--data-dir", data_dir];
    for (flag, value) in [
        ("--clock", "fixed:250us"),
        ("--cores", "1"),
        ("--http", "127.0.0.1:0"),
        ("--listen", "127.0.0.1:0"),
        ("--join", "127.0.0.1:1"),
    ] {
        if !flags.contains(&flag) {
            args.extend([flag, value]);
        }
    }
    args.extend(flags);
    spandrel(&args).await
}

#[tokio::test]
async fn flag_without_sense_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    for flags in [
        &["--clock", "sundial"][..],
        &["--clock", "fixed:-1ms"],
        &["--cores", "0"],
        &["--cores", "many"],
        &["--port-offset", "70000"],
        &["--tls-cert", "none"],
    ] {
        let ended = start(dir.path(), flags).await;
        assert_eq!(ended.code, Some(USAGE), "{flags:?}: {ended:#?}");
        assert!(ended.stderr.contains(flags[0]), "{flags:?}: {ended:#?}");
    }
    for args in [&["start"][..], &["begin"], &["bench", "bank", "--duration", "soon"], &["verify"]]
    {
        let ended = spandrel(args).await;
        assert_eq!(ended.code, Some(USAGE), "{args:?}: {ended:#?}");
    }
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing was created");
}

#[tokio::test]
async fn address_without_sense_is_a_configuration_error() {
    let dir = tempfile::tempdir().unwrap();
    for flags in [
        &["--listen", "7420"][..],
        &["--listen", "127.0.0.1:http"],
        &["--listen", "127.0.0.1:65535", "--port-offset", "1"],
        &["--http", "nowhere"],
    ] {
        assert_refused(&start(dir.path(), flags).await, CONFIGURATION, &["HOST:PORT"]);
    }
    for flag in ["--listen", "--http"] {
        let ended = start(dir.path(), &[flag, "0.0.0.0:0"]).await;
        assert_refused(&ended, CONFIGURATION, &["0.0.0.0", "--insecure", "loopback"]);
    }
}

#[tokio::test]
async fn port_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--http"] {
        let ended = start(dir.path(), &[flag, &address]).await;
        assert_refused(&ended, RUN_TIME, &[&address, "in use", "another port"]);
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_said() {
    let nobody = free_address();
    for command in ["status", "init"] {
        let ended = spandrel(&[command, "--url", &nobody]).await;
        assert_refused(&ended, RUN_TIME, &[&nobody, "is the cluster running"]);
    }
    let missing = spandrel(&["verify", "no/such/file"]).await;
    assert_refused(&missing, RUN_TIME, &["no/such/file"]);
}

#[tokio::test]
async fn list_without_the_node_itself_is_refused_by_init() {
    let dir = tempfile::tempdir().unwrap();
    let (address, other) = (free_address(), free_address());
    let mut stray = Node::new(dir.path(), "stray", &address, &other);
    let mut listed = Node::new(dir.path(), "listed", &other, &other);
    stray.start().await;
    listed.start().await;
    let ended = spandrel(&["init", "--url", &address]).await;
    assert_refused(&ended, RUN_TIME, &["--join does not list", &address, "list every node"]);
    // A cluster that was made without it has no place for it.
    let ended = spandrel(&["init", "--url", &other]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_refused(&stray.ended().await, CONFIGURATION, &[&other, "without this node", "--join"]);
}

#[tokio::test]
async fn directory_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let name = file.to_str().unwrap();
    assert_refused(&start(&file, &[]).await, DATA_DIRECTORY, &[name, "creating it"]);
    // Unlike permissions, this keeps out a superuser too.
    let odd = dir.path().join("odd");
    std::fs::create_dir_all(odd.join("node.json")).unwrap();
    let name = odd.to_str().unwrap();
    assert_refused(&start(&odd, &[]).await, DATA_DIRECTORY, &[name, "reading node.json"]);
}

#[tokio::test]
async fn directory_of_a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::alone(dir.path());
    node.start().await;
    node.stop().await;
    let file = node.data_dir.join("node.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let newer = text.replace("\"format\": 1", "\"format\": 2");
    assert_ne!(text, newer, "{text}");
    std::fs::write(&file, &newer).unwrap();
    let ended = node.start_in_vain().await;
    assert_refused(&ended, DATA_DIRECTORY, &["format 2", "start the newer version"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), newer);
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    let ended = node.start_in_vain().await;
    assert_refused(&ended, DATA_DIRECTORY, &["node.json is damaged", "replace this node"]);
}

#[tokio::test]
async fn directory_in_use_is_refused_to_a_second_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::alone(dir.path());
    node.start().await;
    let ended = start(&node.data_dir, &[]).await;
    let name = node.data_dir.to_str().unwrap();
    assert_refused(&ended, DATA_DIRECTORY, &[name, "in use by another process"]);
    let ended = spandrel(&["status", "--url", &node.address]).await;
    assert_eq!(ended.code, Some(0), "the first one is as well as before: {ended:#?}");
}

#[tokio::test]
async fn directory_of_another_cluster_is_refused() {
    let mut one = Cluster::start(1).await;
    let other = Cluster::start(1).await;
    let data_dir = one.nodes[0].data_dir.clone();
    one.nodes[0].stop().await;
    let join = format!("{},{}", one.nodes[0].address, other.nodes[0].address);
    let ended = start(&data_dir, &["--listen", &one.nodes[0].address, "--join", &join]).await;
    let theirs = &other.nodes[0].address;
    assert_refused(&ended, CONFIGURATION, &[theirs, "belongs to cluster", "--join"]);
    one.nodes[0].start().await;
}

/// Of the header that each segment begins with.
const BLOCK: usize = 4096;

/// The file of the log that is written to: the spare after it is empty behind its header.
fn newest_segment(data_dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(data_dir.join("log")).expect("the log has a folder");
    let files = files.map(|file| file.expect("a folder can be read").path());
    let is_written = |path: &PathBuf| {
        let bytes = std::fs::read(path).expect("the node that wrote it is gone");
        bytes[BLOCK..].iter().any(|byte| *byte != 0)
    };
    files.filter(is_written).max().expect("the log has a segment")
}

#[tokio::test]
async fn log_damaged_in_the_middle_or_missing_is_refused() {
    let mut cluster = Cluster::start(1).await;
    let client = client(&cluster.addresses()).await;
    create_table(&client, 1).await;
    for id in 0..20 {
        until("a commit", async || put(&client, id, id).await).await;
    }
    let node = &mut cluster.nodes[0];
    node.kill().await;
    let segment = newest_segment(&node.data_dir);
    let sound = std::fs::read(&segment).unwrap();
    let end = sound.iter().rposition(|byte| *byte != 0).unwrap();
    let mut damaged = sound.clone();
    damaged[BLOCK + (end - BLOCK) / 2] ^= 1;
    std::fs::write(&segment, &damaged).unwrap();
    let ended = node.start_in_vain().await;
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert_refused(&ended, DATA_DIRECTORY, &[name, "is damaged", "replace this node's data"]);
    assert_eq!(std::fs::read(&segment).unwrap(), damaged, "nothing was changed");

    // Without its log a node has forgotten its votes; with it, all is there.
    let log = node.data_dir.join("log");
    let aside = node.data_dir.join("aside");
    std::fs::write(&segment, &sound).unwrap();
    std::fs::rename(&log, &aside).unwrap();
    let ended = node.start_in_vain().await;
    assert_refused(&ended, DATA_DIRECTORY, &["no log in this directory", "replace this node"]);
    let _ = std::fs::remove_dir_all(&log);
    std::fs::rename(&aside, &log).unwrap();
    node.start().await;
    let rows = until("all rows are read", async || crate::support::read_all(&client).await).await;
    assert_eq!(rows, (0..20).map(|id| (id, id)).collect());
}
