//! Commits and prepares whose writes take more than one entry (TRANSACTIONS.md section 4).

use super::rig::{MILLISECOND, Rig, SECOND, START, attempt, key, participant, write};
use super::*;

/// Each of these is a piece of its own.
const ROWS: [&str; 8] = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"];
/// As many as may be in flight.
const IN_FLIGHT: usize = 4;

fn narrow() -> Config {
    Config { entry_bytes_max: 1, ..Config::default() }
}

fn rig() -> Rig {
    Rig::with(narrow())
}

impl Rig {
    fn commit_rows(&mut self, id: TxnId, rows: &[&str], participants: Vec<Participant>) -> u64 {
        let grant = self.grant(id);
        self.commit_rows_with(id, rows, participants, grant, 7)
    }

    fn commit_rows_with(
        &mut self,
        id: TxnId,
        rows: &[&str],
        participants: Vec<Participant>,
        grant: Option<GrantPair>,
        digest: u64,
    ) -> u64 {
        self.ask(Request::Commit {
            attempt: attempt(id, grant),
            coordinator: key(rows[0]),
            writes: rows.iter().map(|row| write(row)).collect(),
            participants,
            digest,
            single_use: false,
            below: None,
        })
    }

    fn prepare_rows(&mut self, id: TxnId, rows: &[&str]) -> u64 {
        let grant = self.grant(id);
        self.ask(Request::Prepare {
            attempt: attempt(id, grant),
            key: key(rows[0]),
            coordinator: key("a-coordinator"),
            participants: vec![key(rows[0])],
            writes: rows.iter().map(|row| write(row)).collect(),
            digest: 1,
        })
    }

    /// The commands proposed and not yet applied, of one attempt.
    fn in_flight(&self, wanted: TxnId) -> Vec<&'static str> {
        let of = |(_, entry): &(Term, Entry)| match &entry.command {
            Command::Piece { id, .. } if *id == wanted => Some("piece"),
            Command::Commit { id, .. } if *id == wanted => Some("commit"),
            Command::Prepare { id, .. } if *id == wanted => Some("prepare"),
            Command::Abort { id, .. } if *id == wanted => Some("abort"),
            _ => None,
        };
        self.log[self.applied..].iter().filter_map(of).collect()
    }

    fn written_at(&self, rows: &[&str], commit_ts: Timestamp) {
        let keys: Vec<_> = self.versions.iter().map(|version| version.key.clone()).collect();
        assert_eq!(keys, rows.iter().map(|row| key(row)).collect::<Vec<_>>());
        assert!(self.versions.iter().all(|version| version.timestamp == commit_ts));
    }

    /// Applies until all but the last entry of `id` is applied.
    fn until_last(&mut self, id: TxnId) {
        while self.in_flight(id).last() == Some(&"piece") {
            self.apply_one();
        }
        while self.in_flight(id).len() > 1 {
            self.apply_one();
        }
    }
}

#[test]
fn timestamp_is_chosen_with_the_last_piece_and_above_all_that_came_between() {
    let mut rig = rig();
    let id = rig.id();
    let commit = rig.commit_rows(id, &ROWS, Vec::new());
    assert_eq!(rig.in_flight(id), ["piece"; IN_FLIGHT]);
    rig.true_time += 10 * MILLISECOND;
    let other = rig.id();
    let between = rig.commit(other, "other", Vec::new());
    let read_at = rig.now().sure().unwrap().latest;
    let read = rig.snapshot(read_at, "r0");
    assert!(rig.was_read(read), "nobody waits for what is not chosen");
    for applied in 1..4 {
        rig.apply_one();
        assert_eq!(
            rig.in_flight(id),
            if applied < 3 {
                vec!["piece"; IN_FLIGHT]
            } else {
                vec!["piece", "piece", "piece", "piece", "commit"]
            }
        );
    }
    let floor = rig.proposed_commit(&other).max(read_at);
    assert!(rig.proposed_commit(&id) > floor);
    rig.run();
    rig.wait(SECOND / 10);
    assert!(rig.committed(between) < rig.committed(commit) && rig.committed(between).is_some());
    assert_eq!(rig.versions.len(), 1 + ROWS.len());
    assert_eq!(rig.state.unfinished(), None);
}

