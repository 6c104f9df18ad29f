//! One assigner of timestamps at a time (TRANSACTIONS.md section 3).

use super::rig::{MILLISECOND, Rig, SECOND, START, key};
use super::*;

#[test]
fn lease_serves_only_once_it_is_applied() {
    // Section 9.1.
    let mut rig = Rig::bare();
    rig.elect();
    let id = rig.id();
    let read = rig.read_shared(id, "k");
    rig.apply_one();
    assert_eq!(rig.log.len(), 2, "the lease is proposed");
    assert!(!rig.was_read(read) && !rig.serves());
    rig.apply_one();
    assert!(rig.was_read(read) && rig.serves());
}

#[test]
fn new_epoch_waits_out_the_old_lease() {
    // Section 9.2, T4.
    let mut rig = Rig::new();
    let end = rig.lease_end();
    rig.elect();
    rig.run();
    let id = rig.id();
    let read = rig.read_shared(id, "k");
    rig.run();
    assert!(!rig.serves() && !rig.was_read(read));
    rig.true_time = end.nanos() + 2 * MILLISECOND;
    rig.run();
    assert!(rig.serves() && rig.was_read(read));
    assert_eq!(rig.state.header().lease.unwrap().epoch, Epoch(2));
    assert!(rig.leader.floor(&rig.state) >= end, "nothing is assigned below the old lease's end");
}

#[test]
fn node_that_is_elected_again_has_no_right_to_its_old_lease() {
    // Section 9.3.
    let mut rig = Rig::new();
    rig.term += 1;
    rig.leader = Leader::new(Config::default(), NodeId(1), Term(rig.term), &rig.now());
    rig.log.push((Term(rig.term), Entry::default()));
    rig.run();
    assert!(!rig.serves());
}

#[test]
fn entry_of_an_old_epoch_has_no_effect() {
    // Section 9.23: it is applied behind a release, and its caller is not told "committed".
    let mut rig = Rig::new();
    let epoch = rig.state.header().lease.unwrap().epoch;
    let release = Command::Release { highest: Timestamp::from_nanos(START), wait_out: None };
    let release = Entry { epoch: Some(epoch), ..Entry::fact(release) };
    rig.log.push((Term(rig.term), release));
    let id = rig.id();
    let commit = rig.commit(id, "k", Vec::new());
    rig.run();
    rig.wait(SECOND / 10);
    assert!(rig.state.outcome(&id).is_none());
    assert!(matches!(rig.reply(commit), Some(Reply::Refused(Refusal::NotLeader { .. }))));
}

#[test]
fn waiters_are_failed_at_step_down_and_never_granted() {
    // Section 9.24.
    let mut rig = Rig::new();
    let (holder, waiter) = (rig.id(), rig.id());
    rig.read_for_update(holder, "k");
    let waits = rig.read_shared(waiter, "k");
    rig.elect();
    assert!(matches!(rig.reply(waits), Some(Reply::Refused(Refusal::NotLeader { .. }))));
    assert!(!rig.was_read(waits));
}

#[test]
fn release_waits_until_the_assigned_commits_have_passed() {
    // Section 9.25.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.commit(id, "k", Vec::new());
    rig.run();
    let mut out = Vec::new();
    rig.leader.hand_over(&rig.now(), &rig.state, &mut out);
    rig.take(out);
    rig.run();
    let released = |rig: &Rig| {
        rig.log.iter().any(|(_, entry)| matches!(entry.command, Command::Release { .. }))
    };
    assert!(!released(&rig));
    rig.wait(3 * MILLISECOND);
    rig.run();
    assert!(released(&rig) && rig.handed_over);
    // The next epoch starts at once, above what the released one assigned.
    let floor = rig.leader.floor(&rig.state);
    rig.elect();
    let id = rig.id();
    let read = rig.read_shared(id, "k");
    rig.run();
    assert!(rig.was_read(read) && rig.leader.floor(&rig.state) >= floor);
}

