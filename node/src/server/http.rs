//! The HTTP listener: metrics for Prometheus, and whether the node lives and is ready.
//!
//! | path | answers |
//! |---|---|
//! | `/metrics` | Prometheus text; empty while the node is part of no cluster |
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200 when the node can serve, else 503 and what is missing |

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;

use super::metrics;
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
    axum::serve(listener, pages).with_graceful_shutdown(shutdown).await
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
