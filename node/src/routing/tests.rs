//! The router against nodes that answer as the test says. One shard on n1, n2, n3; the router is n1's.

use proto::{Key, KeySpan, NodeId, ReplicaId, ShardId, TxnId};
use std::sync::Arc;
use std::time::Duration;
use truetime::{ClockUnsure, Mono, Now};
use txn::message::{Asker, Outcome, Refusal, Reply, Request, RequestId};
use txn::transaction::{CallError, Obstacle};

use super::*;

const SHARD: ShardId = ShardId(7);
const CALL: CallId = CallId { owner: 1, part: 0 };
const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

struct Rig {
    router: Router,
    now: Mono,
    effects: Vec<Effect>,
}

fn shard(span: KeySpan) -> ShardDescriptor {
    let replicas = [N1, N2, N3].iter().map(|node| (ReplicaId(node.0), *node)).collect();
    ShardDescriptor { id: SHARD, span, replicas }
}

fn request() -> Request {
    let coordinator = Key::from(b"k".as_slice());
    Request::Lookup { id: TxnId::default(), coordinator, asker: Asker::Client }
}

fn good() -> Reply {
    Reply::Outcome(Outcome::InProgress)
}

fn not_leader(hint: Option<NodeId>) -> Reply {
    Reply::Refused(Refusal::NotLeader { hint })
}

impl Rig {
    fn new() -> Self {
        Rig::with(RouterSettings::default(), ShardMap::new([shard(KeySpan::all())]))
    }

    fn with(settings: RouterSettings, map: ShardMap) -> Self {
        let router = Router::new(N1, 4, 2, settings, Arc::new(map));
        Rig { router, now: Mono::from_nanos(1_000_000_000), effects: Vec::new() }
    }

    fn call(&mut self, id: CallId, route: Route) {
        self.router.call(self.now, id, request(), route, &mut self.effects);
    }

    /// The only effect, which must be an attempt.
    fn sent(&mut self) -> (NodeId, RequestId) {
        let effects = std::mem::take(&mut self.effects);
        match &effects[..] {
            [Effect::Send { to, id, shard: SHARD, .. }] => (*to, *id),
            _ => panic!("{effects:?}"),
        }
    }

    fn reply(&mut self, id: RequestId, reply: Reply) {
        self.router.replied(self.now, id, reply, &mut self.effects);
    }

    fn tick(&mut self) {
        let interval = Err(ClockUnsure::Unsynchronised);
        self.router.tick(&Now { mono: self.now, interval }, &mut self.effects);
    }

    /// Jumps to the router's next deadline.
    fn pass(&mut self) {
        let next = self.router.next_deadline();
        assert_ne!(next, Mono::MAX, "nothing is due");
        self.now = next.max(self.now);
        self.tick();
    }

    fn completed(&mut self) -> Result<Reply, CallError> {
        let effects = std::mem::take(&mut self.effects);
        match &effects[..] {
            [Effect::Complete { result, .. }] => result.clone(),
            _ => panic!("{effects:?}"),
        }
    }
}

#[test]
fn leader_hint_is_followed_at_once_and_kept() {
    let mut rig = Rig::new();
    rig.call(CALL, Route::Leader);
    let (to, id) = rig.sent();
    assert_eq!(to, N1, "without a hint the replica of its own node is asked first");
    rig.reply(id, not_leader(Some(N3)));
    let (to, id) = rig.sent();
    assert_eq!(to, N3);
    rig.reply(id, good());
    assert_eq!(rig.completed(), Ok(good()));
    rig.call(CallId { owner: 2, part: 0 }, Route::Leader);
    assert_eq!(rig.sent().0, N3);
}

