//! Transactions whose writes do not fit into one entry: they travel in pieces (TRANSACTIONS.md section 4).
//!
//! A commit or prepare that holds its locks and has more writes than `entry_bytes_max` waits here until all its
//! pieces are proposed; then, in the step that proposes the last one, its timestamp is chosen. Until then it is
//! bound to nothing: it may be wounded, and it goes with its epoch, like one that waits for locks. What it
//! left in the log is dropped by the state.
//!
//! One transaction of the shard sends at a time, the others queue: none of them waits for anything but the
//! log, so the queue moves, and no replica keeps the pieces of more than one. A few pieces are in flight at a
//! time, so that the entries of everybody else go between them, extensions of the lease too, and followers
//! are never further behind than that.
//!
//! Not here: what becomes of pieces in the state (`state/pieces.rs`).

use std::collections::VecDeque;
use std::ops::Range;

use proto::TxnId;

use super::{Cx, DiskRoom, Leader, Stage};
use crate::command::Command;
use crate::message::{AbortReason, Write};

/// Pieces that may be proposed and not yet applied: with one of them on its way to the disks, and one behind
/// it, both disks and network have something to do.
const IN_FLIGHT_MAX: usize = 4;
/// What a write takes beside its key and value, at most.
const WRITE_OVERHEAD: usize = 16;

/// Who sends pieces, and who waits to.
#[derive(Debug, Default)]
pub(super) struct PieceQueue {
    sending: Option<Sending>,
    waiting: VecDeque<TxnId>,
    /// Proposed in this term and not yet applied, whosesoever they are.
    in_flight: usize,
}

#[derive(Debug)]
struct Sending {
    id: TxnId,
    /// Where each piece begins and ends among the writes; the last entry has what is behind them.
    pieces: Vec<Range<usize>>,
    /// How many are proposed.
    proposed: usize,
}

/// What the last entry of a transaction has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastEntry {
    /// How many pieces stand before it.
    pub(super) pieces: u32,
    /// Its own writes begin here.
    pub(super) from: usize,
}

impl Leader {
    /// For a transaction that holds all its locks: its last entry, once every piece before it is proposed.
    /// `None` while it waits for that; it is continued then.
    pub(super) fn last_entry(&mut self, id: TxnId) -> Option<LastEntry> {
        if let Some(sending) = self.pieces.sending.as_ref().filter(|sending| sending.id == id) {
            return sending.last_entry();
        }
        if !self.pieces.waiting.contains(&id) {
            if fits(self.writes_in_hand(id)?, self.config.entry_bytes_max) {
                return Some(LastEntry { pieces: 0, from: 0 });
            }
            self.pieces.waiting.push_back(id);
        }
        None
    }

    /// Proposes pieces as far as the log keeps up, and continues who has proposed all.
    pub(super) fn send_pieces(&mut self, cx: &mut Cx<'_>) {
        while let Some(right) = self.right(cx) {
            if self.pieces.sending.is_none() {
                let Some(id) = self.pieces.waiting.pop_front() else { return };
                if self.disk == DiskRoom::Short {
                    // T52: it is bound to nothing yet, and what room there is, is for what is.
                    self.drop_unbound(cx, id, AbortReason::GivenUp);
                    continue;
                }
                let writes = self.writes_in_hand(id).expect("who leaves, leaves the queue too");
                let pieces = split(writes, self.config.entry_bytes_max);
                self.pieces.sending = Some(Sending { id, pieces, proposed: 0 });
            }
            self.propose_pieces(cx);
            let Some(sending) = &self.pieces.sending else { return };
            let id = sending.id;
            if sending.last_entry().is_none() {
                return;
            }
            if matches!(self.txns[&id].stage, Stage::CommitWaiting(_)) {
                self.commit_locked(cx, right, id);
            } else {
                self.prepare_locked(cx, right, id);
            }
            if self.pieces.sending.as_ref().is_some_and(|sending| sending.id == id) {
                // It waits for an extension of the lease.
                return;
            }
        }
    }

    fn propose_pieces(&mut self, cx: &mut Cx<'_>) {
        while self.pieces.in_flight < IN_FLIGHT_MAX {
            let Some(sending) = &mut self.pieces.sending else { return };
            let Some(piece) = sending.pieces.get(sending.proposed).cloned() else { return };
            let (id, number) = (sending.id, number(sending.proposed));
            sending.proposed += 1;
            self.pieces.in_flight += 1;
            let writes = self.writes_in_hand(id).expect("who leaves, sends no more");
            let writes = writes[piece].to_vec();
            self.propose(cx, Command::Piece { id, number, writes });
        }
    }

