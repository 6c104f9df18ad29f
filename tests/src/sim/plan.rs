//! What a seed decides before anything happens: the cluster, its settings, its clocks, its faults.
//!
//! Each seed has its own mix of faults and its own limits, because a mean mixture finds only mean bugs. A
//! tenth of the seeds has no faults at all.

use std::collections::BTreeMap;
use std::time::Duration;

use node::shard::replica::ReplicaConfig;
use truetime::{Honesty, SimulatedStart};

use super::rng::Rng;

/// A microsecond, in nanoseconds.
pub const US: u64 = 1_000;
/// A millisecond, in nanoseconds.
pub const MS: u64 = 1_000_000;
/// A second, in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The stream between two nodes breaks; what is in flight is lost.
    Reset,
    /// The nodes fall into two groups that do not hear each other.
    Half,
    /// Each node hears only its neighbours in a ring.
    Ring,
    /// One node does not hear another, which hears it.
    OneWay,
    /// All delays grow.
    SlowNetwork,
    /// A process dies and starts again; the machine goes on.
    Kill,
    /// A machine loses power and starts again.
    PowerLoss,
    /// A process does nothing for a while; then everything that came is there at once.
    Pause,
    /// As `Pause`, but in the middle of a pass: what it decided takes effect late (T7).
    PauseMidway,
    /// Syncs take long.
    SlowDisk,
    /// A disk is nearly full: its node takes no new work until it has space again (T52).
    ShortDisk,
    /// A node hands all its leaderships over, stops and starts again.
    HandOver,
    /// Somebody sets a wall clock, and some time later it is set right and synchronised.
    ClockStep,
    /// A clock's source is unsure for a while.
    ClockUnsure,
    /// A clock's daemon dies: epsilon grows, and is small again after a while (T21).
    ClockGrowth,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 15] = [
        Fault::Reset,
        Fault::Half,
        Fault::Ring,
        Fault::OneWay,
        Fault::SlowNetwork,
        Fault::Kill,
        Fault::PowerLoss,
        Fault::Pause,
        Fault::PauseMidway,
        Fault::SlowDisk,
        Fault::ShortDisk,
        Fault::HandOver,
        Fault::ClockStep,
        Fault::ClockUnsure,
        Fault::ClockGrowth,
    ];

    /// As reports name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::Reset => "reset",
            Fault::Half => "half",
            Fault::Ring => "ring",
            Fault::OneWay => "one_way",
            Fault::SlowNetwork => "slow_network",
            Fault::Kill => "kill",
            Fault::PowerLoss => "power_loss",
            Fault::Pause => "pause",
            Fault::PauseMidway => "pause_midway",
            Fault::SlowDisk => "slow_disk",
            Fault::ShortDisk => "short_disk",
            Fault::HandOver => "hand_over",
            Fault::ClockStep => "clock_step",
            Fault::ClockUnsure => "clock_unsure",
            Fault::ClockGrowth => "clock_growth",
        }
    }
}

/// A range of nanoseconds to draw from.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    /// At least.
    pub min: u64,
    /// At most.
    pub max: u64,
}

