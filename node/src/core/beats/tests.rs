//! What an idle cluster does, counted: a shard that nobody asks costs no pass, no message and no write.

use std::collections::BTreeMap;

use proto::{Key, KeySpan, ReplicaId};
use truetime::{Mono, TimeInterval, Timestamp};
use txn::message::{ReadLimit, Request, RequestId};

use super::super::tests::quiet;
use super::super::{CoreConfig, Effect, Input};
use super::*;
use crate::routing::ShardMap;
use crate::shard::descriptor::ShardDescriptor;
use crate::shard::replica::Durable;

/// What was done since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passes: usize,
    messages: usize,
    /// Writes of the log that are synced.
    syncs: usize,
}

/// Three nodes that run only when something reaches them or is due.
struct Cluster {
    cores: BTreeMap<NodeId, Core>,
    mono: Mono,
    inboxes: BTreeMap<NodeId, Vec<Input>>,
    cut_off: Option<NodeId>,
    counts: Counts,
}

/// How long messages and syncs take.
const DELAY: Duration = Duration::from_micros(200);
const SECOND: Duration = Duration::from_secs(1);

fn shards(count: u64) -> Vec<ShardDescriptor> {
    let key = |shard: u64| Key::from(&shard.to_be_bytes()[..]);
    let replicas: Vec<_> = (1..=3).map(|id| (ReplicaId(id), NodeId(id))).collect();
    let shard = |id| ShardDescriptor {
        id: ShardId(id),
        span: KeySpan::new(key(id), key(id + 1)),
        replicas: replicas.clone(),
    };
    (1..=count).map(shard).collect()
}

impl Cluster {
    fn new(count: u64) -> Self {
        let mut cluster = Cluster {
            cores: BTreeMap::new(),
            mono: Mono::ZERO.plus(SECOND),
            inboxes: BTreeMap::new(),
            cut_off: None,
            counts: Counts::default(),
        };
        let shards = shards(count);
        for node in [1, 2, 3].map(NodeId) {
            let config = CoreConfig {
                seed: node.0,
                publish_interval: Duration::from_millis(200),
                ..quiet(node, shards[0].clone())
            };
            let map = ShardMap::new(shards.clone());
            let mine = shards.iter().map(|shard| (shard.clone(), Durable::default())).collect();
            let now = cluster.now();
            let core = Core::open(config, map, mine, Vec::new(), &now);
            cluster.cores.insert(node, core.unwrap());
        }
        cluster
    }

    fn now(&self) -> Now {
        let reading = Timestamp::from_nanos(1_000_000_000_000).plus(self.mono.since(Mono::ZERO));
        let interval = TimeInterval::around(reading, Duration::from_millis(1));
        Now { mono: self.mono, interval: Ok(interval) }
    }

    /// One pass of a node, like the host's: all that waits, then a flush.
    fn pass(&mut self, node: NodeId) {
        let now = self.now();
        self.counts.passes += 1;
        let inputs = self.inboxes.remove(&node).unwrap_or_default();
        let core = self.cores.get_mut(&node).unwrap();
        for input in inputs {
            core.step(&now, input).unwrap();
        }
        for effect in core.flush(&now).unwrap() {
            match effect {
                Effect::Write { token: Some(token), .. } => {
                    self.counts.syncs += 1;
                    self.inboxes.entry(node).or_default().push(Input::Synced { token });
                }
                Effect::Send { to, message } => {
                    self.counts.messages += 1;
                    if ![Some(node), Some(to)].contains(&self.cut_off) {
                        let input = Input::Peer { from: node, message };
                        self.inboxes.entry(to).or_default().push(input);
                    }
                }
                _ => {}
            }
        }
    }

    /// Lets time pass; says what was done in it.
    fn run(&mut self, time: Duration) -> Counts {
        self.counts = Counts::default();
        let until = self.mono.plus(time);
        loop {
            let next = self.cores.values().map(Core::next_deadline).min().unwrap();
            let next = if self.inboxes.is_empty() { next } else { self.mono.plus(DELAY) };
            if next > until {
                self.mono = until;
                return self.counts;
            }
            self.mono = self.mono.max(next);
            let due = |core: &Core| core.next_deadline() <= self.mono;
            let (cores, inboxes) = (self.cores.iter(), &self.inboxes);
            let nodes: Vec<NodeId> = cores
                .filter(|(node, core)| inboxes.contains_key(node) || due(core))
                .map(|(node, _)| *node)
                .collect();
            for node in nodes {
                self.pass(node);
            }
        }
    }

    /// Who leads each shard, and in which term, as all that can be heard of agree.
    fn leaders(&self) -> BTreeMap<ShardId, (NodeId, Term)> {
        let heard = self.cores.iter().filter(|(node, _)| Some(**node) != self.cut_off);
        let all = heard.flat_map(|(node, core)| core.replicas().iter().map(move |r| (*node, r)));
        let leading = all.filter(|(_, (_, replica))| replica.raft().is_leader());
        leading.map(|(node, (shard, r))| (*shard, (node, r.raft().term()))).collect()
    }

