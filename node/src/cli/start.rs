//! `spandrel start`, and nodes inside this process.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use node::host::peer_service::{self, AnswerPeers, InitError, PeerService};
use node::host::{Node, NodeError, NodeOptions, PEER_MESSAGE_BYTES_MAX};
use node::server::listen::{ConnectionLimits, Exposure, ListenError, bind, routes, serve_grpc};
use node::server::status::{self, NodeReport, Peers};
use node::server::{InitFailed, InitHook, Initialised, ServerSettings, SpandrelService, http};
use node::shard::replica::ReplicaConfig;
use proto::NodeId;
use proto::rpc::internal::{AskRequest, peer_server::PeerServer};
use proto::rpc::v1::ErrorKind;
use truetime::ClockSource;

use super::{Failure, runtime, say};

#[derive(Clone, Debug, Args)]
pub(super) struct StartArgs {
    /// Where the node keeps its data; created if it is not there.
    #[arg(long, env = "SPANDREL_DATA_DIR")]
    pub(super) data_dir: PathBuf,
    /// Where gRPC clients and other nodes connect.
    #[arg(long, env = "SPANDREL_LISTEN", default_value = "127.0.0.1:7420")]
    pub(super) listen: String,
    /// Where metrics and health are served.
    #[arg(long, env = "SPANDREL_HTTP", default_value = "127.0.0.1:7480")]
    pub(super) http: String,
    /// The gRPC address as others reach it; by default the one that is listened on.
    #[arg(long, env = "SPANDREL_ADVERTISE")]
    pub(super) advertise: Option<String>,
    /// The gRPC addresses of all nodes of the cluster, this one included.
    #[arg(long, env = "SPANDREL_JOIN", value_delimiter = ',', required = true, value_parser = host_and_port)]
    pub(super) join: Vec<String>,
    /// Where time comes from: kernel, or `fixed:<epsilon>`.
    #[arg(long, env = "SPANDREL_CLOCK", default_value = "kernel")]
    pub(super) clock: ClockSource,
    /// How many cores the node runs; by default the machine's.
    #[arg(long, env = "SPANDREL_CORES", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) cores: Option<u16>,
    /// Added to every port, so that several nodes on one machine differ in one flag.
    #[arg(long, env = "SPANDREL_PORT_OFFSET", default_value_t = 0)]
    pub(super) port_offset: u16,
    /// Allows listeners off loopback although this release has no TLS and no login.
    #[arg(long, env = "SPANDREL_INSECURE")]
    pub(super) insecure: bool,
}

/// Runs until a signal asks it to stop.
pub(super) fn start(args: StartArgs) -> Result<(), Failure> {
    let runtime = runtime()?;
    let ended = runtime.block_on(async move {
        let signal = stop_signal()?;
        let stop = async {
            signal.await;
            Stop::HandOver
        };
        run_node(args, stop, |address| say(&format!("grpc listening on {address}"))).await
    });
    // A blocking call that hangs, on a disk that does not answer, must not keep the process.
    runtime.shutdown_timeout(STOP_PATIENCE);
    ended
}

/// How a node is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Once others lead what it leads.
    HandOver,
    /// At once, as if its process had been killed.
    AtOnce,
}

/// How long a node that ends waits for what its threads still do.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// From here on a panic in any thread ends the process: a node that goes on without its log or one of its
/// cores would keep leading shards that it cannot serve (T65). Only a statement of SQL fails alone.
fn abort_on_panic() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            usual(panic);
            if node::server::is_guarded() {
                return;
            }
            say("spandrel: this is a bug; the node ends, so that the others take over");
            std::process::abort();
        }));
    });
}

