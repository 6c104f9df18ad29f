//! Random histories: whatever is done to a store, it holds what the model holds.

use super::model::Model;
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::any::type_name;

/// One shard's part of a pass. A row is told by one byte.
type Writes = (ShardId, Vec<(Key, Option<u8>)>, Vec<StateChange>);

/// One thing that happens. Numbers are turned into timestamps of the history when it does.
#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<Writes>),
    Read {
        spans: Vec<KeySpan>,
        back: u64,
        limit: ReadLimit,
    },
    Collect {
        shard: ShardId,
        back: u64,
        keys_max: usize,
    },
    Persist,
    Crash,
    Restart,
    /// Takes a snapshot and keeps the reader.
    Freeze(ShardId),
    /// Installs what was frozen last.
    Install,
    Remove(ShardId),
}

fn any_shard() -> impl Strategy<Value = ShardId> {
    prop_oneof![Just(LEFT), Just(RIGHT)]
}

/// Few keys, so that each gets several versions; many of them prefixes of each other.
fn any_key_of(shard: ShardId) -> impl Strategy<Value = Key> {
    let heads: &[u8] = if shard == LEFT { b"\0\x01a" } else { b"m\xff" };
    let tail = vec(prop_oneof![Just(0_u8), Just(1), Just(0xff)], 0..3);
    (proptest::sample::select(heads), tail).prop_map(move |(head, tail)| {
        let is_empty = shard == LEFT && head == 1 && tail.is_empty();
        if is_empty { Key::default() } else { Key::from([&[head][..], &tail].concat()) }
    })
}

fn any_key() -> impl Strategy<Value = Key> {
    any_shard().prop_flat_map(any_key_of)
}

fn any_span() -> impl Strategy<Value = KeySpan> {
    prop_oneof![
        2 => any_key().prop_map(KeySpan::point),
        1 => Just(KeySpan::all()),
        2 => (any_key(), any_key()).prop_map(|(start, end)| KeySpan::new(start, end)),
        1 => any_key().prop_map(|start| KeySpan { start, end: None }),
    ]
}

