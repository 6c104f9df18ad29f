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
    /// Of these, connections on which no request has begun yet; more are closed at once.
    pub silent_max: usize,
    /// How long one of those may take.
    pub silent_time: Duration,
    /// Streams of one connection.
    pub streams_max: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            connections_max: 10_000,
            silent_max: 1_000,
            silent_time: Duration::from_secs(10),
            streams_max: 1_024,
        }
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
    silent: Arc<AtomicUsize>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Incoming {
    fn new(listener: TcpListener, limits: ConnectionLimits) -> Self {
        Incoming { listener, limits, open: Arc::default(), silent: Arc::default(), pause: None }
    }

    /// A connection that was accepted, if it may stay.
    fn admitted(&self, stream: TcpStream) -> Option<Accepted> {
        let silence = Silence {
            first: FirstRequest::default(),
            deadline: Box::pin(tokio::time::sleep(self.limits.silent_time)),
            _place: Place::take(&self.silent, self.limits.silent_max)?,
        };
        let max = self.limits.connections_max;
        let (over_limit, place) = match Place::take(&self.open, max) {
            Some(place) => (false, place),
            None => (true, Place::take(&self.open, max.saturating_add(OVER_LIMIT_MAX))?),
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        Some(Accepted {
            stream,
            connection: Connection { over_limit },
            silence: Some(silence),
            _place: place,
        })
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
    /// Until the first request begins.
    silence: Option<Silence>,
    _place: Place,
}

/// A connection on which no request has begun: it costs its peer nothing, so there may be few of them, and
/// none for long.
struct Silence {
    first: FirstRequest,
    deadline: Pin<Box<tokio::time::Sleep>>,
    _place: Place,
}

/// Looks for the first request in what a client sends: the preface, then frames of HTTP/2, the first HEADERS
/// among them.
struct FirstRequest {
    /// Bytes to pass over: of the preface, or of a frame's payload.
    skip: usize,
    /// The head of the next frame, as far as it has come.
    head: Vec<u8>,
}

impl Default for FirstRequest {
    fn default() -> Self {
        FirstRequest { skip: PREFACE_BYTES, head: Vec::with_capacity(FRAME_HEAD_BYTES) }
    }
}

const PREFACE_BYTES: usize = 24;
/// Three bytes of length, one of kind, five of flags and stream.
const FRAME_HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;

impl FirstRequest {
    /// Takes the next bytes; whether the first request has begun.
    fn begins_in(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let passed = self.skip.min(bytes.len());
            (self.skip, bytes) = (self.skip - passed, &bytes[passed..]);
            if self.skip > 0 {
                return false;
            }
            let taken = (FRAME_HEAD_BYTES - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if let [a, b, c, kind, _, _, _, _, _] = self.head[..] {
                if kind == HEADERS {
                    return true;
                }
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                self.head.clear();
            }
        }
        false
    }
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
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if let Some(silence) = &mut this.silence {
            if silence.first.begins_in(&buffer.filled()[before..]) {
                this.silence = None;
            } else if silence.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
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

    /// Serves nothing under these limits.
    async fn serve(limits: ConnectionLimits) -> SocketAddr {
        let (listener, address) = bind("127.0.0.1:0", Exposure::Loopback).await.unwrap();
        tokio::spawn(serve_grpc(listener, Routes::default(), limits, std::future::pending::<()>()));
        address
    }

    /// Reads until the other end closes, for five seconds at most.
    async fn closes(stream: &mut TcpStream) -> bool {
        let mut heard = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(stream, &mut heard);
        tokio::time::timeout(Duration::from_secs(5), read).await.is_ok()
    }

    #[tokio::test]
    async fn connection_without_a_request_is_closed_after_a_while() {
        let limits = ConnectionLimits {
            silent_time: Duration::from_millis(50),
            ..ConnectionLimits::default()
        };
        let address = serve(limits).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        assert!(closes(&mut silent).await);
    }

    #[tokio::test]
    async fn silent_connections_above_their_limit_are_closed_at_once() {
        let limits = ConnectionLimits {
            silent_max: 1,
            silent_time: Duration::from_secs(600),
            ..ConnectionLimits::default()
        };
        let address = serve(limits).await;
        let _first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(closes(&mut second).await);
    }

    #[test]
    fn first_request_is_found_behind_other_frames_however_the_bytes_come() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend([0, 0, 6, 4, 0, 0, 0, 0, 0]);
        // A payload that looks like the head of a request.
        bytes.extend([0, 0, 0, 1, 1, 1]);
        let quiet = bytes.len();
        bytes.extend([0, 0, 1, 1, 4, 0, 0, 0, 1, 0x80]);
        for step in [1, 5, 24, bytes.len()] {
            let mut first = FirstRequest::default();
            let mut at = 0;
            let found = bytes.chunks(step).any(|chunk| {
                at += chunk.len();
                first.begins_in(chunk)
            });
            assert!(found && at >= quiet + 9, "{step}: {at}");
        }
        assert!(!FirstRequest::default().begins_in(&bytes[..quiet]));
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
