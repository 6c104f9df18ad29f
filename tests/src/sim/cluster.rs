//! The event queue, and what each event does to machines, links and clients.
//!
//! One thread, one seed, one queue over true time in nanoseconds since the start. Nothing else orders events:
//! the same seed gives the same run, which the hash of everything that happened shows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use node::core::PeerMessage;
use node::gateway::api::{Answer, Request, Ticket};
use node::shard::descriptor::ShardDescriptor;
use node::system::system_shard_span;
use proto::{NodeId, ReplicaId, ShardId};
use truetime::Timestamp;

use super::client::{self, Client};
use super::faults::Ending;
use super::machine::Machine;
use super::network::Network;
use super::plan::{Delay, Fault, Plan, SECOND};
use super::rng::Rng;
use crate::invariants::Invariants;

/// True time at the start.
pub(super) const ORIGIN: Timestamp = Timestamp::from_nanos(1_700_000_000 * SECOND);

/// What happens.
#[derive(Debug)]
pub(super) enum Event {
    Pass {
        node: usize,
        start: u32,
    },
    Deliver {
        from: usize,
        to: usize,
        incarnation: u32,
        message: Box<PeerMessage>,
    },
    Detect {
        a: usize,
        b: usize,
        incarnation: u32,
    },
    Connect {
        a: usize,
        b: usize,
    },
    DiskDone {
        node: usize,
        start: u32,
    },
    Persist {
        node: usize,
        start: u32,
    },
    Installed {
        node: usize,
        start: u32,
        shard: ShardId,
    },
    ToGateway {
        node: usize,
        start: u32,
        client: u32,
        ticket: Option<Ticket>,
        request: Box<Request>,
    },
    Answered {
        client: u32,
        ticket: Ticket,
        answer: Box<Answer>,
    },
    Lost {
        client: u32,
        ticket: Ticket,
    },
    Go {
        client: u32,
    },
    Synchronise {
        node: usize,
    },
    NextFault,
    End(Ending),
}

/// A client and the request that it waits for.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) client: Client,
    pub(super) ticket: Option<Ticket>,
    pub(super) asked: usize,
    /// Whether it begins new jobs.
    pub(super) works: bool,
}

/// See the module.
pub(super) struct Cluster<'a> {
    pub(super) plan: Plan,
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) now: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    next_event: u64,
    pub(super) machines: Vec<Machine>,
    pub(super) network: Network,
    pub(super) network_delay: Delay,
    pub(super) disks: Vec<Delay>,
    pub(super) seats: BTreeMap<u32, Seat>,
    pub(super) world: client::World,
    pub(super) invariants: Invariants,
    pub(super) drawn: BTreeMap<Fault, u64>,
    pub(super) faults_on: bool,
    pub(super) handing_over: BTreeMap<usize, u64>,
    /// Clocks that something is wrong with, and by how much they must be set back.
    pub(super) clock_faults: BTreeMap<usize, i64>,
    /// What the operator waits for: none while it waits, and no answer when it was lost.
    pub(super) operator: Option<(Ticket, Option<Option<Answer>>)>,
    /// Changes of the catalog that were answered, beside those of the set-up.
    pub(super) changes: u64,
    pub(super) system: ShardDescriptor,
    pub(super) next_ticket: u64,
    pub(super) passes: u64,
    pub(super) hasher: DefaultHasher,
    trace: Option<&'a mut dyn FnMut(&str)>,
}