fn any_change() -> impl Strategy<Value = StateChange> {
    let name = || vec(prop_oneof![Just(0_u8), Just(b'a'), Just(0xff)], 0..3);
    prop_oneof![
        3 => (name(), vec(any::<u8>(), 0..3)).prop_map(|(key, value)| StateChange::Put(key, value)),
        1 => name().prop_map(StateChange::Delete),
        1 => (name(), name()).prop_map(|(from, to)| StateChange::DeleteRange(from, to)),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let batch = any_shard().prop_flat_map(|shard| {
        let write =
            (any_key_of(shard), prop_oneof![2 => any::<u8>().prop_map(Some), 1 => Just(None)]);
        (Just(shard), vec(write, 0..5), vec(any_change(), 0..3))
    });
    let limit = (1..6_u64, prop_oneof![Just(u64::MAX), 0..20_u64])
        .prop_map(|(rows, bytes)| ReadLimit { rows, bytes });
    prop_oneof![
        10 => vec(batch, 1..4).prop_map(Step::Apply),
        6 => (vec(any_span(), 0..4), 0..20_u64, limit)
            .prop_map(|(spans, back, limit)| Step::Read { spans, back, limit }),
        3 => (any_shard(), 0..20_u64, 1..4_usize)
            .prop_map(|(shard, back, keys_max)| Step::Collect { shard, back, keys_max }),
        2 => Just(Step::Persist),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
        1 => any_shard().prop_map(Step::Freeze),
        1 => Just(Step::Install),
        1 => any_shard().prop_map(Step::Remove),
    ]
}

struct Run<S: Subject> {
    subject: S,
    model: Model,
    /// What a crash may leave: the persisted image and those after it.
    images: Vec<Model>,
    frozen: Option<Frozen<S>>,
    /// The last timestamp and log index given out.
    clock: u64,
}

type Reader<S> = <<S as Subject>::Store as VersionStore>::SnapshotReader;

struct Frozen<S: Subject> {
    shard: ShardId,
    reader: Reader<S>,
    expected: (Vec<Version>, Vec<StatePair>),
}

impl<S: Subject> Run<S> {
    fn step(&mut self, step: Step) {
        match step {
            Step::Apply(batches) => self.apply(batches),
            Step::Read { spans, back, limit } => self.read(&spans, back, limit),
            Step::Collect { shard, back, keys_max } => {
                let threshold = self.clock.saturating_sub(back);
                collect_all(self.subject.store(), &span_of(shard), threshold, keys_max);
                // A crash may keep a part of its steps; what the model would then hold is not one of
                // its images.
                self.persist();
                self.model.collect(&span_of(shard), at(threshold));
                self.images = vec![self.model.clone()];
            }
            Step::Persist => self.persist(),
            Step::Crash => {
                self.frozen = None;
                self.subject.crash();
                self.adopt_what_is_left();
            }
            Step::Restart => {
                self.frozen = None;
                self.subject.restart();
            }
            Step::Freeze(shard) => {
                let reader = self.subject.store().snapshot(shard, &span_of(shard)).unwrap();
                self.frozen = Some(Frozen { shard, reader, expected: self.model.contents(shard) });
            }
            Step::Install => self.install(),
            Step::Remove(shard) => {
                self.subject.store().remove(shard, &span_of(shard)).unwrap();
                self.model.remove(shard);
                self.images = vec![self.model.clone()];
            }
        }
        self.check();
    }

    fn apply(&mut self, batches: Vec<Writes>) {
        let mut pass = Vec::new();
        for (shard, writes, state) in batches {
            let mut versions = Vec::new();
            for (key, value) in writes {
                self.clock += 1;
                let value = value.map(|byte| Value::from(vec![byte; usize::from(byte % 4)]));
                versions.push(Version { key, timestamp: at(self.clock), value });
            }
            self.clock += 1;
            let batch = ApplyBatch { shard, applied: entry(self.clock), versions, state };
            self.model.apply(batch.clone());
            pass.push(batch);
        }
        self.subject.store().apply(pass).unwrap();
        self.images.push(self.model.clone());
    }

    fn read(&mut self, spans: &[KeySpan], back: u64, limit: ReadLimit) {
        let timestamp = at(self.clock.saturating_sub(back));
        let expected: Vec<Version> =
            spans.iter().flat_map(|span| self.model.rows(span, timestamp)).collect();
        let (mut found, mut rest) = (Vec::new(), spans.to_vec());
        while !rest.is_empty() {
            let page = self.subject.store().read(&rest, timestamp, limit).unwrap();
            let len = |row: &Version| {
                row.key.as_bytes().len() + row.value.as_ref().map_or(0, |v| v.as_bytes().len())
            };
            let bytes: usize = page.rows.iter().map(len).sum();
            assert!(page.rows.len() <= usize::try_from(limit.rows).unwrap(), "too many rows");
            assert!(page.rows.len() <= 1 || bytes as u64 <= limit.bytes, "too many bytes");
            assert!(!page.rows.is_empty() || page.rest.is_empty(), "a page without progress");
            found.extend(page.rows);
            rest = page.rest;
        }
        assert_eq!(found, expected, "read of {spans:?} at {timestamp:?}");
    }

    fn persist(&mut self) {
        let mut persisted = self.subject.store().persist().unwrap();
        persisted.sort_unstable();
        assert_eq!(persisted, self.model.persisted());
        self.images = vec![self.model.clone()];
    }

    fn install(&mut self) {
        let Some(Frozen { shard, reader, expected }) = self.frozen.take() else { return };
        let pieces: Vec<SnapshotPiece> = reader.map(Result::unwrap).collect();
        assert_eq!(unpack(pieces.clone()), expected, "the frozen snapshot of {shard}");
        let store = self.subject.store();
        store.receive_begin(shard).unwrap();
        for piece in pieces {
            store.receive_piece(shard, piece).unwrap();
        }
        self.clock += 1;
        store.install(shard, &span_of(shard), entry(self.clock)).unwrap();
        self.model.install(shard, expected, entry(self.clock));
        self.images = vec![self.model.clone()];
    }

    fn adopt_what_is_left(&mut self) {
        let store = self.subject.store();
        let left = |model: &&Model| {
            [LEFT, RIGHT].into_iter().all(|shard| {
                contents(store, shard) == model.contents(shard)
                    && store.applied(shard).unwrap() == model.applied(shard)
            })
        };
        let found = self.images.iter().find(left).cloned();
        self.model = found.expect("a crash leaves what was persisted and a prefix of the rest");
        self.images = vec![self.model.clone()];
    }

    fn check(&mut self) {
        let store = self.subject.store();
        for shard in [LEFT, RIGHT] {
            let expected = self.model.contents(shard);
            assert_eq!(store.state(shard).unwrap(), expected.1, "state of {shard}");
            assert_eq!(contents(store, shard), expected, "contents of {shard}");
            assert_eq!(store.applied(shard).unwrap(), self.model.applied(shard));
        }
    }
}

pub(super) fn any_history_matches_the_model<S: Subject>() {
    let on_disk = type_name::<S>() == type_name::<Fjall>();
    let config = Config {
        cases: if on_disk { 12 } else { 200 },
        failure_persistence: None,
        ..Config::default()
    };
    let run = |steps: Vec<Step>| {
        let model = Model::default();
        let images = vec![model.clone()];
        let mut run = Run { subject: S::fresh(), model, images, frozen: None, clock: 1 };
        for step in steps {
            run.step(step);
        }
        Ok(())
    };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    runner.run(&vec(any_step(), 1..40), run).unwrap();
}
