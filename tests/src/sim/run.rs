//! One seed from its plan to its verdict.

use bench::checker::{self, Options, TrueTime};
use bench::history::{Header, History};
use node::gateway::Error;
use node::gateway::api::{Request, Response};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::client::Event as ClientEvent;
use super::cluster::{Cluster, Event, ORIGIN};
use super::plan::{MS, Plan, SECOND};
use super::rng::Rng;
use super::tables::Table;
use crate::invariants::{removal, replica_agreement};

/// How a seed ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What went wrong, if anything did.
    pub failure: Option<String>,
    /// Equal for equal runs.
    pub trace_hash: u64,
    /// True time that passed, in nanoseconds.
    pub simulated: u64,
    /// Transactions that the checker saw.
    pub checked: u64,
    /// Those that committed.
    pub committed: u64,
    /// Those whose outcome no client learned.
    pub unknown: u64,
    /// Attempts that were aborted.
    pub aborted: u64,
    /// Tables created and dropped meanwhile.
    pub changes: u64,
    /// Prepares and commits that took effect in pieces.
    pub in_pieces: u64,
    /// How often each fault was drawn.
    pub faults: BTreeMap<&'static str, u64>,
}

/// Many outcomes.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many seeds ran.
    pub seeds: u64,
    /// Those that failed.
    pub failures: Vec<Outcome>,
    /// True time that passed, in nanoseconds.
    pub simulated: u64,
    /// Transactions that the checker saw.
    pub checked: u64,
    /// Tables created and dropped meanwhile.
    pub changes: u64,
    /// Prepares and commits that took effect in pieces.
    pub in_pieces: u64,
    /// How often each fault was drawn.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Summary {
    /// Adds one.
    pub fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.simulated += outcome.simulated;
        self.checked += outcome.checked;
        self.changes += outcome.changes;
        self.in_pieces += outcome.in_pieces;
        for (fault, draws) in &outcome.faults {
            *self.faults.entry(fault).or_default() += draws;
        }
        if outcome.failure.is_some() {
            self.failures.push(outcome);
        }
    }
}

/// How long electing, creating the tables and loading may take.
const SETUP_MAX: u64 = 30 * SECOND;
/// How long after healing everything may take to come to an end.
const QUIET_MAX: u64 = 90 * SECOND;

/// Runs seeds one after the other.
#[must_use]
pub fn run_many(seeds: impl Iterator<Item = u64>) -> Summary {
    let mut summary = Summary::default();
    for seed in seeds {
        summary.add(run(seed, None));
    }
    summary
}

