//! A cluster of processes of this very program, which can be killed, stopped and started one by one.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bench::bank::{Cluster, ClusterError, cpu_time};
use proto::NodeId;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::local::{Places, Ports, initialise};
use super::{Failure, say};

/// What a node prints when it can be reached.
const READY: &str = "grpc listening on";

/// How long a node may take until it prints that: it may have a long log to read.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a node may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How often a new node's output is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How the nodes are started.
#[derive(Clone, Debug)]
pub(super) struct NodeFlags {
    pub(super) clock: String,
    pub(super) cores: u32,
}

/// The processes. They are killed when this is dropped, in a panic as well.
#[derive(Debug)]
pub(super) struct Processes {
    program: PathBuf,
    flags: NodeFlags,
    /// Dropped before the places, whose files they use.
    children: BTreeMap<usize, Child>,
    /// Which of the places a node has.
    place_of: BTreeMap<NodeId, usize>,
    places: Places,
}

impl Processes {
    /// Starts `count` nodes and makes a cluster of them.
    pub(super) async fn start(
        count: u32,
        data_dir: Option<&Path>,
        flags: NodeFlags,
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::run_time(format!("finding this program: {error}")))?;
        let places = Places::find(count, data_dir, Ports::Any)?;
        let (children, place_of) = (BTreeMap::new(), BTreeMap::new());
        let mut processes = Processes { program, flags, children, place_of, places };
        let started = processes.start_all().await;
        if started.is_err() {
            processes.keep_files();
        }
        started.map(|()| processes)
    }

    async fn start_all(&mut self) -> Result<(), Failure> {
        for place in 0..self.places.nodes().len() {
            self.start_at(place).await.map_err(|error| {
                let log = self.log(place);
                Failure::run_time(format!("a node cannot be started: {error}; {}", log.display()))
            })?;
        }
        let addresses = self.addresses();
        let place = |address: &String| addresses.iter().position(|known| known == address);
        for (node, address) in initialise(&addresses).await? {
            let place = place(&address).ok_or_else(|| {
                Failure::run_time(format!("{node} says that it is at {address}, but none is there"))
            })?;
            self.place_of.insert(node, place);
        }
        Ok(())
    }

    /// Where the nodes listen.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.places.addresses()
    }

    /// Leaves data and output where they are, and says where.
    pub(super) fn keep_files(&mut self) {
        self.places.keep();
        say(&format!("data and output of the nodes: {}", self.places.path().display()));
    }

    /// Stops all nodes.
    pub(super) async fn stop_all(&mut self) {
        for child in self.children.values() {
            // One that has ended by itself needs no signal.
            let _ = terminate(child);
        }
        for (_, mut child) in std::mem::take(&mut self.children) {
            if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }

    /// Where the node of a place prints to.
    fn log(&self, place: usize) -> PathBuf {
        self.places.nodes()[place].data_dir.with_extension("log")
    }

    fn place(&self, node: NodeId) -> Result<usize, ClusterError> {
        self.place_of.get(&node).copied().ok_or(ClusterError::NoSuchNode { node })
    }

    fn error(
        &self,
        node: NodeId,
        place: usize,
        action: &'static str,
    ) -> impl FnOnce(Error) -> ClusterError + use<> {
        let log = self.log(place);
        move |source| ClusterError::Process { node, action, log, source }
    }

    async fn start_at(&mut self, place: usize) -> Result<(), Error> {
        let path = self.log(place);
        let mut log = OpenOptions::new().create(true).append(true).read(true).open(&path)?;
        let mut seen = log.seek(SeekFrom::End(0))?;
        let join = self.addresses().join(",");
        let node = &mut self.places.nodes_mut()[place];
        node.release();
        let mut command = Command::new(&self.program);
        command
            .arg("start")
            .arg("--data-dir")
            .arg(&node.data_dir)
            .args(["--listen", &node.address, "--http", "127.0.0.1:0", "--join", &join])
            .args(["--clock", &self.flags.clock, "--cores", &self.flags.cores.to_string()])
            // What is set for the benchmark must not reach the nodes.
            .env_remove("SPANDREL_PORT_OFFSET")
            .env_remove("SPANDREL_ADVERTISE")
            .env_remove("SPANDREL_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.try_clone()?)
            // Ctrl-C is for the benchmark, which stops its nodes in its own time.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let deadline = Instant::now() + START_TIMEOUT;
        let mut printed = String::new();
        loop {
            log.seek(SeekFrom::Start(seen))?;
            let mut news = Vec::new();
            seen += u64::try_from(log.read_to_end(&mut news)?).unwrap_or(0);
            printed.push_str(&String::from_utf8_lossy(&news));
            if printed.contains(READY) {
                self.children.insert(place, child);
                return Ok(());
            }
            if let Some(status) = child.try_wait()? {
                let last = printed.lines().last().unwrap_or("it printed nothing");
                return Err(Error::other(format!("it ended ({status}): {last}")));
            }
            if Instant::now() > deadline {
                let words = format!("it did not listen within {START_TIMEOUT:?}");
                return Err(Error::new(ErrorKind::TimedOut, words));
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    async fn stop_at(&mut self, place: usize) -> Result<(), Error> {
        let Some(mut child) = self.children.remove(&place) else { return Ok(()) };
        terminate(&child)?;
        match timeout(STOP_TIMEOUT, child.wait()).await {
            Ok(status) => match status?.success() {
                true => Ok(()),
                false => Err(Error::other("it did not end well")),
            },
            Err(_) => {
                child.kill().await?;
                let words = format!("it did not stop within {STOP_TIMEOUT:?} and was killed");
                Err(Error::new(ErrorKind::TimedOut, words))
            }
        }
    }
}

impl Cluster for Processes {
    async fn start(&mut self, node: NodeId) -> Result<(), ClusterError> {
        let place = self.place(node)?;
        let error = self.error(node, place, "started");
        self.start_at(place).await.map_err(error)
    }

    async fn kill(&mut self, node: NodeId) -> Result<(), ClusterError> {
        let place = self.place(node)?;
        let error = self.error(node, place, "killed");
        match self.children.remove(&place) {
            Some(mut child) => child.kill().await.map_err(error),
            None => Ok(()),
        }
    }

    async fn stop(&mut self, node: NodeId) -> Result<(), ClusterError> {
        let place = self.place(node)?;
        let error = self.error(node, place, "stopped");
        self.stop_at(place).await.map_err(error)
    }

    fn cpu_time(&self) -> Option<Duration> {
        self.children.values().map(|child| cpu_time(child.id()?)).sum()
    }
}

/// SIGTERM.
fn terminate(child: &Child) -> Result<(), Error> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    match pid {
        Some(pid) => Ok(kill_process(pid, Signal::TERM)?),
        None => Err(Error::other("it has ended already")),
    }
}
