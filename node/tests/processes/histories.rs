//! What the bank recorded passes `verify`, and no longer does so when somebody doctored it.

use std::path::Path;

use serde_json::Value;

use crate::support::{Ended, spandrel};

async fn verify(file: &Path) -> Ended {
    spandrel(&["verify", file.to_str().expect("temporary folders have plain names")]).await
}

/// The history with another value in the first read of a committed transaction, and that transaction's id.
fn doctored(history: &str) -> (String, String) {
    let mut lines: Vec<Value> =
        history.lines().map(|line| serde_json::from_str(line).expect("lines of JSON")).collect();
    let victim = lines.iter_mut().find_map(|record| {
        let is_committed = record["k"] == "rw" && record["out"] == "ok";
        let steps = record.get_mut("ops")?.as_array_mut().filter(|_| is_committed)?;
        let read = steps.iter_mut().find(|step| step[0] == "r" && step[2].is_string())?;
        read[2] = "nobody wrote this".into();
        record["id"].as_str().map(ToOwned::to_owned)
    });
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    (text.join("\n") + "\n", victim.expect("some transaction read and committed"))
}

#[tokio::test]
async fn history_that_was_doctored_fails_and_the_transactions_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (file, report) = (dir.path().join("history"), dir.path().join("report"));
    let (history, json) = (file.to_str().unwrap(), report.to_str().unwrap());
    let bench = ["bench", "bank", "--embedded", "--duration", "1s", "--accounts", "100"];
    let more = ["--clients", "4", "--history", history, "--json", json];
    let ended = spandrel(&[&bench[..], &more[..]].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["verdict"], "strictly serializable");

    let good = verify(&file).await;
    assert_eq!(good.code, Some(0), "{good:#?}");
    assert!(good.stdout.starts_with("strictly serializable ("), "{good:#?}");

    let (text, id) = doctored(&std::fs::read_to_string(&file).unwrap());
    std::fs::write(&file, text).unwrap();
    let bad = verify(&file).await;
    assert_eq!(bad.code, Some(1), "{bad:#?}");
    assert!(bad.stdout.contains(&id), "{id} is named: {bad:#?}");
}
