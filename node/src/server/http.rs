//! The HTTP listener: metrics for Prometheus, and whether the node lives and is ready.
//!
//! | path | answers |
//! |---|---|
//! | `/metrics` | Prometheus text; empty while the node is part of no cluster |
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200 when the node can serve, else 503 and what is missing |

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;

use super::metrics;
use super::session::Place;
use super::status::{NodeReport, report};
use crate::host::Node;

/// How long the cores have to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pages of a node.
pub fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(health_page))
        .route("/readyz", get(ready_page))
        .with_state(node)
}

/// Serves pages until `shutdown` completes.
pub async fn serve(
    listener: TcpListener,
    pages: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = Limited { listener, limits: PageLimits::default(), open: Arc::default() };
    axum::serve(listener, pages).with_graceful_shutdown(shutdown).await
}

/// Limits of this listener.
#[derive(Clone, Copy, Debug)]
struct PageLimits {
    /// Open connections; more are closed at once.
    connections_max: usize,
    /// How long a connection may go without an answer: for a request to come, and for its answer to be taken.
    silent_time: Duration,
}

impl Default for PageLimits {
    fn default() -> Self {
        // Longer than Prometheus usually takes from one question to the next.
        PageLimits { connections_max: 256, silent_time: Duration::from_secs(30) }
    }
}

/// After a failed accept the next one waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections within the limits.
struct Limited {
    listener: TcpListener,
    limits: PageLimits,
    open: Arc<AtomicUsize>,
}

impl Listener for Limited {
    type Io = Timed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Timed, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let Some(place) = Place::take(&self.open, self.limits.connections_max) else {
                        tracing::warn!(%from, "too many connections for pages; closed");
                        continue;
                    };
                    let silent_time = self.limits.silent_time;
                    let deadline = Box::pin(tokio::time::sleep(silent_time));
                    return (Timed { stream, silent_time, deadline, _place: place }, from);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection for pages could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails once it has gone without an answer for too long, however slowly bytes come.
struct Timed {
    stream: TcpStream,
    silent_time: Duration,
    deadline: Pin<Box<Sleep>>,
    _place: Place,
}

impl Timed {
    fn check<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => poll,
        }
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.check(cx, read)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            let next = tokio::time::Instant::now() + self.silent_time;
            self.deadline.as_mut().reset(next);
        }
        self.check(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Whether the node can serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Readiness {
    ready: bool,
    /// What is missing, in words.
    missing: Vec<String>,
}

async fn metrics_page(State(node): State<Arc<Node>>) -> Response {
    let Some(running) = node.running() else {
        return metrics_text(String::new());
    };
    let Some(report) = report_in_time(&node).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "a core does not answer\n").into_response();
    };
    match metrics::text(&running, &report.cores) {
        Ok(text) => metrics_text(text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn metrics_text(text: String) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn health_page(State(node): State<Arc<Node>>) -> Response {
    let node = node.member().map(|member| member.node.0);
    json(StatusCode::OK, &serde_json::json!({ "alive": true, "node": node }))
}

async fn ready_page(State(node): State<Arc<Node>>) -> Response {
    let readiness = if node.running().is_none() {
        let missing = "the node is part of no cluster; run `spandrel init`".to_owned();
        Readiness { ready: false, missing: vec![missing] }
    } else {
        match report_in_time(&node).await {
            Some(report) => readiness_of(&report),
            None => Readiness { ready: false, missing: vec!["a core does not answer".to_owned()] },
        }
    };
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(code, &readiness)
}

/// `None` when a core is stuck or has ended.
async fn report_in_time(node: &Node) -> Option<NodeReport> {
    let report = tokio::time::timeout(PATIENCE, report(node)).await.ok().flatten()?;
    (report.cores.len() == usize::from(report.node.cores)).then_some(report)
}

fn readiness_of(report: &NodeReport) -> Readiness {
    let mut missing = Vec::new();
    if let Some(unsure) = report.cores.iter().find_map(|core| core.unsure.as_ref()) {
        missing.push(format!("the clock is unsure: {unsure}"));
    }
    for replica in report.cores.iter().flat_map(|core| &core.replicas) {
        if replica.leader.is_none() {
            missing.push(format!("shard {} has no leader that is known here", replica.shard));
        }
    }
    Readiness { ready: missing.is_empty(), missing }
}

fn json(code: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => (code, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::status::CoreStatus;
    use crate::system::NodeRecord;
    use proto::NodeId;

    #[tokio::test]
    async fn connection_that_asks_nothing_is_closed_and_leaves_its_place() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silent_time = Duration::from_millis(300);
        let limits = PageLimits { connections_max: 1, silent_time };
        let listener = Limited { listener, limits, open: Arc::default() };
        let pages = Router::new().route("/here", get(async || "yes"));
        tokio::spawn(async move { axum::serve(listener, pages).await.unwrap() });
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(b"GET /here HT").await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut found = Vec::new();
        // Above the limit it is closed, perhaps with a reset.
        let _ = second.read_to_end(&mut found).await;
        assert_eq!(found, b"");
        let ended = tokio::time::timeout(Duration::from_secs(5), silent.read_to_end(&mut found));
        assert!(ended.await.is_ok(), "half a request is not waited for");
        let mut third = TcpStream::connect(address).await.unwrap();
        third.write_all(b"GET /here HTTP/1.0\r\n\r\n").await.unwrap();
        found.clear();
        third.read_to_end(&mut found).await.unwrap();
        assert!(found.ends_with(b"yes"), "{}", String::from_utf8_lossy(&found));
    }

    #[test]
    fn node_with_an_unsure_clock_is_not_ready_and_says_so() {
        let core = CoreStatus {
            replicas: Vec::new(),
            epsilon: None,
            unsure: Some("not synchronised".to_owned()),
            clock_disagrees_with: Vec::new(),
            calls: 0,
            transactions: 0,
        };
        let (advertise, http) = (String::new(), String::new());
        let node = NodeRecord { id: NodeId(1), uuid: [0; 16], advertise, http, cores: 1 };
        let (version, clock) = (String::new(), String::new());
        let mut report = NodeReport { node, version, clock, cores: vec![core] };
        let unready = readiness_of(&report);
        assert!(!unready.ready);
        assert_eq!(unready.missing, ["the clock is unsure: not synchronised"]);
        report.cores[0].unsure = None;
        assert!(readiness_of(&report).ready);
    }
}
