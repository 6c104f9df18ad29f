//! Flags from a file, and `spandrel doctor`.

use crate::support::{Cluster, spandrel};

#[tokio::test]
async fn file_gives_the_flags_that_the_command_line_does_not() {
    let cluster = Cluster::start(1).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("spandrel.toml");
    let text = format!("[status]\nurl = \"{}\"\njson = true\n", cluster.nodes[0].address);
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let ended = spandrel(&["status", "--config", file]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.starts_with('{'), "{ended:#?}");
    let ended = spandrel(&["status", "--config", file, "--url", "127.0.0.1:1"]).await;
    assert_eq!(ended.code, Some(1), "the flag wins: {ended:#?}");
}

#[tokio::test]
async fn unknown_key_is_refused_with_the_nearest_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("spandrel.toml");
    std::fs::write(&file, "[start]\ndatadir = 'x'\n").unwrap();
    let file = file.to_str().unwrap();
    for command in [&["start", "--join", "n1:7420"][..], &["status"]] {
        let ended = spandrel(&[command, &["--config", file]].concat()).await;
        assert_eq!(ended.code, Some(3), "{ended:#?}");
        assert!(ended.sentence().ends_with("did you mean start.data_dir?"), "{ended:#?}");
    }
}

#[tokio::test]
async fn doctor_judges_each_thing_and_its_exit_code_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let args = ["doctor", "--data-dir", dir, "--listen", "127.0.0.1:0", "--http", "nowhere"];
    let ended = spandrel(&args).await;
    for subject in ["clock", "disk syncs", "disk space", "open files", "cores", "memory", "port 0"]
    {
        let is_line = |line: &str| {
            line.split_once(' ').is_some_and(|(verdict, rest)| {
                ["ok", "warn", "bad"].contains(&verdict) && rest.trim_start().starts_with(subject)
            })
        };
        assert!(ended.stdout.lines().any(is_line), "{subject}: {ended:#?}");
    }
    assert!(ended.stdout.contains("bad   port nowhere"), "{ended:#?}");
    assert_eq!(ended.code, Some(1), "an address that is none is bad: {ended:#?}");
}