#[test]
fn few_pieces_and_their_last_entry_are_proposed_at_once() {
    let mut rig = rig();
    let id = rig.id();
    let commit = rig.commit_rows(id, &ROWS[..4], Vec::new());
    assert_eq!(rig.in_flight(id), ["piece", "piece", "piece", "commit"]);
    rig.run();
    rig.wait(SECOND / 10);
    rig.written_at(&ROWS[..4], rig.committed(commit).unwrap());
}

#[test]
fn writes_that_fit_into_one_entry_travel_in_one() {
    let mut rig = Rig::new();
    let id = rig.id();
    rig.commit_rows(id, &ROWS, Vec::new());
    assert_eq!(rig.in_flight(id), ["commit"]);
}

#[test]
fn pieces_alone_are_seen_by_nobody() {
    let mut rig = rig();
    let id = rig.id();
    let commit = rig.commit_rows(id, &ROWS, Vec::new());
    rig.until_last(id);
    assert_eq!(rig.state.unfinished().map(|unfinished| unfinished.pieces.len()), Some(7));
    assert!(rig.versions.is_empty() && rig.state.outcome(&id).is_none());
    assert_eq!(rig.reply(commit), None);
    rig.lose_unapplied();
    rig.elect();
    rig.true_time += 3 * SECOND;
    rig.run();
    let reader = rig.id();
    let read = rig.read_shared(reader, "r0");
    rig.run();
    assert!(rig.was_read(read), "they lock nothing under the next leader");
    assert_eq!((rig.versions.len(), rig.state.unfinished()), (0, None), "and die with their epoch");
}

#[test]
fn new_leader_after_pieces_commits_the_repeated_request_once() {
    for applied in [0, 1, 4, 7, 8] {
        let mut rig = rig();
        let id = rig.id();
        let first = rig.commit_rows(id, &ROWS, Vec::new());
        for _ in 0..applied {
            rig.apply_one();
        }
        if applied == 8 {
            assert_eq!(rig.in_flight(id), Vec::<&str>::new(), "the last entry was applied");
        }
        // What is in the log reaches the next leader, and counts under no epoch but its own.
        let kept = rig.applied + rig.in_flight(id).iter().filter(|what| **what == "piece").count();
        rig.log.truncate(kept);
        rig.elect();
        rig.reload();
        rig.true_time += 3 * SECOND;
        rig.run();
        let again = rig.commit_rows(id, &ROWS, Vec::new());
        let joined = rig.commit_rows(id, &ROWS, Vec::new());
        rig.run();
        rig.wait(SECOND);
        assert!(matches!(rig.reply(first), Some(Reply::Refused(Refusal::NotLeader { .. }))));
        let commit_ts = rig.committed(again);
        assert!(commit_ts.is_some() && commit_ts == rig.committed(joined), "after {applied}");
        rig.written_at(&ROWS, commit_ts.unwrap());
        assert!(rig.pairs.keys().all(|key| key.first() != Some(&b'q')));
    }
}

#[test]
fn repeated_commit_joins_while_pieces_are_in_flight_and_other_writes_are_refused() {
    let mut rig = rig();
    let id = rig.id();
    let first = rig.commit_rows(id, &ROWS, Vec::new());
    let contradicts = rig.commit_rows_with(id, &ROWS, Vec::new(), None, 8);
    assert_eq!(rig.reply(contradicts), Some(&Reply::Refused(contradiction())));
    rig.apply_one();
    let again = rig.commit_rows(id, &ROWS, Vec::new());
    rig.run();
    let late = rig.commit_rows(id, &ROWS, Vec::new());
    rig.wait(SECOND / 10);
    let commit_ts = rig.committed(first).unwrap();
    assert_eq!([rig.committed(again), rig.committed(late)], [Some(commit_ts); 2]);
    rig.written_at(&ROWS, commit_ts);
}