impl Delay {
    /// One of them.
    pub fn draw(self, rng: &mut Rng) -> u64 {
        rng.between(self.min, self.max)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes.
    pub nodes: usize,
    /// Clients.
    pub clients: u32,
    /// Rows of the bank.
    pub accounts: i64,
    /// Shards of each table.
    pub shards: i64,
    /// How long clients begin new transactions, faults or not.
    pub work_time: u64,
    /// Of every replica.
    pub replica: ReplicaConfig,
    /// `txn.max_age`.
    pub max_age: Duration,
    /// When a router asks somebody else.
    pub attempt_timeout: Duration,
    /// When a router gives up.
    pub call_timeout: Duration,
    /// How often quiet shards publish their promises.
    pub publish_interval: Duration,
    /// Each node's clock.
    pub clocks: Vec<SimulatedStart>,
    /// Between nodes.
    pub network: Delay,
    /// Of a sync.
    pub disk: Delay,
    /// Between two persists of a version store.
    pub persist: Delay,
    /// Between two faults; none without faults.
    pub fault_interval: Option<u64>,
    /// How long a fault lasts at the most.
    pub fault_length_max: u64,
    /// How likely each fault is among all.
    pub faults: BTreeMap<Fault, u64>,
    /// Between two transactions of a client.
    pub think: Delay,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Plan {
        let nodes =
            if rng.per_mille(700) { 3 } else { usize::try_from(rng.between(3, 5)).unwrap_or(3) };
        let faulty = !rng.per_mille(100);
        let mut replica = ReplicaConfig {
            tick: Duration::from_millis(rng.between(10, 60)),
            election_ticks: u16::try_from(rng.between(5, 12)).unwrap_or(8),
            heartbeat_ticks: u16::try_from(rng.between(1, 3)).unwrap_or(2),
            ..ReplicaConfig::default()
        };
        if rng.coin() {
            replica.retained_entries = rng.between(0, 30);
            replica.retained_bytes_max = rng.log_between(100, 100_000);
        }
        let txn = &mut replica.txn;
        txn.lease_length = Duration::from_nanos(rng.between(400 * MS, 2_500 * MS));
        txn.idle_timeout = Duration::from_nanos(rng.between(500 * MS, 4 * SECOND));
        txn.hand_over_wait = Duration::from_nanos(rng.between(5 * MS, 200 * MS));
        txn.wound_delay = Duration::from_nanos(rng.between(5 * MS, 50 * MS));
        txn.record_ttl = Duration::from_nanos(rng.between(SECOND, 600 * SECOND));
        // Half of the time so short that versions are collected during the run.
        let gc = if rng.coin() { rng.between(20 * SECOND, 40 * SECOND) } else { 3_600 * SECOND };
        txn.gc_ttl = Duration::from_nanos(gc);
        txn.epsilon_max = Duration::from_nanos(rng.between(60 * MS, 500 * MS));
        let epsilon_max = rng.log_between(100 * US, 30 * MS);
        let clocks = (0..nodes).map(|_| clock(rng, epsilon_max)).collect();
        let network_min = rng.log_between(20 * US, 2 * MS);
        let disk_min = rng.log_between(20 * US, 3 * MS);
        let faults = if faulty { mix(rng) } else { BTreeMap::new() };
        let fault_interval = faulty.then(|| rng.log_between(200 * MS, 4 * SECOND));
        let attempt = rng.between(300 * MS, SECOND);
        // Short, so that changes of the catalog that wait for its end come to theirs.
        let lease = Duration::from_nanos(rng.between(2 * SECOND, 10 * SECOND));
        replica.txn.catalog_lease = lease;
        if rng.per_mille(400) {
            // About one row to ten: what writes more on one shard travels in pieces.
            replica.txn.entry_bytes_max = usize::try_from(rng.log_between(1, 400)).unwrap_or(1);
        }
        Plan {
            nodes,
            clients: u32::try_from(rng.between(5, 20)).unwrap_or(5),
            accounts: i64::try_from(rng.between(8, 40)).unwrap_or(8),
            shards: i64::try_from(rng.between(1, 4)).unwrap_or(4),
            work_time: rng.between(6 * SECOND, 14 * SECOND),
            replica,
            max_age: Duration::from_nanos(rng.between(5 * SECOND, 20 * SECOND)),
            attempt_timeout: Duration::from_nanos(attempt),
            call_timeout: Duration::from_nanos(attempt * rng.between(3, 6)),
            publish_interval: Duration::from_nanos(rng.between(20 * MS, 500 * MS)),
            clocks,
            network: Delay { min: network_min, max: network_min * rng.between(1, 10) },
            disk: Delay { min: disk_min, max: disk_min * rng.between(1, 10) },
            persist: Delay { min: 200 * MS, max: rng.between(300 * MS, 2 * SECOND) },
            fault_interval,
            fault_length_max: rng.log_between(300 * MS, 10 * SECOND),
            faults,
            think: Delay { min: MS, max: rng.log_between(5 * MS, 400 * MS) },
        }
    }
}

/// Between two and all kinds, some more likely than others.
fn mix(rng: &mut Rng) -> BTreeMap<Fault, u64> {
    let wanted = rng.between(1, Fault::ALL.len() as u64);
    let mut mix = BTreeMap::new();
    for _ in 0..wanted {
        let fault = Fault::ALL[rng.index(Fault::ALL.len())];
        *mix.entry(fault).or_default() += rng.between(1, 10);
    }
    mix
}

/// A clock anywhere inside its claim. Its oscillator drifts less than its epsilon grows, so the claim stays
/// true without a synchronisation.
fn clock(rng: &mut Rng, epsilon_max: u64) -> SimulatedStart {
    let epsilon = rng.between(epsilon_max / 4, epsilon_max);
    // Often at an end of the claim, where the rules are tightest.
    let offset = match rng.below(3) {
        0 => i64::try_from(epsilon).unwrap_or(0),
        1 => -i64::try_from(epsilon).unwrap_or(0),
        _ => rng.signed(epsilon),
    };
    let growth = u32::try_from(rng.between(1, 200)).unwrap_or(200);
    let drift = i32::try_from(rng.signed(u64::from(growth) * 9 / 10)).unwrap_or(0);
    SimulatedStart {
        offset_nanos: offset - offset.signum() * 1_000,
        epsilon: Duration::from_nanos(epsilon + 2_000),
        drift_ppm: drift,
        growth_ppm: growth,
        honesty: Honesty::Kept,
    }
}
