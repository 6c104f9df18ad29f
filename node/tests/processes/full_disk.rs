//! The disk of a node fills up: it says so and loses nothing, and goes on once there is space.
//!
//! The disk is a small one in memory, which only a superuser can mount; without, the scenario is skipped by name.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use client::{Config, Mutations};

use crate::support::{
    Node, TABLE, client_of, create_table, put, read_all, skipped, spandrel, until,
};

const DISK: &str = "size=1200m";
/// What somebody else has on it; freed later, so that there is space again.
const OTHER_BYTES: usize = 400 << 20;
const ROW_BYTES: usize = 512 << 10;
/// More rows than the disk can hold.
const ROWS_MAX: i32 = 2_000;

/// A file system of its own, unmounted when it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Disk(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the node that uses it is killed, but perhaps not gone yet.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn full_disk_refuses_writes_and_takes_them_again_once_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("disk");
    std::fs::create_dir(&at).unwrap();
    let Some(_disk) = Disk::mount(&at) else {
        return skipped("full_disk", "nothing can be mounted here");
    };
    let other = at.join("other");
    std::fs::write(&other, vec![1; OTHER_BYTES]).unwrap();
    let mut node = Node::alone(dir.path());
    node.data_dir = at.join("data");
    node.start().await;
    let init = spandrel(&["init", "--url", &node.address]).await;
    assert_eq!(init.code, Some(0), "{init:#?}");
    let config = Config {
        attempts_max: 1,
        outcome_timeout: std::time::Duration::from_secs(1),
        ..Config::default()
    };
    let client = client_of(&[node.address.clone()], config).await;
    create_table(&client, 1).await;

    let filler = "x".repeat(ROW_BYTES);
    let mut acknowledged = Vec::new();
    for id in (0..ROWS_MAX).map(i64::from) {
        let mut mutations = Mutations::new();
        let values = vec![id.into(), id.into(), filler.as_str().into()];
        mutations.insert(TABLE, &["id", "value", "filler"], values);
        match client.apply(&mutations).await {
            Ok(_) => acknowledged.push(id),
            Err(_) => break,
        }
    }
    assert!(!acknowledged.is_empty() && acknowledged.last() < Some(&i64::from(ROWS_MAX - 1)));
    let rows = until("all rows are read", async || read_all(&client).await).await;
    assert!(acknowledged.iter().all(|id| rows.contains_key(id)), "reads go on");

    // It goes on by itself.
    std::fs::remove_file(&other).unwrap();
    until("a commit", async || put(&client, -1, 1).await).await;
    node.kill().await;
    node.start().await;
    let rows = until("all rows are read", async || read_all(&client).await).await;
    for id in acknowledged.iter().chain(&[-1]) {
        assert!(rows.contains_key(id), "{id} was acknowledged and is lost");
    }
}
