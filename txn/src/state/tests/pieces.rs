//! Transactions in pieces: what counts, and what becomes of pieces that never will (section 4).

use super::*;

/// The commit behind that many pieces, with the write of `d`.
fn last(sequence: u64, pieces: u32) -> Entry {
    entry(Command::Commit {
        id: id(sequence),
        coordinator: key("a"),
        commit_ts: ts(7 * SECOND),
        pieces,
        writes: vec![write("d")],
        participants: Vec::new(),
        digest: 1,
    })
}

fn last_prepare(sequence: u64, pieces: u32) -> Entry {
    let record = PreparedRecord { pieces, ..prepared(5 * SECOND) };
    entry(Command::Prepare { id: id(sequence), record })
}

/// A replica in epoch 1 with two pieces of 4.
fn sending() -> Replica {
    let mut replica = Replica::new();
    let expires = ts(60 * SECOND);
    let lease = Command::Lease { holder: NodeId(4), epoch: Epoch(1), expires };
    replica.apply(&[Entry::fact(lease), piece(4, 0, &["a", "b"]), piece(4, 1, &["c"])]);
    replica
}

fn keys(replica: &Replica) -> Vec<Key> {
    replica.versions.iter().map(|version| version.key.clone()).collect()
}

fn stored_pieces(replica: &Replica) -> usize {
    replica.stored.keys().filter(|key| key.first() == Some(&b'q')).count()
}

fn assert_gone(replica: &Replica) {
    assert_eq!(replica.state.unfinished(), None);
    assert_eq!(stored_pieces(replica), 0);
    assert_eq!(replica.snapshot(), replica.state);
}

#[test]
fn snapshot_carries_unfinished_pieces() {
    // Section 9.19.
    let mut replica = full();
    let pieces = vec![vec![write("a"), write("b")], vec![write("c")]];
    assert_eq!(replica.snapshot().unfinished(), Some(&Unfinished { id: id(4), pieces }));
    replica.state = replica.snapshot();
    let before = replica.versions.len();
    replica.apply(&[last(4, 2)]);
    assert_eq!(keys(&replica)[before..], ["a", "b", "c", "d"].map(key));
}

#[test]
fn snapshot_with_a_hole_among_pieces_is_refused() {
    let load = |lost: &[u8], replica: &Replica| {
        let stored = replica.stored.clone().into_iter();
        let pairs: Vec<_> = stored.filter(|(key, _)| key != lost).collect();
        ShardState::load(KeySpan::all(), replica.state.applied(), &pairs)
    };
    let mut replica = sending();
    assert!(load(&stored::piece(&id(4), 0), &replica).is_err());
    replica.apply(&[last_prepare(4, 2)]);
    assert!(load(&[], &replica).is_ok());
    for number in 0..2 {
        assert!(load(&stored::piece(&id(4), number), &replica).is_err());
    }
}

#[test]
fn last_entry_takes_effect_with_all_its_pieces_at_its_timestamp() {
    let mut replica = sending();
    assert!(replica.versions.is_empty() && replica.state.header().highest_commit == ts(0));
    assert_eq!(
        replica.state.settled(&[KeySpan::all()]),
        Timestamp::MAX,
        "nothing waits for pieces"
    );
    replica.apply(&[last(4, 2)]);
    assert_eq!(replica.applied.last(), Some(&Applied::Committed { id: id(4) }));
    assert_eq!(keys(&replica), ["a", "b", "c", "d"].map(key));
    assert!(replica.versions.iter().all(|version| version.timestamp == ts(7 * SECOND)));
    assert_gone(&replica);
}

#[test]
fn last_entry_without_exactly_its_pieces_is_void() {
    for (entry, why) in [
        (last(4, 0), "none are named"),
        (last(4, 1), "one is not named"),
        (last(4, 3), "one is missing"),
        (last(5, 2), "they are another's"),
        (last_prepare(4, 0), "none are named"),
        (last_prepare(4, 3), "one is missing"),
        (last_prepare(5, 2), "they are another's"),
    ] {
        let mut replica = sending();
        let before = replica.state.clone();
        replica.apply(&[entry]);
        assert_eq!(replica.applied.last(), Some(&Applied::Void), "{why}");
        assert!(replica.versions.is_empty(), "{why}");
        assert_eq!(
            ShardState { applied: before.applied, ..replica.state.clone() },
            before,
            "{why}"
        );
    }
}

#[test]
fn piece_that_does_not_continue_is_void_and_a_first_one_begins_anew() {
    let mut replica = sending();
    replica.apply(&[piece(4, 1, &["x"]), piece(4, 3, &["x"]), piece(5, 2, &["x"])]);
    assert_eq!(replica.applied[3..], [Applied::Void, Applied::Void, Applied::Void]);
    replica.apply(&[piece(4, 0, &["e"]), last(4, 2)]);
    assert_eq!(replica.applied.last(), Some(&Applied::Void), "what was before is dropped");
    replica.apply(&[last(4, 1)]);
    assert_eq!(keys(&replica), ["e", "d"].map(key));
    assert_gone(&replica);
}