#[test]
fn release_with_a_prepared_transaction_carries_its_bound() {
    let mut rig = Rig::new();
    let id = rig.id();
    rig.read_shared(id, "y");
    rig.prepare(id, "k");
    rig.run();
    let bound = rig.state.prepared()[&id].expires.unwrap();
    let mut out = Vec::new();
    rig.leader.hand_over(&rig.now(), &rig.state, &mut out);
    rig.take(out);
    rig.wait(SECOND / 2);
    rig.run();
    let released = rig.state.header().lease.unwrap().released.unwrap();
    assert_eq!(released.wait_out, Some(bound));
}

#[test]
fn unsure_clock_refuses_requests_and_takes_outcomes() {
    let mut rig = Rig::new();
    let id = rig.id();
    rig.prepare(id, "k");
    rig.run();
    rig.sure = false;
    let other = rig.id();
    let refused = rig.read_shared(other, "j");
    assert!(matches!(rig.reply(refused), Some(Reply::Refused(Refusal::ClockUnsure { .. }))));
    let decision = Decision::Abort;
    let resolved = rig.ask(Request::Resolve { id, key: key("k"), decision });
    rig.run();
    assert_eq!(rig.reply(resolved), Some(&Reply::Resolved));
}

#[test]
fn leader_that_was_paused_past_its_lease_grants_and_assigns_nothing_on_it() {
    // T4, T7: it held a lock for a transaction, slept, and is asked on. Its own lease is no lease.
    let mut rig = Rig::new();
    let (id, waiter) = (rig.id(), rig.id());
    rig.read_for_update(id, "k");
    let grant = rig.grant(id);
    let waits = rig.read_shared(waiter, "k");
    let entries = rig.log.len();
    rig.true_time += 3 * SECOND;
    rig.ask(Request::Release { id, key: key("k") });
    let commit = rig.commit_with(id, "k", Vec::new(), grant);
    assert!(!rig.was_read(waits) && rig.reply(commit).is_none());
    let lease = |(_, entry): &(Term, Entry)| matches!(entry.command, Command::Lease { .. });
    assert!(rig.log[entries..].iter().all(lease), "it takes a lease before anything else");
    rig.run();
    let lost = Reply::Outcome(Outcome::Aborted { reason: AbortReason::LocksLost });
    assert_eq!(rig.reply(commit), Some(&lost));
    assert!(!rig.was_read(waits), "who waited in the old epoch asks again");
}

#[test]
fn no_epoch_is_taken_while_an_extension_of_the_last_is_in_flight() {
    // Section 3: it may still make the old lease good.
    let mut rig = Rig::new();
    rig.true_time += SECOND + SECOND / 2;
    let id = rig.id();
    rig.commit(id, "k", Vec::new());
    assert!(rig.log.last().is_some_and(|(_, entry)| entry.extend.is_some()));
    rig.wait(5 * SECOND);
    let lease = |(_, entry): &(Term, Entry)| matches!(entry.command, Command::Lease { .. });
    assert_eq!(rig.log.iter().filter(|entry| lease(entry)).count(), 1);
    rig.run();
    rig.run();
    assert_eq!(rig.state.header().lease.unwrap().epoch, Epoch(1), "idle, it rests");
}

#[test]
fn leader_whose_hand_over_failed_begins_no_epoch_while_an_extension_is_in_flight() {
    // Section 3: applied first, the extension would make the old lease good beyond what the new epoch waited out.
    let mut rig = Rig::new();
    let id = rig.id();
    rig.true_time = rig.lease_end().nanos() - SECOND / 2;
    rig.prepare(id, "k");
    let proposed = rig.log.len();
    assert!(rig.log[proposed - 1].1.extend.is_some(), "the prepare extends the lease");
    rig.true_time += 3 * SECOND;
    rig.hand_over();
    assert!(rig.handed_over, "the lease has lapsed: there is nothing to release");
    assert!(rig.leader.hand_over_failed());
    let asked = rig.id();
    rig.read_shared(asked, "j");
    rig.tick();
    assert_eq!(rig.log.len(), proposed, "{:?}", rig.log.last());
    rig.run();
    assert!(rig.serves(), "once it is applied, and over");
    assert_eq!(rig.state.header().lease.unwrap().epoch, Epoch(2));
}