#[test]
fn one_transaction_sends_at_a_time() {
    let mut rig = rig();
    let (one, two, three) = (rig.id(), rig.id(), rig.id());
    let first = rig.commit_rows(one, &ROWS, Vec::new());
    let second = rig.prepare_rows(two, &["s0", "s1", "s2"]);
    let third = rig.prepare_rows(three, &["t0", "t1", "t2"]);
    while !rig.in_flight(one).contains(&"commit") {
        assert_eq!(rig.in_flight(two), Vec::<&str>::new());
        assert!(rig.in_flight(one).len() <= IN_FLIGHT);
        rig.apply_one();
    }
    rig.run();
    rig.wait(SECOND / 10);
    assert!(rig.committed(first).is_some());
    assert!(matches!(rig.reply(second), Some(Reply::Prepared { .. })));
    assert!(matches!(rig.reply(third), Some(Reply::Prepared { .. })));
}

#[test]
fn entry_whose_pieces_are_not_there_is_not_told_committed() {
    // Raft loses no entry in the middle; this is what if.
    let mut rig = rig();
    let id = rig.id();
    let commit = rig.commit_rows(id, &ROWS[..3], Vec::new());
    assert_eq!(rig.in_flight(id), ["piece", "piece", "commit"]);
    let lost = rig.log.iter().rposition(|(_, e)| matches!(e.command, Command::Piece { .. }));
    rig.log[lost.unwrap()].1.command = Command::Nothing;
    rig.run();
    rig.wait(SECOND / 10);
    assert!(matches!(rig.reply(commit), Some(Reply::Refused(Refusal::NotLeader { .. }))));
    assert!(rig.versions.is_empty() && rig.state.outcome(&id).is_none());
    // The next one finds nothing in its way.
    let id = rig.id();
    let commit = rig.commit_rows(id, &ROWS[..3], Vec::new());
    rig.run();
    rig.wait(SECOND / 10);
    rig.written_at(&ROWS[..3], rig.committed(commit).unwrap());
}

#[test]
fn abort_ends_a_commit_whose_pieces_are_in_flight() {
    let mut rig = rig();
    let id = rig.id();
    let commit = rig.commit_rows(id, &ROWS, vec![participant("p", START, None)]);
    rig.apply_one();
    let victim = id;
    let coordinator = key("r0");
    let participants = vec![key("p")];
    let by = rig.id();
    let wound = rig.ask(Request::Wound { victim, coordinator, participants, by });
    assert_eq!(rig.in_flight(id).last(), Some(&"abort"));
    let next = rig.id();
    let other = rig.commit_rows(next, &ROWS, Vec::new());
    rig.run();
    rig.wait(SECOND / 10);
    for caller in [commit, wound] {
        let aborted = Reply::Outcome(Outcome::Aborted { reason: AbortReason::Wounded { by } });
        assert_eq!(rig.reply(caller), Some(&aborted));
    }
    rig.written_at(&ROWS, rig.committed(other).unwrap());
}

#[test]
fn commit_that_sends_pieces_may_be_wounded_and_what_it_left_takes_no_effect() {
    let mut rig = rig();
    let (older, id) = (rig.id(), rig.id());
    rig.read_for_update(id, "r0");
    let commit = rig.commit_rows(id, &ROWS, Vec::new());
    rig.apply_one();
    let read = rig.read_for_update(older, "r5");
    assert!(rig.was_read(read), "it has chosen nothing, so it is bound to nothing");
    let aborted = Reply::Outcome(Outcome::Aborted { reason: AbortReason::Wounded { by: older } });
    assert_eq!(rig.reply(commit), Some(&aborted));
    rig.run();
    assert!(rig.state.unfinished().is_some(), "nobody looks for what it left");
    let taken = rig.commit_rows(older, &ROWS[5..], Vec::new());
    rig.run();
    rig.wait(SECOND / 10);
    rig.written_at(&ROWS[5..], rig.committed(taken).unwrap());
    assert_eq!(rig.state.unfinished(), None);
}

#[test]
fn pieces_that_nobody_finishes_die_at_their_horizon() {
    let mut rig = Rig::with(Config { record_ttl: Duration::from_secs(1), ..narrow() });
    let (older, mut id) = (rig.older_id(), rig.id());
    id.horizon = Timestamp::from_nanos(rig.true_time + 4 * SECOND);
    rig.read_for_update(id, "r0");
    rig.commit_rows(id, &ROWS, Vec::new());
    rig.read_for_update(older, "r0");
    rig.run();
    assert!(rig.state.unfinished().is_some());
    let epoch = rig.state.header().lease.unwrap().epoch;
    for _ in 0..24 {
        rig.wait(SECOND / 2);
        let id = rig.id_now();
        rig.commit(id, "busy", Vec::new());
        rig.run();
        let died = rig.state.unfinished().is_none();
        assert!(!died || rig.true_time > id.horizon.nanos().min(START + 5 * SECOND));
    }
    assert_eq!(rig.state.unfinished(), None);
    assert_eq!(rig.state.header().lease.unwrap().epoch, epoch, "not with the epoch");
}

