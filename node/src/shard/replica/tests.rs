mod retention;

use proto::{Key, KeySpan, TxnId};
use truetime::TimeInterval;
use txn::message::{Attempt, ReadLimit, Write};

use super::*;

const NODE: NodeId = NodeId(1);

/// The only replica of a shard; its log becomes durable when told.
struct Alone {
    replica: Replica,
    mono: Mono,
    out: Vec<Effect>,
}

impl Alone {
    fn new() -> Self {
        let replicas = vec![(ReplicaId(1), NODE)];
        let descriptor = ShardDescriptor { id: ShardId(1), span: KeySpan::all(), replicas };
        let mono = Mono::ZERO.plus(Duration::from_secs(1));
        let config = ReplicaConfig::default();
        let durable = Durable::default();
        let replica =
            Replica::open(descriptor, None, NODE, config, 1, durable, &now(mono)).unwrap();
        Alone { replica, mono, out: Vec::new() }
    }

    /// A leader with a lease.
    fn leading() -> Self {
        let mut alone = Alone::new();
        for _ in 0..40 {
            alone.wait(Duration::from_millis(100));
        }
        let at = now(alone.mono).sure().unwrap().earliest.minus(Duration::from_secs(1));
        alone.request(Request::SnapshotRead {
            at,
            spans: vec![KeySpan::all()],
            limit: ReadLimit { rows: 1, bytes: 1 },
        });
        alone.settle();
        assert!(
            alone
                .replica
                .leader()
                .is_some_and(|l| l.serves(&now(alone.mono), alone.replica.state()))
        );
        alone
    }

    fn wait(&mut self, time: Duration) {
        self.mono = self.mono.plus(time);
        self.replica.tick(&now(self.mono), &mut self.out);
        self.settle();
    }

    fn request(&mut self, request: Request) {
        let caller = RequestId::default();
        self.replica.request(&now(self.mono), caller, request, &mut self.out);
    }

    fn flush(&mut self) {
        self.replica.flush(&now(self.mono), &mut self.out).unwrap();
    }

    /// All that is ready becomes durable, and what comes of it.
    fn settle(&mut self) {
        loop {
            self.flush();
            let numbers: Vec<u64> = self.out.iter().filter_map(number).collect();
            self.out.retain(|effect| number(effect).is_none());
            for number in &numbers {
                self.replica.persisted(*number);
            }
            if numbers.is_empty() && !self.replica.has_ready() {
                return;
            }
        }
    }

    fn commit(&mut self, sequence: u64) {
        let begin = now(self.mono).sure().unwrap().earliest;
        let horizon = begin.plus(Duration::from_secs(60));
        let id = TxnId { horizon, begin, origin: 1, sequence };
        let key = Key::from(&b"k"[..]);
        self.request(Request::Commit {
            attempt: Attempt { id, priority: proto::Priority::first(id), grant: None },
            coordinator: key.clone(),
            writes: vec![Write { key, value: None }],
            participants: Vec::new(),
            digest: 1,
            single_use: false,
            below: None,
        });
    }
}

fn number(effect: &Effect) -> Option<u64> {
    match effect {
        Effect::WhenDurable { number, .. } => Some(*number),
        _ => None,
    }
}

fn now(mono: Mono) -> Now {
    let reading = Timestamp::from_nanos(1_000_000_000_000).plus(mono.since(Mono::ZERO));
    Now { mono, interval: Ok(TimeInterval::around(reading, Duration::from_millis(1))) }
}

#[test]
fn promise_outside_the_log_names_the_last_entry_proposed() {
    // Section 9.16, T10: with a commit in flight, the entry applied last would not do.
    let mut alone = Alone::leading();
    alone.commit(1);
    alone.flush();
    let (applied, last) =
        (alone.replica.state().applied().index, alone.replica.raft().last().index);
    assert!(applied < last, "the commit is proposed and not applied");
    let (term, index, promise) = alone.replica.published_promise(&now(alone.mono)).unwrap();
    assert_eq!((term, index), (alone.replica.raft().term(), last));
    assert!(now(alone.mono).after(promise), "section 9.17");
}

#[test]
fn promise_of_another_term_or_of_nobodys_leader_does_not_count() {
    let mut alone = Alone::leading();
    let (before, term) = (alone.replica.promise(), alone.replica.raft().term());
    let (index, promise) = (LogIndex(0), before.plus(Duration::from_secs(1)));
    alone.replica.take_promise(NODE, Term(term.0 - 1), index, promise);
    alone.replica.take_promise(NodeId(2), term, index, promise);
    assert_eq!(alone.replica.promise(), before);
    alone.replica.take_promise(NODE, term, index, promise);
    assert_eq!(alone.replica.promise(), promise);
}