/// A leader that holds a lock which nobody asks for, on a clock of this epsilon, from this phase of its
/// monotonic clock on; the grant of the lock.
fn quiet_with_a_lock(epsilon: Duration, phase: u64) -> (Rig, TxnId) {
    let silence = Duration::from_secs(24 * 3600);
    let config = Config { idle_timeout: silence, ..Config::default() };
    let mut rig = Rig { config, epsilon, true_time: START + phase, ..Rig::bare() };
    rig.elect();
    let id = rig.id();
    rig.read_for_update(id, "k");
    rig.run();
    assert!(rig.grant(id).is_some());
    (rig, id)
}

/// How much of the lease is left, as its end is judged.
fn left(rig: &Rig) -> Duration {
    rig.lease_end().since(rig.now().sure().unwrap().latest)
}

#[test]
fn quiet_leader_with_a_lock_renews_its_lease_in_time_on_a_wide_clock() {
    // Section 3: with half of it left, as its end is judged, which a wide clock sees coming early. A node may be
    // late for its deadlines.
    for epsilon in [1, 100, 480, 500] {
        for phase in (0..1_000).step_by(90) {
            for late in [0, 100] {
                lock_outlives_twenty_leases(epsilon, phase, late);
            }
        }
    }
}

/// All in milliseconds. Time passes only from one deadline of the leader to the next.
fn lock_outlives_twenty_leases(epsilon: u64, phase: u64, late: u64) {
    let case = format!("epsilon {epsilon} ms, phase {phase} ms, late by {late} ms");
    let (mut rig, id) = quiet_with_a_lock(Duration::from_millis(epsilon), phase * MILLISECOND);
    let grant = rig.grant(id);
    let length = rig.config.lease_length;
    let until = rig.now().mono.plus(length * 20);
    let before = rig.log.len();
    while rig.now().mono < until {
        let now = rig.now();
        let deadline = rig.leader.next_deadline(&now, &rig.state);
        assert!(deadline > now.mono, "{case}: it was just asked what is due");
        rig.true_time += deadline.nanos() - now.mono.nanos() + late * MILLISECOND;
        let left = left(&rig);
        rig.run();
        assert_eq!(rig.grant(id), grant, "{case}");
        assert!(left >= length * 3 / 8, "{case}: {left:?} were left");
    }
    assert_eq!(rig.state.header().lease.unwrap().epoch, Epoch(1), "{case}");
    let renewals = &rig.log[before..];
    assert!(renewals.iter().all(|(_, entry)| entry.extend.is_some()), "{case}: {renewals:?}");
    assert!((20..=41).contains(&renewals.len()), "{case}: {} renewals", renewals.len());
}

#[test]
fn quiet_leaders_renew_at_the_same_instants_though_epsilon_grows() {
    // docs/adr/0006-quiet-shards.md: one write for all leases of a node.
    let drift = |time: u64| Duration::from_nanos(time / 5_000);
    for phase in (0..2_000).step_by(130) {
        let (mut rig, _) = quiet_with_a_lock(Duration::from_millis(1), phase * MILLISECOND);
        let mut renewed = Vec::new();
        while rig.true_time < START + 30 * SECOND {
            let deadline = rig.leader.next_deadline(&rig.now(), &rig.state);
            let wait = u64::try_from(deadline.since(rig.now().mono).as_nanos()).unwrap().max(1);
            rig.true_time += wait;
            rig.epsilon = Duration::from_millis(1) + drift(rig.true_time - START);
            let entries = rig.log.len();
            rig.run();
            if rig.log[entries..].iter().any(|(_, entry)| entry.extend.is_some()) {
                renewed.push(rig.now().mono.nanos());
            }
        }
        let late = renewed.split_off(4);
        assert!(late.iter().all(|at| at % SECOND < MILLISECOND), "phase {phase} ms: {late:?}");
        assert!(late.windows(2).all(|pair| pair[1] - pair[0] > SECOND / 2), "{late:?}");
    }
}
