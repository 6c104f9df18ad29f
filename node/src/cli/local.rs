//! Where the nodes of a cluster on this machine listen and keep their data.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::{Client, ClientError};
use proto::NodeId;
use proto::rpc::v1::NodeState;
use tokio::time::{Instant, sleep};

use super::Failure;

/// Ports are looked for from here on. The system gives higher ones to outgoing connections, and one of
/// those could take the port of a node that is being restarted.
const PORT_FIRST: u16 = 20_000;
/// Below what the system gives away.
const PORT_LAST: u16 = 31_999;

/// Which ports a local cluster takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    /// Any that are free.
    Any,
    /// Those that people expect, if they are free: 7420 and the following ones.
    Usual,
}

/// Where gRPC is by default.
const PORT_USUAL: u16 = 7_420;

/// Holds the addresses of the nodes, so that a cluster on a data directory finds itself again.
const ADDRESSES_FILE: &str = "addresses";

/// How long a new cluster may take until all of its nodes are up.
const UP_TIMEOUT: Duration = Duration::from_secs(30);

/// The places of a local cluster's nodes.
#[derive(Debug)]
pub(super) struct Places {
    /// Removed at the end, when it was not asked for by name.
    base: Base,
    nodes: Vec<Place>,
}

#[derive(Debug)]
enum Base {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

/// The place of one node.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) address: String,
    pub(super) data_dir: PathBuf,
    /// Holds the port until the node takes it.
    reserved: Option<TcpListener>,
}

impl Place {
    /// Lets the node have its port.
    pub(super) fn release(&mut self) {
        self.reserved = None;
    }
}

impl Places {
    /// Finds places for `count` nodes: those of before, if `data_dir` was used before.
    pub(super) fn find(count: u32, data_dir: Option<&Path>, ports: Ports) -> Result<Self, Failure> {
        let base = match data_dir {
            Some(path) => {
                std::fs::create_dir_all(path).map_err(|error| unusable(path, &error))?;
                Base::Kept(path.to_path_buf())
            }
            None => Base::Temporary(
                tempfile::Builder::new()
                    .prefix("spandrel-")
                    .tempdir()
                    .map_err(|error| unusable(&std::env::temp_dir(), &error))?,
            ),
        };
        let path = base.path();
        let file = path.join(ADDRESSES_FILE);
        let nodes = match std::fs::read_to_string(&file) {
            Ok(addresses) => {
                let before: Vec<&str> = addresses.lines().collect();
                if u32::try_from(before.len()) != Ok(count) {
                    return Err(Failure::configuration(format!(
                        "{} has a cluster of {} nodes, not {count}; use another directory",
                        path.display(),
                        before.len()
                    )));
                }
                before.iter().map(|address| ((*address).to_owned(), None)).collect()
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let usual = (ports == Ports::Usual).then(|| reserve_usual(count)).flatten();
                usual.map_or_else(|| reserve(count), Ok)?
            }
            Err(error) => return Err(unusable(&file, &error)),
        };
        let lines: Vec<&str> = nodes.iter().map(|(address, _)| address.as_str()).collect();
        std::fs::write(&file, lines.join("\n") + "\n").map_err(|error| unusable(&file, &error))?;
        let place = |(number, (address, reserved)): (u32, (String, _))| Place {
            address,
            data_dir: path.join(format!("node{number}")),
            reserved,
        };
        let nodes = (1..).zip(nodes).map(place).collect();
        Ok(Places { base, nodes })
    }

    /// Where everything is.
    pub(super) fn path(&self) -> &Path {
        self.base.path()
    }

    /// Leaves the files where they are, so that somebody can look at them.
    pub(super) fn keep(&mut self) {
        if let Base::Temporary(dir) = &mut self.base {
            dir.disable_cleanup(true);
        }
    }

    pub(super) fn nodes(&self) -> &[Place] {
        &self.nodes
    }

