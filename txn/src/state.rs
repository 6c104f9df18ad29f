//! The replicated state of a shard beside its versions, and the one way it changes: [`ShardState::apply`].
//!
//! Terms: the *lease* is data here, judged by TrueTime at the leader; a *record* is what a coordinator's log
//! says of an id, first entry wins; a *prepared record* binds a participant; *awaiting* are the write
//! participants of a commit that have not said that they applied it; *unfinished* are the pieces of a
//! transaction whose last entry is still to come.
//!
//! Applying is total and deterministic: the same entries give the same state and the same [`Applied`] on
//! every replica (T57). It reads no clock; what depends on time was decided by the leader that proposed.
//!
//! Example: entries `Lease e1`, `Prepare x p=5`, `Resolve x commit s=7` leave a version at 7, nothing
//! prepared, and a highest commit timestamp of 7.
//!
//! Not here: locks and everything else that a leader keeps in memory ([`crate::leader`]); where the
//! changes are stored (`node/storage`).

mod pieces;
#[cfg(test)]
mod tests;

pub use pieces::Unfinished;

use std::collections::{BTreeMap, BTreeSet};

use proto::{EntryId, Epoch, Key, KeySpan, NodeId, Term, TxnId, Value};
use serde::{Deserialize, Serialize};
use truetime::Timestamp;

use crate::command::{Command, Entry, PreparedRecord};
use crate::message::{AbortReason, Decision, Participant, Write};

/// The shard's lease as its log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The node that holds it, in `term` alone.
    pub holder: NodeId,
    /// The term of the entry that began it.
    pub term: Term,
    /// Its number.
    pub epoch: Epoch,
    /// The holder acts while `now().latest < expires`, and assigns and promises only below it.
    pub expires: Timestamp,
    /// Every timestamp of this epoch is above this: the ceiling of the one before (R1).
    pub floor: Timestamp,
    /// Set by a release: the holder has let go.
    pub released: Option<Released>,
}

/// What a release says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The highest timestamp assigned or promised.
    pub highest: Timestamp,
    /// The next epoch waits until this has passed, when given.
    pub wait_out: Option<Timestamp>,
}

impl Lease {
    /// What the next epoch must wait out before it may begin; nothing after a plain release.
    #[must_use]
    pub fn wait_out(&self) -> Option<Timestamp> {
        match self.released {
            None => Some(self.expires),
            Some(released) => released.wait_out,
        }
    }

    /// No timestamp of the next epoch may be at or below this (R1, R2).
    #[must_use]
    pub fn ceiling(&self) -> Timestamp {
        match self.released {
            None => self.expires,
            Some(Released { highest, wait_out }) => wait_out.map_or(highest, |w| w.max(highest)),
        }
    }
}

/// What the coordinator's log says of an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutcomeRecord {
    /// Committed.
    Committed {
        /// `s`.
        commit_ts: Timestamp,
        /// The other participants, each with its `p`.
        participants: Vec<Participant>,
        /// Of all writes.
        digest: u64,
    },
    /// Aborted.
    Aborted {
        /// Why.
        reason: AbortReason,
        /// Who is to be told.
        participants: Vec<Key>,
        /// For participants only: everybody else hears that nothing is known any more.
        past_horizon: bool,
    },
}

/// The small part of the state, stored as one pair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The last lease that took effect.
    pub lease: Option<Lease>,
    /// The highest published promise of the log.
    pub promise: Timestamp,
    /// The highest commit timestamp applied.
    pub highest_commit: Timestamp,
    /// Reads below it are refused.
    pub threshold: Timestamp,
    /// Records with a horizon below it are gone, but for those that await participants.
    pub collected: Timestamp,
    /// The shard was removed.
    pub removed: bool,
    /// Above the end of every catalog lease ever granted (section 7). Zero but in the system shard.
    pub catalog_bound: Timestamp,
    /// The commit timestamp of the newest catalog version: of the last write of the catalog's key.
    pub catalog_made: Timestamp,
    /// The bound as it stood when that write was applied: every lease on an older version ends below it.
    pub catalog_made_bound: Timestamp,
}

