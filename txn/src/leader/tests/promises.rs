//! What was promised to readers binds every later leader (TRANSACTIONS.md sections 3 and 5).

use truetime::Timestamp;

use super::rig::{MILLISECOND, Rig, SECOND, key};
use super::*;

/// Far ahead of true time, and far behind it, within epsilon.
const FAST: i64 = 900_000;
const SLOW: i64 = -900_000;

fn latest(rig: &Rig) -> Timestamp {
    rig.now().sure().unwrap().latest
}

#[test]
fn promise_to_a_reader_outlives_the_release_of_its_leader() {
    // Section 9.4, T3: the next leader's clock is slower than the timestamp that was read, and after a
    // release it waits for nothing.
    let mut rig = Rig::new();
    rig.offset = FAST;
    let at = latest(&rig);
    let read = rig.snapshot(at, "k");
    assert!(rig.was_read(read));
    rig.hand_over();
    rig.run();
    assert!(rig.handed_over);
    rig.elect();
    rig.offset = SLOW;
    let id = rig.id();
    let commit = rig.commit(id, "k", Vec::new());
    rig.run();
    rig.wait(SECOND / 10);
    let commit_ts = rig.committed(commit).unwrap();
    assert!(commit_ts > at, "{commit_ts} was promised away at {at}");
}

#[test]
fn promise_to_a_reader_outlives_the_crash_of_its_leader() {
    // Section 9.4, T3: the promise was given just below the lease's end, which the next leader waits out.
    let mut rig = Rig::new();
    let at = rig.lease_end().prev();
    rig.offset = FAST;
    rig.true_time = at.nanos() - FAST.unsigned_abs() - MILLISECOND;
    assert_eq!(latest(&rig), at);
    let read = rig.snapshot(at, "k");
    assert!(rig.was_read(read));
    rig.lose_unapplied();
    rig.elect();
    rig.offset = SLOW;
    let id = rig.id();
    rig.commit(id, "k", Vec::new());
    rig.run();
    assert!(rig.state.outcome(&id).is_none(), "the old lease is not over on this clock");
    rig.wait(4 * MILLISECOND);
    rig.run();
    assert!(rig.commit_ts(&id) > Some(at));
}

#[test]
fn lease_does_not_reach_the_timestamp_of_a_read_and_no_promise_is_given() {
    // Section 5: what lies past the lease binds nobody after it.
    let mut rig = Rig::new();
    let end = rig.lease_end();
    rig.true_time = end.nanos() - 2 * MILLISECOND;
    let read = rig.snapshot(end, "k");
    assert!(!rig.was_read(read) && rig.leader.floor(&rig.state) < end);
    rig.run();
    rig.wait(3 * MILLISECOND);
    assert!(rig.was_read(read), "the extension reaches past it");
}

#[test]
fn timestamps_increase_over_leaders_with_clocks_at_opposite_ends() {
    // T2, R1: commits and promises of one shard, over crashes and releases.
    let mut rig = Rig::new();
    let mut highest = Timestamp::ZERO;
    for round in 0..12 {
        rig.offset = if round % 2 == 0 { FAST } else { SLOW };
        let id = rig.id();
        rig.commit(id, "k", Vec::new());
        rig.run();
        let commit_ts = rig.commit_ts(&id).expect("the lease is there and the entry applied");
        assert!(commit_ts > highest, "round {round}: {commit_ts} at or below {highest}");
        let at = latest(&rig);
        let read = rig.snapshot(at, "j");
        assert!(rig.was_read(read), "round {round}");
        highest = commit_ts.max(at);
        if round % 3 == 0 {
            rig.wait(2 * MILLISECOND + 2);
            let at = latest(&rig);
            let read = rig.snapshot(at, "j");
            assert!(rig.was_read(read), "round {round}");
            highest = highest.max(at);
            rig.hand_over();
            rig.run();
            rig.elect();
        } else {
            rig.elect();
            rig.true_time += 3 * SECOND;
        }
        rig.run();
    }
}

