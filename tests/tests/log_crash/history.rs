//! Histories of a log: made of small numbers, so that they can be drawn, enumerated and shrunk.

use crate::model::{Model, last};
use node::storage::log::{Log, LogError, RecoveredShard};
use node::storage::record::{EntryKind, HardState, LogEntry, LogRecord};
use proptest::prelude::*;
use proto::{EntryId, LogIndex, ReplicaId, ShardId, Term};
use tests::sim_disk::SimDisk;

/// Numbers from which a step is made; what they mean depends on what the log holds then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    kind: u8,
    shard: u8,
    amount: u8,
    size: u16,
}

/// One call on the log.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write(Vec<Vec<LogRecord>>),
    Prepare,
    Reclaim,
}

/// Steps, and what the log should hold after each number of writes.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) steps: Vec<Step>,
    pub(crate) states: Vec<Model>,
}

/// How far a run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Steps that were begun.
    pub(crate) steps: usize,
    /// Writes that were acknowledged.
    pub(crate) acknowledged: usize,
    /// Whether one was begun and not acknowledged.
    pub(crate) in_doubt: bool,
}

pub(crate) fn choices(length: usize) -> impl Strategy<Value = Vec<Choice>> {
    let choice = (0..20u8, 0..4u8, any::<u8>(), 0..1500u16)
        .prop_map(|(kind, shard, amount, size)| Choice { kind, shard, amount, size });
    prop::collection::vec(choice, 1..length)
}

/// A fixed history of a seed.
pub(crate) fn drawn(seed: u64, length: usize) -> History {
    let mut state = seed;
    let mut draw = |bound: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let choices = (0..length).map(|_| Choice {
        kind: u8::try_from(draw(20)).unwrap(),
        shard: u8::try_from(draw(4)).unwrap(),
        amount: u8::try_from(draw(256)).unwrap(),
        size: u16::try_from(draw(1500)).unwrap(),
    });
    History::new(choices.collect())
}

impl History {
    pub(crate) fn new(choices: Vec<Choice>) -> Self {
        let mut steps = Vec::new();
        let mut states = vec![Model::default()];
        for choice in choices {
            let step = match choice.kind {
                0 => Step::Reclaim,
                1 | 2 => Step::Prepare,
                _ => {
                    let mut model = states.last().unwrap().clone();
                    let batches = batches(choice, &mut model);
                    states.push(model);
                    Step::Write(batches)
                }
            };
            steps.push(step);
        }
        History { steps, states }
    }

    /// Runs the steps from `from` on, as far as the disk lets it.
    pub(crate) fn run(&self, log: &mut Log<SimDisk>, from: Progress) -> Progress {
        let mut progress = Progress { in_doubt: false, ..from };
        for step in &self.steps[from.steps..] {
            progress.steps += 1;
            match run_step(log, step) {
                Ok(()) => progress.acknowledged += usize::from(matches!(step, Step::Write(_))),
                Err(_) => {
                    progress.in_doubt = matches!(step, Step::Write(_));
                    break;
                }
            }
        }
        progress
    }

    /// The progress of a run that found the log as after this many writes.
    pub(crate) fn resume_at(&self, acknowledged: usize) -> Progress {
        let mut writes = 0;
        let steps = self.steps.iter().take_while(|step| {
            writes += usize::from(matches!(step, Step::Write(_)));
            writes <= acknowledged
        });
        Progress { steps: steps.count(), acknowledged, in_doubt: false }
    }
}

impl Progress {
    pub(crate) const START: Progress = Progress { steps: 0, acknowledged: 0, in_doubt: false };
}

pub(crate) fn run_step(log: &mut Log<SimDisk>, step: &Step) -> Result<(), LogError> {
    match step {
        Step::Write(batches) => log.write_and_sync(batches),
        Step::Prepare => log.prepare_ahead().map(|_| ()),
        Step::Reclaim => log.reclaim().map(|_| ()),
    }
}

/// One or two batches that may follow what `model` holds, which they become part of.
fn batches(choice: Choice, model: &mut Model) -> Vec<Vec<LogRecord>> {
    let mut batches = Vec::new();
    for half in 0..=choice.amount % 2 {
        let choice = Choice { shard: (choice.shard + half * 2) % 4, ..choice };
        let batch = batch(choice, model);
        batch.iter().for_each(|record| model.apply(record));
        batches.push(batch);
    }
    batches
}

fn batch(choice: Choice, model: &Model) -> Vec<LogRecord> {
    let shard = ShardId(u64::from(choice.shard) + 1);
    let Some(state) = model.shards.get(&shard) else {
        let descriptor = vec![choice.shard; usize::from(choice.amount)].into();
        return vec![LogRecord::Created { shard, descriptor }];
    };
    let hard_state = state.hard_state;
    let amount = u64::from(choice.amount);
    match choice.kind {
        3 if choice.amount < 64 => vec![LogRecord::Removed { shard }],
        4 => snapshot(shard, state, amount),
        5 | 6 => {
            // A new term, in which some entries that were not committed are replaced.
            let term = Term(hard_state.term.0 + 1);
            let open = last(state).index.0 - hard_state.commit.0;
            let first = hard_state.commit.0 + 1 + amount % (open + 1);
            let vote = Some(ReplicaId(amount % 3 + 1));
            let state = HardState { term, vote, commit: hard_state.commit };
            vec![
                LogRecord::HardState { shard, state },
                entries(shard, term, first, 1 + amount % 3, choice.size),
            ]
        }
        7..=10 => {
            let open = last(state).index.0 - state.truncated.index.0;
            let through = LogIndex(state.truncated.index.0 + amount % (open + 1));
            let through = state.entries.iter().find(|entry| entry.id.index == through);
            let through = through.map_or(state.truncated, |entry| entry.id);
            let committed = through.index <= hard_state.commit;
            let through = if committed { through } else { state.truncated };
            vec![LogRecord::Truncated { shard, through }]
        }
        _ => {
            let entries = entries(
                shard,
                hard_state.term,
                last(state).index.0 + 1,
                1 + amount % 4,
                choice.size,
            );
            let commit = LogIndex(last(state).index.0.max(hard_state.commit.0));
            vec![entries, LogRecord::HardState { shard, state: HardState { commit, ..hard_state } }]
        }
    }
}

/// A snapshot whose last entry is behind the log, or in it under another term.
fn snapshot(shard: ShardId, state: &RecoveredShard, amount: u64) -> Vec<LogRecord> {
    let hard_state = state.hard_state;
    let term = Term(hard_state.term.0 + 1);
    let index = LogIndex(hard_state.commit.0 + 1 + amount % 8);
    let hard_state = HardState { term, vote: None, commit: index };
    vec![
        LogRecord::Truncated { shard, through: EntryId { term, index } },
        LogRecord::HardState { shard, state: hard_state },
    ]
}

/// Entries whose content follows from their id, as Raft has it.
pub(crate) fn entries(shard: ShardId, term: Term, first: u64, count: u64, size: u16) -> LogRecord {
    let entry = |index: u64| {
        let byte = u8::try_from((shard.0 + term.0 * 31 + index * 7) % 255 + 1).unwrap();
        let size = usize::from(size) / (1 + usize::try_from(index % 3).unwrap());
        LogEntry {
            id: EntryId { term, index: LogIndex(index) },
            kind: if index.is_multiple_of(5) { EntryKind::Membership } else { EntryKind::Normal },
            data: vec![byte; size].into(),
        }
    };
    LogRecord::Entries { shard, entries: (first..first + count).map(entry).collect() }
}
