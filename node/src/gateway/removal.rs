//! Has the shards of dropped tables removed (TRANSACTIONS.md section 4).
//!
//! DROP TABLE leaves its shards in the map as *dropping*, so whoever reads the map knows what is to be done, and
//! nothing is lost with a node. The gateway beside the leader of the system shard does it, from the start whenever
//! that leader or the map changes: two that do it at the same time only ask twice.
//!
//! ```text
//! Idle --map has dropping shards--> Waiting --their drop is in use everywhere--> Asking --answers--> Marking
//!   ^---------------------- the map is read again, after a pause if anything failed ----------------------|
//! ```
//! A shard is marked once its leader has said that the removal is applied. A mark is no version of the catalog:
//! no client's request depends on it. Who has a replica of a removed shard looks for the mark (`core/removal.rs`).

use proto::{Key, KeySpan, Priority};
use std::collections::BTreeMap;
use std::time::Duration;
use truetime::{Mono, Now, Timestamp};
use txn::lock_table::LockMode;
use txn::message::{ReadLimit, Refusal, Reply, Request as ShardRequest, Row, Write};
use txn::transaction::{CallError, Driver};

use super::change::{self, Change};
use super::error::Error;
use super::lease::OWN;
use super::machine::{Effect, Gateway};
use super::session::ReadPurpose;
use crate::routing::{CallId, Route};
use crate::system::{ShardRecord, ShardState, decode, encode, shard_key};

/// Shards that are asked, and then marked, at a time.
const SHARDS_AT_ONCE: usize = if cfg!(test) { 2 } else { 64 };
/// Before what failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Removals {
    /// Whether it is for this gateway to do.
    duty: bool,
    /// The newest version of the catalog that the system shard beside this gateway has.
    made: Timestamp,
    stage: Stage,
    look_at: Mono,
    /// The last shard that was asked: the next round goes on behind it, so that those that cannot be removed
    /// now do not keep it from the others.
    asked: Option<Key>,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// For the version with which the shards that start there were dropped to be in use everywhere. Those of a
    /// later drop have another version to wait for.
    Waiting {
        starts: Vec<Key>,
    },
    /// The owners of the calls under way, and the start keys of the shards that were removed.
    Asking {
        calls: BTreeMap<u64, Key>,
        removed: Vec<Key>,
        failed: bool,
    },
    /// The mark of these is being written; `failed` of an earlier step.
    Marking {
        removed: Vec<Key>,
        failed: bool,
    },
}

impl Removals {
    pub(super) fn new() -> Self {
        Removals {
            duty: false,
            made: Timestamp::ZERO,
            stage: Stage::Idle,
            look_at: Mono::MAX,
            asked: None,
        }
    }

    pub(super) fn next_deadline(&self) -> Mono {
        self.look_at
    }

    /// A reading of the map must be as new.
    pub(super) fn made(&self) -> Timestamp {
        self.made
    }
}

impl Gateway {
    /// What the system shard's replica beside this gateway has come to: whether it leads, and the version of
    /// the catalog that it has.
    pub(super) fn system_shard_here(
        &mut self,
        now: &Now,
        leads: bool,
        made: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.removals.duty = leads;
        self.removals.made = self.removals.made.max(made);
        self.removals.look_at = if leads { now.mono } else { Mono::MAX };
        self.look_at_removals(now, effects);
    }

    /// The deadline passed.
    pub(super) fn look_at_removals(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if now.mono < self.removals.look_at {
            return;
        }
        self.removals.look_at = Mono::MAX;
        if self.removals.duty && matches!(self.removals.stage, Stage::Idle) {
            // In case it cannot be read.
            self.removals.look_at = now.mono.plus(PAUSE);
            self.start_refresh(now, effects);
        }
    }

    /// The map was read.
    pub(super) fn remove_dropped(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if !self.removals.duty || !matches!(self.removals.stage, Stage::Idle) {
            return;
        }
        let Some(version) = self.catalog.made().filter(|made| *made >= self.removals.made) else {
            return;
        };
        self.removals.look_at = Mono::MAX;
        let starts = || self.map.dropping().map(|shard| &shard.span.start);
        let behind = |start: &&Key| self.removals.asked.as_ref().is_none_or(|asked| *start > asked);
        let (later, earlier): (Vec<&Key>, Vec<&Key>) = starts().partition(behind);
        let starts: Vec<Key> =
            later.into_iter().chain(earlier).take(SHARDS_AT_ONCE).cloned().collect();
        if !starts.is_empty() {
            self.removals.asked = starts.last().cloned();
            self.removals.stage = Stage::Waiting { starts };
            let change = Change { version, client: OWN, next: change::Next::Remove };
            self.await_version(now, change, effects);
        }
    }