#[test]
fn last_entry_waits_for_the_extension_of_the_lease_and_nobody_sends_before_it() {
    let mut rig = rig();
    let (id, next) = (rig.id(), rig.id());
    let commit = rig.commit_rows(id, &ROWS[..6], Vec::new());
    let second = rig.commit_rows(next, &["s0", "s1"], Vec::new());
    // The last piece, which carries the extension, is proposed when no timestamp is left below the end.
    rig.true_time = rig.lease_end().nanos() - MILLISECOND - 1;
    rig.apply_one();
    assert_eq!(rig.in_flight(id), ["piece"; IN_FLIGHT], "that is all, but for the last entry");
    assert_eq!(rig.in_flight(next), Vec::<&str>::new());
    rig.run();
    rig.wait(SECOND / 10);
    rig.run();
    rig.wait(SECOND / 10);
    assert!(rig.committed(commit).is_some(), "{:?}", rig.reply(commit));
    assert!(rig.committed(second) > rig.committed(commit));
}

#[test]
fn hand_over_stops_what_has_not_chosen_and_another_try_begins_anew() {
    let mut rig = rig();
    let id = rig.id();
    rig.read_for_update(id, "r0");
    let refused = rig.commit_rows(id, &ROWS, Vec::new());
    rig.apply_one();
    // The release waits for its timestamp.
    let other = rig.id();
    rig.commit(other, "other", Vec::new());
    rig.hand_over();
    assert!(matches!(rig.reply(refused), Some(Reply::Refused(Refusal::NotLeader { .. }))));
    assert!(rig.leader.hand_over_failed());
    while rig.in_flight(id).contains(&"piece") {
        rig.apply_one();
    }
    assert_eq!(rig.in_flight(id), Vec::<&str>::new(), "nothing was proposed of it since");
    let again = rig.commit_rows(id, &ROWS, Vec::new());
    rig.run();
    rig.wait(SECOND / 10);
    assert!(rig.committed(again).is_some(), "{:?}", rig.reply(again));
    assert_eq!(rig.versions.len(), 1 + ROWS.len());
}

#[test]
fn prepare_in_pieces_binds_with_its_last_entry_and_is_restored_whole() {
    let mut rig = rig();
    let id = rig.id();
    let prepare = rig.prepare_rows(id, &ROWS);
    let joined = rig.prepare_rows(id, &ROWS);
    assert_eq!(rig.in_flight(id), ["piece"; IN_FLIGHT]);
    rig.until_last(id);
    assert!(rig.state.prepared().is_empty());
    rig.run();
    let prepared = rig.reply(prepare).cloned();
    let Some(Reply::Prepared { prepare_ts, expires: None }) = prepared else {
        panic!("every lock is on a key that it writes: {prepared:?}")
    };
    assert_eq!(rig.reply(joined), prepared.as_ref());
    assert_eq!(rig.state.prepared()[&id].writes.len(), ROWS.len());
    rig.elect();
    rig.reload();
    rig.true_time += 3 * SECOND;
    rig.run();
    let again = rig.prepare_rows(id, &ROWS);
    assert_eq!(rig.reply(again), prepared.as_ref(), "from the record");
    let older = rig.older_id();
    for row in ROWS {
        let read = rig.read_for_update(older, row);
        rig.run();
        assert!(!rig.was_read(read), "{row} is locked");
    }
    let commit_ts = prepare_ts.plus(Duration::from_secs(1));
    rig.resolve(id, "r0", Decision::Commit { commit_ts, prepare_ts });
    rig.run();
    rig.written_at(&ROWS, commit_ts);
    assert!(rig.pairs.keys().all(|key| key.first() != Some(&b'q')));
}