#[test]
fn replicas_without_a_hint_are_tried_in_turn_with_growing_pauses() {
    let mut rig = Rig::new();
    rig.call(CALL, Route::Leader);
    let mut asked = Vec::new();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let (to, id) = rig.sent();
        asked.push(to);
        rig.reply(id, not_leader(None));
        assert_eq!(rig.effects, [], "a pause comes first");
        let before = rig.now;
        rig.pass();
        pauses.push(rig.now.since(before));
    }
    assert_eq!(asked, [N1, N2, N3, N1, N2, N3]);
    assert!(pauses.is_sorted() && pauses[0] < pauses[5], "{pauses:?}");
}

#[test]
fn replicas_that_hint_at_each_other_are_not_asked_in_a_tight_loop() {
    let mut rig = Rig::new();
    rig.call(CALL, Route::Leader);
    let mut at_once = 0;
    while let [Effect::Send { to, id, .. }] = &rig.effects[..] {
        let (to, id) = (*to, *id);
        rig.effects.clear();
        let other = if to == N2 { N3 } else { N2 };
        rig.reply(id, not_leader(Some(other)));
        at_once += 1;
        assert!(at_once < 20, "it never paused");
    }
    assert_eq!(rig.effects, []);
}

#[test]
fn unreachable_node_is_failed_over_at_once_and_avoided() {
    let mut rig = Rig::new();
    rig.call(CALL, Route::Leader);
    assert_eq!(rig.sent().0, N1);
    rig.router.node_unreachable(rig.now, N1, &mut rig.effects);
    let (to, id) = rig.sent();
    assert_eq!(to, N2);
    rig.reply(id, not_leader(Some(N1)));
    assert_eq!(rig.sent().0, N1, "a hint outweighs what was heard before");
    rig.call(CallId { owner: 2, part: 0 }, Route::Replica(Preference::Local));
    assert_ne!(rig.sent().0, N1);
}

#[test]
fn silent_node_is_followed_by_another_attempt_and_its_late_answer_is_dropped() {
    // T9.
    let mut rig = Rig::new();
    rig.call(CALL, Route::Leader);
    let (_, first) = rig.sent();
    rig.pass();
    let (to, second) = rig.sent();
    assert_eq!(to, N2);
    assert_ne!(first, second);
    rig.reply(first, good());
    assert_eq!(rig.effects, [], "an abandoned attempt has no say");
    rig.reply(second, good());
    assert_eq!(rig.completed(), Ok(good()));
}

#[test]
fn repeated_answer_completes_a_call_once() {
    let mut rig = Rig::new();
    rig.call(CALL, Route::Leader);
    let (_, id) = rig.sent();
    rig.reply(id, good());
    rig.reply(id, good());
    assert_eq!(rig.completed(), Ok(good()));
    rig.now = rig.now.plus(Duration::from_secs(60));
    rig.tick();
    assert_eq!(rig.effects, []);
    assert_eq!(rig.router.next_deadline(), Mono::MAX);
}

#[test]
fn answer_to_an_earlier_start_of_the_node_is_dropped() {
    // T9: sequences begin anew with each start.
    let mut rig = Rig::new();
    rig.call(CALL, Route::Leader);
    let (_, id) = rig.sent();
    rig.reply(RequestId { start: id.start - 1, ..id }, good());
    rig.reply(RequestId { core: id.core + 1, ..id }, good());
    assert_eq!(rig.effects, []);
}

#[test]
fn call_ends_at_its_deadline_and_says_that_it_may_have_been_received() {
    let mut rig = Rig::new();
    let end = rig.now.plus(RouterSettings::default().call_timeout);
    rig.call(CALL, Route::Leader);
    while rig.router.outstanding() > 0 {
        rig.effects.clear();
        rig.pass();
    }
    assert_eq!(rig.now, end);
    let maybe_executed = true;
    assert!(matches!(
        rig.completed(),
        Err(CallError::Unavailable { what: Obstacle::NoReply { .. }, maybe_executed: m })
            if m == maybe_executed
    ));
}