/// SIGTERM or SIGINT.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| Failure::run_time(format!("listening for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Runs a node until `stop` completes or it can go on no more. `announce` gets the gRPC address once it is
/// listened on.
pub(super) async fn run_node(
    args: StartArgs,
    stop: impl Future<Output = Stop>,
    announce: impl FnOnce(SocketAddr),
) -> Result<(), Failure> {
    abort_on_panic();
    let exposure = if args.insecure { Exposure::Anyone } else { Exposure::Loopback };
    let listen = offset_port(&args.listen, args.port_offset)?;
    let (listener, address) = bind(&listen, exposure).await.map_err(not_listening)?;
    let pages = offset_port(&args.http, args.port_offset)?;
    let (pages, http_address) = bind(&pages, exposure).await.map_err(not_listening)?;
    let options = NodeOptions {
        data_dir: args.data_dir.clone(),
        advertise: advertised(args.advertise.as_deref(), address)?,
        http: http_address.to_string(),
        join: args.join.clone(),
        clock: args.clock,
        cores: args.cores.unwrap_or_else(machine_cores),
        replica: ReplicaConfig::default(),
    };
    let node = Node::open(options).map_err(refused)?;
    if node.member().is_some() {
        node.run().map_err(refused)?;
    }
    let hooks = Arc::new(Hooks { node: node.clone() });
    let service =
        SpandrelService::new(node.clone(), hooks.clone(), hooks.clone(), ServerSettings::default());
    let peers = PeerServer::new(PeerService::new(node.clone(), hooks))
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
    let routes = routes(service.clone(), &node).map_err(Failure::run_time)?.add_service(peers);
    let served = tokio::spawn(serve_grpc(
        listener,
        routes,
        ConnectionLimits::default(),
        std::future::pending::<()>(),
    ));
    let shown = http::serve(pages, http::router(node.clone()), std::future::pending::<()>());
    let shown = tokio::spawn(shown);
    announce(address);
    let looking = tokio::spawn(peer_service::look_around(node.clone()));
    let ended = tokio::select! {
        stop = stop => Ok(stop),
        error = node.until_failed() => Err(stopped_by(&error)),
    };
    looking.abort();
    service.stop();
    if let Some(running) = node.running() {
        if matches!(ended, Ok(Stop::HandOver)) {
            running.hand_over().await;
        }
        running.stop();
    }
    served.abort();
    shown.abort();
    ended.map(|_| ())
}

/// What the public API needs of the node's surroundings.
struct Hooks {
    node: Arc<Node>,
}

/// The one question that nodes ask each other outside their stream.
const STATUS_QUESTION: &[u8] = b"status";

#[tonic::async_trait]
impl InitHook for Hooks {
    async fn init(&self) -> Result<Initialised, InitFailed> {
        let failed = |error: InitError| {
            let kind =
                if error.passes() { ErrorKind::Unavailable } else { ErrorKind::InvalidRequest };
            InitFailed { kind, message: error.to_string(), hint: String::new() }
        };
        let existed = peer_service::init(&self.node).await.map_err(failed)?;
        let member = self.node.member().expect("an initialised node has its place");
        Ok(Initialised { cluster: member.cluster, existed, nodes: member.nodes })
    }
}

#[tonic::async_trait]
impl Peers for Hooks {
    async fn ask_status(&self, node: NodeId) -> Option<NodeReport> {
        let member = self.node.member()?;
        let other = member.nodes.into_iter().find(|other| other.id == node)?;
        for address in self.node.candidates(&other.advertise) {
            let Ok(mut client) = peer_service::connect(&address).await else { continue };
            let question =
                AskRequest { caller: Some(self.node.identity()), question: STATUS_QUESTION.into() };
            let Ok(answer) = client.ask(question).await else { continue };
            match postcard::from_bytes::<NodeReport>(&answer.into_inner().answer) {
                Ok(report) if report.node.id == node => return Some(report),
                Ok(_) | Err(_) => {}
            }
        }
        None
    }
}

#[tonic::async_trait]
impl AnswerPeers for Hooks {
    async fn answer(&self, question: &[u8]) -> Result<Vec<u8>, tonic::Status> {
        if question != STATUS_QUESTION {
            return Err(tonic::Status::unimplemented("this release does not know the question"));
        }
        let report = status::report(&self.node).await;
        let report = report.ok_or_else(|| tonic::Status::unavailable("it does not run yet"))?;
        postcard::to_stdvec(&report).map_err(|error| tonic::Status::internal(error.to_string()))
    }
}

fn machine_cores() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(cores).unwrap_or(u16::MAX)
}