/// The replicated state of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardState {
    span: KeySpan,
    /// The key whose writes make catalog versions; a constant, given from outside, so that all replicas
    /// have the same.
    catalog_key: Option<Key>,
    applied: EntryId,
    header: Header,
    prepared: BTreeMap<TxnId, PreparedRecord>,
    outcomes: BTreeMap<TxnId, OutcomeRecord>,
    awaiting: BTreeMap<TxnId, BTreeSet<Key>>,
    unfinished: Option<Unfinished>,
}

/// What an entry did, for the leader that waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It has no command, or one without a reader.
    Nothing,
    /// Made under another epoch, preceded by a record or prepare of the same id, or by other pieces than its
    /// own: without effect.
    Void,
    /// A new epoch began.
    LeaseBegan,
    /// The holder let go.
    Released,
    /// A commit took effect.
    Committed {
        /// The attempt.
        id: TxnId,
    },
    /// An abort was recorded.
    Aborted {
        /// The attempt.
        id: TxnId,
    },
    /// A prepare took effect.
    Prepared {
        /// The attempt.
        id: TxnId,
    },
    /// An outcome reached a participant; also when there was nothing left to resolve.
    Resolved {
        /// The attempt.
        id: TxnId,
    },
    /// The threshold moved.
    ThresholdMoved,
    /// The bound of the catalog leases moved.
    CatalogBoundMoved,
    /// The shard was removed.
    Removed,
}

/// One version to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    /// The key.
    pub key: Key,
    /// Its commit timestamp.
    pub timestamp: Timestamp,
    /// The row, or `None` for a tombstone.
    pub value: Option<Value>,
}

/// One change of the stored state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatePut {
    /// Sets a pair.
    Put(Vec<u8>, Vec<u8>),
    /// Removes one.
    Delete(Vec<u8>),
    /// Removes all in `[from, to)`.
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// What a run of entries changes in storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Versions, in order.
    pub versions: Vec<NewVersion>,
    /// State, in order.
    pub state: Vec<StatePut>,
    header_changed: bool,
}

/// A stored state that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the stored state of the shard is damaged at {key}: {reason}; replace this replica")]
pub struct DamagedState {
    /// The pair's key.
    key: String,
    /// What is wrong.
    reason: String,
}

impl ShardState {
    /// The state before the first entry.
    #[must_use]
    pub fn new(span: KeySpan) -> Self {
        ShardState {
            span,
            catalog_key: None,
            applied: EntryId::default(),
            header: Header::default(),
            prepared: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            awaiting: BTreeMap::new(),
            unfinished: None,
        }
    }

    /// The same state, of the shard that keeps the catalog: each write of `key` makes a version of it.
    #[must_use]
    pub fn with_catalog(self, key: Key) -> Self {
        ShardState { catalog_key: Some(key), ..self }
    }