    pub(super) fn nodes_mut(&mut self) -> &mut [Place] {
        &mut self.nodes
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|place| place.address.clone()).collect()
    }
}

impl Base {
    fn path(&self) -> &Path {
        match self {
            Base::Kept(path) => path,
            Base::Temporary(dir) => dir.path(),
        }
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::data_directory(format!("{} cannot be used: {error}", path.display()))
}

/// The usual ports, held until [`Place::release`], if all of them are free.
fn reserve_usual(count: u32) -> Option<Vec<(String, Option<TcpListener>)>> {
    let count = u16::try_from(count).ok()?;
    let bound = (PORT_USUAL..PORT_USUAL.checked_add(count)?).map(|port| {
        let listener = TcpListener::bind(("127.0.0.1", port)).ok()?;
        Some((format!("127.0.0.1:{port}"), Some(listener)))
    });
    bound.collect()
}

/// Free ports, held until [`Place::release`].
fn reserve(count: u32) -> Result<Vec<(String, Option<TcpListener>)>, Failure> {
    let width = PORT_LAST - PORT_FIRST + 1;
    // Another start for each process, so that two benchmarks seldom meet.
    let start = u16::try_from(std::process::id() % u32::from(width)).unwrap_or(0);
    let ports = (0..width).map(|step| PORT_FIRST + (start + step) % width);
    let bound = ports.filter_map(|port| {
        let listener = TcpListener::bind(("127.0.0.1", port)).ok()?;
        Some((format!("127.0.0.1:{port}"), Some(listener)))
    });
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    let found: Vec<_> = bound.take(wanted).collect();
    if found.len() == wanted {
        Ok(found)
    } else {
        Err(Failure::run_time(format!(
            "no {count} free ports between {PORT_FIRST} and {PORT_LAST} on 127.0.0.1"
        )))
    }
}

/// Initialises the cluster, waits until all of its nodes are up, and says which node is where.
pub(super) async fn initialise(addresses: &[String]) -> Result<BTreeMap<NodeId, String>, Failure> {
    let failed = |error: ClientError| Failure::run_time(format!("starting a cluster: {error}"));
    let client = Client::connect(addresses).await.map_err(failed)?;
    let answer = client.init().await.map_err(failed)?;
    let nodes: BTreeMap<NodeId, String> =
        answer.nodes.into_iter().map(|node| (NodeId(node.node), node.grpc)).collect();
    let deadline = Instant::now() + UP_TIMEOUT;
    loop {
        let status = client.status().await.map_err(failed)?;
        let up = status.nodes.iter().filter(|node| node.state() == NodeState::Up).count();
        if up == nodes.len() {
            return Ok(nodes);
        }
        if Instant::now() > deadline {
            return Err(Failure::run_time(format!(
                "only {up} of {} nodes are up after {UP_TIMEOUT:?}",
                nodes.len()
            )));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_ports_of_their_own_that_are_held() {
        let mut places = Places::find(3, None, Ports::Any).unwrap();
        let addresses = places.addresses();
        assert_eq!(addresses.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
        assert!(TcpListener::bind(&addresses[0]).is_err());
        places.nodes_mut()[0].release();
        assert!(TcpListener::bind(&addresses[0]).is_ok());
    }

    #[test]
    fn temporary_places_are_removed_unless_kept() {
        let places = Places::find(1, None, Ports::Any).unwrap();
        let path = places.path().to_path_buf();
        assert!(path.exists());
        drop(places);
        assert!(!path.exists());
        let mut places = Places::find(1, None, Ports::Any).unwrap();
        places.keep();
        let path = places.path().to_path_buf();
        drop(places);
        assert!(path.exists());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn data_directory_keeps_its_addresses_and_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let before = Places::find(2, Some(dir.path()), Ports::Any).unwrap().addresses();
        assert_eq!(Places::find(2, Some(dir.path()), Ports::Any).unwrap().addresses(), before);
        assert_eq!(Places::find(3, Some(dir.path()), Ports::Any).unwrap_err().code, 3);
    }
}
