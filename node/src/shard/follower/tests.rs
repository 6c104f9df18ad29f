use proto::{EntryId, Epoch, Key, NodeId, Priority, Term, TxnId};
use truetime::{ClockUnsure, Now};
use txn::command::{Command, Entry, PreparedRecord};
use txn::message::{Decision, Write};
use txn::state::Changes;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn ts(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn key(name: &str) -> Key {
    Key::from(name.as_bytes())
}

fn id() -> TxnId {
    TxnId { horizon: ts(900 * SECOND), begin: ts(SECOND), origin: 1, sequence: 1 }
}

/// A follower and what it has applied.
struct Rig {
    follower: Follower,
    state: ShardState,
    callers: u64,
    out: Vec<Effect>,
}

impl Rig {
    /// A lease and a promise of 10 s are applied.
    fn new() -> Self {
        let mut rig = Rig {
            follower: Follower::default(),
            state: ShardState::new(KeySpan::all()),
            callers: 0,
            out: Vec::new(),
        };
        let expires = ts(100 * SECOND);
        rig.apply(&Entry::fact(Command::Lease { holder: NodeId(1), epoch: Epoch(1), expires }));
        rig.apply(&Entry { promise: Some(ts(10 * SECOND)), ..entry(Command::Nothing) });
        rig
    }

    fn apply(&mut self, entry: &Entry) {
        let id = EntryId { term: Term(1), index: self.state.applied().index.next() };
        let mut changes = Changes::default();
        self.state.apply(id, Some(entry), &mut changes);
        self.follower.applied(&self.state, &mut self.out);
    }

    fn prepare(&mut self, name: &str, prepare_ts: Timestamp) {
        let record = PreparedRecord {
            priority: Priority::first(id()),
            coordinator: key("a"),
            key: key(name),
            participants: vec![key(name)],
            prepare_ts,
            pieces: 0,
            writes: vec![Write { key: key(name), value: None }],
            grant: None,
            expires: None,
            digest: 1,
        };
        self.apply(&entry(Command::Prepare { id: id(), record }));
    }

    /// The entry after the one applied last.
    fn next(&self) -> LogIndex {
        self.state.applied().index.next()
    }

    fn read(&mut self, name: &str, at: Timestamp) -> u64 {
        self.callers += 1;
        let caller = RequestId { sequence: self.callers, ..RequestId::default() };
        let spans = vec![KeySpan::point(key(name))];
        let limit = ReadLimit { rows: 1, bytes: 1 };
        self.follower.read(&now(0), &self.state, caller, at, spans, limit, &mut self.out);
        self.callers
    }

    /// Whether a read was served, at the timestamp that was asked for.
    fn was_read(&self, caller: u64, at: Timestamp) -> bool {
        let of =
            |effect: &&Effect| matches!(effect, Effect::Read { to, .. } if to.sequence == caller);
        let reads: Vec<&Effect> = self.out.iter().filter(of).collect();
        assert!(reads.len() <= 1);
        reads.iter().all(|read| matches!(read, Effect::Read { at: served, .. } if *served == at))
            && !reads.is_empty()
    }

    fn refusal(&self, caller: u64) -> Option<&Refusal> {
        self.out.iter().find_map(|effect| match effect {
            Effect::Reply { to, reply: Reply::Refused(refusal) } if to.sequence == caller => {
                Some(refusal)
            }
            _ => None,
        })
    }

    /// The questions to the leader, oldest first.
    fn asked(&self) -> Vec<(u64, Timestamp)> {
        let ask = |effect: &Effect| match effect {
            Effect::Call {
                call: ReplicaCall::Follower { call },
                request: Request::GoAhead { at, .. },
            } => Some((*call, *at)),
            _ => None,
        };
        self.out.iter().filter_map(ask).collect()
    }

    fn answer(&mut self, call: u64, answer: Result<Reply, Unanswered>) {
        self.follower.answered(call, answer, &self.state, &mut self.out);
    }

    fn go_ahead(&mut self, call: u64, index: LogIndex) {
        let applied = EntryId { term: Term(1), index };
        self.answer(call, Ok(Reply::GoAhead { applied }));
    }
}

fn entry(command: Command) -> Entry {
    Entry { epoch: Some(Epoch(1)), ..Entry::fact(command) }
}

fn now(seconds: u64) -> Now {
    let mono = Mono::from_nanos(seconds * SECOND);
    Now { mono, interval: Err(ClockUnsure::Unsynchronised) }
}

#[test]
fn read_at_a_published_promise_is_served_and_one_above_it_asks_the_leader() {
    let mut rig = Rig::new();
    let promise = ts(10 * SECOND);
    let (at, above) = (rig.read("k", promise), rig.read("k", promise.next()));
    assert!(rig.was_read(at, promise) && !rig.was_read(above, promise.next()));
    assert_eq!(rig.asked(), [(1, promise.next())]);
}

#[test]
fn follower_read_waits_for_an_unresolved_prepare_on_its_keys() {
    // Sections 9.16 and 5, T11: the log order is not the order of timestamps.
    let mut rig = Rig::new();
    let prepare_ts = ts(5 * SECOND);
    rig.prepare("k", prepare_ts);
    let other = entry(Command::Commit {
        id: TxnId { sequence: 2, ..id() },
        coordinator: key("j"),
        commit_ts: ts(7 * SECOND),
        pieces: 0,
        writes: vec![Write { key: key("j"), value: None }],
        participants: Vec::new(),
        digest: 1,
    });
    rig.apply(&other);
    let below = rig.read("k", prepare_ts.prev());
    assert!(rig.was_read(below, prepare_ts.prev()), "T38: what lies below stays readable");
    for at in [prepare_ts, ts(7 * SECOND), ts(10 * SECOND)] {
        let on_its_key = rig.read("k", at);
        assert!(!rig.was_read(on_its_key, at), "{at}: it may still commit at or below");
        let elsewhere = rig.read("j", at);
        assert!(rig.was_read(elsewhere, at));
    }
    assert_eq!(rig.asked().len(), 3);
    let decision = Decision::Commit { commit_ts: ts(8 * SECOND), prepare_ts };
    rig.apply(&Entry::fact(Command::Resolve { id: id(), decision }));
    let resolved = rig.read("k", ts(10 * SECOND));
    assert!(rig.was_read(resolved, ts(10 * SECOND)));
}

#[test]
fn promise_counts_only_once_its_entry_is_applied() {
    // Section 9.16, T10: what is proposed before it may lie at or below it.
    let mut rig = Rig::new();
    let (promise, index) = (ts(20 * SECOND), LogIndex(rig.next().0 + 1));
    rig.follower.take_promise(&rig.state, index, promise);
    for _ in 0..2 {
        let early = rig.read("k", promise);
        assert!(!rig.was_read(early, promise), "the entries up to it are not applied");
        if rig.next() < index {
            rig.apply(&entry(Command::Nothing));
        } else {
            break;
        }
    }
    rig.prepare("k", ts(15 * SECOND));
    assert_eq!(rig.state.applied().index, index);
    let late = rig.read("k", promise);
    let other = rig.read("j", promise);
    assert!(!rig.was_read(late, promise), "the prepare was in flight when it was given");
    assert!(rig.was_read(other, promise));
}

#[test]
fn promise_for_what_is_applied_counts_at_once_and_a_lower_one_takes_nothing_back() {
    let mut rig = Rig::new();
    let applied = rig.state.applied().index;
    rig.follower.take_promise(&rig.state, applied, ts(20 * SECOND));
    rig.follower.take_promise(&rig.state, applied, ts(15 * SECOND));
    let read = rig.read("k", ts(20 * SECOND));
    assert!(rig.was_read(read, ts(20 * SECOND)));
}

#[test]
fn go_ahead_counts_once_its_entry_is_applied_and_for_that_read_alone() {
    // Section 9.16: the leader's index covers what it waited for; it raises no promise.
    let mut rig = Rig::new();
    let at = ts(30 * SECOND);
    let (first, second) = (rig.read("k", at), rig.read("k", at));
    let calls = rig.asked();
    let index = rig.next();
    rig.go_ahead(calls[0].0, index);
    assert!(!rig.was_read(first, at), "the entry is not applied here");
    rig.apply(&entry(Command::Nothing));
    assert!(rig.was_read(first, at) && !rig.was_read(second, at));
    let third = rig.read("k", at);
    assert!(!rig.was_read(third, at));
    assert_eq!(rig.asked().len(), 3, "the third asks for itself");
}

#[test]
fn read_without_a_go_ahead_is_refused_and_never_served() {
    // T16: whatever the leader says, or when it says nothing.
    let mut rig = Rig::new();
    let at = ts(30 * SECOND);
    let answers = [
        Err(Unanswered),
        Ok(Reply::Refused(Refusal::NotLeader { hint: None })),
        Ok(Reply::Resolved),
        Ok(Reply::Rows { grant: None, rows: Vec::new(), rest: Vec::new() }),
    ];
    for answer in answers {
        let read = rig.read("k", at);
        let (call, _) = *rig.asked().last().unwrap();
        rig.answer(call, answer);
        assert!(matches!(rig.refusal(read), Some(Refusal::NotLeader { .. })));
        assert!(!rig.was_read(read, at));
    }
    let read = rig.read("k", at);
    let (call, _) = *rig.asked().last().unwrap();
    rig.follower.tick(&now(11), &mut rig.out);
    assert!(matches!(rig.refusal(read), Some(Refusal::NotLeader { .. })));
    let applied = rig.state.applied().index;
    rig.go_ahead(call, applied);
    assert!(!rig.was_read(read, at), "a go-ahead that comes late finds nobody");
}

#[test]
fn read_that_waited_is_refused_when_the_threshold_has_passed_it() {
    // T61: it is checked when the view is taken, not when the read came.
    let mut rig = Rig::new();
    let at = ts(30 * SECOND);
    let read = rig.read("k", at);
    let (call, _) = rig.asked()[0];
    let index = LogIndex(rig.next().0 + 1);
    rig.go_ahead(call, index);
    let threshold = at.next();
    rig.apply(&entry(Command::Threshold { threshold }));
    rig.apply(&entry(Command::Nothing));
    assert_eq!(rig.refusal(read), Some(&Refusal::BelowThreshold { threshold }));
    assert!(!rig.was_read(read, at));
    let new = rig.read("k", at);
    assert_eq!(rig.refusal(new), Some(&Refusal::BelowThreshold { threshold }));
}
