//! A cluster inside this process: each node on a thread of its own.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use proto::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use truetime::ClockSource;

use super::local::{Places, Ports, initialise};
use super::start::{StartArgs, Stop, run_node};
use super::{Failure, runtime};

/// How long the threads of a node that was killed may keep its data directory.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// Where metrics are by default.
const HTTP_PORT_USUAL: u16 = 7_480;

/// The exit code of a node whose data directory is still in use.
const DIRECTORY_UNUSABLE: u8 = 4;

/// The nodes. They are stopped when this is dropped.
#[derive(Debug)]
pub(super) struct Embedded {
    nodes: Vec<EmbeddedNode>,
    /// Which of them has which id.
    ids: BTreeMap<NodeId, usize>,
    /// How they are stopped when this is dropped.
    stop: Stop,
    /// After the nodes, since it may remove their files.
    places: Places,
}

#[derive(Debug)]
struct EmbeddedNode {
    args: StartArgs,
    running: Option<RunningNode>,
}

#[derive(Debug)]
struct RunningNode {
    stop: oneshot::Sender<Stop>,
    thread: JoinHandle<()>,
}

impl RunningNode {
    /// Has it stop, and tells the thread to wait for.
    fn stop(self, how: Stop) -> JoinHandle<()> {
        // A node that has ended by itself needs no word.
        let _ = self.stop.send(how);
        self.thread
    }
}

impl Embedded {
    /// Starts `count` nodes and makes a cluster of them.
    pub(super) async fn start(
        count: u32,
        data_dir: Option<&Path>,
        ports: Ports,
        clock: ClockSource,
        cores: u16,
    ) -> Result<Self, Failure> {
        let places = Places::find(count, data_dir, ports)?;
        let join = places.addresses();
        let mut embedded =
            Embedded { nodes: Vec::new(), ids: BTreeMap::new(), stop: Stop::HandOver, places };
        // Each node says once that it listens, or why it does not.
        let (sender, mut ready) = mpsc::unbounded_channel();
        for (number, place) in (0..).zip(embedded.places.nodes_mut()) {
            place.release();
            let http = match ports {
                Ports::Any => None,
                Ports::Usual => free(HTTP_PORT_USUAL.saturating_add(number)),
            };
            let args = StartArgs {
                data_dir: place.data_dir.clone(),
                listen: place.address.clone(),
                http: http.unwrap_or_else(|| "127.0.0.1:0".to_owned()),
                advertise: None,
                join: join.clone(),
                clock,
                cores: Some(cores),
                port_offset: 0,
                insecure: false,
            };
            let running = Some(start_thread(args.clone(), sender.clone())?);
            embedded.nodes.push(EmbeddedNode { args, running });
        }
        drop(sender);
        for _ in 0..count {
            listening(&mut ready).await?;
        }
        for (id, address) in initialise(&join).await? {
            let at = embedded.nodes.iter().position(|node| node.args.listen == address);
            embedded.ids.extend(at.map(|at| (id, at)));
        }
        Ok(embedded)
    }

    /// Where the nodes listen.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.places.addresses()
    }

    /// How the nodes are stopped at the end.
    pub(super) fn stop_by(&mut self, stop: Stop) {
        self.stop = stop;
    }

    /// Stops a node as if its process had been killed: nothing is handed over, and its connections break.
    pub(super) async fn kill(&mut self, id: NodeId) -> Result<(), String> {
        let node = self.node(id)?;
        let running = node.running.take().ok_or_else(|| format!("{id} does not run"))?;
        let thread = running.stop(Stop::AtOnce);
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        // A panic in it ends the process.
        joined.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Starts a node that was killed on what it has kept.
    pub(super) async fn restart(&mut self, id: NodeId) -> Result<(), String> {
        let node = self.node(id)?;
        if node.running.is_some() {
            return Err(format!("{id} runs"));
        }
        let deadline = Instant::now() + RELEASE_PATIENCE;
        loop {
            let (sender, mut ready) = mpsc::unbounded_channel();
            let started = start_thread(node.args.clone(), sender).map_err(|f| f.message)?;
            match listening(&mut ready).await {
                Ok(()) => {
                    node.running = Some(started);
                    return Ok(());
                }
                // The threads of its last life may not all have ended.
                Err(failure) if failure.code == DIRECTORY_UNUSABLE && Instant::now() < deadline => {
                    sleep(Duration::from_millis(50)).await;
                }
                Err(failure) => return Err(failure.message),
            }
        }
    }

    fn node(&mut self, id: NodeId) -> Result<&mut EmbeddedNode, String> {
        let at = self.ids.get(&id).and_then(|at| self.nodes.get_mut(*at));
        at.ok_or_else(|| format!("there is no node {id}"))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let stop = self.stop;
        let running = self.nodes.drain(..).filter_map(|node| node.running);
        let threads: Vec<_> = running.map(|running| running.stop(stop)).collect();
        for thread in threads {
            // A panic in it was printed there.
            let _ = thread.join();
        }
    }
}

/// The address of a port, if nobody listens on it.
fn free(port: u16) -> Option<String> {
    TcpListener::bind(("127.0.0.1", port)).ok().map(|_| format!("127.0.0.1:{port}"))
}

async fn listening(
    ready: &mut mpsc::UnboundedReceiver<Result<(), Failure>>,
) -> Result<(), Failure> {
    ready.recv().await.unwrap_or_else(|| {
        Err(Failure::run_time("a node of this process ended before it listened"))
    })
}

fn start_thread(
    args: StartArgs,
    ready: mpsc::UnboundedSender<Result<(), Failure>>,
) -> Result<RunningNode, Failure> {
    let (stop, stopped) = oneshot::channel();
    let name = format!("node {}", args.listen);
    let body = move || {
        let result = runtime().and_then(|runtime| {
            // A sender that is gone wants it to stop, too.
            let stopped = async { stopped.await.unwrap_or(Stop::AtOnce) };
            let announced = ready.clone();
            // Whoever waits for it may have given up.
            let announce = move |_| drop(announced.send(Ok(())));
            runtime.block_on(run_node(args, stopped, announce))
        });
        if let Err(failure) = result {
            tracing::error!(reason = %failure.message, "a node of this process failed");
            let _ = ready.send(Err(failure));
        }
    };
    let thread = std::thread::Builder::new().name(name).spawn(body);
    let thread =
        thread.map_err(|error| Failure::run_time(format!("starting a thread: {error}")))?;
    Ok(RunningNode { stop, thread })
}
