//! Whole cores, with what is around them kept to the least: three of them, in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proto::{KeySpan, NodeId, ReplicaId, ShardId};
use truetime::{ClockUnsure, Mono, Now, TimeInterval, Timestamp};

use super::watchdog::{Disk, SyncWatch};
use super::*;

const TICK: Duration = Duration::from_millis(50);

/// Three nodes with one shard. Messages arrive at once, syncs too, but for those of a stalled disk.
struct Trio {
    cores: BTreeMap<NodeId, Core>,
    mono: Mono,
    stalled: Option<NodeId>,
    /// Whose clocks vouch for nothing.
    unsure: BTreeSet<NodeId>,
    /// Syncs that a stalled disk has not done.
    held: Vec<(NodeId, u64)>,
    inputs: VecDeque<(NodeId, Input)>,
}

impl Trio {
    fn new() -> Self {
        let nodes = [1, 2, 3].map(NodeId);
        let replicas = nodes.map(|node| (ReplicaId(node.0), node)).to_vec();
        let shard = ShardDescriptor { id: ShardId(1), span: KeySpan::all(), replicas };
        let mut trio = Trio {
            cores: BTreeMap::new(),
            mono: Mono::ZERO.plus(Duration::from_secs(1)),
            stalled: None,
            unsure: BTreeSet::new(),
            held: Vec::new(),
            inputs: VecDeque::new(),
        };
        for node in nodes {
            let config = CoreConfig {
                seed: node.0,
                publish_interval: Duration::from_millis(100),
                clock_interval: Duration::from_secs(1),
                ..quiet(node, shard.clone())
            };
            let map = ShardMap::new([shard.clone()]);
            let mine = vec![(shard.clone(), Durable::default())];
            trio.cores
                .insert(node, Core::open(config, map, mine, Vec::new(), &trio.now()).unwrap());
        }
        trio
    }

    fn now(&self) -> Now {
        let since = self.mono.since(Mono::ZERO);
        let reading = Timestamp::from_nanos(1_000_000_000_000).plus(since);
        let interval = TimeInterval::around(reading, Duration::from_millis(1));
        Now { mono: self.mono, interval: Ok(interval) }
    }

    fn reading(&self, node: NodeId) -> Now {
        let now = self.now();
        if self.unsure.contains(&node) {
            return Now { interval: Err(ClockUnsure::Unsynchronised), ..now };
        }
        now
    }

    /// Lets time pass.
    fn run(&mut self, time: Duration) {
        let until = self.mono.plus(time);
        while self.mono < until {
            self.mono = self.mono.plus(TICK);
            let nodes: Vec<NodeId> = self.cores.keys().copied().collect();
            for node in nodes {
                self.flush(node);
            }
            while let Some((node, input)) = self.inputs.pop_front() {
                let now = self.reading(node);
                self.cores.get_mut(&node).unwrap().step(&now, input).unwrap();
                self.flush(node);
            }
        }
    }

    fn flush(&mut self, node: NodeId) {
        let now = self.reading(node);
        for effect in self.cores.get_mut(&node).unwrap().flush(&now).unwrap() {
            match effect {
                Effect::Write { token: Some(token), .. } if self.stalled == Some(node) => {
                    self.held.push((node, token));
                }
                Effect::Write { token: Some(token), .. } => {
                    self.inputs.push_back((node, Input::Synced { token }));
                }
                Effect::Send { to, message } => {
                    self.inputs.push_back((to, Input::Peer { from: node, message }));
                }
                Effect::Read { to, grant, .. } => {
                    let reply = Reply::Rows { grant, rows: Vec::new(), rest: Vec::new() };
                    self.inputs.push_back((node, Input::ReadDone { to, reply }));
                }
                _ => {}
            }
        }
    }

    /// A request that makes the leader propose something.
    fn bother(&mut self) {
        if let Some(leader) = self.leader() {
            let read = Request::SnapshotRead {
                at: self.now().sure().unwrap().earliest,
                spans: vec![KeySpan::all()],
                limit: ReadLimit { rows: 1, bytes: 1 },
            };
            let id = RequestId { node: leader, ..RequestId::default() };
            let now = self.now();
            self.cores.get_mut(&leader).unwrap().ask(&now, id, ShardId(1), read);
        }
    }