    /// Rebuilds the state from its stored pairs.
    pub fn load(
        span: KeySpan,
        applied: EntryId,
        pairs: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<Self, DamagedState> {
        let mut state = ShardState { applied, ..ShardState::new(span) };
        let mut pieces = pieces::StoredPieces::new();
        for (key, value) in pairs {
            let damaged =
                |reason: String| DamagedState { key: key.escape_ascii().to_string(), reason };
            let decode = |e: postcard::Error| damaged(e.to_string());
            match stored::parse(key) {
                Some(stored::Place::Header) => {
                    state.header = postcard::from_bytes(value).map_err(decode)?;
                }
                Some(stored::Place::Prepared(id)) => {
                    state.prepared.insert(id, postcard::from_bytes(value).map_err(decode)?);
                }
                Some(stored::Place::Outcome(id)) => {
                    state.outcomes.insert(id, postcard::from_bytes(value).map_err(decode)?);
                }
                Some(stored::Place::Awaiting(id)) => {
                    state.awaiting.insert(id, postcard::from_bytes(value).map_err(decode)?);
                }
                Some(stored::Place::Piece(id, number)) => {
                    let writes = postcard::from_bytes(value).map_err(decode)?;
                    pieces.entry(id).or_default().insert(number, writes);
                }
                None => return Err(damaged("no such kind of pair".to_owned())),
            }
        }
        state.load_pieces(pieces)?;
        Ok(state)
    }

    /// Applies the next committed entry. `id` follows the last one; `entry` is `None` for the empty entry
    /// of a new leader and for membership changes.
    pub fn apply(&mut self, id: EntryId, entry: Option<&Entry>, changes: &mut Changes) -> Applied {
        assert!(
            id.index == self.applied.index.next() && id.term >= self.applied.term,
            "entry {id:?} does not follow the applied {:?}",
            self.applied
        );
        self.applied = id;
        match entry {
            Some(entry) if !self.header.removed => self.apply_entry(id.term, entry, changes),
            Some(_) | None => Applied::Nothing,
        }
    }

    fn apply_entry(&mut self, term: Term, entry: &Entry, changes: &mut Changes) -> Applied {
        let current = entry.epoch.is_none_or(|epoch| self.is_current(epoch, term));
        if current {
            self.apply_rights(entry, changes);
        }
        if let Some(bound) = entry.collect_outcomes {
            self.collect_outcomes(bound, changes);
        }
        match &entry.command {
            Command::Nothing => Applied::Nothing,
            Command::Lease { holder, epoch, expires } => {
                self.begin_lease(*holder, term, *epoch, *expires, changes)
            }
            Command::Abort { id, reason, participants, past_horizon } => {
                let record = OutcomeRecord::Aborted {
                    reason: reason.clone(),
                    participants: participants.clone(),
                    past_horizon: *past_horizon,
                };
                if self.record(*id, record, changes) {
                    Applied::Aborted { id: *id }
                } else {
                    Applied::Void
                }
            }
            Command::Resolve { id, decision } => {
                self.resolve(*id, *decision, changes);
                Applied::Resolved { id: *id }
            }
            Command::Forget { done } => {
                self.forget(done, changes);
                Applied::Nothing
            }
            Command::Release { .. }
            | Command::Piece { .. }
            | Command::Commit { .. }
            | Command::Prepare { .. }
            | Command::Threshold { .. }
            | Command::Remove
            | Command::CatalogBound { .. }
                if !current || entry.epoch.is_none() =>
            {
                Applied::Void
            }
            Command::Release { highest, wait_out } => {
                let lease = self.header.lease.as_mut().expect("a current epoch has a lease");
                lease.released = Some(Released { highest: *highest, wait_out: *wait_out });
                changes.header_changed = true;
                self.drop_pieces(changes);
                Applied::Released
            }
            Command::Piece { id, number, writes } => self.piece(*id, *number, writes, changes),
            Command::Commit {
                id,
                coordinator: _,
                commit_ts,
                pieces,
                writes,
                participants,
                digest,
            } => {
                let Some(before) = self.take_pieces(id, *pieces) else { return Applied::Void };
                pieces::delete_pieces(id, *pieces, changes);
                let parts = before.iter().map(Vec::as_slice).chain([writes.as_slice()]);
                self.commit(*id, *commit_ts, parts, participants, *digest, changes)
            }
            Command::Prepare { id, record } => self.prepare(*id, record, changes),
            Command::Threshold { threshold } => {
                self.header.threshold = self.header.threshold.max(*threshold);
                changes.header_changed = true;
                Applied::ThresholdMoved
            }
            Command::CatalogBound { bound } => {
                self.header.catalog_bound = self.header.catalog_bound.max(*bound);
                changes.header_changed = true;
                Applied::CatalogBoundMoved
            }
            Command::Remove => {
                assert!(self.prepared.is_empty(), "a shard is removed with nothing prepared");
                assert!(self.awaiting.is_empty(), "a shard is removed with all outcomes applied");
                self.header.removed = true;
                changes.header_changed = true;
                Applied::Removed
            }
        }
    }

    /// Whether an entry of `term` that names `epoch` was made under the lease in force.
    fn is_current(&self, epoch: Epoch, term: Term) -> bool {
        self.header.lease.is_some_and(|lease| {
            lease.epoch == epoch && lease.term == term && lease.released.is_none()
        })
    }

    fn apply_rights(&mut self, entry: &Entry, changes: &mut Changes) {
        if let Some(expires) = entry.extend {
            let lease = self.header.lease.as_mut().expect("a current epoch has a lease");
            // T5: a lease's end never moves back.
            lease.expires = lease.expires.max(expires);
            changes.header_changed = true;
        }
        if let Some(promise) = entry.promise {
            let expires = self.header.lease.map_or(Timestamp::ZERO, |lease| lease.expires);
            assert!(promise < expires, "promise {promise} reaches past the lease's end {expires}");
            self.header.promise = self.header.promise.max(promise);
            changes.header_changed = true;
        }
    }

    fn begin_lease(
        &mut self,
        holder: NodeId,
        term: Term,
        epoch: Epoch,
        expires: Timestamp,
        changes: &mut Changes,
    ) -> Applied {
        if epoch != self.next_epoch() {
            return Applied::Void;
        }
        let floor = self.header.lease.map_or(Timestamp::ZERO, |last| last.ceiling());
        assert!(
            expires > floor,
            "lease {epoch} ends at {expires}, not above the last one, {floor}"
        );
        self.header.lease = Some(Lease { holder, term, epoch, expires, floor, released: None });
        changes.header_changed = true;
        self.drop_pieces(changes);
        Applied::LeaseBegan
    }

    fn commit<'a>(
        &mut self,
        id: TxnId,
        commit_ts: Timestamp,
        parts: impl Iterator<Item = &'a [Write]>,
        participants: &[Participant],
        digest: u64,
        changes: &mut Changes,
    ) -> Applied {
        if self.prepared.contains_key(&id) || id.horizon < self.header.collected {
            return Applied::Void;
        }
        let record =
            OutcomeRecord::Committed { commit_ts, participants: participants.to_vec(), digest };
        if !self.record(id, record, changes) {
            return Applied::Void;
        }
        for participant in participants {
            assert!(
                commit_ts >= participant.prepare_ts,
                "commit_ts {commit_ts} below prepare_ts {} of {}",
                participant.prepare_ts,
                participant.key
            );
            assert!(
                participant.expires.is_none_or(|expires| commit_ts < expires),
                "commit_ts {commit_ts} reaches the lease end of participant {}",
                participant.key
            );
        }
        let waited: BTreeSet<Key> =
            participants.iter().filter(|p| p.writes).map(|p| p.key.clone()).collect();
        if !waited.is_empty() {
            changes.put(stored::awaiting(&id), &waited);
            self.awaiting.insert(id, waited);
        }
        parts.for_each(|writes| self.install(writes, commit_ts, changes));
        Applied::Committed { id }
    }

