//! `spandrel status`.

use std::fmt::Write;

use clap::Args;
use client::Client;
use proto::rpc::v1::{NodeState, StatusResponse};

use super::{Failure, print, runtime};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Any node of the cluster, HOST:PORT.
    #[arg(long, env = "SPANDREL_URL", default_value = "127.0.0.1:7420")]
    url: String,
    /// Prints one JSON object instead of tables.
    // SPANDREL_JSON is a file elsewhere.
    #[arg(long, env = "SPANDREL_STATUS_JSON")]
    json: bool,
}

pub(super) fn status(args: &StatusArgs) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let client = Client::connect([args.url.as_str()]).await.map_err(Failure::run_time)?;
        let status = client.status().await.map_err(Failure::run_time)?;
        if args.json {
            let json = serde_json::to_string_pretty(&as_json(&status));
            print(&format!("{}\n", json.map_err(Failure::run_time)?))
        } else {
            print(&as_text(&status))
        }
    })
}

fn as_text(status: &StatusResponse) -> String {
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| {
        text.write_fmt(args).expect("a string takes everything");
        text.push('\n');
    };
    line(format_args!("{:<5} {:<8} {:<22} {:<22} clock", "node", "state", "grpc", "http"));
    for node in &status.nodes {
        let address = node.address.clone().unwrap_or_default();
        let clock = node.clock.as_ref().map_or_else(String::new, |clock| {
            if clock.sure {
                format!("{} epsilon {} us", clock.source, clock.epsilon_nanos / 1_000)
            } else {
                format!("{} UNSURE: {}", clock.source, clock.unsure_because)
            }
        });
        line(format_args!(
            "n{:<4} {:<8} {:<22} {:<22} {clock}",
            address.node,
            state_name(node.state()),
            address.grpc,
            address.http
        ));
    }
    line(format_args!(""));
    line(format_args!(
        "{:<6} {:<16} {:<7} {:<6} {:<6} {:<22} {:<22} replicas (applied)",
        "shard", "table", "leader", "epoch", "term", "lease until", "safe time"
    ));
    for shard in &status.shards {
        let location = shard.location.clone().unwrap_or_default();
        let replicas: Vec<String> = shard
            .replicas
            .iter()
            .map(|replica| format!("n{}:{}", replica.node, replica.applied))
            .collect();
        let leader = shard.replicas.iter().find(|replica| replica.leads);
        let safe_time = leader.map_or(0, |replica| replica.safe_time);
        let held = leader
            .and_then(|replica| replica.held_by)
            .map_or_else(String::new, |id| format!(" held by {}", proto::TxnId::from(id)));
        line(format_args!(
            "s{:<5} {:<16} n{:<6} {:<6} {:<6} {:<22} {:<22} {}{held}",
            location.shard,
            shard.table,
            location.leader,
            shard.epoch,
            shard.term,
            instant(shard.lease_expires),
            instant(safe_time),
            replicas.join(" ")
        ));
    }
    text
}

/// An instant as the table shows it; zero is none.
fn instant(nanos: u64) -> String {
    match nanos {
        0 => "-".to_owned(),
        nanos => truetime::Timestamp::from_nanos(nanos).to_string(),
    }
}

fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Up => "up",
        NodeState::Down => "down",
        NodeState::Waiting => "waiting",
        NodeState::Unspecified => "unknown",
    }
}

fn as_json(status: &StatusResponse) -> serde_json::Value {
    let nodes: Vec<_> = status
        .nodes
        .iter()
        .map(|node| {
            let address = node.address.clone().unwrap_or_default();
            let clock = node.clock.clone().unwrap_or_default();
            serde_json::json!({
                "node": address.node,
                "grpc": address.grpc,
                "http": address.http,
                "state": state_name(node.state()),
                "clock_source": clock.source,
                "clock_sure": clock.sure,
                "epsilon_us": f64::from(u32::try_from(clock.epsilon_nanos).unwrap_or(u32::MAX))
                    / 1e3,
                "clock_unsure_because": clock.unsure_because,
            })
        })
        .collect();
    let shards: Vec<_> = status
        .shards
        .iter()
        .map(|shard| {
            let location = shard.location.clone().unwrap_or_default();
            let replicas: Vec<_> = shard
                .replicas
                .iter()
                .map(|replica| {
                    serde_json::json!({
                        "node": replica.node,
                        "leads": replica.leads,
                        "applied": replica.applied,
                        "safe_time": replica.safe_time,
                        "held_by": replica.held_by.map(|id| proto::TxnId::from(id).to_string()),
                    })
                })
                .collect();
            serde_json::json!({
                "shard": location.shard,
                "table": shard.table,
                "leader": location.leader,
                "term": shard.term,
                "epoch": shard.epoch,
                "lease_expires": shard.lease_expires,
                "prepared": shard.prepared,
                "replicas": replicas,
            })
        })
        .collect();
    serde_json::json!({ "nodes": nodes, "shards": shards })
}
