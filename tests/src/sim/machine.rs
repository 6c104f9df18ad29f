//! One machine of the simulated cluster: what survives a crash, and the process that runs on it.
//!
//! The process is a synchronous copy of the host's loop over the real core, the real log on a simulated disk,
//! and the version store in memory. What a crash leaves is the disk's image and the persisted part of the
//! store; the next process is opened from that alone.

use std::collections::BTreeMap;
use std::time::Duration;

use node::core::{Core, CoreConfig, Effect, Input};
use node::gateway::GatewaySettings;
use node::gateway::api::Ticket;
use node::routing::{RouterSettings, ShardMap};
use node::shard::descriptor::ShardDescriptor;
use node::shard::replica::Durable;
use node::storage::log::{Log, LogError, LogOptions, Opening, Prepared, Recovered};
use node::storage::record::LogRecord;
use node::storage::version_store::{ApplyBatch, Version, VersionStore};
use node::storage::versions::memory::MemoryStore;
use node::system::{NodeRecord, encode, node_key};
use proto::{EntryId, Key, KeySpan, NodeId, ShardId};
use truetime::{Clock, SimulatedClock, SimulatedStart, Timestamp};
use txn::transaction::TransactionSettings;

use super::plan::Plan;
use super::rng::Rng;
use crate::sim_disk::{Fault, SimDisk};

/// What is to be written and, perhaps, acknowledged.
pub(super) type Job = (Vec<LogRecord>, Option<u64>);

/// See the module.
pub(super) struct Machine {
    pub(super) id: NodeId,
    /// How often it has started.
    pub(super) starts: u32,
    disk: SimDisk,
    pub(super) store: MemoryStore,
    pub(super) clock: SimulatedClock,
    pub(super) clock_start: SimulatedStart,
    pub(super) process: Option<Process>,
}

/// A running process.
pub(super) struct Process {
    pub(super) core: Core,
    log: Log<SimDisk>,
    pub(super) inbox: Vec<Input>,
    /// Written but not yet on their way to the disk.
    pub(super) queued: Vec<Job>,
    /// On their way.
    pub(super) writing: Vec<Job>,
    /// Does nothing while paused.
    pub(super) paused: bool,
    /// What a pass decided before the pause.
    pub(super) held: Vec<Effect>,
    /// When the next pass is due.
    pub(super) next_pass: u64,
    /// Requests that were not answered.
    pub(super) tickets: BTreeMap<Ticket, u32>,
    pub(super) collector: Vec<(KeySpan, Timestamp, Key)>,
    /// Shards that a snapshot is replacing: what the store has of them is neither old nor new.
    pub(super) installing: BTreeMap<ShardId, KeySpan>,
    /// Passes in a row that nothing but a deadline in the past called for.
    pub(super) spins: u32,
}

impl Machine {
    pub(super) fn new(id: NodeId, now: Timestamp, clock: SimulatedStart) -> Self {
        Machine {
            id,
            starts: 0,
            disk: SimDisk::new(),
            store: MemoryStore::new(),
            clock: SimulatedClock::new(now, clock),
            clock_start: clock,
            process: None,
        }
    }

    /// Starts the process from what is durable.
    pub(super) fn start(
        &mut self,
        now: Timestamp,
        plan: &Plan,
        system: &ShardDescriptor,
        seed: u64,
    ) {
        self.starts += 1;
        self.clock.advance_to(now);
        if self.starts > 1 {
            // The oscillator goes on where it was; the process has a new monotonic clock and a new judge.
            self.clock = SimulatedClock::new(now, self.claim());
        }
        let first = self.starts == 1;
        let opening =
            if first { Opening::MayCreate { log: self.id.0 } } else { Opening::MustExist };
        let options = LogOptions {
            segment_bytes: 256 << 10,
            segments_max: 4,
            batch_bytes_max: 64 << 20,
            reserve_bytes: 16 << 10,
            prepare_bytes_max: 64 << 10,
            move_bytes_max: 64 << 10,
            ..LogOptions::new(opening)
        };
        let (mut log, mut recovered) =
            Log::open(self.disk.clone(), options).expect("a crash leaves a log that can be opened");
        if first {
            self.seed(plan, system, &mut log, &mut recovered);
        }
        let stored = self.store.shards().into_iter();
        let orphans = stored.filter(|shard| !recovered.shards.contains_key(shard)).collect();
        let replicas = self.replicas(recovered);
        let config = self.config(plan, system, seed);
        let reading = self.clock.now();
        let map = ShardMap::new([system.clone()]);
        let core = Core::open(config, map, replicas, orphans, &reading)
            .expect("a crash leaves replicas that can be opened");
        self.process = Some(Process {
            core,
            log,
            inbox: Vec::new(),
            queued: Vec::new(),
            writing: Vec::new(),
            paused: false,
            held: Vec::new(),
            next_pass: u64::MAX,
            tickets: BTreeMap::new(),
            collector: Vec::new(),
            installing: BTreeMap::new(),
            spins: 0,
        });
    }

