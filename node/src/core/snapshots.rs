//! Snapshots on their way to a replica that is too far behind, and on their way in.
//!
//! The data travels beside Raft's message: the receiver stages the pieces, and only when all are there and
//! sound does Raft get to see the message. A transfer that breaks is dropped, and Raft asks again.
//!
//! ```text
//! sender   SnapshotBegin, SnapshotPiece, SnapshotPiece ...           --> SnapshotDone: Raft sends what follows
//! receiver   ReceiveBegin, ReceivePiece --> SnapshotProgress, ... --> SnapshotComplete --> Raft --> Install
//! ```
//! Raft cannot take back that it accepted a snapshot, so nothing may replace the staged pieces between the
//! look at them and their installation. A *receipt* numbers what is staged: a new leader's transfer may
//! begin in the pass in which the old one's last piece came.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::{NodeId, ShardId};
use truetime::{Mono, Now};

use super::{Core, Effect, Note, PeerMessage};
use crate::shard::raft;
use crate::shard::replica::Replica;
use crate::storage::version_store::SnapshotPiece;

/// A sender that hears of no progress of its transfer for this long gives it up. Each piece that the
/// receiver takes counts, so a transfer may last as long as it needs.
const SEND_PATIENCE: Duration = Duration::from_secs(120);
/// A receiver to which no piece comes for this long gives it up.
const RECEIVE_PATIENCE: Duration = Duration::from_secs(30);

/// Transfers under way, each shard at most once in and once to each node out.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    next: u64,
    next_receipt: u64,
    out: BTreeMap<(ShardId, NodeId), (u64, Mono)>,
    incoming: BTreeMap<ShardId, Incoming>,
}

#[derive(Debug)]
struct Incoming {
    from: NodeId,
    transfer: u64,
    receipt: u64,
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
        // One that Raft has accepted is still to be installed from where pieces are staged.
        if self.replicas.get(&shard).is_none_or(Replica::is_installing) {
            let message = PeerMessage::SnapshotDone { shard, transfer, delivered: false };
            return self.send(from, message);
        }
        // The sender of what is replaced need not go on.
        self.snapshot_over(shard, false);
        let until = now.mono.plus(RECEIVE_PATIENCE);
        self.transfers.next_receipt += 1;
        let receipt = self.transfers.next_receipt;
        self.transfers.incoming.insert(shard, Incoming { from, transfer, receipt, message, until });
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
            let receipt = incoming.receipt;
            let span = self.replicas[&shard].descriptor().span.clone();
            self.out.push(Effect::ReceivePiece { shard, span, receipt, piece });
            self.send(from, PeerMessage::SnapshotProgress { shard, transfer });
        }
    }

    pub(super) fn snapshot_complete(&mut self, now: &Now, shard: ShardId, receipt: u64) {
        let Some(incoming) = self.incoming(shard, receipt) else { return };
        let (from, message) = (incoming.from, incoming.message.clone());
        let mut bad = None;
        let stepped = self.with_replica(now, shard, |replica, _, _| {
            bad = replica.snapshot_received(now, message).err();
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

    /// What is being received, if it is what the receipt was for.
    fn incoming(&self, shard: ShardId, receipt: u64) -> Option<&Incoming> {
        self.transfers.incoming.get(&shard).filter(|incoming| incoming.receipt == receipt)
    }

    pub(super) fn snapshot_broken(&mut self, shard: ShardId, receipt: u64) {
        if self.incoming(shard, receipt).is_some() {
            self.snapshot_over(shard, false);
        }
    }

    /// An incoming transfer is over; its sender is told.
    pub(super) fn snapshot_over(&mut self, shard: ShardId, delivered: bool) {
        if let Some(Incoming { from, transfer, .. }) = self.transfers.incoming.remove(&shard) {
            self.send(from, PeerMessage::SnapshotDone { shard, transfer, delivered });
        }
    }

    /// The receiver of a transfer has taken another piece.
    pub(super) fn snapshot_progress(
        &mut self,
        now: &Now,
        from: NodeId,
        shard: ShardId,
        transfer: u64,
    ) {
        if let Some((current, until)) = self.transfers.out.get_mut(&(shard, from))
            && *current == transfer
        {
            *until = now.mono.plus(SEND_PATIENCE);
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
        if current && delivered {
            self.transfers.out.remove(&(shard, from));
            self.report_snapshot(shard, from, true);
        } else if current {
            self.give_up(shard, from);
        }
    }

    /// A transfer failed: nobody waits for the rest of it.
    fn give_up(&mut self, shard: ShardId, to: NodeId) {
        if let Some((transfer, _)) = self.transfers.out.remove(&(shard, to)) {
            self.out.push(Effect::StopSnapshot { to, shard, transfer });
            self.report_snapshot(shard, to, false);
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
            self.give_up(shard, node);
        }
    }

    /// The shard is gone: nothing of it goes out or comes in any more.
    pub(super) fn transfers_of_removed(&mut self, shard: ShardId) {
        self.snapshot_over(shard, false);
        let to: Vec<NodeId> =
            self.transfers.out.keys().filter(|(of, _)| *of == shard).map(|(_, to)| *to).collect();
        for node in to {
            self.give_up(shard, node);
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
            self.give_up(shard, to);
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

#[cfg(test)]
mod tests;