/// The address that others are told. One that stands for every interface of this machine leads nobody to it.
fn advertised(given: Option<&str>, listened: SocketAddr) -> Result<String, Failure> {
    match given {
        Some(given) => Ok(given.to_owned()),
        None if listened.ip().is_unspecified() => Err(Failure::configuration(format!(
            "{listened} stands for all addresses of this machine, and no other node can connect to it; give \
             --advertise HOST:PORT, the address by which the others reach this node"
        ))),
        None => Ok(listened.to_string()),
    }
}

/// A HOST:PORT of the command line.
fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    match port.map(str::parse::<u16>) {
        Some(Ok(_)) => Ok(text.to_owned()),
        Some(Err(_)) | None => Err("it is not HOST:PORT, as in n1.example:7420".to_owned()),
    }
}

fn offset_port(address: &str, offset: u16) -> Result<String, Failure> {
    let unusable = || Failure::configuration(format!("{address} is not HOST:PORT"));
    let (host, port) = address.rsplit_once(':').ok_or_else(unusable)?;
    let port: u16 = port.parse().map_err(|_| unusable())?;
    let port = if port == 0 { 0 } else { port.checked_add(offset).ok_or_else(unusable)? };
    Ok(format!("{host}:{port}"))
}

/// Why there is no listener.
fn not_listening(error: ListenError) -> Failure {
    match error {
        ListenError::Address { .. } | ListenError::NotLoopback { .. } => {
            Failure::configuration(error)
        }
        ListenError::InUse { .. }
        | ListenError::Io { .. }
        | ListenError::Broken { .. }
        | ListenError::Reflection { .. } => Failure::run_time(error),
    }
}

/// Why a node did not start.
fn refused(error: NodeError) -> Failure {
    match &error {
        NodeError::DataDir(_)
        | NodeError::Log(_)
        | NodeError::Open(_)
        | NodeError::Store(_)
        | NodeError::Replica(_)
        | NodeError::Descriptor(_) => Failure::data_directory(error),
        NodeError::DirectoryLost { .. }
        | NodeError::OtherCluster { .. }
        | NodeError::NotListed { .. }
        | NodeError::LogFailed(_)
        | NodeError::Core(_)
        | NodeError::Io { .. } => stopped_by(&error),
    }
}

/// Why a node that had started stopped by itself.
fn stopped_by(error: &NodeError) -> Failure {
    match error {
        NodeError::DirectoryLost { .. } => Failure::data_directory(error),
        NodeError::OtherCluster { .. } | NodeError::NotListed { .. } => {
            Failure::configuration(error)
        }
        NodeError::DataDir(_)
        | NodeError::Log(_)
        | NodeError::Open(_)
        | NodeError::Store(_)
        | NodeError::Replica(_)
        | NodeError::Descriptor(_)
        | NodeError::LogFailed(_)
        | NodeError::Core(_)
        | NodeError::Io { .. } => Failure::run_time(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;
    use clap::error::ErrorKind as Usage;

    fn refusal(flags: &[&str]) -> Usage {
        let command = ["spandrel", "start", "--data-dir", "d"];
        let parsed = Cli::try_parse_from(command.iter().chain(flags));
        parsed.expect_err("it is refused").kind()
    }

    #[test]
    fn join_without_host_or_port_and_no_cores_are_usage_errors() {
        for join in ["nonsense", "n1:", ":7420", "n1:port", "n1:7420,", "n1:7420,n2"] {
            assert_eq!(refusal(&["--join", join]), Usage::ValueValidation, "{join}");
        }
        assert_eq!(refusal(&["--join", "n1:7420", "--cores", "0"]), Usage::ValueValidation);
    }

    #[test]
    fn address_of_all_interfaces_is_not_advertised() {
        for listened in ["0.0.0.0:7420", "[::]:7420"] {
            let listened: SocketAddr = listened.parse().unwrap();
            let refused = advertised(None, listened).unwrap_err();
            assert_eq!(refused.code, 3);
            assert!(refused.message.contains("give --advertise"), "{}", refused.message);
            assert_eq!(advertised(Some("n1:7420"), listened).unwrap(), "n1:7420");
        }
        let loopback = "127.0.0.1:7420".parse().unwrap();
        assert_eq!(advertised(None, loopback).unwrap(), "127.0.0.1:7420");
    }
}
