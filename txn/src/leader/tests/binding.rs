//! Who is prepared keeps its locks, in each of the three senses of prepared (TRANSACTIONS.md section 4).

use super::rig::{MILLISECOND, Rig, SECOND, START, attempt, key, participant};
use super::*;

/// All that takes the locks of a transaction that is not prepared: an older one, its gateway, the loss of
/// its gateway, silence.
fn shake(rig: &mut Rig, victim: TxnId, older: TxnId, name: &str) -> u64 {
    let waits = rig.read_for_update(older, name);
    rig.ask(Request::Release { id: victim, key: key(name) });
    let mut out = Vec::new();
    let gateway = NodeId(victim.origin >> 32);
    rig.leader.gateway_lost(&rig.now(), &rig.state, gateway, &mut out);
    rig.take(out);
    for _ in 0..12 {
        rig.wait(SECOND / 10);
        keep_alive(rig, older);
    }
    waits
}

/// An attempt that another gateway drives than all others.
fn of_gateway_7(rig: &mut Rig) -> TxnId {
    TxnId { origin: 7 << 32, ..rig.id() }
}

fn keep_alive(rig: &mut Rig, id: TxnId) {
    let alive = rig.ask(Request::KeepAlive { attempt: attempt(id, None), key: key("k") });
    assert_eq!(rig.reply(alive), Some(&Reply::Alive));
}

fn impatient() -> Rig {
    let idle_timeout = Duration::from_millis(200);
    Rig::with(Config { idle_timeout, ..Config::default() })
}

#[test]
fn nothing_takes_the_locks_of_an_unprepared_transaction_but_these() {
    // The counterpart: what `shake` does is enough to take them.
    let mut rig = impatient();
    let (older, younger) = (rig.id(), of_gateway_7(&mut rig));
    rig.read_for_update(younger, "k");
    let waits = shake(&mut rig, younger, older, "k");
    assert!(rig.was_read(waits));
}

#[test]
fn prepared_participant_keeps_its_locks() {
    // Section 9.9, the first sense: also while its record is in flight, and over an epoch.
    let mut rig = impatient();
    let (older, younger) = (rig.id(), of_gateway_7(&mut rig));
    let prepare = rig.prepare(younger, "k");
    let waits = shake(&mut rig, younger, older, "k");
    assert!(!rig.was_read(waits), "in flight");
    rig.run();
    assert!(matches!(rig.reply(prepare), Some(Reply::Prepared { .. })));
    rig.true_time += 10 * SECOND;
    rig.run();
    let older = rig.older_id();
    let waits = shake(&mut rig, younger, older, "k");
    assert!(!rig.was_read(waits), "in a new epoch");
    rig.resolve(younger, "k", Decision::Abort);
    rig.run();
    assert!(rig.was_read(waits));
}

#[test]
fn read_only_participant_keeps_its_locks_until_its_promise_expires() {
    // Section 9.9, the second sense; it lets go by itself `after(expires)`.
    let mut rig = impatient();
    let (older, younger) = (rig.id(), of_gateway_7(&mut rig));
    rig.read_shared(younger, "k");
    let promised = rig.prepare_reads(younger, "k");
    let Some(Reply::Prepared { expires: Some(expires), .. }) = rig.reply(promised).cloned() else {
        panic!("{:?}", rig.reply(promised));
    };
    let waits = shake(&mut rig, younger, older, "k");
    rig.run();
    assert!(!rig.was_read(waits));
    // The gateway's second prepare finds the promise that was given, not a longer one.
    let again = rig.prepare_reads(younger, "k");
    assert_eq!(rig.reply(again), rig.reply(promised));
    rig.true_time = expires.nanos();
    keep_alive(&mut rig, older);
    rig.run();
    assert!(!rig.was_read(waits), "it may still commit just below {expires}");
    rig.true_time += 2 * MILLISECOND + SECOND / 2;
    keep_alive(&mut rig, older);
    rig.run();
    assert!(rig.was_read(waits));
    assert!(rig.now().after(expires));
    let writer = rig.commit(older, "k", Vec::new());
    rig.run();
    rig.wait(SECOND / 10);
    assert!(rig.committed(writer) > Some(expires), "every later write gets a higher timestamp");
}