    /// Records an outcome where none is; says whether it took effect.
    fn record(&mut self, id: TxnId, record: OutcomeRecord, changes: &mut Changes) -> bool {
        if self.outcomes.contains_key(&id) {
            return false;
        }
        self.drop_pieces_of(&id, changes);
        changes.put(stored::outcome(&id), &record);
        self.outcomes.insert(id, record);
        true
    }

    fn prepare(&mut self, id: TxnId, record: &PreparedRecord, changes: &mut Changes) -> Applied {
        if self.prepared.contains_key(&id) || self.outcomes.contains_key(&id) {
            return Applied::Void;
        }
        let Some(before) = self.take_pieces(&id, record.pieces) else { return Applied::Void };
        changes.put(stored::prepared(&id), record);
        let writes = before.into_iter().flatten().chain(record.writes.iter().cloned());
        let writes = in_key_order(writes.collect());
        self.prepared.insert(id, PreparedRecord { writes, ..record.clone() });
        Applied::Prepared { id }
    }

    /// Installing the versions and leaving the prepared set is one step (section 4).
    fn resolve(&mut self, id: TxnId, decision: Decision, changes: &mut Changes) {
        self.drop_pieces_of(&id, changes);
        let Some(record) = self.prepared.remove(&id) else { return };
        changes.state.push(StatePut::Delete(stored::prepared(&id)));
        pieces::delete_pieces(&id, record.pieces, changes);
        match decision {
            Decision::Commit { commit_ts, prepare_ts } if prepare_ts == record.prepare_ts => {
                assert!(
                    commit_ts >= record.prepare_ts,
                    "commit_ts {commit_ts} below prepare_ts {}",
                    record.prepare_ts
                );
                self.install(&record.writes, commit_ts, changes);
            }
            // A late duplicate of what was resolved already (T37), or an abort.
            Decision::Commit { .. } | Decision::Abort => {}
        }
    }