    /// Somebody reads the past of every shard, of one after the other.
    fn read_the_past(&mut self) {
        for (shard, (leader, _)) in self.leaders() {
            let now = self.now();
            let at = now.sure().unwrap().earliest.minus(Duration::from_millis(500));
            let core = self.cores.get_mut(&leader).unwrap();
            let spans = vec![core.replicas()[&shard].descriptor().span.clone()];
            let limit = ReadLimit { rows: 1, bytes: 1 };
            let id = RequestId { node: leader, ..RequestId::default() };
            core.ask(&now, id, shard, Request::SnapshotRead { at, spans, limit });
            self.run(Duration::from_millis(13));
        }
    }
}

/// A cluster whose shards have leaders and nothing to do.
fn at_rest(shards: u64) -> Cluster {
    let mut cluster = Cluster::new(shards);
    cluster.run(SECOND * 10);
    assert_eq!(cluster.leaders().len() as u64, shards, "every shard has a leader");
    cluster
}

#[test]
fn idle_shards_cost_one_message_for_each_pair_of_nodes_and_no_write() {
    let mut cluster = at_rest(65);
    let before = cluster.leaders();
    let counts = cluster.run(SECOND * 60);
    assert_eq!(cluster.leaders(), before, "nothing has changed hands");
    assert_eq!(counts.syncs, 0);
    // Five times a second each node says something to two others, and each of these answers.
    assert!(counts.messages <= 60 * 5 * 3 * 2 * 2, "{counts:?}");
    // For that it wakes, and hears of the others and from them; beside that it looks for marks.
    assert!(counts.passes <= 60 * (5 * 3 * (1 + 2 + 2) + 3), "{counts:?}");
    assert!(counts.messages > 0, "the leaders live");
}

#[test]
fn idle_shards_whose_past_is_read_renew_their_leases_together() {
    let mut cluster = at_rest(65);
    cluster.read_the_past();
    cluster.run(SECOND * 5);
    let counts = cluster.run(SECOND * 40);
    // Twice in a lease length each node writes its extensions, and the two others do.
    assert!((40..=40 * 3 * 3).contains(&counts.syncs), "{counts:?}");
    cluster.run(SECOND * 30);
    assert_eq!(cluster.run(SECOND * 10).syncs, 0, "the interest is over");
}

#[test]
fn quiet_shards_of_a_node_that_is_cut_off_have_other_leaders_within_two_election_timeouts() {
    let mut cluster = at_rest(65);
    let before = cluster.leaders();
    let (lost, _) = before[&ShardId::SYSTEM];
    cluster.cut_off = Some(lost);
    // An election takes up to 1.6 s, and half a heartbeat's time may have passed before.
    cluster.run(Duration::from_millis(1_800));
    let after = cluster.leaders();
    assert_eq!(after.len(), before.len(), "every shard has a leader again");
    assert!(after.values().all(|(node, _)| *node != lost));
    let kept = before.iter().filter(|(_, (node, _))| *node != lost);
    for (shard, leader) in kept {
        assert_eq!(after[shard], *leader, "what the others lead stays where it is");
    }
    let cut_off = &cluster.cores[&lost];
    assert!(cut_off.leads_nothing(), "it hears of no quorum");
    cluster.cut_off = None;
    cluster.run(SECOND * 5);
    assert_eq!(cluster.leaders(), after, "its return changes nothing");
    assert_eq!(cluster.run(SECOND * 20).syncs, 0);
}

#[test]
fn process_that_slept_takes_no_shard_from_a_leader_that_it_did_not_hear() {
    let mut cluster = at_rest(9);
    let before = cluster.leaders();
    let sleeper = NodeId(1);
    let core = cluster.cores.remove(&sleeper).unwrap();
    cluster.run(Duration::from_millis(700));
    cluster.inboxes.remove(&sleeper);
    cluster.cores.insert(sleeper, core);
    cluster.run(SECOND * 2);
    assert_eq!(cluster.leaders(), before, "that was less than an election timeout");
    let core = cluster.cores.remove(&sleeper).unwrap();
    cluster.run(SECOND * 60);
    cluster.inboxes.remove(&sleeper);
    cluster.cores.insert(sleeper, core);
    let between: BTreeMap<_, _> =
        cluster.leaders().into_iter().filter(|(_, (node, _))| *node != sleeper).collect();
    assert_eq!(between.len(), 9, "the others lead");
    cluster.run(SECOND * 5);
    assert_eq!(cluster.leaders(), between);
}

#[test]
fn cores_whose_every_pass_is_late_still_elect_and_still_notice_a_lost_quorum() {
    let mut cluster = at_rest(9);
    let (lost, _) = cluster.leaders()[&ShardId::SYSTEM];
    cluster.cut_off = Some(lost);
    let late = ReplicaConfig::default().tick * 6;
    // Ticks are counted one in a pass: two election timeouts, and what is said until a leader is elected.
    for _ in 0..8 * 2 + 8 {
        cluster.mono = cluster.mono.plus(late);
        [1, 2, 3].map(NodeId).into_iter().for_each(|node| cluster.pass(node));
    }
    assert!(cluster.cores[&lost].leads_nothing(), "it hears of no quorum");
    let after = cluster.leaders();
    assert_eq!(after.len(), 9, "every shard has a leader again");
    assert!(after.values().all(|(node, _)| *node != lost));
    for _ in 0..32 {
        cluster.mono = cluster.mono.plus(late);
        [1, 2, 3].map(NodeId).into_iter().for_each(|node| cluster.pass(node));
    }
    assert_eq!(cluster.leaders(), after, "who is late is heard all the same");
}
