//! This node's clock held against the others' (T19): a node whose interval meets no majority of theirs is
//! outside its claim, and from then on its clock is unsure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::NodeId;
use truetime::{Exchange, Meeting, Mono, Now, Peers, TimeInterval};

use super::{Core, Effect, Note, PeerMessage};

/// Questions that may be open; older ones are forgotten.
const OPEN_MAX: usize = 64;

/// The exchanges of one core.
#[derive(Debug)]
pub(super) struct PeerClocks {
    interval: Duration,
    peers: Peers<NodeId>,
    /// Questions under way, with this node's own claim when they left. One that is unsure asks as well: it has
    /// to know whose clock is sure.
    open: BTreeMap<u64, (NodeId, Option<TimeInterval>)>,
    /// What each node last said, and when.
    told: BTreeMap<NodeId, (Mono, Option<TimeInterval>)>,
    next_number: u64,
    next_exchange: Mono,
    /// This node's own reading, unjudged: a node outside its claim goes on comparing, or it never recovers.
    own: Option<TimeInterval>,
    mono: Mono,
    outside: bool,
}

impl PeerClocks {
    pub(super) fn new(interval: Duration) -> Self {
        PeerClocks {
            interval,
            peers: Peers::default(),
            open: BTreeMap::new(),
            told: BTreeMap::new(),
            next_number: 0,
            next_exchange: Mono::ZERO,
            own: None,
            mono: Mono::ZERO,
            outside: false,
        }
    }

    /// The reading as this core may use it.
    pub(super) fn read(&mut self, now: &Now) -> Now {
        self.own = now.sure();
        self.mono = now.mono;
        self.peers.judge(now.clone())
    }

    pub(super) fn next_deadline(&self) -> Mono {
        self.next_exchange
    }

    pub(super) fn told(&mut self, from: NodeId, number: u64, interval: Option<TimeInterval>) {
        let Some((asked, sent)) = self.open.remove(&number) else { return };
        if asked != from {
            return;
        }
        self.told.insert(from, (self.mono, interval));
        if let (Some(sent), Some(theirs), Some(received)) = (sent, interval, self.own) {
            self.peers.record(from, self.mono, &Exchange { sent, theirs, received });
        }
    }

    /// Nodes that lately said that their clocks are sure and within `epsilon_max`.
    pub(super) fn sure_nodes(&self, epsilon_max: Duration) -> BTreeSet<NodeId> {
        self.told
            .iter()
            .filter(|(_, (at, interval))| {
                self.mono.since(*at) < self.interval * 4
                    && interval.is_some_and(|interval| interval.epsilon() <= epsilon_max)
            })
            .map(|(node, _)| *node)
            .collect()
    }

    /// Nodes whose claims contradict this node's.
    pub(super) fn disagreeing(&self) -> Vec<NodeId> {
        let apart = self.peers.apart(self.mono);
        apart.filter(|(_, meeting)| *meeting != Meeting::Meets).map(|(node, _)| node).collect()
    }
}

impl Core {
    /// Asks every node that shares a shard for its interval, and notes a change of the verdict.
    pub(super) fn exchange_clocks(&mut self, now: &Now) {
        let outside = self.clocks.peers.is_outside(now.mono);
        if outside != self.clocks.outside {
            self.clocks.outside = outside;
            let note = if outside {
                Note::ClockOutsideClaim { disagrees_with: self.clocks.disagreeing() }
            } else {
                Note::ClockInsideClaim
            };
            self.out.push(Effect::Note(note));
        }
        if now.mono < self.clocks.next_exchange {
            return;
        }
        self.clocks.next_exchange = now.mono.plus(self.clocks.interval);
        let nodes: BTreeSet<NodeId> = self
            .replicas
            .values()
            .flat_map(|replica| replica.descriptor().replicas.iter().map(|(_, node)| *node))
            .filter(|node| *node != self.config.node)
            .collect();
        let sent = self.clocks.own;
        for node in nodes {
            self.clocks.next_number += 1;
            let number = self.clocks.next_number;
            self.clocks.open.insert(number, (node, sent));
            while self.clocks.open.len() > OPEN_MAX {
                self.clocks.open.pop_first();
            }
            self.send(node, PeerMessage::ClockAsk { number, core: self.config.core });
        }
    }

    pub(super) fn clock_asked(&mut self, from: NodeId, number: u64, core: u16) {
        let interval = self.clocks.own;
        self.send(from, PeerMessage::ClockTell { number, core, interval });
    }
}