    /// Nobody uses the tables of the dropping shards any more, or, when `everywhere` is false, that cannot be
    /// waited for now.
    pub(super) fn drop_is_everywhere(
        &mut self,
        now: &Now,
        everywhere: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Stage::Waiting { starts } = &mut self.removals.stage else { return };
        let starts = std::mem::take(starts);
        if !everywhere {
            return self.removal_round_over(now, true);
        }
        let mut calls = BTreeMap::new();
        for key in starts {
            let owner = self.fresh_owner();
            let request = ShardRequest::Remove { key: key.clone() };
            let call = CallId { owner, part: 0 };
            effects.push(Effect::Call { call, request, route: Route::Leader });
            calls.insert(owner, key);
        }
        self.removals.stage = Stage::Asking { calls, removed: Vec::new(), failed: false };
    }

    /// Whether a call asks a shard to be removed.
    pub(super) fn is_removal_call(&self, owner: u64) -> bool {
        matches!(&self.removals.stage, Stage::Asking { calls, .. } if calls.contains_key(&owner))
    }

    pub(super) fn removal_answered(
        &mut self,
        now: &Now,
        owner: u64,
        result: &Result<Reply, CallError>,
        effects: &mut Vec<Effect>,
    ) {
        let Stage::Asking { calls, removed, failed } = &mut self.removals.stage else { return };
        let Some(key) = calls.remove(&owner) else { return };
        // Only who has applied the entry says so.
        if matches!(result, Ok(Reply::Refused(Refusal::Removed))) {
            removed.push(key);
        } else {
            *failed = true;
        }
        self.mark_if_answered(now, effects);
    }

    fn mark_if_answered(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        let Stage::Asking { calls, removed, failed } = &mut self.removals.stage else { return };
        if !calls.is_empty() {
            return;
        }
        let (removed, failed) = (std::mem::take(removed), *failed);
        if removed.is_empty() {
            return self.removal_round_over(now, failed);
        }
        let id = self.fresh_id(now, self.settings.max_age);
        let begun =
            id.and_then(|id| self.new_session(now, OWN, (id, Priority::first(id)), Driver::Only));
        let Ok(owner) = begun else {
            return self.removal_round_over(now, true);
        };
        if let Some(session) = self.sessions.get_mut(&owner) {
            session.marks = true;
        }
        let spans = removed.iter().map(|start| KeySpan::point(shard_key(start))).collect();
        self.removals.stage = Stage::Marking { removed, failed };
        let limit = ReadLimit { rows: u64::MAX, bytes: u64::MAX };
        let (mode, purpose) = (LockMode::Exclusive, ReadPurpose::Marks);
        if let Err(error) = self.read_in(now, owner, mode, (spans, limit), purpose, effects) {
            self.object(now, owner, error, effects);
        }
    }

    /// The records to be marked were read.
    pub(super) fn marks_read(
        &mut self,
        now: &Now,
        owner: u64,
        rows: &[Row],
        effects: &mut Vec<Effect>,
    ) {
        let Stage::Marking { removed, .. } = &self.removals.stage else { return };
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        let mut write = |row: &Row| {
            let record: ShardRecord = decode(&row.value)?;
            let asked = removed.contains(&record.descriptor.span.start);
            if asked && record.state == ShardState::Dropping {
                let marked = ShardRecord { state: ShardState::Removed, ..record };
                let value = Some(encode(&marked)?);
                session.transaction.write(Write { key: row.key.clone(), value })?;
            }
            Ok::<(), Error>(())
        };
        match rows.iter().try_for_each(&mut write) {
            Ok(()) => self.commit_now(now, owner, effects),
            Err(error) => self.object(now, owner, error, effects),
        }
    }

    /// The marks are committed, or may not be.
    pub(super) fn marks_ended(&mut self, now: &Now, committed: bool) {
        let Stage::Marking { failed, .. } = &self.removals.stage else { return };
        let failed = *failed || !committed;
        self.removal_round_over(now, failed);
    }

    /// The map says what is left.
    fn removal_round_over(&mut self, now: &Now, failed: bool) {
        self.removals.stage = Stage::Idle;
        self.removals.look_at = if failed { now.mono.plus(PAUSE) } else { now.mono };
    }
}
