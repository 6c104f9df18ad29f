//! A cluster inside this process: each node on a thread of its own.

use std::path::Path;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use truetime::ClockSource;

use super::local::{Places, initialise};
use super::start::{StartArgs, run_node};
use super::{Failure, runtime};

/// The nodes. They are stopped when this is dropped.
#[derive(Debug)]
pub(super) struct Embedded {
    nodes: Vec<EmbeddedNode>,
    places: Places,
}

#[derive(Debug)]
struct EmbeddedNode {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Embedded {
    /// Starts `count` nodes and makes a cluster of them.
    pub(super) async fn start(
        count: u32,
        data_dir: Option<&Path>,
        clock: ClockSource,
        cores: u16,
    ) -> Result<Self, Failure> {
        let places = Places::find(count, data_dir)?;
        let join = places.addresses();
        let mut embedded = Embedded { nodes: Vec::new(), places };
        // Each node says once that it listens, or why it does not.
        let (sender, mut ready) = mpsc::unbounded_channel();
        for place in embedded.places.nodes_mut() {
            place.release();
            let args = StartArgs {
                data_dir: place.data_dir.clone(),
                listen: place.address.clone(),
                http: "127.0.0.1:0".to_owned(),
                advertise: None,
                join: join.clone(),
                clock,
                cores: Some(cores),
                port_offset: 0,
                insecure: false,
            };
            embedded.nodes.push(start_thread(args, sender.clone())?);
        }
        drop(sender);
        for _ in 0..count {
            ready.recv().await.unwrap_or_else(|| {
                Err(Failure::run_time("a node of this process ended before it listened"))
            })?;
        }
        initialise(&join).await?;
        Ok(embedded)
    }

    /// Where the nodes listen.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.places.addresses()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let (stops, threads): (Vec<_>, Vec<_>) =
            self.nodes.drain(..).map(|node| (node.stop, node.thread)).unzip();
        for stop in stops {
            // A node that has ended by itself needs no word.
            let _ = stop.send(());
        }
        for thread in threads {
            // A panic in it was printed there.
            let _ = thread.join();
        }
    }
}

fn start_thread(
    args: StartArgs,
    ready: mpsc::UnboundedSender<Result<(), Failure>>,
) -> Result<EmbeddedNode, Failure> {
    let (stop, stopped) = oneshot::channel();
    let name = format!("node {}", args.listen);
    let body = move || {
        let result = runtime().and_then(|runtime| {
            let stopped = async {
                // A sender that is gone wants the same.
                let _ = stopped.await;
            };
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
    Ok(EmbeddedNode { stop, thread })
}
