mod pieces;

use std::time::Duration;

use proto::{GrantPair, LogIndex, Priority};

use super::*;

const SECOND: u64 = 1_000_000_000;

fn ts(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn id(sequence: u64) -> TxnId {
    let begin = ts(SECOND + sequence);
    TxnId { begin, horizon: begin.plus(Duration::from_secs(600)), origin: 1, sequence }
}

fn key(name: &str) -> Key {
    Key::from(name.as_bytes())
}

fn write(name: &str) -> Write {
    Write { key: key(name), value: Some(Value::from(&b"row"[..])) }
}

fn participant(name: &str, prepare_ts: u64) -> Participant {
    Participant { key: key(name), prepare_ts: ts(prepare_ts), expires: None, writes: true }
}

fn prepared(prepare_ts: u64) -> PreparedRecord {
    PreparedRecord {
        priority: Priority::first(id(3)),
        coordinator: key("a"),
        key: key("p"),
        participants: vec![key("p"), key("q")],
        prepare_ts: ts(prepare_ts),
        pieces: 0,
        writes: vec![write("p")],
        grant: Some(GrantPair { epoch: Epoch(1), number: 7 }),
        expires: Some(ts(9 * SECOND)),
        digest: 1,
    }
}

/// An entry of epoch 1.
fn entry(command: Command) -> Entry {
    Entry { epoch: Some(Epoch(1)), ..Entry::fact(command) }
}

/// A replica with the stored form of its state beside it.
struct Replica {
    state: ShardState,
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    versions: Vec<NewVersion>,
    applied: Vec<Applied>,
}

impl Replica {
    fn new() -> Self {
        Replica {
            state: ShardState::new(KeySpan::all()),
            stored: BTreeMap::new(),
            versions: Vec::new(),
            applied: Vec::new(),
        }
    }

    /// Applies a run of entries and stores what it changes as one batch.
    fn apply(&mut self, entries: &[Entry]) {
        let mut changes = Changes::default();
        for entry in entries {
            let index = self.state.applied().index.next();
            let id = EntryId { term: Term(1), index };
            self.applied.push(self.state.apply(id, Some(entry), &mut changes));
        }
        let (versions, puts) = changes.finish(&self.state);
        self.versions.extend(versions);
        for put in puts {
            match put {
                StatePut::Put(key, value) => {
                    self.stored.insert(key, value);
                }
                StatePut::Delete(key) => {
                    self.stored.remove(&key);
                }
                StatePut::DeleteRange(from, to) => {
                    self.stored.retain(|key, _| *key < from || *key >= to);
                }
            }
        }
    }

    /// The state of a replica that got a snapshot of this one.
    fn snapshot(&self) -> ShardState {
        let pairs: Vec<_> = self.stored.clone().into_iter().collect();
        ShardState::load(KeySpan::all(), self.state.applied(), &pairs).unwrap()
    }
}

fn piece(sequence: u64, number: u32, names: &[&str]) -> Entry {
    let writes = names.iter().map(|name| write(name)).collect();
    entry(Command::Piece { id: id(sequence), number, writes })
}

/// A log with something for every part of the state.
fn log() -> Vec<Entry> {
    let expires = ts(9 * SECOND);
    let committed = Command::Commit {
        id: id(1),
        coordinator: key("a"),
        commit_ts: ts(3 * SECOND),
        pieces: 0,
        writes: vec![write("a")],
        participants: vec![participant("x", SECOND), participant("y", SECOND)],
        digest: 7,
    };
    let aborted = Command::Abort {
        id: id(2),
        reason: AbortReason::InDoubt,
        participants: vec![key("z")],
        past_horizon: true,
    };
    vec![
        Entry::fact(Command::Lease { holder: NodeId(4), epoch: Epoch(1), expires: ts(4 * SECOND) }),
        Entry { extend: Some(expires), promise: Some(ts(2 * SECOND)), ..entry(committed) },
        Entry::fact(aborted),
        entry(Command::Prepare { id: id(3), record: prepared(5 * SECOND) }),
        Entry::fact(Command::Forget { done: vec![(id(1), key("x"))] }),
        entry(Command::Threshold { threshold: ts(SECOND) }),
        piece(4, 0, &["a", "b"]),
        piece(4, 1, &["c"]),
        Entry { collect_outcomes: Some(ts(600 * SECOND)), ..entry(Command::Nothing) },
    ]
}

fn full() -> Replica {
    let mut replica = Replica::new();
    replica.apply(&log());
    replica
}

#[test]
fn snapshot_carries_prepared_records_whole() {
    // Section 9.19, T43.
    assert_eq!(full().snapshot().prepared(), &BTreeMap::from([(id(3), prepared(5 * SECOND))]));
}

#[test]
fn snapshot_carries_outcome_records_of_both_kinds() {
    // Section 9.19.
    let snapshot = full().snapshot();
    let participants = vec![participant("x", SECOND), participant("y", SECOND)];
    let committed = OutcomeRecord::Committed { commit_ts: ts(3 * SECOND), participants, digest: 7 };
    assert_eq!(snapshot.outcome(&id(1)), Some(&committed));
    let aborted = OutcomeRecord::Aborted {
        reason: AbortReason::InDoubt,
        participants: vec![key("z")],
        past_horizon: true,
    };
    assert_eq!(snapshot.outcome(&id(2)), Some(&aborted));
    assert_eq!(snapshot.outcomes_len(), 2);
}

#[test]
fn snapshot_carries_the_participants_that_are_still_to_apply() {
    // Section 9.19, T36.
    let awaited = BTreeMap::from([(id(1), BTreeSet::from([key("y")]))]);
    assert_eq!(full().snapshot().awaiting(), &awaited);
}

#[test]
fn snapshot_carries_the_lease_with_its_extension_and_floor() {
    // Section 9.19, R1.
    let mut replica = full();
    let lease = Lease {
        holder: NodeId(4),
        term: Term(1),
        epoch: Epoch(1),
        expires: ts(9 * SECOND),
        floor: Timestamp::ZERO,
        released: None,
    };
    assert_eq!(replica.snapshot().header().lease, Some(lease));
    let wait_out = Some(ts(8 * SECOND));
    replica.apply(&[entry(Command::Release { highest: ts(7 * SECOND), wait_out })]);
    let released = Some(Released { highest: ts(7 * SECOND), wait_out });
    assert_eq!(replica.snapshot().header().lease, Some(Lease { released, ..lease }));
    let expires = ts(11 * SECOND);
    replica.apply(&[Entry::fact(Command::Lease { holder: NodeId(5), epoch: Epoch(2), expires })]);
    let next = replica.snapshot().header().lease.unwrap();
    assert_eq!((next.epoch, next.floor), (Epoch(2), ts(8 * SECOND)));
}

#[test]
fn snapshot_carries_the_published_promise() {
    // Section 9.19, T3.
    assert_eq!(full().snapshot().header().promise, ts(2 * SECOND));
}

#[test]
fn snapshot_carries_the_highest_commit_timestamp_of_commits_and_outcomes() {
    // Section 9.19.
    let mut replica = full();
    assert_eq!(replica.snapshot().header().highest_commit, ts(3 * SECOND));
    let (commit_ts, prepare_ts) = (ts(6 * SECOND), ts(5 * SECOND));
    let decision = Decision::Commit { commit_ts, prepare_ts };
    replica.apply(&[Entry::fact(Command::Resolve { id: id(3), decision })]);
    assert_eq!(replica.snapshot().header().highest_commit, commit_ts);
}

#[test]
fn snapshot_carries_the_version_collection_threshold() {
    // Section 9.19, T61.
    assert_eq!(full().snapshot().header().threshold, ts(SECOND));
}

#[test]
fn snapshot_carries_the_bound_of_collected_records() {
    // Section 9.19, T36: a commit below it stays without effect, also here.
    let mut replica = full();
    let bound = ts(600 * SECOND);
    assert_eq!(replica.snapshot().header().collected, bound);
    replica.state = replica.snapshot();
    let late = TxnId { horizon: ts(599 * SECOND), ..id(9) };
    let commit = Command::Commit {
        id: late,
        coordinator: key("a"),
        commit_ts: ts(7 * SECOND),
        pieces: 0,
        writes: vec![write("a")],
        participants: Vec::new(),
        digest: 1,
    };
    replica.apply(&[entry(commit)]);
    assert_eq!(replica.applied.last(), Some(&Applied::Void));
}

#[test]
fn snapshot_carries_that_the_shard_was_removed() {
    // Section 9.19.
    let mut replica = full();
    let decision = Decision::Abort;
    let resolve = Entry::fact(Command::Resolve { id: id(3), decision });
    let awaited = replica.state.awaiting().iter();
    let done = awaited.flat_map(|(id, keys)| keys.iter().map(|key| (*id, key.clone()))).collect();
    let forget = Entry::fact(Command::Forget { done });
    replica.apply(&[resolve, forget, entry(Command::Remove)]);
    assert!(replica.snapshot().header().removed);
}

#[test]
fn snapshot_with_a_part_of_another_kind_is_refused() {
    let mut pairs: Vec<_> = full().stored.into_iter().collect();
    pairs.push((b"?".to_vec(), Vec::new()));
    let loaded = ShardState::load(KeySpan::all(), EntryId::default(), &pairs);
    assert!(loaded.is_err());
}

#[test]
fn same_log_gives_the_same_state_and_answers_on_every_replica() {
    // T57, T43: entry by entry, in one batch, and with a snapshot after every entry.
    let log = random_log(4_000);
    let (mut single, mut batch, mut restarted) = (Replica::new(), Replica::new(), Replica::new());
    batch.apply(&log);
    for entry in &log {
        single.apply(std::slice::from_ref(entry));
        restarted.apply(std::slice::from_ref(entry));
        restarted.state = restarted.snapshot();
        assert_eq!(restarted.state, single.state);
    }
    for other in [&single, &restarted] {
        assert_eq!(batch.state, other.state);
        assert_eq!(batch.stored, other.stored);
        assert_eq!(batch.versions, other.versions);
        assert_eq!(batch.applied, other.applied);
    }
    let effective = |wanted: fn(&Applied) -> bool| batch.applied.iter().any(wanted);
    assert!(effective(|a| matches!(a, Applied::Committed { .. })));
    assert!(effective(|a| matches!(a, Applied::Prepared { .. })));
    assert!(effective(|a| matches!(a, Applied::Aborted { .. })));
    assert!(effective(|a| matches!(a, Applied::Void)) && !batch.state.awaiting().is_empty());
    let in_pieces =
        log.iter().zip(&batch.applied).filter(|(entry, applied)| match &entry.command {
            Command::Commit { pieces, .. } => *pieces > 1 && **applied != Applied::Void,
            Command::Prepare { record, .. } => record.pieces > 1 && **applied != Applied::Void,
            _ => false,
        });
    assert!(in_pieces.count() > 10);
}

/// Entries that meet each other: few ids, of which outcomes are recorded, repeated, forgotten, collected.
fn random_log(count: u64) -> Vec<Entry> {
    let mut seed = 0x5eed_u64;
    let mut draw = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let expires = ts(100_000 * SECOND);
    let lease = Command::Lease { holder: NodeId(1), epoch: Epoch(1), expires };
    let mut log = vec![Entry::fact(lease)];
    let mut sent = (id(0), 0);
    for step in 0..count {
        let txn = id(step / 40 * 10 + draw(20));
        let now = 10 * SECOND + step * 1_000;
        let name = ["a", "b", "p", "q"][usize::try_from(draw(4)).unwrap()];
        // Often the id that sends pieces, with as many as it has sent.
        let (txn, pieces) = if draw(2) == 0 { sent } else { (txn, 0) };
        let command = match draw(10) {
            0 | 1 => Command::Commit {
                id: txn,
                coordinator: key(name),
                commit_ts: ts(now),
                pieces,
                writes: vec![write(name)],
                participants: vec![participant("x", SECOND), participant("y", SECOND)],
                digest: draw(2),
            },
            2 => Command::Prepare { id: txn, record: PreparedRecord { pieces, ..prepared(now) } },
            7 | 8 => {
                let number = if draw(8) == 0 { 0 } else { pieces };
                sent = (txn, number + 1);
                Command::Piece { id: txn, number, writes: vec![write(name)] }
            }
            3 => {
                let prepare_ts = ts(now - draw(3) * 1_000);
                let commit = Decision::Commit { commit_ts: ts(now), prepare_ts };
                let decision = if draw(2) == 0 { commit } else { Decision::Abort };
                Command::Resolve { id: txn, decision }
            }
            4 => Command::Abort {
                id: txn,
                reason: AbortReason::GivenUp,
                participants: Vec::new(),
                past_horizon: false,
            },
            5 => Command::Forget { done: vec![(txn, key("x")), (id(step / 40 * 10), key("y"))] },
            _ => Command::Threshold { threshold: ts(now - 5 * SECOND) },
        };
        let mut entry = entry(command);
        entry.promise = (draw(3) == 0).then(|| ts(now - SECOND));
        entry.collect_outcomes = (draw(50) == 0).then(|| ts(601 * SECOND + step / 50 * 10));
        if draw(20) == 0 {
            entry.epoch = Some(Epoch(7));
        }
        log.push(entry);
    }
    log
}

#[test]
fn end_of_a_lease_never_moves_back() {
    // T5.
    let mut replica = full();
    let earlier = Entry { extend: Some(ts(5 * SECOND)), ..entry(Command::Nothing) };
    replica.apply(&[earlier]);
    assert_eq!(replica.state.header().lease.unwrap().expires, ts(9 * SECOND));
}

#[test]
fn promise_never_moves_back() {
    // T5, T18.
    let mut replica = full();
    replica.apply(&[Entry { promise: Some(ts(SECOND)), ..entry(Command::Nothing) }]);
    assert_eq!(replica.state.header().promise, ts(2 * SECOND));
}

#[test]
fn outcome_that_comes_twice_or_with_another_timestamp_changes_nothing_more() {
    // T41: also with a snapshot between.
    let mut replica = full();
    let outcome = |commit_ts| {
        let decision = Decision::Commit { commit_ts, prepare_ts: ts(5 * SECOND) };
        Entry::fact(Command::Resolve { id: id(3), decision })
    };
    replica.apply(&[outcome(ts(6 * SECOND))]);
    let installed = replica.versions.len();
    replica.state = replica.snapshot();
    let abort = Command::Resolve { id: id(3), decision: Decision::Abort };
    replica.apply(&[outcome(ts(6 * SECOND)), outcome(ts(7 * SECOND)), Entry::fact(abort)]);
    assert_eq!(replica.versions.len(), installed);
    assert_eq!(replica.versions.last().unwrap().timestamp, ts(6 * SECOND));
    assert_eq!(replica.state.header().highest_commit, ts(6 * SECOND));
}

#[test]
#[should_panic(expected = "below prepare_ts")]
fn outcome_below_the_prepare_timestamp_stops_the_replica() {
    // Section 9.6: asserted again where it is applied.
    let (commit_ts, prepare_ts) = (ts(4 * SECOND), ts(5 * SECOND));
    let decision = Decision::Commit { commit_ts, prepare_ts };
    full().apply(&[Entry::fact(Command::Resolve { id: id(3), decision })]);
}

#[test]
fn settled_lies_below_the_lowest_prepare_on_the_keys() {
    // T11, R5.
    let replica = full();
    let over = |name: &str| replica.state.settled(&[KeySpan::point(key(name))]);
    assert_eq!(over("p"), ts(5 * SECOND).prev());
    assert_eq!(over("q"), Timestamp::MAX);
    assert_eq!(replica.state.applied().index, LogIndex(log().len() as u64));
}

#[test]
fn settled_finds_every_key_of_a_prepare_in_whatever_order_it_came() {
    // R5: the writes are searched, also those that a restart has loaded.
    let mut replica = Replica::new();
    let writes = ["z", "b", "p"].map(write).to_vec();
    let record = PreparedRecord { writes, ..prepared(5 * SECOND) };
    let lease = Command::Lease { holder: NodeId(1), epoch: Epoch(1), expires: ts(100 * SECOND) };
    replica.apply(&[Entry::fact(lease), entry(Command::Prepare { id: id(3), record })]);
    for state in [&replica.state, &replica.snapshot()] {
        for name in ["b", "p", "z"] {
            let span = KeySpan::point(key(name));
            assert_eq!(state.settled(&[span]), ts(5 * SECOND).prev(), "{name}");
        }
        for span in [KeySpan::new(key("c"), key("p")), KeySpan::point(key("a"))] {
            assert_eq!(state.settled(&[span]), Timestamp::MAX);
        }
    }
}
