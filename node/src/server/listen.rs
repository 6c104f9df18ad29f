//! Listening: which addresses are allowed, how many connections, and for how long.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use proto::rpc::FILE_DESCRIPTOR_SET;
use proto::rpc::v1::spandrel_server::SpandrelServer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::Stream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::api::SpandrelService;
use super::session::Place;
use super::too_large::WithDetails;
use crate::host::Node;

/// Why an address cannot be listened at.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is no address.
    #[error("{address}: {source}; give HOST:PORT, for example 127.0.0.1:7420")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// Others could connect, and nothing protects it.
    #[error(
        "{address} is reachable from other machines, and this release has no encryption or passwords on it; \
         listen at a loopback address, or start with --insecure where the network is trusted"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// Another process listens there.
    #[error("{address} is in use by another process; stop that one, or choose another port")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The operating system refused.
    #[error("cannot listen at {address}: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A listener broke.
    #[error("the gRPC listener broke: {source}")]
    Broken {
        /// Why.
        source: tonic::transport::Error,
    },
    /// The descriptors for reflection are not sound: this is a bug.
    #[error("server reflection cannot be offered: {source}")]
    Reflection {
        /// Why.
        source: tonic_reflection::server::Error,
    },
}

/// Whether addresses that other machines reach are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Only this machine.
    Loopback,
    /// Anyone: the operator answers for the network (`--insecure`).
    Anyone,
}

/// Listens at `HOST:PORT`; port 0 is any free one. The address that it really is comes with the listener.
pub async fn bind(
    address: &str,
    exposure: Exposure,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let bad = |source| ListenError::Address { address: address.to_owned(), source };
    let mut found = tokio::net::lookup_host(address).await.map_err(bad)?;
    let address = found
        .next()
        .ok_or_else(|| bad(io::Error::new(io::ErrorKind::NotFound, "the host has no address")))?;
    if exposure == Exposure::Loopback && !address.ip().is_loopback() {
        return Err(ListenError::NotLoopback { address });
    }
    let refused = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address },
        _ => ListenError::Io { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let real = listener.local_addr().map_err(|source| ListenError::Io { address, source })?;
    Ok((listener, real))
}

/// Limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Open connections; calls on those above it are answered that the node is overloaded, and far above it
    /// they are closed at once.
    pub connections_max: usize,
    /// Streams of one connection.
    pub streams_max: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits { connections_max: 10_000, streams_max: 1_024 }
    }
}

/// Connections above the limit that are told so.
const OVER_LIMIT_MAX: usize = 64;
/// After a failed accept (no file descriptors are left, say) the next one waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Silent connections are asked, and dropped when they do not answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The services of a gRPC listener: the API, health, reflection. More can be added. Health says serving
/// once the node runs.
pub fn routes(service: SpandrelService, node: &Arc<Node>) -> Result<Routes, ListenError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let waiting = node.clone();
    tokio::spawn(async move {
        reporter.set_not_serving::<SpandrelServer<SpandrelService>>().await;
        if waiting.until_running().await.is_some() {
            reporter.set_serving::<SpandrelServer<SpandrelService>>().await;
        }
    });
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|source| ListenError::Reflection { source })?;
    Ok(Routes::new(WithDetails(service.into_server())).add_service(health).add_service(reflection))
}

/// Serves gRPC until `shutdown` completes and the calls under way are answered.
pub async fn serve_grpc(
    listener: TcpListener,
    routes: Routes,
    limits: ConnectionLimits,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ListenError> {
    Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.streams_max)
        .add_routes(routes)
        .serve_with_incoming_shutdown(Incoming::new(listener, limits), shutdown)
        .await
        .map_err(|source| ListenError::Broken { source })
}

/// What a call may know of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    over_limit: bool,
}

impl Connection {
    /// Whether there are more connections than are served.
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        self.over_limit
    }
}

/// Accepts connections and counts them.
struct Incoming {
    listener: TcpListener,
    limits: ConnectionLimits,
    open: Arc<AtomicUsize>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Incoming {
    fn new(listener: TcpListener, limits: ConnectionLimits) -> Self {
        Incoming { listener, limits, open: Arc::default(), pause: None }
    }

    /// A connection that was accepted, if it may stay.
    fn admitted(&self, stream: TcpStream) -> Option<Accepted> {
        let max = self.limits.connections_max;
        let (over_limit, place) = match Place::take(&self.open, max) {
            Some(place) => (false, place),
            None => (true, Place::take(&self.open, max.saturating_add(OVER_LIMIT_MAX))?),
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        Some(Accepted { stream, connection: Connection { over_limit }, _place: place })
    }
}

impl Stream for Incoming {
    type Item = io::Result<Accepted>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            match std::task::ready!(this.listener.poll_accept(cx)) {
                Ok((stream, from)) => match this.admitted(stream) {
                    Some(accepted) => return Poll::Ready(Some(Ok(accepted))),
                    None => tracing::warn!(%from, "too many connections; closed"),
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    this.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                }
            }
        }
    }
}

/// A connection that is counted until it is dropped.
struct Accepted {
    stream: TcpStream,
    connection: Connection,
    _place: Place,
}

impl Connected for Accepted {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn address_of_other_machines_needs_the_operators_word() {
        let refused = bind("0.0.0.0:0", Exposure::Loopback).await.unwrap_err();
        assert!(matches!(refused, ListenError::NotLoopback { .. }));
        assert!(refused.to_string().contains("--insecure"));
        bind("0.0.0.0:0", Exposure::Anyone).await.unwrap();
    }

    #[tokio::test]
    async fn port_in_use_is_said_so_and_port_zero_is_told() {
        let (_listener, address) = bind("127.0.0.1:0", Exposure::Loopback).await.unwrap();
        assert_ne!(address.port(), 0);
        let refused = bind(&address.to_string(), Exposure::Loopback).await.unwrap_err();
        assert!(matches!(refused, ListenError::InUse { .. }), "{refused}");
    }

    #[tokio::test]
    async fn address_without_port_is_refused() {
        let refused = bind("localhost", Exposure::Loopback).await.unwrap_err();
        assert!(matches!(refused, ListenError::Address { .. }), "{refused}");
    }
}
