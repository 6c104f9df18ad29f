//! The links between nodes: in order while they live, and everything in flight is lost when they break.
//!
//! One stream per pair of nodes, as the host has it, seen as two directed links. A *blocked* link holds what
//! is sent, like a connection whose packets are lost: when it is unblocked in time all arrives, late; when
//! somebody notices, the stream is broken and both ends are told.

use node::core::PeerMessage;

/// One direction of a pair's stream.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Whether the stream is there.
    pub(super) up: bool,
    /// Counts streams: what was sent on an earlier one never arrives.
    pub(super) incarnation: u32,
    /// When the last message arrives.
    pub(super) last_arrival: u64,
    /// Nothing gets through at the moment.
    pub(super) blocked: bool,
    /// What waits for that to end.
    pub(super) held: Vec<PeerMessage>,
}

/// All links.
#[derive(Debug)]
pub(super) struct Network {
    nodes: usize,
    links: Vec<Link>,
}

impl Network {
    pub(super) fn new(nodes: usize) -> Self {
        Network { nodes, links: (0..nodes * nodes).map(|_| Link::default()).collect() }
    }

    pub(super) fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.nodes + to]
    }

    /// Ends the stream of a pair; says whether there was one.
    pub(super) fn break_pair(&mut self, a: usize, b: usize) -> bool {
        let was_up = self.link(a, b).up;
        for (from, to) in [(a, b), (b, a)] {
            let link = self.link(from, to);
            link.up = false;
            link.incarnation += 1;
            link.held.clear();
        }
        was_up
    }

    /// Begins a stream, unless one direction is blocked; says whether it did.
    pub(super) fn connect(&mut self, a: usize, b: usize) -> bool {
        if self.link(a, b).up || self.link(a, b).blocked || self.link(b, a).blocked {
            return false;
        }
        self.link(a, b).up = true;
        self.link(b, a).up = true;
        true
    }

    pub(super) fn pairs(&self) -> Vec<(usize, usize)> {
        (0..self.nodes).flat_map(|a| (a + 1..self.nodes).map(move |b| (a, b))).collect()
    }
}