#[test]
fn first_piece_of_another_takes_the_place_of_what_is_unfinished() {
    let mut replica = sending();
    replica.apply(&[piece(5, 0, &["e"])]);
    assert_eq!(stored_pieces(&replica), 1, "a shard keeps the pieces of one transaction");
    replica.apply(&[last(4, 2), last(5, 1)]);
    assert_eq!(replica.applied[4..], [Applied::Void, Applied::Committed { id: id(5) }]);
    assert_gone(&replica);
}

#[test]
fn pieces_die_with_their_epoch() {
    let mut replica = sending();
    let (highest, wait_out) = (ts(9 * SECOND), None);
    replica.apply(&[entry(Command::Release { highest, wait_out })]);
    assert_gone(&replica);
    let mut replica = sending();
    let expires = ts(70 * SECOND);
    replica.apply(&[Entry::fact(Command::Lease { holder: NodeId(4), epoch: Epoch(2), expires })]);
    assert_gone(&replica);
    // Those that were on their way count no more, whatever comes behind them.
    let late = last(4, 3);
    replica.apply(&[piece(4, 2, &["x"]), piece(5, 0, &["x"]), late.clone()]);
    assert_eq!(replica.applied[4..], [Applied::Void, Applied::Void, Applied::Void]);
    let in_two = |entry: Entry| Entry { epoch: Some(Epoch(2)), ..entry };
    replica.apply(&[in_two(piece(4, 2, &["x"])), in_two(late)]);
    assert_eq!(replica.applied[7..], [Applied::Void, Applied::Void]);
    assert_gone(&replica);
}

#[test]
fn piece_without_an_epoch_is_void() {
    let mut replica = sending();
    replica.apply(&[Entry { epoch: None, ..piece(4, 2, &["x"]) }]);
    assert_eq!(replica.applied.last(), Some(&Applied::Void));
}

#[test]
fn pieces_die_with_an_outcome_or_prepare_of_their_id() {
    let abort = |sequence| {
        Entry::fact(Command::Abort {
            id: id(sequence),
            reason: AbortReason::GivenUp,
            participants: Vec::new(),
            past_horizon: false,
        })
    };
    let resolve =
        |sequence| Entry::fact(Command::Resolve { id: id(sequence), decision: Decision::Abort });
    for (outcome, another) in [(abort(4), abort(5)), (resolve(4), resolve(5))] {
        let mut replica = sending();
        replica.apply(&[another]);
        assert_eq!(stored_pieces(&replica), 2, "an outcome of somebody else");
        replica.apply(&[outcome]);
        assert_gone(&replica);
        replica.apply(&[piece(4, 2, &["x"]), last(4, 2), last_prepare(4, 2)]);
        assert_eq!(replica.applied[5..], [Applied::Void, Applied::Void, Applied::Void]);
    }
    // What is decided or prepared keeps no pieces that come late.
    let mut replica = sending();
    replica.apply(&[abort(4), piece(4, 0, &["x"])]);
    assert_eq!(replica.applied.last(), Some(&Applied::Void));
    assert_gone(&replica);
    let mut replica = sending();
    replica.apply(&[last_prepare(4, 2), piece(4, 0, &["x"])]);
    assert_eq!(replica.applied[3..], [Applied::Prepared { id: id(4) }, Applied::Void]);
    assert_eq!(replica.state.unfinished(), None);
}

#[test]
fn pieces_die_when_their_horizon_is_collected() {
    let collect =
        |nanos| Entry { collect_outcomes: Some(ts(nanos)), ..Entry::fact(Command::Nothing) };
    let mut replica = sending();
    let horizon = id(4).horizon.nanos();
    replica.apply(&[collect(horizon)]);
    assert_eq!(stored_pieces(&replica), 2, "the bound has not passed it");
    replica.apply(&[collect(horizon + 1)]);
    assert_gone(&replica);
    replica.apply(&[piece(4, 0, &["x"])]);
    assert_eq!(replica.applied.last(), Some(&Applied::Void));
}

#[test]
fn prepared_record_in_pieces_is_whole_and_no_stored_pair_is() {
    let mut replica = sending();
    replica.apply(&[last_prepare(4, 2), piece(5, 0, &["e"])]);
    for state in [&replica.state, &replica.snapshot()] {
        let record = &state.prepared()[&id(4)];
        assert_eq!(record.writes, ["a", "b", "c", "p"].map(write), "locks are restored on all");
        assert_eq!(state.settled(&[KeySpan::point(key("a"))]), ts(5 * SECOND).prev());
    }
    let largest = replica.stored.values().map(Vec::len).max().unwrap();
    let whole = postcard::to_stdvec(&replica.state.prepared()[&id(4)]).unwrap();
    assert!(largest < whole.len());
    replica.state = replica.snapshot();
    let (commit_ts, prepare_ts) = (ts(7 * SECOND), ts(5 * SECOND));
    let decision = Decision::Commit { commit_ts, prepare_ts };
    replica.apply(&[Entry::fact(Command::Resolve { id: id(4), decision })]);
    assert_eq!(keys(&replica), ["a", "b", "c", "p"].map(key));
    assert!(replica.versions.iter().all(|version| version.timestamp == commit_ts));
    assert_eq!(stored_pieces(&replica), 1, "those of 5 are still unfinished");
    assert_eq!(replica.snapshot(), replica.state);
}
