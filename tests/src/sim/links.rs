//! Messages between the nodes of the simulated cluster, and the streams that carry them.

use node::core::{Input, PeerMessage, describe};
use proto::NodeId;
use std::hash::Hash;

use super::cluster::{Cluster, Event};
use super::plan::{MS, SECOND};

impl Cluster<'_> {
    pub(super) fn send(&mut self, node: usize, to: NodeId, message: PeerMessage) {
        let to = usize::try_from(to.0 - 1).expect("a handful of nodes");
        let incarnation = {
            let link = self.network.link(node, to);
            if !link.up {
                return;
            }
            if link.blocked {
                link.held.push(message);
                return;
            }
            link.incarnation
        };
        let delay = self.network_delay.draw(&mut self.rng);
        let link = self.network.link(node, to);
        let at = (self.now + delay).max(link.last_arrival + 1);
        link.last_arrival = at;
        let message = Box::new(message);
        self.at(at, Event::Deliver { from: node, to, incarnation, message });
    }

    pub(super) fn deliver(
        &mut self,
        from: usize,
        to: usize,
        incarnation: u32,
        message: PeerMessage,
    ) {
        if self.network.link(from, to).incarnation != incarnation {
            return;
        }
        let sender = self.machines[from].id;
        (4, self.now, from, to).hash(&mut self.hasher);
        self.note(|| format!("n{} <- {}", to + 1, describe(sender, &message)));
        self.input(to, Input::Peer { from: sender, message });
    }

    pub(super) fn is_blocked(&mut self, a: usize, b: usize) -> bool {
        self.network.link(a, b).blocked || self.network.link(b, a).blocked
    }

    pub(super) fn break_pair(&mut self, a: usize, b: usize) {
        if self.network.break_pair(a, b) {
            self.note(|| format!("link n{} n{} breaks", a + 1, b + 1));
            for (node, other) in [(a, b), (b, a)] {
                let other = self.machines[other].id;
                self.input(node, Input::Unreachable(other));
            }
        }
        let delay = self.rng.between(MS, 300 * MS);
        self.after(delay, Event::Connect { a, b });
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        if self.machines[a].process.is_none() || self.machines[b].process.is_none() {
            // The next start tries again.
            return;
        }
        if self.network.connect(a, b) {
            for (node, other) in [(a, b), (b, a)] {
                let other = self.machines[other].id;
                self.input(node, Input::Reachable(other));
            }
        } else if !self.network.link(a, b).up {
            let delay = self.rng.between(20 * MS, 300 * MS);
            self.after(delay, Event::Connect { a, b });
        }
    }

    pub(super) fn block(&mut self, from: usize, to: usize) {
        let link = self.network.link(from, to);
        if std::mem::replace(&mut link.blocked, true) {
            return;
        }
        let incarnation = link.incarnation;
        let delay = self.rng.log_between(50 * MS, 4 * SECOND);
        self.after(delay, Event::Detect { a: from, b: to, incarnation });
    }

    pub(super) fn unblock(&mut self, from: usize, to: usize) {
        let link = self.network.link(from, to);
        link.blocked = false;
        let held = std::mem::take(&mut link.held);
        let to = self.machines[to].id;
        for message in held {
            self.send(from, to, message);
        }
    }
}