    /// Who leads, in the highest term.
    fn leader(&self) -> Option<NodeId> {
        let replicas = self.cores.iter().map(|(node, core)| (*node, &core.replicas()[&ShardId(1)]));
        let leaders = replicas.filter(|(_, replica)| replica.raft().is_leader());
        leaders.max_by_key(|(_, replica)| replica.raft().term()).map(|(node, _)| node)
    }

    /// Runs while something is asked of the leader all the time.
    fn run_busy(&mut self, time: Duration) {
        let until = self.mono.plus(time);
        while self.mono < until {
            self.bother();
            self.run(TICK);
        }
    }
}

#[test]
fn leader_whose_disk_stalls_hands_over_to_one_whose_disk_does_not() {
    // T53.
    let mut trio = Trio::new();
    trio.run_busy(Duration::from_secs(5));
    let first = trio.leader().expect("one of three is elected");
    trio.stalled = Some(first);
    trio.run_busy(Duration::from_millis(1_900));
    assert_eq!(trio.leader(), Some(first), "a slow sync is no reason");
    trio.run_busy(Duration::from_secs(6));
    let second = trio.leader().expect("a leader");
    assert_ne!(second, first);
    assert!(!trio.cores[&first].replicas()[&ShardId(1)].raft().is_leader());
    // It comes back, and nothing needs to change again.
    trio.stalled = None;
    for (node, token) in std::mem::take(&mut trio.held) {
        trio.inputs.push_back((node, Input::Synced { token }));
    }
    trio.run_busy(Duration::from_secs(5));
    assert_eq!(trio.leader(), Some(second));
}

#[test]
fn leader_whose_clock_is_unsure_gives_the_shard_to_a_node_whose_clock_is_sure() {
    // T21, section 2; when there is none it keeps leading.
    let mut trio = Trio::new();
    trio.run_busy(Duration::from_secs(5));
    let first = trio.leader().expect("one of three is elected");
    let sure = trio.cores.keys().copied().find(|node| *node != first).unwrap();
    trio.unsure = trio.cores.keys().copied().filter(|node| *node != sure).collect();
    trio.run_busy(Duration::from_secs(5));
    assert_eq!(trio.leader(), Some(sure));
    trio.unsure.insert(sure);
    trio.run_busy(Duration::from_secs(10));
    assert_eq!(trio.leader(), Some(sure), "nobody would do better");
}

#[test]
fn sync_that_takes_long_is_a_stall_and_one_that_never_ends_a_loss() {
    // T53: more than 2 s, more than 20 s; another sync begins the count anew.
    let mut watch = SyncWatch::default();
    let mut mono = Mono::ZERO;
    let mut look = |sync, seconds: u64| {
        let mut disk = Disk::Answers;
        for _ in 0..seconds * 2 {
            mono = mono.plus(Duration::from_millis(500));
            disk = watch.look(mono, sync);
        }
        disk
    };
    assert_eq!(look(Some(1), 2), Disk::Answers);
    assert_eq!(look(Some(1), 1), Disk::Stalls);
    assert_eq!(look(Some(1), 17), Disk::Stalls);
    assert_eq!(look(Some(1), 1), Disk::Lost);
    assert_eq!(look(Some(2), 2), Disk::Answers);
    assert_eq!(look(Some(2), 2), Disk::Stalls);
    assert_eq!(look(None, 60), Disk::Answers);
}

#[test]
fn pause_of_the_process_is_no_stall_of_its_disk() {
    // T53, T7: what was not looked at does not count.
    let mut watch = SyncWatch::default();
    let mut mono = Mono::ZERO.plus(Duration::from_secs(1));
    assert_eq!(watch.look(mono, Some(1)), Disk::Answers);
    mono = mono.plus(Duration::from_secs(60));
    assert_eq!(watch.look(mono, Some(1)), Disk::Answers);
}

/// A core of one that says nothing of its own accord.
pub(super) fn quiet(node: NodeId, system: ShardDescriptor) -> CoreConfig {
    CoreConfig {
        node,
        start: 1,
        core: 0,
        cores: 1,
        seed: 7,
        replica: ReplicaConfig::default(),
        router: RouterSettings::default(),
        gateway: gateway::GatewaySettings::new(node, 1, 0, system),
        publish_interval: Duration::from_secs(1_000),
        clock_interval: Duration::from_secs(1_000),
    }
}