#[test]
fn chosen_commit_keeps_its_locks_at_its_only_participant_and_at_its_coordinator() {
    // Section 9.9, the third sense: from the moment `s` is chosen, through replication and commit wait.
    for participants in [Vec::new(), vec![participant("p", START, None)]] {
        let mut rig = impatient();
        let (older, younger) = (rig.id(), of_gateway_7(&mut rig));
        rig.read_shared(younger, "k");
        let commit = rig.commit(younger, "k", participants.clone());
        let waits = shake(&mut rig, younger, older, "k");
        let wound = Request::Wound {
            victim: younger,
            coordinator: key("k"),
            participants: vec![key("p")],
            by: older,
        };
        let wound = rig.ask(wound);
        assert_eq!(rig.reply(wound), Some(&Reply::Outcome(Outcome::InProgress)));
        assert!(!rig.was_read(waits), "in flight");
        rig.run();
        let commit_ts = rig.commit_ts(&younger).expect("the entry is effective");
        assert!(rig.committed(commit) == Some(commit_ts), "its s has passed meanwhile");
        assert!(rig.was_read(waits), "and only then its locks go");
        let (_, at) = rig.reads.iter().find(|(to, _)| *to == waits).unwrap();
        assert!(*at >= commit_ts, "the next holder sees what it wrote");
    }
}

#[test]
fn commit_wait_keeps_the_locks_from_an_older_transaction() {
    // Section 9.9, the third sense, once more while `s` is not past.
    let mut rig = Rig::new();
    let (older, younger) = (rig.id(), of_gateway_7(&mut rig));
    let commit = rig.commit(younger, "k", Vec::new());
    rig.run();
    let waits = rig.read_for_update(older, "k");
    rig.ask(Request::Release { id: younger, key: key("k") });
    rig.wait(MILLISECOND);
    rig.run();
    assert!(!rig.was_read(waits) && rig.committed(commit).is_none());
    rig.wait(2 * MILLISECOND);
    assert!(rig.was_read(waits) && rig.committed(commit).is_some());
}

#[test]
fn commit_that_waits_for_its_locks_is_aborted_for_an_older_one_elsewhere() {
    // T26: `s` is not chosen, so the coordinator aborts it, by the log, and tells its participants.
    let mut rig = Rig::new();
    let (older, younger) = (rig.id(), of_gateway_7(&mut rig));
    rig.read_for_update(older, "k");
    let commit = rig.commit(younger, "k", vec![participant("p", START, None)]);
    rig.run();
    assert!(rig.reply(commit).is_none());
    let participants = vec![key("p")];
    let wound = Request::Wound { victim: younger, coordinator: key("k"), participants, by: older };
    let wound = rig.ask(wound);
    assert!(rig.reply(commit).is_none() && rig.reply(wound).is_none());
    rig.run();
    let aborted = Reply::Outcome(Outcome::Aborted { reason: AbortReason::Wounded { by: older } });
    assert_eq!(rig.reply(commit), Some(&aborted));
    assert_eq!(rig.reply(wound), Some(&aborted));
    let told = Request::Resolve { id: younger, key: key("p"), decision: Decision::Abort };
    assert!(rig.calls.iter().any(|(_, request)| *request == told));
}

#[test]
fn crossing_transactions_at_two_shards_come_to_an_end() {
    // T26: the older waits at `a` for the younger, prepared there; the younger's commit waits at `b` for
    // the older. Nobody is wounded locally.
    let (mut a, mut b) = (Rig::new(), Rig::new());
    let older = a.id();
    let younger = a.id();
    b.read_for_update(older, "k");
    a.prepare(younger, "k");
    a.run();
    let commit = b.commit(younger, "k", vec![participant("k", START, None)]);
    let waits = a.read_for_update(older, "k");
    for _ in 0..8 {
        a.run();
        b.run();
        for (call, request) in std::mem::take(&mut a.calls) {
            assert!(matches!(&request, Request::Wound { .. } | Request::Lookup { .. }));
            let asked = b.ask(in_shard_b(request));
            b.run();
            let answer = b.reply(asked).cloned().ok_or(Unanswered);
            a.answer(call, answer);
        }
        for (call, request) in std::mem::take(&mut b.calls) {
            let asked = a.ask(request);
            a.run();
            let answer = a.reply(asked).cloned().ok_or(Unanswered);
            b.answer(call, answer);
        }
        a.wait(SECOND / 10);
        b.wait(SECOND / 10);
    }
    assert!(a.was_read(waits), "the older goes on");
    assert!(matches!(b.reply(commit), Some(Reply::Outcome(Outcome::Aborted { .. }))));
    assert!(a.state.prepared().is_empty());
}

/// The rig's prepares name `a-coordinator`; here that is the shard `b`, by its key `k`.
fn in_shard_b(request: Request) -> Request {
    match request {
        Request::Wound { victim, participants, by, .. } => {
            Request::Wound { victim, coordinator: key("k"), participants, by }
        }
        Request::Lookup { id, asker, .. } => Request::Lookup { id, coordinator: key("k"), asker },
        other => other,
    }
}
