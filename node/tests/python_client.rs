//! The Python client of docs/python against a cluster of one node, as its user would run both.
//!
//! Skipped, and says so, where Python has no grpcio. Not here: other languages; clusters of several nodes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A node that dies with the test.
struct Node {
    process: Child,
    address: String,
    _data: tempfile::TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be gone already; the test has failed for that reason then.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The interpreter: of the environment, else `python3`.
fn python() -> Command {
    Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

fn has_grpcio() -> bool {
    let check = python().args(["-c", "import grpc, grpc_tools"]).stderr(Stdio::null()).status();
    check.is_ok_and(|status| status.success())
}

fn start_node() -> Node {
    let data = tempfile::tempdir().expect("a folder for the node's data");
    // A list of only itself is a valid cluster.
    let listen = free_address();
    let mut process = Command::new(env!("CARGO_BIN_EXE_spandrel"))
        .args(["start", "--clock", "fixed:1ms", "--cores", "1", "--http", "127.0.0.1:0"])
        .args(["--listen", &listen, "--join", &listen])
        .arg("--data-dir")
        .arg(data.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the node can be started");
    let stderr = process.stderr.take().expect("it was asked for");
    let mut lines = BufReader::new(stderr).lines();
    let mut seen = Vec::new();
    let address = loop {
        let line = lines.next().and_then(Result::ok);
        let Some(line) = line else { panic!("the node ended early: {seen:#?}") };
        if let Some(address) = line.strip_prefix("grpc listening on ") {
            break address.to_owned();
        }
        seen.push(line);
    };
    // Nobody may leave the pipe full: the node would wait.
    std::thread::spawn(move || lines.for_each(drop));
    Node { process, address, _data: data }
}

/// An address that was free a moment ago. The node has to be told its own in `--join`.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("a bound listener has an address").to_string()
}

#[test]
fn python_client_works_against_one_node() {
    if !has_grpcio() {
        // Past the test's own capture, so that a run that skipped it says so.
        let _ = writeln!(std::io::stderr(), "python_client: skipped: grpcio is absent");
        return;
    }
    let node = start_node();
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/python/client.py");
    let output = python().arg(client).arg(&node.address).output().expect("python can be started");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert_eq!(out.lines().last(), Some("ok"), "{out}\n{err}");
}
