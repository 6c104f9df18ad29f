//! `spandrel demo`: the cluster in one process, with a node that dies under the bank.

use crate::support::spandrel_fed;

/// A demonstration takes the usual ports if they are free, and between the look and the taking another one could.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn demo_has_its_table_and_leaves_no_file() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let count = "SELECT count(*) AS n, sum(balance) AS total FROM accounts";
    let args = ["demo", "--shards", "3", "--format", "json", "-e", count];
    let ended = spandrel_fed(&args, "", dir.path()).await;
    let stdout = "[{\"n\":1000,\"total\":1000000}]\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), stdout), "{ended:#?}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    // With a failing statement as well.
    let ended = spandrel_fed(&["demo", "--nodes", "1", "-e", "SELEC"], "", dir.path()).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:#?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn demo_keeps_what_was_written_in_its_data_directory() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let run = async |sql: &str| {
        let args = ["demo", "--nodes", "1", "--shards", "1", "--data-dir", data, "--format", "csv"];
        let args = [&args[..], &["-e", sql]].concat();
        let ended = spandrel_fed(&args, "", dir.path()).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        ended.stdout
    };
    run("UPDATE accounts SET owner = 'Ada' WHERE id = 7").await;
    assert_eq!(run("SELECT owner FROM accounts WHERE id = 7").await, "owner\nAda\n");
}

#[tokio::test]
async fn node_killed_under_the_bank_costs_no_money_and_comes_back() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let script = "\\bank start\n\\kill 1\n\\kill 1\n";
    let ended = spandrel_fed(&["demo"], script, dir.path()).await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.contains("\\kill: n1 does not run"), "{ended:#?}");
    // The status is asked for until there is one, so that the shell has noticed the death of its own node before
    // a statement is lost with it. Statements wait out the election, so that the numbers after them are of a
    // cluster that works again.
    let script = "\\bank start\n\
                  SELECT sum(balance) AS total FROM accounts;\n\
                  \\kill 1\n\
                  \\nodes\n\
                  UPDATE accounts SET balance = balance + 0;\n\
                  SELECT sum(balance) AS total FROM accounts;\n\
                  \\restart 1\n\
                  UPDATE accounts SET balance = balance + 0;\n\
                  \\bank stop\n\
                  \\nodes\n";
    let args = ["demo", "--format", "csv", "-f", "-"];
    let ended = spandrel_fed(&args, script, dir.path()).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let stdout = ended.stdout.as_str();
    assert_eq!(stdout.matches("total\n1000000\n").count(), 2, "{ended:#?}");
    assert!(stdout.contains("n1 is dead\n") && stdout.contains("n1 is back\n"), "{ended:#?}");
    assert!(stdout.contains("total of 1000 accounts: 1000000, as at the start\n"), "{ended:#?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