#[test]
fn prepare_that_loses_its_locks_while_it_sends_is_aborted_and_leaves_nothing_prepared() {
    let mut rig = rig();
    let (older, id) = (rig.id(), rig.id());
    let prepare = rig.prepare_rows(id, &ROWS);
    rig.apply_one();
    let read = rig.read_for_update(older, "r7");
    assert!(rig.was_read(read));
    assert!(matches!(rig.reply(prepare), Some(Reply::Aborted { .. })));
    rig.run();
    assert!(rig.state.prepared().is_empty());
    assert_eq!(rig.in_flight(id), Vec::<&str>::new());
    rig.resolve(id, "r0", Decision::Abort);
    rig.run();
}

#[test]
fn epoch_that_ends_under_pieces_ends_their_transaction() {
    let mut rig = rig();
    let (id, waits) = (rig.id(), rig.id());
    rig.read_for_update(id, "r0");
    let commit = rig.commit_rows(id, &ROWS, Vec::new());
    let behind = rig.prepare_rows(waits, &["s0", "s1"]);
    rig.true_time += 10 * SECOND;
    rig.run();
    let lost = Reply::Outcome(Outcome::Aborted { reason: AbortReason::LocksLost });
    assert_eq!(rig.reply(commit), Some(&lost));
    assert!(matches!(rig.reply(behind), Some(Reply::Aborted { .. })));
    assert!(rig.versions.is_empty());
    let next = rig.id_now();
    let commit = rig.commit_rows(next, &ROWS, Vec::new());
    rig.run();
    rig.wait(SECOND / 10);
    rig.written_at(&ROWS, rig.committed(commit).unwrap());
}

#[test]
fn leader_without_the_right_proposes_no_piece_and_goes_on_once_it_has_it() {
    let mut rig = rig();
    let id = rig.id();
    let commit = rig.commit_rows(id, &ROWS, Vec::new());
    rig.sure = false;
    rig.apply_one();
    rig.apply_one();
    assert_eq!(rig.in_flight(id), ["piece"; IN_FLIGHT - 2]);
    rig.sure = true;
    rig.run();
    rig.wait(SECOND / 10);
    rig.written_at(&ROWS, rig.committed(commit).unwrap());
}

#[test]
fn what_bounds_the_timestamp_is_judged_with_the_last_piece() {
    // The horizon of the id.
    let mut late = rig();
    let mut id = late.id();
    id.horizon = Timestamp::from_nanos(late.true_time + SECOND);
    late.read_for_update(id, "r0");
    let commit = late.commit_rows(id, &ROWS, Vec::new());
    late.true_time += SECOND;
    late.run();
    assert_eq!(late.reply(commit), Some(&Reply::Outcome(Outcome::NoLongerKnown)));
    assert!(late.versions.is_empty());
    // The lease of a participant (T25).
    let mut late = rig();
    let id = late.id();
    let expires = late.true_time + SECOND / 10;
    let commit = late.commit_rows(id, &ROWS, vec![participant("p", START, Some(expires))]);
    late.true_time += SECOND / 10;
    late.run();
    let aborted = Reply::Outcome(Outcome::Aborted { reason: AbortReason::LeaseBound });
    assert_eq!(late.reply(commit), Some(&aborted));
    assert!(late.versions.is_empty() && late.state.unfinished().is_none());
}

#[test]
fn short_disk_ends_what_waits_to_send_and_lets_the_sender_finish() {
    // T52: what has begun comes to its end; what is bound to nothing takes no more room.
    let mut rig = rig();
    let (first, second) = (rig.id(), rig.id());
    let sends = rig.commit_rows(first, &ROWS, Vec::new());
    let waits = rig.commit_rows(second, &["s0", "s1", "s2"], Vec::new());
    rig.leader.set_disk_room(DiskRoom::Short);
    rig.run();
    rig.wait(2 * MILLISECOND + 2);
    rig.run();
    assert!(rig.committed(sends).is_some());
    let given_up = Reply::Outcome(Outcome::Aborted { reason: AbortReason::GivenUp });
    assert_eq!(rig.reply(waits), Some(&given_up));
    assert!(rig.log.iter().all(|(_, entry)| {
        !matches!(&entry.command, Command::Piece { id, .. } if *id == second)
    }));
}
