//! A node's process in the simulated cluster: its passes, its effects, its disk, its end and its next start.

use node::core::{Effect, Input, Note, PeerMessage};
use node::storage::record::LogRecord;
use node::storage::version_store::{VersionStore, VersionStoreError};
use proto::{KeySpan, ShardId};
use truetime::{Clock, Timestamp};
use txn::message::{Reply, Row};

use super::cluster::{Cluster, Event, Stop};
use super::machine::Power;
use super::plan::{MS, SECOND, US};
use crate::invariants::lease_disjointness::LeaseDisjointness;
use std::hash::Hash;

/// Versions are collected in steps of so many keys.
const COLLECT_STEP: usize = 64;
/// The slow invariants are checked once in so many passes.
const SLOW_CHECKS_EVERY: u64 = 16;
/// A core that asks to be called at once, for so many passes in which nothing comes in, spins.
const SPINS_MAX: u32 = 2_000;

impl Cluster<'_> {
    pub(super) fn start(&mut self, node: usize) {
        let now = self.true_time();
        if self.machines[node].process.is_some() {
            return;
        }
        self.machines[node].start(now, &self.plan, &self.system, self.seed);
        let start = self.machines[node].starts;
        self.note(|| format!("n{} starts for the {start}. time", node + 1));
        self.pass_at(node, self.now);
        let persist = self.plan.persist.draw(&mut self.rng);
        self.after(persist, Event::Persist { node, start });
        for other in (0..self.machines.len()).filter(|other| *other != node) {
            let delay = self.rng.between(100 * US, 20 * MS);
            self.after(delay, Event::Connect { a: node.min(other), b: node.max(other) });
        }
    }

    pub(super) fn crash(&mut self, node: usize, power: Power) {
        if self.machines[node].process.is_none() {
            return;
        }
        self.note(|| format!("n{} crashes, power {power:?}", node + 1));
        self.handing_over.remove(&node);
        let tickets = self.machines[node].crash(&mut self.rng, power);
        for (ticket, client) in tickets {
            let delay = self.rng.between(US, 5 * MS);
            self.after(delay, Event::Lost { client, ticket });
        }
        for other in (0..self.machines.len()).filter(|other| *other != node) {
            self.break_pair(node.min(other), node.max(other));
        }
    }

    pub(super) fn pass_at(&mut self, node: usize, at: u64) {
        let start = self.machines[node].starts;
        let Some(process) = &mut self.machines[node].process else { return };
        if at < process.next_pass {
            process.next_pass = at;
            self.at(at, Event::Pass { node, start });
        }
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
        if let Some(process) = &mut self.machines[node].process {
            process.inbox.push(input);
            let delay = self.rng.below(20 * US);
            self.pass_at(node, self.now + delay);
        }
    }

    pub(super) fn pass_due(&mut self, node: usize, start: u32) {
        let machine = &mut self.machines[node];
        if machine.starts != start {
            return;
        }
        let Some(process) = &mut machine.process else { return };
        if process.next_pass > self.now {
            return;
        }
        process.next_pass = u64::MAX;
        if !process.paused {
            self.pass(node, Stop::No);
        }
    }

    /// One pass, as the host's loop makes it. With [`Stop::BeforeEffects`] the process pauses when all is
    /// decided and nothing done.
    pub(super) fn pass(&mut self, node: usize, stop: Stop) {
        self.passes += 1;
        let true_time = self.true_time();
        let machine = &mut self.machines[node];
        let Some(process) = &mut machine.process else { return };
        let now = machine.clock.read_at(true_time);
        let idle = process.inbox.is_empty();
        (1, self.now, node, process.inbox.len()).hash(&mut self.hasher);
        let held = std::mem::take(&mut process.held);
        if !held.is_empty() {
            self.carry_out(node, held);
        }
        loop {
            let Some(process) = &mut self.machines[node].process else { return };
            for input in std::mem::take(&mut process.inbox) {
                process.core.step(&now, input).expect("a simulated node can go on");
            }
            let effects = process.core.flush(&now).expect("a simulated node can go on");
            if stop == Stop::BeforeEffects {
                process.held = effects;
                return;
            }
            self.carry_out(node, effects);
            let Some(process) = &mut self.machines[node].process else { return };
            if process.inbox.is_empty() {
                break;
            }
        }
        self.collect(node);
        self.schedule_wake(node, idle, now.mono);
        self.check(node);
    }

    pub(super) fn schedule_wake(&mut self, node: usize, idle: bool, mono: truetime::Mono) {
        let Some(process) = &mut self.machines[node].process else { return };
        let deadline = process.core.next_deadline();
        let wait = deadline.since(mono);
        if wait.is_zero() && idle {
            process.spins += 1;
            assert!(
                process.spins < SPINS_MAX,
                "n{} spins: its deadline {deadline:?} stays behind {mono:?}",
                node + 1
            );
        } else {
            process.spins = 0;
        }
        if deadline == truetime::Mono::MAX {
            return;
        }
        // The monotonic clock may be slow; too early only costs a pass.
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX / 4).min(3_600 * SECOND);
        let wait = nanos + nanos / 10_000 + 10 * US;
        self.pass_at(node, self.now + wait);
    }

    pub(super) fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message } => self.send(node, to, message),
                Effect::Answer { ticket, answer } => self.answer(node, ticket, answer),
                Effect::Note(note) => self.take_note(node, &note),
                Effect::SendSnapshot { to, shard, span, transfer } => {
                    let machine = &self.machines[node];
                    let installing = machine.process.as_ref().map(|process| &process.installing);
                    assert!(
                        !installing.is_some_and(|i| i.contains_key(&shard)),
                        "a snapshot of half a shard"
                    );
                    let store = &machine.store;
                    let pieces = store.snapshot(shard, &span).expect("memory does not fail");
                    for piece in pieces {
                        let piece = piece.expect("memory does not fail");
                        let message = PeerMessage::SnapshotPiece { shard, transfer, piece };
                        self.send(node, to, message);
                    }
                }
                Effect::Write { records, token } => self.write(node, records, token),
                other => self.carry_out_in_store(node, other),
            }
        }
    }

    pub(super) fn carry_out_in_store(&mut self, node: usize, effect: Effect) {
        let machine = &mut self.machines[node];
        let Some(process) = &mut machine.process else { return };
        let store = &mut machine.store;
        match effect {
            Effect::Apply(batch) => {
                let (shard, through) = (batch.shard, batch.applied);
                assert!(!process.installing.contains_key(&shard), "{shard} is being replaced");
                let before = store.applied(shard).expect("memory does not fail");
                let before = before.unwrap_or_default();
                self.invariants.applied(&process.core, machine.id, shard, before, through);
                store.apply(vec![batch]).expect("memory does not fail");
            }
            Effect::Read { to, grant, at, spans, limit } => {
                let replaced =
                    |span: &KeySpan| process.installing.values().any(|i| i.overlaps(span));
                assert!(!spans.iter().any(replaced), "a read of a shard that is being replaced");
                if grant.is_none() {
                    self.invariants.reads(&process.core, at, &spans);
                }
                let found = store.read(&spans, at, limit).expect("memory does not fail");
                let rows = found.rows.into_iter().filter_map(|version| {
                    let (key, timestamp) = (version.key, version.timestamp);
                    Some(Row { key, timestamp, value: version.value? })
                });
                let reply = Reply::Rows { grant, rows: rows.collect(), rest: found.rest };
                process.inbox.push(Input::ReadDone { to, reply });
            }
            Effect::ReceiveBegin { shard } => {
                store.receive_begin(shard).expect("memory does not fail");
            }
            Effect::ReceivePiece { shard, span, receipt, piece } => {
                let received = store.receive_piece(shard, piece).and_then(|complete| {
                    if complete {
                        store.check_received(shard, &span)?;
                    }
                    Ok(complete)
                });
                match received {
                    Ok(true) => process.inbox.push(Input::SnapshotComplete { shard, receipt }),
                    Ok(false) => {}
                    Err(VersionStoreError::BadSnapshot { .. }) => {
                        process.inbox.push(Input::SnapshotBroken { shard, receipt });
                    }
                    Err(error) => panic!("memory does not fail: {error}"),
                }
            }
            // All pieces left at once.
            Effect::StopSnapshot { .. } => {}
            Effect::Install { shard, span, last } => {
                store.install(shard, &span, last).expect("a complete snapshot can be installed");
                let replaced =
                    |(other, _, _): &(KeySpan, Timestamp, proto::Key)| span.overlaps(other);
                process.collector.retain(|step| !replaced(step));
                process.installing.insert(shard, span);
                let start = machine.starts;
                // Now and then longer than an election timeout, in which the replica says nothing.
                let longest = if self.rng.per_mille(200) { 4 * SECOND } else { 300 * MS };
                let delay = self.rng.between(US, longest);
                self.after(delay, Event::Installed { node, start, shard });
            }
            Effect::Remove { shard, span } => {
                process.collector.retain(|(other, _, _)| !span.overlaps(other));
                process.installing.remove(&shard);
                store.remove(shard, &span).expect("memory does not fail");
            }
            Effect::Collect { span, threshold, .. } => {
                let from = span.start.clone();
                process.collector.push((span, threshold, from));
            }
            Effect::Write { .. }
            | Effect::Send { .. }
            | Effect::SendSnapshot { .. }
            | Effect::Answer { .. }
            | Effect::Note(_) => unreachable!("carried out elsewhere"),
        }
    }

    pub(super) fn take_note(&mut self, node: usize, note: &Note) {
        self.note(|| format!("n{} {note:?}", node + 1));
        match note {
            Note::BadMessage { from, shard, reason } => {
                panic!("n{} got a bad message of {from} for shard {shard}: {reason}", node + 1)
            }
            Note::ClockOutsideClaim { .. } => {
                panic!("n{} takes its honest clock for a false one", node + 1)
            }
            Note::Standing { .. } | Note::ClockInsideClaim => {}
        }
    }

    pub(super) fn collect(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        let Some(process) = &mut machine.process else { return };
        if let Some((span, threshold, from)) = process.collector.pop() {
            let replaced = process.installing.values().any(|other| other.overlaps(&span));
            assert!(!replaced, "versions are collected of a shard that is being replaced");
            let next = machine.store.collect(&span, threshold, from, COLLECT_STEP);
            if let Some(from) = next.expect("memory does not fail") {
                process.collector.push((span, threshold, from));
            }
        }
    }

    pub(super) fn check(&mut self, node: usize) {
        let machine = &self.machines[node];
        let Some(process) = &machine.process else { return };
        self.invariants.passed(&process.core, machine.id);
        if self.passes.is_multiple_of(SLOW_CHECKS_EVERY) {
            process.core.gateway().check_invariants();
            for replica in process.core.replicas().values() {
                replica.check_invariants();
            }
        }
        if self.passes.is_multiple_of(4) {
            self.check_leases();
        }
    }

    pub(super) fn check_leases(&mut self) {
        let true_time = self.true_time();
        let mut leases = LeaseDisjointness::default();
        for machine in &mut self.machines {
            let Some(process) = &machine.process else { continue };
            machine.clock.advance_to(true_time);
            leases.add(machine.id, &process.core, &machine.clock.now());
        }
    }

    pub(super) fn write(&mut self, node: usize, records: Vec<LogRecord>, token: Option<u64>) {
        for record in &records {
            if let LogRecord::Entries { shard, entries } = record {
                self.invariants.appended(*shard, entries);
            }
        }
        let start = self.machines[node].starts;
        let Some(process) = &mut self.machines[node].process else { return };
        process.queued.push((records, token));
        if process.writing.is_empty() {
            process.writing = std::mem::take(&mut process.queued);
            let delay = self.disks[node].draw(&mut self.rng);
            self.after(delay, Event::DiskDone { node, start });
        }
    }

    pub(super) fn disk_done(&mut self, node: usize, start: u32) {
        let machine = &mut self.machines[node];
        if machine.starts != start {
            return;
        }
        let Some(process) = &mut machine.process else { return };
        let mut records = process.writing.iter().flat_map(|(records, _)| records);
        let lets_go = records.any(|record| matches!(record, LogRecord::Removed { .. }));
        if lets_go && self.dies_letting_go(node, Power::Lost) {
            return;
        }
        let Some(process) = &mut self.machines[node].process else { return };
        let tokens = process.write().expect("a simulated disk has room");
        if lets_go && self.dies_letting_go(node, Power::Kept) {
            return;
        }
        let Some(process) = &mut self.machines[node].process else { return };
        (2, self.now, node, tokens.len()).hash(&mut self.hasher);
        if !process.queued.is_empty() {
            process.writing = std::mem::take(&mut process.queued);
            let delay = self.disks[node].draw(&mut self.rng);
            self.after(delay, Event::DiskDone { node, start });
        }
        for token in tokens {
            self.input(node, Input::Synced { token });
        }
    }

    pub(super) fn installed(&mut self, node: usize, start: u32, shard: ShardId) {
        let machine = &mut self.machines[node];
        if machine.starts != start {
            return;
        }
        let Some(process) = &mut machine.process else { return };
        if process.installing.remove(&shard).is_none() {
            return;
        }
        let state = machine.store.state(shard).expect("memory does not fail");
        self.input(node, Input::Installed { shard, state });
    }

    pub(super) fn persist(&mut self, node: usize, start: u32) {
        let machine = &mut self.machines[node];
        if machine.starts != start || machine.process.is_none() {
            return;
        }
        let durable = machine.store.persist().expect("memory does not fail");
        self.input(node, Input::Durable(durable));
        let delay = self.plan.persist.draw(&mut self.rng);
        self.after(delay, Event::Persist { node, start });
    }
}
