//! The coordinator's shard was removed with its table (TRANSACTIONS.md section 4): nobody can tell whether a commit
//! that was sent took effect.

use super::*;

fn removed() -> Reply {
    Reply::Refused(Refusal::Removed)
}

#[test]
fn commit_answered_by_a_removed_shard_is_unknown_for_good() {
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.answer(commit, removed());
    assert!(matches!(rig.end(), End::OutcomeUnknown { for_good: true, .. }));
}

#[test]
fn lookup_answered_by_a_removed_shard_is_unknown_for_good() {
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.fail(commit);
    let (lookup, _) = rig.call();
    rig.answer(lookup, removed());
    assert!(matches!(rig.end(), End::OutcomeUnknown { for_good: true, .. }));
}

#[test]
fn abort_answered_by_a_removed_shard_is_certain_only_if_no_commit_was_sent() {
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.answer(commit, Reply::Refused(Refusal::DiskFull { node: proto::NodeId(1) }));
    let (abort, _) = rig.call();
    rig.answer(abort, removed());
    assert!(matches!(rig.end(), End::OutcomeUnknown { for_good: true, .. }));

    let mut rig = Rig::new();
    let prepare = rig.prepare_at_b();
    rig.fail(prepare);
    let (abort, request) = rig.call();
    assert!(matches!(request, Request::Abort { .. }));
    rig.answer(abort, removed());
    assert!(matches!(rig.end(), End::NotCommitted { .. }));
}