impl<'a> Cluster<'a> {
    pub(super) fn new(
        plan: Plan,
        seed: u64,
        rng: Rng,
        trace: Option<&'a mut dyn FnMut(&str)>,
    ) -> Self {
        let mut rng = rng;
        let replicas = (1..=plan.nodes as u64).map(|i| (ReplicaId(i), NodeId(i))).collect();
        let system = ShardDescriptor { id: ShardId::SYSTEM, span: system_shard_span(), replicas };
        let machines = plan.clocks.iter().zip(1..);
        let machines =
            machines.map(|(clock, id)| Machine::new(NodeId(id), ORIGIN, *clock)).collect();
        let seats = (0..plan.clients).map(|id| {
            let client = Client::new(id, rng.fork());
            (id, Seat { client, ticket: None, asked: 0, works: false })
        });
        let seats = seats.collect();
        let world = client::World {
            accounts: plan.accounts,
            schemas: BTreeMap::new(),
            records: Vec::new(),
            next_tag: 0,
            total: plan.accounts * client::MONEY,
            committed: 0,
            unknown: 0,
            aborted: 0,
        };
        let mut cluster = Cluster {
            seed,
            rng,
            now: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            machines,
            network: Network::new(plan.nodes),
            network_delay: plan.network,
            disks: vec![plan.disk; plan.nodes],
            seats,
            world,
            invariants: Invariants::default(),
            drawn: BTreeMap::new(),
            faults_on: false,
            handing_over: BTreeMap::new(),
            clock_faults: BTreeMap::new(),
            operator: None,
            changes: 0,
            system,
            next_ticket: 1,
            passes: 0,
            hasher: DefaultHasher::new(),
            trace,
            plan,
        };
        for node in 0..cluster.machines.len() {
            cluster.start(node);
            cluster.synchronise(node);
        }
        cluster
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        let at = at.max(self.now);
        self.next_event += 1;
        self.queue.push(Reverse((at, self.next_event)));
        self.events.insert(self.next_event, event);
    }

    pub(super) fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(super) fn true_time(&self) -> Timestamp {
        ORIGIN.plus(std::time::Duration::from_nanos(self.now))
    }

    /// What distinguishes this run from every other so far.
    pub(super) fn trace_hash(&self) -> u64 {
        self.hasher.finish()
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let mut text = format!("{:>12.6} ", self.now as f64 / 1e9);
            let _ = write!(text, "{}", line());
            trace(&text);
        }
    }

    /// Runs events until `until`, or until `done` says so; says whether it did.
    pub(super) fn run(&mut self, until: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            match self.queue.peek() {
                Some(Reverse((at, _))) if *at <= until => {}
                _ => {
                    self.now = self.now.max(until);
                    return done(self);
                }
            }
            let Some(Reverse((at, number))) = self.queue.pop() else { return false };
            assert!(at >= self.now, "true time goes back");
            self.now = at;
            if let Some(event) = self.events.remove(&number) {
                self.happen(event);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Pass { node, start } => self.pass_due(node, start),
            Event::Deliver { from, to, incarnation, message } => {
                self.deliver(from, to, incarnation, *message);
            }
            Event::Detect { a, b, incarnation } => {
                let link = self.network.link(a, b);
                if link.up && link.incarnation == incarnation && self.is_blocked(a, b) {
                    self.break_pair(a, b);
                }
            }
            Event::Connect { a, b } => self.connect(a, b),
            Event::DiskDone { node, start } => self.disk_done(node, start),
            Event::Persist { node, start } => self.persist(node, start),
            Event::Installed { node, start, shard } => self.installed(node, start, shard),
            Event::ToGateway { node, start, client, ticket, request } => {
                self.reach_gateway(node, start, client, ticket, *request);
            }
            Event::Answered { client, ticket, answer } => {
                self.note(|| format!("c{client} {answer:?}"));
                (3, client, answer.is_ok()).hash(&mut self.hasher);
                self.hand_client(client, Some(ticket), client::Event::Answered(*answer));
            }
            Event::Lost { client, ticket } => {
                self.hand_client(client, Some(ticket), client::Event::Lost);
            }
            Event::Go { client } => self.go(client),
            Event::Synchronise { node } => self.synchronise(node),
            Event::NextFault => self.next_fault(),
            Event::End(ending) => self.end_fault(ending),
        }
    }
}

/// Whether a pass is carried through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    No,
    BeforeEffects,
}