/// Has every attempt answered that nobody is known to lead, until the call ends. For how long it ran.
fn run_leaderless(rig: &mut Rig, id: CallId) -> Duration {
    let begun = rig.now;
    rig.call(id, Route::Leader);
    loop {
        match std::mem::take(&mut rig.effects).pop() {
            None => rig.pass(),
            Some(Effect::Send { id, .. }) => rig.reply(id, not_leader(None)),
            Some(Effect::Complete { result, .. }) => {
                let what = Obstacle::NoLeader { shard: SHARD };
                assert_eq!(result, Err(CallError::Unavailable { what, maybe_executed: true }));
                return rig.now.since(begun);
            }
            Some(Effect::RefreshMap) => panic!("the map has the key"),
        }
    }
}

#[test]
fn call_to_a_shard_without_a_leader_ends_early_and_the_next_one_earlier() {
    let settings = RouterSettings::default();
    let mut rig = Rig::new();
    let second = CallId { part: 1, ..CALL };
    assert_eq!(run_leaderless(&mut rig, CALL), settings.leaderless_max);
    assert_eq!(run_leaderless(&mut rig, second), settings.leaderless_look);
    // Nobody looked for a while, so nothing is known any more.
    rig.now = rig.now.plus(settings.leaderless_max * 3);
    let third = CallId { part: 2, ..CALL };
    assert_eq!(run_leaderless(&mut rig, third), settings.leaderless_max);
}

#[test]
fn call_whose_shard_gets_a_leader_has_all_of_its_time() {
    let mut rig = Rig::new();
    let end = rig.now.plus(RouterSettings::default().call_timeout);
    rig.call(CALL, Route::Leader);
    let (_, id) = rig.sent();
    rig.reply(id, not_leader(None));
    rig.pass();
    let (_, id) = rig.sent();
    rig.reply(id, not_leader(Some(N3)));
    while rig.router.outstanding() > 0 {
        rig.effects.clear();
        rig.pass();
    }
    assert_eq!(rig.now, end, "it may wait for a lock there");
}

#[test]
fn wrong_shard_has_the_map_read_again_before_the_next_attempt() {
    let mut rig = Rig::new();
    rig.call(CALL, Route::Leader);
    let (_, id) = rig.sent();
    rig.reply(id, Reply::Refused(Refusal::WrongShard));
    assert_eq!(std::mem::take(&mut rig.effects), [Effect::RefreshMap]);
    rig.pass();
    assert_eq!(std::mem::take(&mut rig.effects), [Effect::RefreshMap], "asked for until it comes");
    let map = Arc::new(ShardMap::new([shard(KeySpan::all())]));
    rig.router.update_map(rig.now, map, &mut rig.effects);
    let (_, id) = rig.sent();
    rig.reply(id, good());
    assert_eq!(rig.completed(), Ok(good()));
}

#[test]
fn unknown_key_waits_for_the_map_and_fails_unsent_if_it_stays_unknown() {
    let mut rig = Rig::with(RouterSettings::default(), ShardMap::default());
    rig.call(CALL, Route::Leader);
    assert_eq!(std::mem::take(&mut rig.effects), [Effect::RefreshMap]);
    let empty = Arc::new(ShardMap::default());
    rig.router.update_map(rig.now, Arc::clone(&empty), &mut rig.effects);
    rig.pass();
    assert_eq!(std::mem::take(&mut rig.effects), [Effect::RefreshMap]);
    rig.router.update_map(rig.now, empty, &mut rig.effects);
    let (what, maybe_executed) = (Obstacle::NoShard, false);
    assert_eq!(rig.completed(), Err(CallError::Unavailable { what, maybe_executed }));
}