#[test]
fn lapsed_lease_publishes_no_promise() {
    // T18: an idle shard promises nothing at or above its lease's end.
    let mut rig = Rig::new();
    let end = rig.lease_end();
    let now = rig.now();
    let promise = rig.leader.published_promise(&now, &rig.state).unwrap();
    assert!(promise < end && now.after(promise));
    rig.true_time = end.nanos() + MILLISECOND;
    assert_eq!(rig.leader.published_promise(&rig.now(), &rig.state), None);
}

#[test]
fn go_ahead_waits_for_its_time_and_promises_it() {
    // Sections 9.16 and 5: the leader does for a follower's read all that it does for its own.
    let mut rig = Rig::new();
    let at = latest(&rig).plus(Duration::from_millis(3));
    let asked = rig.go_ahead(at, "k");
    assert!(rig.reply(asked).is_none() && rig.leader.floor(&rig.state) < at);
    rig.wait(4 * MILLISECOND);
    let applied = rig.state.applied();
    assert_eq!(rig.reply(asked), Some(&Reply::GoAhead { applied }));
    assert!(rig.leader.floor(&rig.state) >= at, "nothing is assigned at or below it");
}

#[test]
fn go_ahead_waits_for_what_is_prepared_on_its_keys() {
    // Section 9.16.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.prepare(id, "k");
    let prepare_ts = rig.proposed_prepare(&id);
    rig.true_time += 5 * MILLISECOND;
    let unlogged = rig.go_ahead(prepare_ts, "k");
    rig.run();
    let below = rig.go_ahead(prepare_ts.prev(), "k");
    let other_key = rig.go_ahead(prepare_ts, "j");
    let at = rig.go_ahead(prepare_ts, "k");
    assert!(rig.reply(below).is_some() && rig.reply(other_key).is_some());
    assert!(rig.reply(unlogged).is_none() && rig.reply(at).is_none());
    rig.resolve(id, "k", Decision::Commit { commit_ts: prepare_ts, prepare_ts });
    assert!(rig.reply(at).is_none(), "the outcome is not applied");
    rig.run();
    let applied = rig.state.applied();
    for asked in [unlogged, at] {
        assert_eq!(rig.reply(asked), Some(&Reply::GoAhead { applied }), "it covers the outcome");
    }
}

#[test]
fn go_ahead_waits_for_what_replicates_and_for_commit_wait() {
    // Section 9.16.
    let mut rig = Rig::new();
    let id = rig.id();
    let commit = rig.commit(id, "k", Vec::new());
    let commit_ts = rig.proposed_commit(&id);
    rig.true_time += MILLISECOND;
    let replicating = rig.go_ahead(commit_ts, "k");
    assert!(rig.reply(replicating).is_none());
    rig.run();
    let waiting = rig.go_ahead(commit_ts, "k");
    let read = rig.snapshot(commit_ts, "k");
    for asked in [replicating, waiting] {
        assert!(rig.reply(asked).is_none(), "s has not passed");
    }
    assert!(!rig.was_read(read));
    rig.wait(2 * MILLISECOND);
    assert!(rig.committed(commit).is_some());
    assert!(rig.reply(replicating).is_some() && rig.reply(waiting).is_some());
    assert!(rig.was_read(read));
}

#[test]
fn isolated_leader_reads_nothing_once_its_lease_is_over() {
    // T16, T4: it still believes that it leads, and none of its entries is applied any more.
    let mut rig = Rig::new();
    let at = latest(&rig);
    let id = rig.id();
    rig.true_time += 3 * SECOND;
    let snapshot = rig.snapshot(at, "k");
    let go_ahead = rig.go_ahead(at, "k");
    let locked = rig.read_shared(id, "k");
    let commit = rig.commit(id, "k", Vec::new());
    rig.wait(SECOND);
    assert!(!rig.was_read(snapshot) && !rig.was_read(locked));
    assert!(rig.reply(go_ahead).is_none() && rig.reply(commit).is_none());
    let assigns = |(_, entry): &(Term, Entry)| matches!(entry.command, Command::Commit { .. });
    assert!(!rig.log.iter().any(assigns), "nothing is assigned without a lease");
    let request = Request::Lookup { id, coordinator: key("k"), asker: Asker::Client };
    let lookup = rig.ask(request);
    assert!(rig.reply(lookup).is_none());
}