#[test]
fn follower_that_was_sent_a_snapshot_has_the_log_kept_behind_it() {
    let follower = |matched| Progress {
        replica: ReplicaId(2),
        matched: LogIndex(matched),
        needs_snapshot: false,
        recently_active: true,
    };
    let catching_up = CatchingUp { sent: LogIndex(70), silent: 0 };
    let (none, sent) = (BTreeMap::new(), BTreeMap::from([(ReplicaId(2), catching_up)]));
    // Without a snapshot; while it is on its way; once it has arrived.
    for (matched, catching_up, kept) in [(3, &none, 3), (3, &sent, 70), (90, &sent, 90)] {
        assert_eq!(kept_from(&follower(matched), catching_up), LogIndex(kept));
    }
}

#[test]
fn nothing_is_read_while_a_snapshot_is_installed() {
    // The versions are neither old nor new then, and the safe time is that of the old ones.
    let replicas = vec![(ReplicaId(1), NODE), (ReplicaId(2), NodeId(2))];
    let descriptor = ShardDescriptor { id: ShardId(1), span: KeySpan::all(), replicas };
    let mono = Mono::ZERO.plus(Duration::from_secs(1));
    let (config, durable) = (ReplicaConfig::default(), Durable::default());
    let mut replica =
        Replica::open(descriptor, None, NODE, config, 1, durable, &now(mono)).unwrap();
    let last = EntryId { term: Term(2), index: LogIndex(7) };
    let snapshot = Message {
        kind: MessageKind::Snapshot,
        from: ReplicaId(2),
        to: ReplicaId(1),
        term: Term(2),
        log_term: Term(0),
        index: LogIndex(0),
        entries: Vec::new(),
        commit: LogIndex(0),
        commit_term: Term(0),
        snapshot: Some(SnapshotMeta {
            last,
            membership: Membership {
                voters: vec![ReplicaId(1), ReplicaId(2)],
                ..Membership::default()
            },
        }),
        reject: false,
        reject_hint: LogIndex(0),
        context: Bytes::new(),
    };
    let read = |replica: &mut Replica, at: u64| {
        let (caller, limit) = (RequestId::default(), ReadLimit { rows: 1, bytes: 1 });
        let (at, spans) = (Timestamp::from_nanos(at), vec![KeySpan::all()]);
        let mut out = Vec::new();
        replica.request(&now(mono), caller, Request::SnapshotRead { at, spans, limit }, &mut out);
        out
    };
    let refused = |out: &[Effect]| {
        out.iter().any(|effect| {
            let refusal = Reply::Refused(Refusal::NotLeader { hint: None });
            matches!(effect, Effect::Reply { reply, .. } if *reply == refusal)
        })
    };
    // Served from the safe time; waits for the leader's word.
    assert!(matches!(read(&mut replica, 0)[..], [Effect::Read { .. }]));
    assert!(matches!(read(&mut replica, 9)[..], [Effect::Call { .. }]));
    replica.snapshot_received(&now(Mono::ZERO), snapshot).unwrap();
    let mut out = Vec::new();
    replica.flush(&now(mono), &mut out).unwrap();
    assert!(out.iter().any(|effect| matches!(effect, Effect::Install { .. })));
    assert!(refused(&out), "what waited is sent elsewhere: {out:?}");
    for at in [0, 9] {
        let out = read(&mut replica, at);
        assert!(matches!(&out[..], [Effect::Reply { reply: Reply::Refused(_), .. }]), "{out:?}");
    }
    replica.installed(&[], &mut Vec::new()).unwrap();
    assert!(matches!(read(&mut replica, 0)[..], [Effect::Read { .. }]));
}

#[test]
fn message_does_not_carry_a_leader_past_the_check_of_its_quorum() {
    let mut alone = Alone::leading();
    let config = ReplicaConfig::default();
    let ticks = config.election_ticks;
    // Half a tick after the check is due, and no tick was counted meanwhile.
    alone.mono = alone.mono.plus(config.tick * u32::from(ticks + 1) + config.tick / 2);
    let beat = Beat { shard: ShardId(1), term: Term(0), commit: LogIndex(0) };
    let message = alone.replica.beat_message(NODE, &beat).unwrap();
    let _stale = alone.replica.raft_message(&now(alone.mono), NODE, message);
    assert!(alone.replica.raft().is_leader());
    assert_eq!(alone.replica.raft().ticks_left(), usize::from(ticks), "it was checked just now");
}
