//! The shell in scripts, against scripted nodes: what is a result, what is not, and when it stops.

use crate::support::{Cluster, Reaction, refuse};
use client::shell::{
    Format, ShellCommandRunning, ShellCommands, ShellEnd, ShellInput, ShellOptions, ShellOutput,
    run_shell,
};
use client::{ErrorKind, SqlColumn, SqlError, SqlSummary, SqlTransactionStatus, SqlType};
use proto::rpc::v1::session_answer::Response;
use proto::rpc::v1::session_call::Request;
use proto::rpc::v1::{ErrorDetail, ExecuteSqlResponse, RowValues};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tokio::time::{Duration, sleep, timeout};

/// Signals reach every shell of the process, so that there is one at a time.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// `SELECT` answers two rows in two parts, `BREAK` one and then an error, `HOLD` never; the rest is done.
fn cluster() -> Arc<Cluster> {
    Cluster::new(|_, request| {
        let Request::ExecuteSql(sql) = request else { return Reaction::Usual };
        let text = sql.statement.as_ref().map_or("", |statement| statement.sql.as_str());
        let column = SqlColumn { name: "n".to_owned(), r#type: SqlType::Bigint.into() };
        let rows = |n: i64| vec![RowValues { values: vec![n.into()] }];
        let part = |columns, rows| {
            Response::ExecuteSql(ExecuteSqlResponse { columns, rows, ..Default::default() })
        };
        let end = |tag: &str, status: SqlTransactionStatus| {
            let notices = if tag == "COMMIT" { vec!["noticed".to_owned()] } else { Vec::new() };
            let status = status.into();
            let summary = SqlSummary { tag: tag.to_owned(), notices, status, ..Default::default() };
            Response::ExecuteSql(ExecuteSqlResponse {
                summary: Some(summary),
                ..Default::default()
            })
        };
        let idle = SqlTransactionStatus::Idle;
        let wrong = ErrorDetail {
            sql: Some(SqlError {
                sqlstate: "42601".to_owned(),
                position: 3,
                ..SqlError::default()
            }),
            ..ErrorDetail::of(ErrorKind::Sql)
        };
        match text {
            "SELECT" => Reaction::Answer(vec![
                part(vec![column], rows(1)),
                part(Vec::new(), rows(2)),
                end("SELECT 2", idle),
            ]),
            "BREAK" => {
                let error = proto::rpc::to_error(wrong, "broke".to_owned());
                Reaction::Answer(vec![part(vec![column], rows(1)), Response::Error(error)])
            }
            "BEGIN" => Reaction::Answer(vec![end("BEGIN", SqlTransactionStatus::ReadWrite)]),
            "HOLD" => Reaction::Hold,
            "WRONG" => refuse(wrong),
            tag => Reaction::Answer(vec![end(tag, idle)]),
        }
    })
}

struct Ran {
    end: ShellEnd,
    results: String,
    rest: String,
}

async fn run(format: Format, input: ShellInput, commands: Option<&mut dyn ShellCommands>) -> Ran {
    let _alone = ONE_AT_A_TIME.lock().await;
    let client = cluster().client().await;
    let (results, rest) = (Written::default(), Written::default());
    let output = ShellOutput::to(Box::new(results.clone()), Box::new(rest.clone()));
    let end = run_shell(&client, options(format, input), output, commands).await.unwrap();
    Ran { end, results: results.text(), rest: rest.text() }
}

fn options(format: Format, input: ShellInput) -> ShellOptions {
    ShellOptions { user: "root".to_owned(), database: "postgres".to_owned(), format, input }
}

fn texts(texts: &[&str]) -> ShellInput {
    ShellInput::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
}

#[tokio::test]
async fn results_are_apart_from_tags_and_notices() {
    let ran = run(Format::Table, texts(&["SELECT; UPDATE 1", "COMMIT;"]), None).await;
    assert_eq!(ran.end, ShellEnd::Good);
    assert_eq!(ran.results, " n\n---\n 1\n 2\n(2 rows)\n\n");
    assert_eq!(ran.rest, "UPDATE 1\nNOTICE:  noticed\nCOMMIT\n");
    let ran = run(Format::Csv, texts(&["SELECT; UPDATE 1; SELECT"]), None).await;
    assert_eq!((ran.results.as_str(), ran.rest.as_str()), ("n\n1\n2\nn\n1\n2\n", ""));
    let ran = run(Format::Json, texts(&["UPDATE 1; SELECT"]), None).await;
    assert_eq!((ran.results.as_str(), ran.rest.as_str()), ("[{\"n\":1},\n {\"n\":2}]\n", ""));
}

#[tokio::test]
async fn first_error_stops_a_script_and_names_its_line() {
    let path = std::env::temp_dir().join(format!("spandrel-shell-{}.sql", std::process::id()));
    std::fs::write(&path, "SELECT;\n-- so\nWRONG;\nSELECT;\n").unwrap();
    let ran = run(Format::Csv, ShellInput::File(path.clone()), None).await;
    std::fs::remove_file(&path).unwrap();
    assert_eq!((ran.end, ran.results.as_str()), (ShellEnd::Failed, "n\n1\n2\n"));
    let expected = "ERROR:  scripted\nLINE 1: WRONG\n          ^\nSQLSTATE:  42601\n";
    assert_eq!(ran.rest, format!("{}:3: {expected}", path.display()));
    let ran = run(Format::Csv, texts(&["WRONG", "SELECT"]), None).await;
    assert_eq!((ran.end, ran.results.as_str()), (ShellEnd::Failed, ""));
    assert_eq!(ran.rest, expected);
}

#[tokio::test]
async fn result_that_broke_off_does_not_look_whole() {
    let ran = run(Format::Json, texts(&["BREAK"]), None).await;
    assert_eq!((ran.end, ran.results.as_str()), (ShellEnd::Failed, "[{\"n\":1}\n"));
    assert!(ran.rest.starts_with("ERROR:  broke\n"), "{}", ran.rest);
    let ran = run(Format::Table, texts(&["BREAK"]), None).await;
    assert_eq!((ran.end, ran.results.as_str()), (ShellEnd::Failed, ""));
}

#[tokio::test]
async fn transaction_left_open_is_said() {
    let ran = run(Format::Csv, texts(&["BEGIN; UPDATE 1; BEGIN"]), None).await;
    assert_eq!(ran.end, ShellEnd::Good);
    assert!(ran.rest.contains("inside of a transaction, which is rolled back"), "{}", ran.rest);
}

struct Nod(Vec<String>);

impl ShellCommands for Nod {
    fn help(&self) -> &str {
        "  \\nod             nods\n"
    }

    fn execute<'a>(&'a mut self, name: &'a str, argument: &'a str) -> ShellCommandRunning<'a> {
        Box::pin(async move {
            (name == "nod").then(|| {
                self.0.push(argument.to_owned());
                if argument == "no" { Err("no".to_owned()) } else { Ok("nods\n".to_owned()) }
            })
        })
    }
}

