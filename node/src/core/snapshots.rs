//! Snapshots on their way to a replica that is too far behind, and on their way in.
//!
//! The data travels beside Raft's message: the receiver stages the pieces, and only when all are there and
//! sound does Raft get to see the message. A transfer that breaks is dropped, and Raft asks again.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::{NodeId, ShardId};
use truetime::{Mono, Now};

use super::{Core, Effect, Note, PeerMessage};
use crate::shard::raft;
use crate::storage::version_store::SnapshotPiece;

/// A sender that hears nothing of its transfer for this long gives it up.
const SEND_PATIENCE: Duration = Duration::from_secs(120);
/// A receiver to which no piece comes for this long gives it up.
const RECEIVE_PATIENCE: Duration = Duration::from_secs(30);

/// Transfers under way, each shard at most once in and once to each node out.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    next: u64,
    out: BTreeMap<(ShardId, NodeId), (u64, Mono)>,
    incoming: BTreeMap<ShardId, Incoming>,
}

#[derive(Debug)]
struct Incoming {
    from: NodeId,
    transfer: u64,
    message: raft::Message,
    until: Mono,
}

impl Transfers {
    pub(super) fn next_deadline(&self) -> Mono {
        let out = self.out.values().map(|(_, until)| *until);
        let incoming = self.incoming.values().map(|incoming| incoming.until);
        out.chain(incoming).min().unwrap_or(Mono::MAX)
    }
}

impl Core {
    pub(super) fn send_snapshot(
        &mut self,
        now: &Now,
        to: NodeId,
        shard: ShardId,
        message: raft::Message,
    ) {
        if self.transfers.out.contains_key(&(shard, to)) {
            return;
        }
        self.transfers.next += 1;
        let transfer = self.transfers.next;
        self.transfers.out.insert((shard, to), (transfer, now.mono.plus(SEND_PATIENCE)));
        self.send(to, PeerMessage::SnapshotBegin { shard, transfer, message });
        let span = self.replicas[&shard].descriptor().span.clone();
        self.out.push(Effect::SendSnapshot { to, shard, span, transfer });
    }

    pub(super) fn snapshot_begin(
        &mut self,
        now: &Now,
        from: NodeId,
        shard: ShardId,
        transfer: u64,
        message: raft::Message,
    ) {
        if !self.replicas.contains_key(&shard) {
            let message = PeerMessage::SnapshotDone { shard, transfer, delivered: false };
            return self.send(from, message);
        }
        let until = now.mono.plus(RECEIVE_PATIENCE);
        self.transfers.incoming.insert(shard, Incoming { from, transfer, message, until });
        self.out.push(Effect::ReceiveBegin { shard });
    }

    pub(super) fn snapshot_piece(
        &mut self,
        now: &Now,
        from: NodeId,
        shard: ShardId,
        transfer: u64,
        piece: SnapshotPiece,
    ) {
        let Some(incoming) = self.transfers.incoming.get_mut(&shard) else { return };
        if (incoming.from, incoming.transfer) == (from, transfer) {
            incoming.until = now.mono.plus(RECEIVE_PATIENCE);
            self.out.push(Effect::ReceivePiece { shard, piece });
        }
    }

    pub(super) fn snapshot_complete(&mut self, now: &Now, shard: ShardId) {
        let Some(incoming) = self.transfers.incoming.get(&shard) else { return };
        let (from, message) = (incoming.from, incoming.message.clone());
        let mut bad = None;
        let stepped = self.with_replica(now, shard, |replica, _, _| {
            bad = replica.snapshot_received(message).err();
            Ok(())
        });
        assert!(stepped.is_ok(), "stepping a message reads nothing from disk");
        self.dirty.insert(shard);
        let delivered = bad.is_none();
        if let Some(reason) = bad {
            self.out.push(Effect::Note(Note::BadMessage { from, shard, reason }));
        }
        self.snapshot_over(shard, delivered);
    }

    /// An incoming transfer is over; its sender is told.
    pub(super) fn snapshot_over(&mut self, shard: ShardId, delivered: bool) {
        if let Some(Incoming { from, transfer, .. }) = self.transfers.incoming.remove(&shard) {
            self.send(from, PeerMessage::SnapshotDone { shard, transfer, delivered });
        }
    }

    pub(super) fn snapshot_done(
        &mut self,
        from: NodeId,
        shard: ShardId,
        transfer: u64,
        delivered: bool,
    ) {
        let current = self.transfers.out.get(&(shard, from)).is_some_and(|(t, _)| *t == transfer);
        if current {
            self.transfers.out.remove(&(shard, from));
            self.report_snapshot(shard, from, delivered);
        }
    }

    fn report_snapshot(&mut self, shard: ShardId, to: NodeId, delivered: bool) {
        if let Some(replica) = self.replicas.get_mut(&shard) {
            replica.snapshot_sent(to, delivered);
            self.dirty.insert(shard);
        }
    }

    pub(super) fn transfers_unreachable(&mut self, node: NodeId) {
        let lost: Vec<ShardId> = self
            .transfers
            .out
            .keys()
            .filter(|(_, to)| *to == node)
            .map(|(shard, _)| *shard)
            .collect();
        for shard in lost {
            self.transfers.out.remove(&(shard, node));
            self.report_snapshot(shard, node, false);
        }
    }

    pub(super) fn expire_transfers(&mut self, now: &Now) {
        if self.transfers.next_deadline() > now.mono {
            return;
        }
        let late_out: Vec<(ShardId, NodeId)> = self
            .transfers
            .out
            .iter()
            .filter(|(_, (_, until))| *until <= now.mono)
            .map(|(key, _)| *key)
            .collect();
        for (shard, to) in late_out {
            self.transfers.out.remove(&(shard, to));
            self.report_snapshot(shard, to, false);
        }
        let late_in: Vec<ShardId> = self
            .transfers
            .incoming
            .iter()
            .filter(|(_, incoming)| incoming.until <= now.mono)
            .map(|(shard, _)| *shard)
            .collect();
        for shard in late_in {
            self.snapshot_over(shard, false);
        }
    }
}
