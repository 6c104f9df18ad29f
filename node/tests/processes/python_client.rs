//! The Python client of docs/python against a cluster of one node, as its user would run both.
//!
//! Skipped, and says so, where Python has no grpcio. Not here: other languages; clusters of several nodes.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::support::{Node, skipped};

/// The interpreter: of the environment, else `python3`.
fn python() -> Command {
    let mut python = Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()));
    python.kill_on_drop(true);
    python
}

async fn has_grpcio() -> bool {
    let check = python().args(["-c", "import grpc, grpc_tools"]).stderr(Stdio::null()).status();
    check.await.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn python_client_works_against_one_node() {
    if !has_grpcio().await {
        return skipped("python_client", "grpcio is absent");
    }
    let data = tempfile::tempdir().expect("a folder for the node's data");
    let mut node = Node::alone(data.path());
    node.start().await;
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/python/client.py");
    let output = python().arg(client).arg(&node.address).output().await;
    let output = output.expect("python can be started");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert_eq!(out.lines().last(), Some("ok"), "{out}\n{err}");
}