/// Runs a seed. `trace` gets a line for everything that happens.
pub fn run(seed: u64, trace: Option<&mut dyn FnMut(&str)>) -> Outcome {
    let mut rng = Rng::new(seed);
    let plan = Plan::new(&mut rng);
    let mut cluster = Cluster::new(plan, seed, rng, trace);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        live(&mut cluster)?;
        judge(&mut cluster)
    }));
    let failure = match ended {
        Ok(Ok(checked)) => Ok(checked),
        Ok(Err(failure)) => Err(failure),
        Err(panic) => Err(message_of(panic.as_ref())),
    };
    Outcome {
        seed,
        trace_hash: cluster.trace_hash(),
        simulated: cluster.now,
        checked: failure.as_ref().copied().unwrap_or(0),
        failure: failure.err(),
        committed: cluster.world.committed,
        unknown: cluster.world.unknown,
        aborted: cluster.world.aborted,
        changes: cluster.changes,
        in_pieces: cluster.invariants.whole.in_pieces,
        faults: cluster.drawn.iter().map(|(fault, draws)| (fault.name(), *draws)).collect(),
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

fn live(cluster: &mut Cluster<'_>) -> Result<(), String> {
    for table in Table::ALL {
        create(cluster, table)?;
    }
    load(cluster)?;
    for seat in cluster.seats.values_mut() {
        seat.works = true;
    }
    for client in cluster.seats.keys().copied().collect::<Vec<_>>() {
        let delay = cluster.plan.think.draw(&mut cluster.rng);
        cluster.after(delay, Event::Go { client });
    }
    cluster.begin_faults();
    let until = cluster.now + cluster.plan.work_time;
    cluster.churn(until)?;
    cluster.heal();
    for seat in cluster.seats.values_mut() {
        seat.works = false;
    }
    let until = cluster.now + QUIET_MAX;
    if !cluster.run(until, |cluster| cluster.seats.values().all(|seat| seat.client.is_idle())) {
        let late = cluster.seats.values().filter(|seat| !seat.client.is_idle());
        let late: Vec<String> = late.map(|seat| seat.client.doing()).collect();
        return Err(format!("liveness: clients do not come to an end: {}", late.join("; ")));
    }
    last_words(cluster)?;
    quiet(cluster)
}

/// Asks until the answer is good.
fn ask(
    cluster: &mut Cluster<'_>,
    request: &Request,
    mut good: impl FnMut(&mut Cluster<'_>, Result<Response, Error>) -> bool,
) -> Result<(), String> {
    let until = cluster.now + SETUP_MAX;
    while cluster.now < until {
        let node = cluster.rng.index(cluster.machines.len());
        let ticket = cluster.request(node, OPERATOR, request.clone());
        cluster.operator = Some((ticket, None));
        let answered = |cluster: &mut Cluster<'_>| {
            cluster.operator.as_ref().is_some_and(|(_, answer)| answer.is_some())
        };
        cluster.run(until, answered);
        if let Some((_, Some(Some(answer)))) = cluster.operator.take()
            && good(cluster, answer)
        {
            return Ok(());
        }
        let pause = cluster.now + 50 * MS;
        cluster.run(pause, |_| false);
    }
    Err(format!("liveness: {request:?} was not answered in {} s", SETUP_MAX / SECOND))
}

fn create(cluster: &mut Cluster<'_>, table: Table) -> Result<(), String> {
    let definition = table.definition(cluster.plan.accounts, cluster.plan.shards);
    let request = Request::CreateTable(definition);
    ask(cluster, &request, |_, answer| {
        matches!(answer, Ok(Response::Table(_)) | Err(Error::AlreadyExists { .. }))
    })?;
    let request = Request::GetTable(table.reference());
    ask(cluster, &request, |cluster, answer| match answer {
        Ok(Response::Table(schema)) => {
            cluster.world.schemas.insert(table, schema);
            true
        }
        _ => false,
    })
}

fn load(cluster: &mut Cluster<'_>) -> Result<(), String> {
    let nodes = cluster.machines.len();
    let now = cluster.now;
    one_job(cluster, |client| client.load(now, nodes))?;
    if cluster.world.committed == 0 {
        return Err("liveness: the accounts were not created without any fault".to_owned());
    }
    Ok(())
}

/// Has the first client do one thing.
fn one_job(
    cluster: &mut Cluster<'_>,
    job: impl FnOnce(&mut super::client::Client) -> Vec<super::client::Wish>,
) -> Result<(), String> {
    let seat = cluster.seats.get_mut(&0).expect("there is a first client");
    let wishes = job(&mut seat.client);
    cluster.fulfil(0, wishes);
    let until = cluster.now + SETUP_MAX;
    if cluster.run(until, |cluster| cluster.seats[&0].client.is_idle()) {
        return Ok(());
    }
    let doing = cluster.seats[&0].client.doing();
    Err(format!("liveness: not done in {} s: {doing}", SETUP_MAX / SECOND))
}

/// So often a read is tried, a second apart, before it counts as impossible.
const HEALED_READS_MAX: u32 = 20;

/// After all faults everything works: a transfer between any two shards, and a read of everything.
fn last_words(cluster: &mut Cluster<'_>) -> Result<(), String> {
    let (nodes, accounts) = (cluster.machines.len(), cluster.plan.accounts);
    let before = cluster.world.committed;
    for shard in 0..cluster.plan.shards {
        let from = accounts * shard / cluster.plan.shards;
        let to = (from + accounts / 2 + 1) % accounts;
        let to = if from == to { (to + 1) % accounts } else { to };
        let now = cluster.now;
        one_job(cluster, |client| client.transfer(now, nodes, from, to))?;
    }
    if cluster.world.committed < before + u64::try_from(cluster.plan.shards).unwrap_or(0) {
        return Err("liveness: a transfer after healing did not commit".to_owned());
    }
    for table in Table::ALL {
        let (now, records) = (cluster.now, cluster.world.records.len());
        // A clock that has just healed is not believed at once.
        for _ in 0..HEALED_READS_MAX {
            let now = cluster.now.max(now);
            one_job(cluster, |client| client.audit(now, table))?;
            if cluster.world.records.len() > records {
                break;
            }
            let until = cluster.now + SECOND;
            cluster.run(until, |_| false);
        }
        if cluster.world.records.len() == records {
            return Err(format!("liveness: {table:?} could not be read after healing"));
        }
    }
    Ok(())
}

/// Waits until nothing is prepared, nobody awaits anything and all logs are applied everywhere.
fn quiet(cluster: &mut Cluster<'_>) -> Result<(), String> {
    let until = cluster.now + QUIET_MAX;
    let mut unchanged = 0;
    let mut last = BTreeMap::new();
    while cluster.now < until {
        let next = cluster.now + 100 * MS;
        cluster.run(next, |_| false);
        let applied = cluster.applied();
        let rest = cluster.unrest();
        unchanged = if rest.is_none() && applied == last { unchanged + 1 } else { 0 };
        last = applied;
        if unchanged >= 10 {
            return Ok(());
        }
    }
    let unrest = cluster.unrest().unwrap_or_else(|| "the logs still grow".to_owned());
    Err(format!("liveness: no quiet in {} s after healing: {unrest}", QUIET_MAX / SECOND))
}

fn judge(cluster: &mut Cluster<'_>) -> Result<u64, String> {
    for machine in &cluster.machines {
        let Some(process) = &machine.process else { continue };
        for replica in process.core.replicas().values() {
            let reference = &cluster.invariants.reference;
            replica_agreement::check(reference, machine.id, replica, &machine.store);
        }
    }
    let header = Header {
        workload: format!("simulation, seed {}", cluster.seed),
        true_time_origin: Some(ORIGIN),
        ..Header::default()
    };
    let records = std::mem::take(&mut cluster.world.records);
    let true_time = TrueTime::Known { origin: ORIGIN };
    let options = Options { true_time, violations_max: 5 };
    let checked = checker::check(&History { header, records }, options);
    if checked.is_strictly_serializable() {
        return Ok(checked.transactions);
    }
    let violations: Vec<String> = checked.violations.iter().map(ToString::to_string).collect();
    Err(format!("{}: {}", checked.verdict(), violations.join("\n")))
}

/// The client that creates the tables.
pub(super) const OPERATOR: u32 = u32::MAX;

impl Cluster<'_> {
    /// An answer for the operator, or none because the gateway died.
    pub(super) fn tell_operator(&mut self, ticket: node::gateway::api::Ticket, event: ClientEvent) {
        let Some((wanted, answer)) = &mut self.operator else { return };
        if *wanted == ticket {
            *answer = Some(match event {
                ClientEvent::Answered(answer) => Some(answer),
                ClientEvent::Lost | ClientEvent::Go => None,
            });
        }
    }

    fn applied(&self) -> BTreeMap<(u64, u64), u64> {
        let mut applied = BTreeMap::new();
        for machine in &self.machines {
            for (shard, replica) in machine.process.iter().flat_map(|p| p.core.replicas()) {
                applied.insert((machine.id.0, shard.0), replica.state().applied().index.0);
            }
        }
        applied
    }

    /// Why the cluster is not at rest.
    fn unrest(&self) -> Option<String> {
        let mut replicas = 0;
        for machine in &self.machines {
            let Some(process) = &machine.process else { return Some("a node is down".to_owned()) };
            let (id, store) = (machine.id, &machine.store);
            let left = removal::unfinished(&self.invariants.reference, id, &process.core, store);
            if left.is_some() {
                return left;
            }
            for (shard, replica) in process.core.replicas() {
                replicas += 1;
                let state = replica.state();
                if let Some(id) = state.prepared().keys().next() {
                    let raft = replica.raft();
                    return Some(format!(
                        "{id} is prepared at {shard} on {}, which applied {}, knows {} committed, has {:?}",
                        machine.id,
                        state.applied().index,
                        raft.commit_index(),
                        raft.last()
                    ));
                }
                if let Some(id) = state.awaiting().keys().next() {
                    return Some(format!("{id} awaits participants at {shard} on {}", machine.id));
                }
                let last = self.invariants.reference.last_applied(*shard);
                if last.is_some_and(|last| last != state.applied()) {
                    let applied = state.applied();
                    return Some(format!("{shard} on {} is at {applied:?}", machine.id));
                }
                if let Some(leader) = replica.leader().filter(|leader| leader.transactions() > 0) {
                    return Some(format!("{shard} on {}: {}", machine.id, leader.summary()));
                }
            }
        }
        let removed = removal::removed(&self.invariants.reference);
        let shards = self.invariants.reference.shards().keys();
        let expected = shards.filter(|shard| !removed.contains(shard)).count();
        (replicas < expected * 3).then(|| format!("{replicas} replicas of {expected} shards"))
    }
}
