//! One node as a process, and any other command of the program.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{PATIENCE, until};

/// What a node prints when it can be reached.
const READY: &str = "grpc listening on ";

/// A node's place, and its process while there is one, which dies with this.
pub(crate) struct Node {
    pub(crate) address: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) clock: String,
    join: String,
    /// Where its output goes; what an earlier start printed ends at `printed`.
    output: PathBuf,
    printed: usize,
    process: Option<Child>,
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The one sentence that a command which failed is to end with; log lines may come before it.
    pub(crate) fn sentence(&self) -> &str {
        let last = self.stderr.trim_end().lines().last().unwrap_or_default();
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        last.strip_prefix("spandrel: ").unwrap_or_else(|| panic!("no last words: {self:#?}"))
    }
}

impl Node {
    /// A place below `dir`. Nothing is started.
    pub(crate) fn new(dir: &Path, name: &str, address: &str, join: &str) -> Self {
        Node {
            address: address.to_owned(),
            data_dir: dir.join(name),
            clock: "fixed:250us".to_owned(),
            join: join.to_owned(),
            output: dir.join(format!("{name}.log")),
            printed: 0,
            process: None,
        }
    }

    /// A place for a node whose cluster has only itself.
    pub(crate) fn alone(dir: &Path) -> Self {
        let address = free_address();
        Node::new(dir, "node", &address, &address)
    }

    /// Starts the process and waits until it listens.
    pub(crate) async fn start(&mut self) {
        self.spawn();
        until("the node listens", async || {
            let output = self.output();
            match output.lines().any(|line| line.starts_with(READY)) {
                true => Ok(()),
                false => match self.has_ended() {
                    false => Err(output),
                    true => panic!("the node ended early: {output}"),
                },
            }
        })
        .await;
    }

    /// Starts the process, which is to end by itself.
    pub(crate) async fn start_in_vain(&mut self) -> Ended {
        self.spawn();
        self.ended().await
    }

    fn spawn(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.address);
        self.printed = std::fs::read(&self.output).map_or(0, |bytes| bytes.len());
        let output = OpenOptions::new().create(true).append(true).open(&self.output);
        let mut command = command();
        command
            .args(["start", "--clock", &self.clock, "--cores", "1", "--http", "127.0.0.1:0"])
            .args(["--listen", &self.address, "--join", &self.join, "--data-dir"])
            .arg(&self.data_dir)
            .stdout(Stdio::null())
            .stderr(output.expect("the folder of the test takes files"));
        self.process = Some(command.spawn().expect("the program can be started"));
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(&mut self) -> Ended {
        let mut process = self.process.take().expect("it was started");
        let status = timeout(PATIENCE, process.wait()).await.unwrap_or_else(|_| {
            panic!("{} does not end: {}", self.address, self.output());
        });
        let code = status.expect("a child can be waited for").code();
        Ended { code, stdout: String::new(), stderr: self.output() }
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().await.expect("a child can be killed");
    }

    /// SIGTERM, and waits until it is gone.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let ended = self.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
    }

    /// Sends a signal and waits for nothing.
    pub(crate) fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().and_then(Child::id).expect("it runs");
        let process = i32::try_from(process).ok().and_then(Pid::from_raw).expect("it has an id");
        kill_process(process, signal).expect("a child can be signalled");
    }

    pub(crate) fn runs(&self) -> bool {
        self.process.is_some()
    }

    fn has_ended(&mut self) -> bool {
        let process = self.process.as_mut().expect("it was started");
        process.try_wait().expect("a child can be looked at").is_some()
    }

    /// What it has printed since its last start.
    pub(crate) fn output(&self) -> String {
        let bytes = std::fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.printed..).unwrap_or_default()).into_owned()
    }
}

/// The program, with nothing of the surroundings' settings.
fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spandrel"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SPANDREL_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command of the program to its end.
pub(crate) async fn spandrel(args: &[&str]) -> Ended {
    ended(command().args(args), args).await
}

/// The same with standard input, and the folder for its temporary files.
pub(crate) async fn spandrel_fed(args: &[&str], input: &str, temporary: &Path) -> Ended {
    let mut file = tempfile::tempfile().expect("a file for the input");
    std::io::Write::write_all(&mut file, input.as_bytes()).expect("a small file");
    std::io::Seek::rewind(&mut file).expect("a file can be rewound");
    ended(command().args(args).stdin(file).env("TMPDIR", temporary), args).await
}

async fn ended(command: &mut Command, args: &[&str]) -> Ended {
    let output = command.output();
    let output =
        timeout(PATIENCE, output).await.unwrap_or_else(|_| panic!("{args:?} does not end"));
    let output = output.expect("the program can be started");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Ports are looked for from here on: below those that the system gives to outgoing connections, one of which
/// could take the port of a node that is down, and below those that `bench` uses.
const PORT_FIRST: u16 = 11_000;
const PORTS: u16 = 9_000;

/// An address that is free, and that nothing else of this test program is given.
pub(crate) fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another start for each process, so that two runs seldom meet.
    let start = u16::try_from(std::process::id() % u32::from(PORTS)).expect("it is below a u16");
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORT_FIRST + (start + step % PORTS) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}