    /// What the clock claims now, as the start of another one.
    fn claim(&self) -> SimulatedStart {
        let offset_nanos = self.clock.offset_nanos();
        let least = Duration::from_nanos(offset_nanos.unsigned_abs()) + Duration::from_micros(2);
        let epsilon = self.clock_start.epsilon.max(least);
        SimulatedStart { offset_nanos, epsilon, ..self.clock_start }
    }

    /// The system shard's first rows, as the host makes them before the first start.
    fn seed(
        &mut self,
        plan: &Plan,
        system: &ShardDescriptor,
        log: &mut Log<SimDisk>,
        recovered: &mut Recovered,
    ) {
        let shard = ShardId::SYSTEM;
        if system.replica_on(self.id).is_none() {
            return;
        }
        let versions = (1..=plan.nodes as u64)
            .map(|id| {
                let uuid = u128::from(id).to_be_bytes();
                let (advertise, http) = (format!("n{id}"), String::new());
                let record = NodeRecord { id: NodeId(id), uuid, advertise, http, cores: 1 };
                Version {
                    key: node_key(NodeId(id)),
                    timestamp: Timestamp::ZERO,
                    value: Some(encode(&record).expect("a node record can be encoded")),
                }
            })
            .collect();
        let applied = EntryId::default();
        let batch = ApplyBatch { shard, applied, versions, state: Vec::new() };
        self.store.apply(vec![batch]).expect("memory does not fail");
        self.store.persist().expect("memory does not fail");
        let descriptor: bytes::Bytes = system.encode().into();
        let created = LogRecord::Created { shard, descriptor: descriptor.clone() };
        log.write_and_sync(&[[created]]).expect("an empty disk takes a record");
        recovered.shards.entry(shard).or_default().descriptor = descriptor;
    }

    fn replicas(&self, recovered: Recovered) -> Vec<(ShardDescriptor, Durable)> {
        let open = |(shard, found): (ShardId, node::storage::log::RecoveredShard)| {
            let descriptor = ShardDescriptor::decode(&found.descriptor)
                .expect("the log gives back the descriptor that was written");
            let applied = self.store.applied(shard).expect("memory does not fail");
            let durable = Durable {
                hard_state: found.hard_state,
                truncated: found.truncated,
                entries: found.entries,
                applied: applied.unwrap_or_default(),
                state: self.store.state(shard).expect("memory does not fail"),
            };
            (descriptor, durable)
        };
        recovered.shards.into_iter().map(open).collect()
    }

    fn config(&self, plan: &Plan, system: &ShardDescriptor, seed: u64) -> CoreConfig {
        let mut gateway = GatewaySettings::new(self.id, self.starts, 0, system.clone());
        gateway.token_key = [7, 11];
        gateway.max_age = plan.max_age;
        gateway.transaction = TransactionSettings {
            idle_timeout: plan.replica.txn.idle_timeout,
            outcome_wait: plan.call_timeout * 2,
            ..TransactionSettings::default()
        };
        CoreConfig {
            node: self.id,
            start: self.starts,
            core: 0,
            cores: 1,
            seed: seed ^ (self.id.0 << 32) ^ u64::from(self.starts),
            replica: plan.replica,
            router: RouterSettings {
                attempt_timeout: plan.attempt_timeout,
                call_timeout: plan.call_timeout,
                ..RouterSettings::default()
            },
            gateway,
            publish_interval: plan.publish_interval,
            clock_interval: Duration::from_secs(1),
        }
    }

    /// The process is gone. `power` says whether the machine lost power too. Returns who waits for answers.
    pub(super) fn crash(&mut self, rng: &mut Rng, power: Power) -> BTreeMap<Ticket, u32> {
        let Some(mut process) = self.process.take() else { return BTreeMap::new() };
        if !process.writing.is_empty() && rng.coin() {
            // It died in the middle of a write.
            self.disk.fail_at(rng.below(3), Fault::Death);
            let _ = process.write();
        }
        match power {
            Power::Kept => self.disk.restart_process(),
            Power::Lost => self.disk.crash(rng.draw()),
        }
        let kept = rng.index(self.store.unpersisted() + 1);
        self.store.crash_keeping(kept);
        process.tickets
    }
}

/// Whether a machine keeps its power when a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    /// What was written stays, synced or not.
    Kept,
    /// What was not synced is in doubt.
    Lost,
}

impl Process {
    /// Writes and syncs what is under way; returns the tokens to acknowledge.
    pub(super) fn write(&mut self) -> Result<Vec<u64>, LogError> {
        let jobs = std::mem::take(&mut self.writing);
        let batch: Vec<&[LogRecord]> = jobs.iter().map(|(records, _)| records.as_slice()).collect();
        match self.log.write_and_sync(&batch) {
            Err(LogError::Full { .. }) => {
                self.log.reclaim()?;
                while self.log.prepare_ahead()? == Prepared::Partly {}
                self.log.write_and_sync(&batch)?;
            }
            other => other?,
        }
        self.log.reclaim()?;
        self.log.prepare_ahead()?;
        Ok(jobs.into_iter().filter_map(|(_, token)| token).collect())
    }
}
