//! A node whose disk is short of space (T52).

use super::rig::{MILLISECOND, Rig, attempt, key};
use super::*;

#[test]
fn short_disk_refuses_new_work_and_ends_what_was_begun() {
    // T52: below the watermark outcomes, aborts, reads and clean-up go on.
    let mut rig = Rig::new();
    let [begun, prepared, held] = [rig.id(), rig.id(), rig.id()];
    let first = rig.commit(begun, "begun", Vec::new());
    let prepare = rig.prepare(prepared, "prepared");
    rig.read_for_update(held, "held");
    rig.run();
    assert!(matches!(rig.reply(prepare), Some(Reply::Prepared { .. })));
    rig.leader.set_disk_room(DiskRoom::Short);

    let full = Reply::Refused(Refusal::DiskFull { node: NodeId(1) });
    let fresh = rig.id();
    let lock = Request::Lock { attempt: attempt(fresh, None), keys: vec![key("x")] };
    let proposed = rig.log.len();
    let refused = [
        rig.commit(fresh, "x", Vec::new()),
        rig.prepare(fresh, "x"),
        rig.read_for_update(fresh, "x"),
        rig.ask(lock),
        rig.commit(held, "held", Vec::new()),
    ];
    for caller in refused {
        assert_eq!(rig.reply(caller), Some(&full));
    }
    assert_eq!(rig.log.len(), proposed, "nothing of it reaches the log");

    let again = rig.commit(begun, "begun", Vec::new());
    let repeated = rig.prepare(prepared, "prepared");
    let read = rig.read_shared(fresh, "y");
    let abort =
        rig.ask(Request::Abort { id: held, coordinator: key("held"), participants: vec![] });
    let Some(Reply::Prepared { prepare_ts, .. }) = rig.reply(repeated) else {
        panic!("what is prepared is said again")
    };
    let prepare_ts = *prepare_ts;
    let decision = Decision::Commit { commit_ts: prepare_ts, prepare_ts };
    let resolve = rig.ask(Request::Resolve { id: prepared, key: key("prepared"), decision });
    rig.run();
    rig.wait(10 * MILLISECOND);
    rig.run();
    assert!(rig.committed(first).is_some() && rig.committed(again).is_some());
    assert!(matches!(rig.reply(repeated), Some(Reply::Prepared { .. })));
    assert!(rig.was_read(read));
    assert!(matches!(rig.reply(abort), Some(Reply::Outcome(Outcome::Aborted { .. }))));
    assert!(rig.reply(resolve).is_some_and(|reply| !matches!(reply, Reply::Refused(_))));

    rig.leader.set_disk_room(DiskRoom::Enough);
    let later = rig.id();
    let commit = rig.commit(later, "x", Vec::new());
    rig.run();
    rig.wait(10 * MILLISECOND);
    assert!(rig.committed(commit).is_some());
}
