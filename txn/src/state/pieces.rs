//! The pieces of a transaction that is too large for one entry (TRANSACTIONS.md section 4).
//!
//! A *piece* has some of the writes and no timestamp; the *last* entry, a commit or a prepare, has the rest
//! and names how many pieces stand before it. Only that takes effect, and only if exactly these are there.
//!
//! ```text
//! Piece x 0 [a, b]   Piece x 1 [c]   Commit y [k]   Commit x s=7 pieces=2 [d]   -> a, b, c, d at 7
//! Piece x 0 [a, b]   Lease e2        Commit x ..                                -> void
//! ```
//! A shard keeps the pieces of **one** transaction: its leader sends one transaction at a time, and the first
//! piece of another takes the place of what somebody left unfinished. So what all replicas keep in memory is
//! bounded by the largest transaction. What is unfinished dies with its epoch, with an outcome of its id, and
//! with the bound that collects its horizon.
//!
//! Those of a prepared transaction stay where they are stored until its outcome, so that no stored pair has
//! more than one piece; in memory the record has all the writes.

use std::collections::BTreeMap;

use proto::TxnId;

use super::{Applied, Changes, DamagedState, ShardState, StatePut, stored};
use crate::message::Write;

/// The pieces of one transaction whose last entry has not been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The attempt.
    pub id: TxnId,
    /// The writes of each piece, by its number.
    pub pieces: Vec<Vec<Write>>,
}

/// Pieces as they are stored, by attempt and number.
pub(super) type StoredPieces = BTreeMap<TxnId, BTreeMap<u32, Vec<Write>>>;

impl ShardState {
    /// The pieces whose last entry has not been applied.
    #[must_use]
    pub fn unfinished(&self) -> Option<&Unfinished> {
        self.unfinished.as_ref()
    }

    /// A piece of the present epoch. One that does not continue what is there, or whose id is decided,
    /// prepared or past the collected horizons, does nothing.
    pub(super) fn piece(
        &mut self,
        id: TxnId,
        number: u32,
        writes: &[Write],
        changes: &mut Changes,
    ) -> Applied {
        let over = self.prepared.contains_key(&id)
            || self.outcomes.contains_key(&id)
            || id.horizon < self.header.collected;
        if over {
            return Applied::Void;
        }
        if number == 0 {
            self.drop_pieces(changes);
            self.unfinished = Some(Unfinished { id, pieces: Vec::new() });
        }
        match &mut self.unfinished {
            Some(unfinished) if unfinished.id == id && unfinished.count() == number => {
                changes.put(stored::piece(&id, number), &writes);
                unfinished.pieces.push(writes.to_vec());
                Applied::Nothing
            }
            Some(_) | None => Applied::Void,
        }
    }

    /// For the last entry of an id: its pieces, if exactly `count` are there. They are unfinished no more,
    /// but still stored.
    pub(super) fn take_pieces(&mut self, id: &TxnId, count: u32) -> Option<Vec<Vec<Write>>> {
        let there = self.unfinished.as_ref().filter(|unfinished| unfinished.id == *id);
        if there.map_or(0, Unfinished::count) != count {
            return None;
        }
        match there {
            Some(_) => self.unfinished.take().map(|unfinished| unfinished.pieces),
            None => Some(Vec::new()),
        }
    }

    /// What is unfinished will never be finished.
    pub(super) fn drop_pieces(&mut self, changes: &mut Changes) {
        if let Some(unfinished) = self.unfinished.take() {
            delete_pieces(&unfinished.id, unfinished.count(), changes);
        }
    }

    /// An outcome of `id` is known: its pieces go.
    pub(super) fn drop_pieces_of(&mut self, id: &TxnId, changes: &mut Changes) {
        if self.unfinished.as_ref().is_some_and(|unfinished| unfinished.id == *id) {
            self.drop_pieces(changes);
        }
    }

    /// Pieces whose horizon is below `bound` go.
    pub(super) fn collect_pieces(&mut self, changes: &mut Changes) {
        let bound = self.header.collected;
        if self.unfinished.as_ref().is_some_and(|unfinished| unfinished.id.horizon < bound) {
            self.drop_pieces(changes);
        }
    }

    /// Gives each prepared record the writes of its pieces; what is left is unfinished.
    pub(super) fn load_pieces(&mut self, mut pieces: StoredPieces) -> Result<(), DamagedState> {
        for (id, record) in &mut self.prepared {
            let before = in_order(id, pieces.remove(id).unwrap_or_default())?;
            if before.len() != record.pieces as usize {
                return Err(damaged(id, "a prepared record lacks pieces"));
            }
            let last = std::mem::take(&mut record.writes);
            record.writes = before.into_iter().flatten().chain(last).collect();
        }
        for record in self.prepared.values_mut() {
            record.writes = super::in_key_order(std::mem::take(&mut record.writes));
        }
        for (id, pieces) in pieces {
            if self.unfinished.is_some() {
                return Err(damaged(&id, "two transactions have unfinished pieces"));
            }
            self.unfinished = Some(Unfinished { id, pieces: in_order(&id, pieces)? });
        }
        Ok(())
    }
}

impl Unfinished {
    fn count(&self) -> u32 {
        u32::try_from(self.pieces.len()).expect("each was named by a u32")
    }
}

/// Removes the stored pieces of an id.
pub(super) fn delete_pieces(id: &TxnId, count: u32, changes: &mut Changes) {
    let pieces = (0..count).map(|number| StatePut::Delete(stored::piece(id, number)));
    changes.state.extend(pieces);
}

fn in_order(
    id: &TxnId,
    pieces: BTreeMap<u32, Vec<Write>>,
) -> Result<Vec<Vec<Write>>, DamagedState> {
    if (0..).zip(pieces.keys()).any(|(expected, number)| expected != *number) {
        return Err(damaged(id, "a piece is missing"));
    }
    Ok(pieces.into_values().collect())
}

fn damaged(id: &TxnId, reason: &str) -> DamagedState {
    DamagedState { key: stored::piece(id, 0).escape_ascii().to_string(), reason: reason.to_owned() }
}
