//! `spandrel sql` in scripts: what is on standard output, what is not, and the exit code.

use crate::support::{Cluster, Ended, spandrel, spandrel_fed};

const CREATE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, note TEXT)";
const INSERT: &str = "INSERT INTO t (id, note) VALUES (1, 'one; two'), (2, NULL)";
const SELECT: &str = "SELECT id, note FROM t ORDER BY id";

/// One node with the table, and its address.
async fn with_table() -> (Cluster, String) {
    let cluster = Cluster::start(1).await;
    let url = cluster.nodes[0].address.clone();
    let ended = sql(&url, &["-e", CREATE, "-e", INSERT]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:#?}");
    assert!(ended.stderr.contains("CREATE TABLE\nINSERT 0 2\n"), "{ended:#?}");
    (cluster, url)
}

async fn sql(url: &str, args: &[&str]) -> Ended {
    spandrel(&[&["sql", "--url", url], args].concat()).await
}

#[track_caller]
fn assert_printed(ended: &Ended, code: i32, stdout: &str) {
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), stdout), "{ended:#?}");
}

#[tokio::test]
async fn results_are_on_standard_output_in_each_format_and_nothing_else_is() {
    let (_cluster, url) = with_table().await;
    let table = " id |   note\n----+----------\n  1 | one; two\n  2 | NULL\n(2 rows)\n\n";
    let ended = sql(&url, &["-e", SELECT]).await;
    assert_printed(&ended, 0, table);
    assert_eq!(ended.stderr, "");
    let ended = sql(&url, &["--format", "csv", "-e", SELECT]).await;
    assert_printed(&ended, 0, "id,note\n1,one; two\n2,\n");
    let update = "UPDATE t SET note = 'x' WHERE id = 2; SELECT note FROM t WHERE id = 2";
    let ended = sql(&url, &["--format", "json", "-e", update]).await;
    assert_printed(&ended, 0, "[{\"note\":\"x\"}]\n");
    assert_eq!(ended.stderr, "", "no tags beside JSON");
    let ended = sql(&url, &["-e", "\\d t"]).await;
    assert!(ended.stdout.contains(" id     | bigint | not null |"), "{ended:#?}");
    assert!(ended.stdout.contains("Primary key: (id)"), "{ended:#?}");
}

#[tokio::test]
async fn first_error_stops_a_script_and_says_where() {
    let (_cluster, url) = with_table().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("script.sql");
    let script = "-- two good ones\nSELECT 1 AS one;\nBEGIN;\nINSERT INTO t VALUES (3, 'x');\n\nSELECT\n  nothing FROM t;\nCOMMIT;\n";
    std::fs::write(&file, script).unwrap();
    let file = file.to_str().unwrap();
    let ended = sql(&url, &["--format", "csv", "-f", file]).await;
    assert_printed(&ended, 1, "one\n1\n");
    let errors = ended.stderr.as_str();
    assert!(errors.starts_with(&format!("{file}:6: ERROR:  ")), "{errors}");
    assert!(errors.contains("LINE 2:   nothing FROM t\n          ^\n"), "{errors}");
    assert!(errors.contains("SQLSTATE:  42703\n"), "{errors}");
    assert!(errors.contains("inside of a transaction, which is rolled back"), "{errors}");
    // What was begun is rolled back.
    let ended = sql(&url, &["--format", "csv", "-e", "SELECT count(*) AS n FROM t"]).await;
    assert_printed(&ended, 0, "n\n2\n");
    // The same by standard input, and each by itself without BEGIN.
    let script = "INSERT INTO t VALUES (4, 'x'); INSERT INTO t VALUES (4, 'x');\nSELECT 1;";
    let ended = spandrel_fed(&["sql", "--url", &url], script, dir.path()).await;
    assert_printed(&ended, 1, "");
    assert!(ended.stderr.contains("<stdin>:1: ERROR:  "), "{ended:#?}");
    assert!(ended.stderr.contains("SQLSTATE:  23505"), "{ended:#?}");
    let ended = sql(&url, &["--format", "csv", "-e", "SELECT count(*) AS n FROM t"]).await;
    assert_printed(&ended, 0, "n\n3\n");
}

#[tokio::test]
async fn statements_of_one_script_share_a_session() {
    let (_cluster, url) = with_table().await;
    let dir = tempfile::tempdir().unwrap();
    let script = "BEGIN; INSERT INTO t VALUES (9, 'x'); SELECT count(*) AS n FROM t; ROLLBACK;\n\
                  SELECT count(*) AS n FROM t";
    let args = ["sql", "--url", &url, "--format", "csv"];
    let ended = spandrel_fed(&args, script, dir.path()).await;
    assert_printed(&ended, 0, "n\n3\nn\n2\n");
}

#[tokio::test]
async fn bad_flags_and_absent_clusters_have_their_exit_codes() {
    let ended = spandrel(&["sql", "--url", "127.0.0.1:1", "-e", "SELECT 1"]).await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.sentence().contains("no node answers at 127.0.0.1:1"), "{ended:#?}");
    for args in [&["--format", "xml"][..], &["-e", "SELECT 1", "-f", "x.sql"]] {
        let ended = spandrel(&[&["sql"], args].concat()).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:#?}");
    }
    let (_cluster, url) = with_table().await;
    let ended = sql(&url, &["-f", "no/such/file.sql"]).await;
    assert_printed(&ended, 1, "");
    assert!(ended.sentence().contains("no/such/file.sql"), "{ended:#?}");
    let ended = sql(&url, &["-e", "\\l"]).await;
    assert_printed(&ended, 1, "");
    assert!(ended.stderr.contains("\\d lists its tables"), "{ended:#?}");
}
