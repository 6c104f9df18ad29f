//! The numbers of a node as Prometheus text, collected anew for each scrape.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

use crate::core::status::CoreStatus;
use crate::host::Running;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCore {
    core: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLink {
    node: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfShard {
    shard: u64,
}

type Counters<L> = Family<L, Counter<u64>>;
type Numbers<L> = Family<L, Gauge>;
type Seconds<L> = Family<L, Gauge<f64, AtomicU64>>;

/// What is known of a node that runs.
pub(super) fn text(running: &Running, cores: &[CoreStatus]) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("spandrel");
    of_cores(&mut registry, running, cores);
    of_log(&mut registry, running);
    of_disk(&mut registry, running);
    of_links(&mut registry, running);
    of_shards(&mut registry, cores);
    of_clock(&mut registry, cores);
    registry.register(
        "sql_panics",
        "statements that ran into a bug of the server",
        ConstCounter::new(super::sql::caught()),
    );
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

/// A gauge is signed.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn of_cores(registry: &mut Registry, running: &Running, cores: &[CoreStatus]) {
    let (passes, events, requests) =
        (Counters::default(), Counters::default(), Counters::default());
    for core in &running.cores {
        let (label, stats) = (OfCore { core: core.core.into() }, core.stats());
        let count = |family: &Counters<OfCore>, number: &AtomicU64| {
            family.get_or_create(&label).inc_by(number.load(Ordering::Relaxed));
        };
        count(&passes, &stats.passes);
        count(&events, &stats.events);
        count(&requests, &stats.requests);
    }
    registry.register("core_passes", "Passes of a core's loop", passes);
    registry.register("core_events", "Events taken in these passes", events);
    registry.register("core_requests", "Requests of clients", requests);
    let transactions: u64 = cores.iter().map(|core| core.transactions).sum();
    let help = "Read-write transactions that this node drives";
    registry.register("transactions_driven", help, ConstGauge::new(signed(transactions)));
    let calls: u64 = cores.iter().map(|core| core.calls).sum();
    registry.register("calls", "Calls to shards under way", ConstGauge::new(signed(calls)));
}

fn of_log(registry: &mut Registry, running: &Running) {
    let stats = &running.log_stats;
    let syncs = ConstCounter::new(stats.syncs.load(Ordering::Relaxed));
    registry.register("log_syncs", "Syncs of the log", syncs);
    let jobs = ConstCounter::new(stats.jobs.load(Ordering::Relaxed));
    let help = "Writes made durable by them; divided by the syncs, how well they are grouped";
    registry.register("log_jobs", help, jobs);
    let nanos = std::time::Duration::from_nanos(stats.nanos.load(Ordering::Relaxed));
    let seconds = ConstCounter::new(nanos.as_secs_f64());
    registry.register_with_unit("log_sync", "Time spent in them", Unit::Seconds, seconds);
}

fn of_disk(registry: &mut Registry, running: &Running) {
    let free = signed(running.disk_stats.free_bytes.load(Ordering::Relaxed));
    let help = "What the data directory's file system has left";
    registry.register_with_unit("disk_free", help, Unit::Bytes, ConstGauge::new(free));
    let short = running.disk_stats.short.load(Ordering::Relaxed);
    let help = "Whether shards led here refuse writes because the disk is nearly full";
    registry.register("disk_short", help, ConstGauge::new(i64::from(short)));
    let waits = running.log_stats.waits_for_space.load(Ordering::Relaxed);
    let help = "Whether the log waits for space on the disk";
    registry.register("log_waits_for_space", help, ConstGauge::new(i64::from(waits)));
}

fn of_links(registry: &mut Registry, running: &Running) {
    let (batches, messages) = (Counters::default(), Counters::default());
    let (bytes, dropped) = (Counters::default(), Counters::default());
    let (up, queued) = (Numbers::default(), Numbers::default());
    for (node, link) in running.links.iter() {
        let label = OfLink { node: node.0 };
        let count = |family: &Counters<OfLink>, number: &AtomicU64| {
            family.get_or_create(&label).inc_by(number.load(Ordering::Relaxed));
        };
        count(&batches, &link.stats.batches);
        count(&messages, &link.stats.messages);
        count(&bytes, &link.stats.bytes);
        count(&dropped, &link.stats.dropped);
        up.get_or_create(&label).set(i64::from(link.is_up()));
        queued.get_or_create(&label).set(signed(link.queued() as u64));
    }
    registry.register("link_batches", "Batches sent to another node", batches);
    registry.register("link_messages", "Messages in them", messages);
    registry.register_with_unit("link", "Bytes of them", Unit::Bytes, bytes);
    let help = "Messages dropped because the link was down or its queue full";
    registry.register("link_dropped", help, dropped);
    registry.register("link_up", "Whether there is a connection", up);
    registry.register("link_queued", "Messages that wait to be sent", queued);
}

fn of_shards(registry: &mut Registry, cores: &[CoreStatus]) {
    let (applied, transactions) = (Numbers::default(), Numbers::default());
    let (leads, first, lag) = (Numbers::default(), Numbers::default(), Seconds::default());
    for replica in cores.iter().flat_map(|core| &core.replicas) {
        let label = OfShard { shard: replica.shard.0 };
        applied.get_or_create(&label).set(signed(replica.applied.0));
        transactions.get_or_create(&label).set(signed(replica.transactions));
        leads.get_or_create(&label).set(i64::from(replica.leads));
        first.get_or_create(&label).set(signed(replica.first.0));
        if let Some(behind) = replica.safe_lag {
            lag.get_or_create(&label).set(behind.as_secs_f64());
        }
    }
    registry.register("shard_applied", "The last log entry applied by the replica here", applied);
    let help = "The first log entry kept here: a replica that is behind it needs a snapshot";
    registry.register("shard_log_first", help, first);
    let help = "Transactions that hold or wait for locks at the leader here";
    registry.register("shard_transactions", help, transactions);
    registry.register("shard_leads", "Whether the replica here leads", leads);
    let help = "How far the safe time of the replica here is behind";
    registry.register_with_unit("shard_safe_time_lag", help, Unit::Seconds, lag);
}

fn of_clock(registry: &mut Registry, cores: &[CoreStatus]) {
    let sure = cores.iter().all(|core| core.unsure.is_none());
    let help = "Whether the clock vouches for its bound";
    registry.register("clock_sure", help, ConstGauge::new(i64::from(sure)));
    if let Some(epsilon) = cores.iter().filter_map(|core| core.epsilon).max()
        && sure
    {
        let epsilon = ConstGauge::new(epsilon.as_secs_f64());
        let help = "Half the width of the clock's interval";
        registry.register_with_unit("clock_epsilon", help, Unit::Seconds, epsilon);
    }
}