#[tokio::test]
async fn commands_of_the_program_around_it_are_the_shells_too() {
    let mut nod = Nod(Vec::new());
    let script = texts(&["\\nod a b", "\\?\n\\timing on", "\\nod no", "SELECT"]);
    let ran = run(Format::Csv, script, Some(&mut nod)).await;
    assert_eq!((ran.end, ran.results.as_str()), (ShellEnd::Failed, "nods\n"));
    assert!(ran.rest.contains("\n  \\nod             nods\n"), "{}", ran.rest);
    assert!(ran.rest.ends_with("Timing is on.\n\\nod: no\n"), "{}", ran.rest);
    assert_eq!(nod.0, ["a b", "no"]);
    let ran = run(Format::Csv, texts(&["\\nod"]), None).await;
    assert_eq!(ran.end, ShellEnd::Failed);
    assert_eq!(ran.rest, "there is no command \\nod: \\? has what there is\n");
}

#[tokio::test]
async fn interrupt_cancels_and_only_the_third_leaves_without_an_answer() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let cluster = cluster();
    let client = cluster.client().await;
    let (results, rest) = (Written::default(), Written::default());
    let output = ShellOutput::to(Box::new(results.clone()), Box::new(rest.clone()));
    let options = options(Format::Csv, texts(&["HOLD; SELECT"]));
    let shell = tokio::spawn(async move { run_shell(&client, options, output, None).await });
    let until = async |holds: &dyn Fn() -> bool| {
        let look = async {
            while !holds() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(60), look).await.expect("it is going to hold");
    };
    let arrived =
        |wanted: fn(&Request) -> bool| cluster.calls(|_, call| wanted(call).then_some(())).len();
    until(&|| arrived(|call| matches!(call, Request::ExecuteSql(_))) == 1).await;
    let interrupt = || {
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::INT).unwrap();
    };
    interrupt();
    until(&|| arrived(|call| matches!(call, Request::CancelSql(_))) == 1).await;
    interrupt();
    until(&|| rest.text().contains("still waiting")).await;
    assert!(!shell.is_finished(), "the answer decides");
    interrupt();
    assert_eq!(shell.await.unwrap().unwrap(), ShellEnd::Failed);
    assert!(rest.text().ends_with("the statement may have been executed\n"), "{}", rest.text());
    assert_eq!(results.text(), "", "nothing after it is executed");
}