    fn install(&mut self, writes: &[Write], commit_ts: Timestamp, changes: &mut Changes) {
        self.header.highest_commit = self.header.highest_commit.max(commit_ts);
        if writes.iter().any(|write| Some(&write.key) == self.catalog_key.as_ref()) {
            assert!(commit_ts > self.header.catalog_made, "catalog versions are made in order");
            self.header.catalog_made = commit_ts;
            self.header.catalog_made_bound = self.header.catalog_bound;
        }
        changes.header_changed = true;
        changes.versions.extend(writes.iter().map(|write| NewVersion {
            key: write.key.clone(),
            timestamp: commit_ts,
            value: write.value.clone(),
        }));
    }

    fn forget(&mut self, done: &[(TxnId, Key)], changes: &mut Changes) {
        for (id, key) in done {
            let Some(waited) = self.awaiting.get_mut(id) else { continue };
            waited.remove(key);
            if waited.is_empty() {
                self.awaiting.remove(id);
                changes.state.push(StatePut::Delete(stored::awaiting(id)));
            } else {
                changes.put(stored::awaiting(id), waited);
            }
        }
    }

    /// Drops records with a horizon below `bound`, in bulk but for those that await participants (T36).
    fn collect_outcomes(&mut self, bound: Timestamp, changes: &mut Changes) {
        if bound <= self.header.collected {
            return;
        }
        let end = TxnId { horizon: bound, ..TxnId::default() };
        let kept = self.outcomes.split_off(&end);
        let collected = std::mem::replace(&mut self.outcomes, kept);
        changes
            .state
            .push(StatePut::DeleteRange(stored::outcome(&TxnId::default()), stored::outcome(&end)));
        for (id, record) in collected {
            if self.awaiting.contains_key(&id) {
                changes.put(stored::outcome(&id), &record);
                self.outcomes.insert(id, record);
            }
        }
        self.header.collected = bound;
        changes.header_changed = true;
        self.collect_pieces(changes);
    }

    /// The keys of the shard.
    #[must_use]
    pub fn span(&self) -> &KeySpan {
        &self.span
    }

