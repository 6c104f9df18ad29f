//! Reads at a timestamp and promises at the leader (TRANSACTIONS.md section 5).

use super::rig::{MILLISECOND, Rig, key};
use super::*;

#[test]
fn read_at_a_timestamp_waits_for_what_may_commit_at_or_below_it() {
    let mut rig = Rig::new();
    let id = rig.id();
    rig.prepare(id, "k");
    rig.run();
    let prepare_ts = rig.state.prepared()[&id].prepare_ts;
    rig.wait(5 * MILLISECOND);
    let below = rig.snapshot(prepare_ts.prev(), "k");
    let other_key = rig.snapshot(prepare_ts.next(), "j");
    let above = rig.snapshot(prepare_ts.next(), "k");
    assert!(rig.was_read(below) && rig.was_read(other_key) && !rig.was_read(above));
    rig.ask(Request::Resolve { id, key: key("k"), decision: Decision::Abort });
    rig.run();
    assert!(rig.was_read(above));
}

#[test]
fn read_ahead_of_the_leaders_clock_waits_until_its_time_has_come() {
    let mut rig = Rig::new();
    let at = rig.now().sure().unwrap().latest.plus(Duration::from_millis(3));
    let read = rig.snapshot(at, "k");
    assert!(!rig.was_read(read));
    rig.wait(4 * MILLISECOND);
    assert!(rig.was_read(read));
}

#[test]
fn published_promise_is_surely_past() {
    // Section 9.17, T12.
    let mut rig = Rig::new();
    rig.wait(MILLISECOND);
    let id = rig.id();
    rig.commit(id, "k", Vec::new());
    rig.run();
    let promise = rig.state.header().promise;
    assert!(promise > Timestamp::ZERO && rig.now().after(promise));
}

#[test]
fn read_that_waited_at_the_leader_is_refused_when_the_threshold_has_passed_it() {
    // T61: it is checked when the view is taken, not when the read came.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.prepare(id, "k");
    rig.run();
    let at = rig.state.prepared()[&id].prepare_ts;
    rig.wait(5 * MILLISECOND);
    let read = rig.snapshot(at, "k");
    let epoch = Some(rig.state.header().lease.unwrap().epoch);
    let threshold = at.next();
    let moved = Entry { epoch, ..Entry::fact(Command::Threshold { threshold }) };
    rig.log.push((Term(rig.term), moved));
    rig.resolve(id, "k", Decision::Abort);
    rig.run();
    let refused = Reply::Refused(Refusal::BelowThreshold { threshold });
    assert_eq!(rig.reply(read), Some(&refused));
    assert!(!rig.was_read(read));
}