#[test]
fn unsure_leader_is_asked_again_for_a_while_and_then_believed() {
    let mut rig = Rig::new();
    rig.call(CALL, Route::Leader);
    let refusal = Reply::Refused(Refusal::ClockUnsure { reason: "no daemon".to_owned() });
    let mut attempts = 0;
    while rig.router.outstanding() > 0 {
        let (_, id) = rig.sent();
        attempts += 1;
        rig.reply(id, refusal.clone());
        if rig.effects.is_empty() {
            rig.pass();
        }
    }
    assert_eq!(rig.completed(), Ok(refusal));
    assert_eq!(attempts, 1 + RouterSettings::default().clock_retries_max);
}

#[test]
fn other_refusals_are_the_callers() {
    let mut rig = Rig::new();
    rig.call(CALL, Route::Leader);
    let (_, id) = rig.sent();
    rig.reply(id, Reply::Refused(Refusal::DiskFull { node: NodeId(1) }));
    assert_eq!(rig.completed(), Ok(Reply::Refused(Refusal::DiskFull { node: NodeId(1) })));
}

#[test]
fn calls_above_the_limit_are_refused_unsent() {
    let settings = RouterSettings { calls_max: 1, ..RouterSettings::default() };
    let mut rig = Rig::with(settings, ShardMap::new([shard(KeySpan::all())]));
    rig.call(CALL, Route::Leader);
    rig.sent();
    rig.call(CallId { owner: 2, part: 0 }, Route::Leader);
    assert_eq!(rig.completed(), Err(CallError::Overloaded { outstanding: 1 }));
}

#[test]
fn cancelled_call_is_never_completed() {
    let mut rig = Rig::new();
    rig.call(CALL, Route::Leader);
    let (_, id) = rig.sent();
    rig.router.cancel(CALL);
    rig.reply(id, good());
    assert_eq!(rig.effects, []);
    assert_eq!(rig.router.next_deadline(), Mono::MAX);
}

#[test]
fn stale_read_prefers_the_replica_asked_for() {
    let mut rig = Rig::new();
    rig.call(CALL, Route::Replica(Preference::Local));
    assert_eq!(rig.sent().0, N1);
    rig.call(CallId { owner: 2, part: 0 }, Route::Replica(Preference::Node(N3)));
    let (to, id) = rig.sent();
    assert_eq!(to, N3);
    rig.reply(id, good());
    assert_eq!(rig.completed(), Ok(good()));
    assert_eq!(rig.router.leader(SHARD), None, "who served a stale read need not lead");
}

#[test]
fn key_of_a_removed_shard_is_answered_without_asking_anyone() {
    let map = ShardMap::default().with_removed([shard(KeySpan::all())]);
    let mut rig = Rig::with(RouterSettings::default(), map);
    rig.call(CALL, Route::Leader);
    assert_eq!(rig.completed(), Ok(Reply::Refused(Refusal::Removed)));
}

#[test]
fn map_tells_dropping_and_removed_shards_from_those_in_use() {
    let at = |id, from: &str, to: &str| {
        let key = |text: &str| Key::from(text.as_bytes());
        ShardDescriptor { id: ShardId(id), ..shard(KeySpan::new(key(from), key(to))) }
    };
    let key = |text: &str| Key::from(text.as_bytes());
    let map = ShardMap::new([at(5, "a", "c")])
        .with_dropping([at(6, "c", "e")])
        .with_removed([at(7, "e", "g"), at(8, "g", "i")]);
    assert_eq!(map.find(&key("d")).map(|shard| shard.id), Some(ShardId(6)));
    assert_eq!(map.dropping().map(|shard| shard.id).collect::<Vec<_>>(), [ShardId(6)]);
    assert!(map.find(&key("f")).is_none() && map.is_removed(&key("f")));
    assert_eq!(map.iter().count(), 2, "nothing is asked of removed ones");
    for other in ["a", "d", "i", "z"] {
        assert!(!map.is_removed(&key(other)), "{other}");
    }
    let more = map.with([at(9, "i", "k")]);
    assert!(more.removed(ShardId(8)).is_some() && more.dropping().count() == 1);
}
