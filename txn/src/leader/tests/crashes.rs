//! Leaders that die at each step of two-phase commit, and replicas that go on from what was stored alone
//! (docs/traps.md, T35, T43, and the crash matrix).

use super::rig::{MILLISECOND, Rig, SECOND, START, attempt, key, participant, write};
use super::*;

/// How far the coordinator came before its leader died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// The commit was proposed and is lost with its leader.
    Proposed,
    /// It stands in the log; the next leader applies it.
    Logged,
    /// Applied; `s` has not passed.
    Applied,
    /// Both participants are being told.
    Telling,
    /// One has answered, the other not.
    OneTold,
    /// And that is logged.
    OneForgotten,
    /// Both have answered, and that is logged.
    AllForgotten,
}

const STEPS: [Step; 7] = [
    Step::Proposed,
    Step::Logged,
    Step::Applied,
    Step::Telling,
    Step::OneTold,
    Step::OneForgotten,
    Step::AllForgotten,
];

fn told(rig: &Rig, name: &str) -> Vec<Decision> {
    let of = |(_, request): &(CallId, Request)| match request {
        Request::Resolve { key: to, decision, .. } if *to == key(name) => Some(*decision),
        _ => None,
    };
    rig.calls.iter().filter_map(of).collect()
}

/// A coordinator that came as far as `step`, the attempt, its grant and its commit's caller.
fn coordinator_at(step: Step) -> (Rig, TxnId, Option<GrantPair>, u64) {
    let mut rig = Rig::new();
    let id = rig.id();
    rig.read_for_update(id, "k");
    let grant = rig.grant(id);
    let participants = vec![participant("p", START, None), participant("q", START, None)];
    let commit = rig.commit(id, "k", participants);
    let resolved = |name: &'static str| move |request: &Request| matches!(request, Request::Resolve { key: to, .. } if *to == key(name));
    if step >= Step::Applied {
        rig.run();
    }
    if step >= Step::Telling {
        rig.wait(3 * MILLISECOND);
        assert!(rig.committed(commit).is_some());
    }
    if step >= Step::OneTold {
        assert_eq!(rig.answer_calls(resolved("p"), &Ok(Reply::Resolved)), 1);
    }
    if step >= Step::AllForgotten {
        assert_eq!(rig.answer_calls(resolved("q"), &Ok(Reply::Resolved)), 1);
    }
    if step >= Step::OneForgotten {
        rig.wait(SECOND / 5);
        rig.run();
    }
    if step == Step::Proposed {
        rig.lose_unapplied();
    }
    (rig, id, grant, commit)
}

#[test]
fn coordinator_that_dies_at_each_step_leaves_one_outcome_and_tells_who_was_not_told() {
    // T34, T35: the gateway repeats its commit at the next leader, which has what was stored and no more.
    for step in STEPS {
        let (mut rig, id, grant, first) = coordinator_at(step);
        let answered = rig.committed(first);
        rig.calls.clear();
        rig.reload();
        rig.elect();
        rig.true_time += 3 * SECOND;
        rig.run();
        let participants = vec![participant("p", START, None), participant("q", START, None)];
        let again = rig.commit_with(id, "k", participants, grant);
        rig.run();
        rig.wait(SECOND / 10);
        rig.run();
        let decision = match rig.commit_ts(&id) {
            Some(commit_ts) => {
                assert!(step > Step::Proposed, "{step:?}");
                assert_eq!(rig.committed(again), Some(commit_ts), "{step:?}");
                assert!(answered.is_none_or(|answered| answered == commit_ts), "{step:?}");
                assert_eq!(rig.versions.len(), 1, "{step:?}: it is installed once");
                let prepare_ts = Timestamp::from_nanos(START);
                Decision::Commit { commit_ts, prepare_ts }
            }
            None => {
                assert_eq!(step, Step::Proposed);
                let lost = Reply::Outcome(Outcome::Aborted { reason: AbortReason::LocksLost });
                assert_eq!(rig.reply(again), Some(&lost));
                assert!(rig.state.outcome(&id).is_some(), "others may know of it: it is logged");
                Decision::Abort
            }
        };
        let expected = |done: bool| if done { vec![] } else { vec![decision] };
        assert_eq!(told(&rig, "p"), expected(step >= Step::OneForgotten), "{step:?}");
        assert_eq!(told(&rig, "q"), expected(step >= Step::AllForgotten), "{step:?}");
    }
}

#[test]
fn participant_that_dies_at_each_step_applies_the_outcome_once() {
    // T41, T43: before its record is logged, after it, and after the outcome; the coordinator repeats
    // itself, and also sends what is older.
    for step in 0..4 {
        let mut rig = Rig::new();
        let id = rig.id();
        rig.read_for_update(id, "k");
        let grant = rig.grant(id);
        let first = rig.prepare(id, "k");
        let prepare_ts = rig.proposed_prepare(&id);
        let decision = Decision::Commit { commit_ts: prepare_ts.next(), prepare_ts };
        if step >= 1 {
            rig.run();
            assert!(matches!(rig.reply(first), Some(Reply::Prepared { .. })));
        }
        if step >= 2 {
            rig.resolve(id, "k", decision);
        }
        if step >= 3 {
            rig.run();
        }
        if step == 0 {
            rig.lose_unapplied();
        }
        rig.reload();
        rig.elect();
        rig.true_time += 3 * SECOND;
        rig.run();
        if step == 0 {
            let request = Request::Prepare {
                attempt: attempt(id, grant),
                key: key("k"),
                coordinator: key("a-coordinator"),
                participants: vec![key("k")],
                writes: vec![write("k")],
                digest: 1,
            };
            let again = rig.ask(request);
            rig.run();
            let lost = Reply::Aborted { reason: AbortReason::LocksLost };
            assert_eq!(rig.reply(again), Some(&lost));
            assert!(rig.state.prepared().is_empty() && rig.versions.is_empty());
            continue;
        }
        for _ in 0..2 {
            let resolved = rig.resolve(id, "k", decision);
            rig.run();
            assert_eq!(rig.reply(resolved), Some(&Reply::Resolved), "step {step}");
        }
        let installed: Vec<_> = rig.versions.iter().map(|version| version.timestamp).collect();
        assert_eq!(installed, [prepare_ts.next()], "step {step}");
        assert!(rig.state.prepared().is_empty());
    }
}

#[test]
fn replica_that_got_a_snapshot_between_prepare_and_outcome_takes_over_with_its_locks() {
    // T43, T44.
    let mut rig = Rig::new();
    let (prepared, other) = (rig.id(), rig.id());
    rig.prepare(prepared, "k");
    rig.run();
    let prepare_ts = rig.state.prepared()[&prepared].prepare_ts;
    rig.reload();
    rig.elect();
    rig.true_time += 3 * SECOND;
    rig.run();
    let read = rig.read_shared(other, "k");
    rig.run();
    assert!(!rig.was_read(read), "the lock is held for the prepared one");
    let decision = Decision::Commit { commit_ts: prepare_ts.next(), prepare_ts };
    rig.resolve(prepared, "k", decision);
    rig.run();
    assert!(rig.was_read(read));
    assert_eq!(rig.versions.len(), 1);
}