    /// Whether catalog leases are granted here.
    #[must_use]
    pub fn has_catalog(&self) -> bool {
        self.catalog_key.is_some()
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> EntryId {
        self.applied
    }

    /// Lease, promise and thresholds.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The epoch that the next lease begins.
    #[must_use]
    pub fn next_epoch(&self) -> Epoch {
        Epoch(self.header.lease.map_or(0, |lease| lease.epoch.0) + 1)
    }

    /// Prepared transactions, oldest horizon first.
    #[must_use]
    pub fn prepared(&self) -> &BTreeMap<TxnId, PreparedRecord> {
        &self.prepared
    }

    /// The record of an id.
    #[must_use]
    pub fn outcome(&self, id: &TxnId) -> Option<&OutcomeRecord> {
        self.outcomes.get(id)
    }

    /// How many records are kept.
    #[must_use]
    pub fn outcomes_len(&self) -> usize {
        self.outcomes.len()
    }

    /// The lowest horizon of a record.
    #[must_use]
    pub fn lowest_horizon(&self) -> Option<Timestamp> {
        self.outcomes.keys().next().map(|id| id.horizon)
    }

    /// Commits whose write participants have not all said that they applied them.
    #[must_use]
    pub fn awaiting(&self) -> &BTreeMap<TxnId, BTreeSet<Key>> {
        &self.awaiting
    }

    /// The highest timestamp below every unresolved prepare that touches `spans` (section 5: only prepares
    /// that overlap the keys read need to count).
    #[must_use]
    pub fn settled(&self, spans: &[KeySpan]) -> Timestamp {
        self.prepared
            .values()
            .filter(|record| {
                spans.iter().any(|span| {
                    let at = record.writes.partition_point(|write| write.key < span.start);
                    record.writes.get(at).is_some_and(|write| span.contains(&write.key))
                })
            })
            .map(|record| record.prepare_ts.prev())
            .min()
            .unwrap_or(Timestamp::MAX)
    }
}

/// As [`ShardState::settled`] searches them.
fn in_key_order(mut writes: Vec<Write>) -> Vec<Write> {
    writes.sort_by(|a, b| a.key.cmp(&b.key));
    writes
}

impl Changes {
    fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) {
        let value = postcard::to_stdvec(value)
            .expect("a vector grows and every part of the state can be serialised");
        self.state.push(StatePut::Put(key, value));
    }

    /// Adds the header, if it changed, and returns what is to be stored together.
    #[must_use]
    pub fn finish(mut self, state: &ShardState) -> (Vec<NewVersion>, Vec<StatePut>) {
        if self.header_changed {
            self.put(stored::header(), &state.header);
        }
        (self.versions, self.state)
    }
}

/// Where the parts of the state are stored. Documented in docs/formats.md.
mod stored {
    use proto::TxnId;
    use truetime::Timestamp;

    pub(super) enum Place {
        Header,
        Prepared(TxnId),
        Outcome(TxnId),
        Awaiting(TxnId),
        Piece(TxnId, u32),
    }

    pub(super) fn header() -> Vec<u8> {
        vec![b'h']
    }

    pub(super) fn prepared(id: &TxnId) -> Vec<u8> {
        with_id(b'p', id)
    }

    /// Ordered by horizon, so that collection is one range.
    pub(super) fn outcome(id: &TxnId) -> Vec<u8> {
        with_id(b'o', id)
    }

    pub(super) fn awaiting(id: &TxnId) -> Vec<u8> {
        with_id(b'w', id)
    }

    /// Ordered by number behind its id.
    pub(super) fn piece(id: &TxnId, number: u32) -> Vec<u8> {
        let mut key = with_id(b'q', id);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    fn with_id(kind: u8, id: &TxnId) -> Vec<u8> {
        let mut key = Vec::with_capacity(37);
        key.push(kind);
        for part in [id.horizon.nanos(), id.begin.nanos(), id.origin, id.sequence] {
            key.extend_from_slice(&part.to_be_bytes());
        }
        key
    }

    pub(super) fn parse(key: &[u8]) -> Option<Place> {
        let (kind, rest) = key.split_first()?;
        if *kind == b'h' && rest.is_empty() {
            return Some(Place::Header);
        }
        let (parts, number) = rest.as_chunks::<8>();
        let [horizon, begin, origin, sequence] = *parts else { return None };
        let id = TxnId {
            horizon: Timestamp::from_nanos(u64::from_be_bytes(horizon)),
            begin: Timestamp::from_nanos(u64::from_be_bytes(begin)),
            origin: u64::from_be_bytes(origin),
            sequence: u64::from_be_bytes(sequence),
        };
        match (kind, number) {
            (b'p', []) => Some(Place::Prepared(id)),
            (b'o', []) => Some(Place::Outcome(id)),
            (b'w', []) => Some(Place::Awaiting(id)),
            (b'q', [a, b, c, d]) => Some(Place::Piece(id, u32::from_be_bytes([*a, *b, *c, *d]))),
            _ => None,
        }
    }
}