    /// The writes of a commit or prepare that has chosen no timestamp.
    fn writes_in_hand(&self, id: TxnId) -> Option<&[Write]> {
        match &self.txns.get(&id)?.stage {
            Stage::CommitWaiting(commit) => Some(&commit.writes),
            Stage::PrepareWaiting(prepare) => Some(&prepare.writes),
            Stage::Active
            | Stage::Committing { .. }
            | Stage::CommitWait { .. }
            | Stage::Preparing { .. }
            | Stage::Prepared { .. }
            | Stage::ReadPromised { .. }
            | Stage::Aborting { .. } => None,
        }
    }

    /// A piece of this term was applied, whatever it did.
    pub(super) fn piece_applied(&mut self) {
        assert!(self.pieces.in_flight > 0, "a piece of this term was proposed by this leader");
        self.pieces.in_flight -= 1;
    }

    /// Slow checks for the simulator.
    pub(super) fn check_pieces(&self) {
        let PieceQueue { sending, waiting, in_flight } = &self.pieces;
        assert!(*in_flight <= IN_FLIGHT_MAX, "{in_flight} pieces are in flight");
        for id in waiting.iter().chain(sending.as_ref().map(|sending| &sending.id)) {
            assert!(self.writes_in_hand(*id).is_some(), "{id} sends pieces and has no writes");
        }
    }
}

impl PieceQueue {
    /// The last entry is proposed, or there will be none: the next one may send.
    pub(super) fn leave(&mut self, id: TxnId) {
        self.waiting.retain(|waiting| *waiting != id);
        if self.sending.as_ref().is_some_and(|sending| sending.id == id) {
            self.sending = None;
        }
    }

    /// Nobody sends any more: none of them has anything in hand.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        self.sending = None;
    }
}

impl Sending {
    fn last_entry(&self) -> Option<LastEntry> {
        let from = self.pieces.last().map_or(0, |last| last.end);
        let all = self.proposed == self.pieces.len();
        all.then(|| LastEntry { pieces: number(self.proposed), from })
    }
}

fn number(pieces: usize) -> u32 {
    u32::try_from(pieces).expect("each piece has a write, and a request's writes fit into memory")
}

fn bytes_of(write: &Write) -> usize {
    let value = write.value.as_ref().map_or(0, |value| value.as_bytes().len());
    write.key.as_bytes().len() + value + WRITE_OVERHEAD
}

fn fits(writes: &[Write], bytes_max: usize) -> bool {
    writes.len() <= 1 || writes.iter().map(bytes_of).sum::<usize>() <= bytes_max
}

/// Pieces of at most `bytes_max`, or of one write that takes more. What would be the last piece is left to
/// the last entry.
fn split(writes: &[Write], bytes_max: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (at, write) in writes.iter().enumerate() {
        let more = bytes_of(write);
        if at > begin && bytes + more > bytes_max {
            pieces.push(begin..at);
            (begin, bytes) = (at, 0);
        }
        bytes += more;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{Key, Value};

    fn writes(sizes: &[usize]) -> Vec<Write> {
        let write = |size: &usize| Write {
            key: Key::from(vec![b'k']),
            value: Some(Value::from(vec![1; size - WRITE_OVERHEAD - 1])),
        };
        sizes.iter().map(write).collect()
    }

    #[test]
    fn pieces_are_full_but_not_too_large() {
        let cut = |sizes: &[usize]| split(&writes(sizes), 100);
        assert_eq!(cut(&[]), []);
        assert_eq!(cut(&[100]), []);
        assert_eq!(cut(&[50, 50]), []);
        assert_eq!(cut(&[50, 51, 51]), [0..1, 1..2]);
        assert_eq!(cut(&[50, 50, 20, 20, 70]), [0..2, 2..4]);
        assert_eq!(cut(&[20, 500, 20]), [0..1, 1..2], "a write is never cut");
    }

    #[test]
    fn what_fits_is_not_split() {
        for sizes in [vec![], vec![100], vec![500], vec![50, 50], vec![50, 51], vec![20, 500]] {
            let writes = writes(&sizes);
            assert_eq!(fits(&writes, 100), split(&writes, 100).is_empty(), "{sizes:?}");
        }
    }
}
