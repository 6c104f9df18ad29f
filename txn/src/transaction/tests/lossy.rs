//! Random losses, repetitions and reorderings against a fake coordinator: whatever happens, the
//! transaction ends, and what it says of its outcome is what the coordinator recorded.

use std::collections::BTreeMap;

use super::*;
use crate::message::{Decision, Participant};

/// A small generator of the fixed kind (Vigna's splitmix64), so that a seed replays.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}

/// Both shards as far as the gateway can tell, with a record for the coordinator.
#[derive(Default)]
struct Shards2 {
    record: Option<Decision>,
    locks: BTreeMap<bool, GrantPair>,
    grants: u64,
    prepared_at_b: bool,
}

impl Shards2 {
    fn serve(&mut self, request: &Request, random: &mut Random) -> Reply {
        let at_a = request.routing_key().unwrap() < &key("m");
        // Now and then a leader changes, and unprepared locks are gone.
        if (at_a || !self.prepared_at_b) && random.one_in(20) {
            self.locks.remove(&at_a);
        }
        let clean = |attempt: &Attempt, held: Option<&GrantPair>| {
            attempt.grant.is_none() || attempt.grant.as_ref() == held
        };
        let lost = Reply::Aborted { reason: AbortReason::LocksLost };
        match request {
            Request::LockedRead { attempt, .. } | Request::Lock { attempt, .. } => {
                if self.record.is_some() || !clean(attempt, self.locks.get(&at_a)) {
                    return lost;
                }
                self.grants += 1;
                let fresh = GrantPair { epoch: Epoch(1), number: self.grants };
                let grant = *self.locks.entry(at_a).or_insert(fresh);
                match request {
                    Request::Lock { .. } => Reply::Locked { grant },
                    _ => Reply::Rows { grant: Some(grant), rows: Vec::new(), rest: Vec::new() },
                }
            }
            Request::Prepare { attempt, .. } => {
                if !self.prepared_at_b && !clean(attempt, self.locks.get(&at_a)) {
                    return lost;
                }
                self.prepared_at_b = true;
                prepared(50)
            }
            Request::Commit { attempt, participants, .. } => {
                if self.record.is_none() {
                    assert!(self.prepared_at_b || participants.is_empty(), "commit unprepared");
                    let ok = clean(attempt, self.locks.get(&at_a)) && !random.one_in(6);
                    if random.one_in(8) {
                        return Reply::Refused(Refusal::DiskFull { node: proto::NodeId(1) });
                    }
                    let (commit_ts, prepare_ts) =
                        (Timestamp::from_nanos(60), Timestamp::from_nanos(50));
                    let commit = Decision::Commit { commit_ts, prepare_ts };
                    self.record = Some(if ok { commit } else { Decision::Abort });
                }
                self.recorded(random)
            }
            Request::Abort { .. } => {
                self.record.get_or_insert(Decision::Abort);
                self.recorded(random)
            }
            Request::Lookup { .. } => self.recorded(random),
            Request::KeepAlive { .. } => Reply::Alive,
            Request::Release { .. } => {
                self.locks.remove(&at_a);
                Reply::Released
            }
            other => panic!("a gateway does not ask {other:?}"),
        }
    }

    fn recorded(&self, random: &mut Random) -> Reply {
        match self.record {
            Some(_) if random.one_in(4) => Reply::Outcome(Outcome::InProgress),
            None => Reply::Outcome(Outcome::InProgress),
            Some(Decision::Abort) => aborted(AbortReason::GivenUp),
            Some(Decision::Commit { .. }) => committed(),
        }
    }
}

/// What is on its way.
enum Message {
    Request(TxnCall, Request),
    Reply(TxnCall, Reply),
}

struct Run {
    txn: Transaction,
    shards: Shards2,
    random: Random,
    network: Vec<Message>,
    /// Calls the router has not given up.
    open: BTreeMap<TxnCall, u64>,
    seconds: u64,
    ends: Vec<End>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let id = txn_id();
        let mut random = Random(seed);
        let driver = if random.one_in(3) {
            Driver::OneOfSeveral { digest: 7, coordinator: key("a1"), shard: A }
        } else {
            Driver::Only
        };
        let settings = TransactionSettings::default();
        Run {
            txn: Transaction::new(id, Priority::first(id), driver, settings),
            shards: Shards2::default(),
            random,
            network: Vec::new(),
            open: BTreeMap::new(),
            seconds: 1,
            ends: Vec::new(),
        }
    }

    fn absorb(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Call { call, request } => {
                    self.open.insert(call, self.seconds + 5);
                    self.network.push(Message::Request(call, request));
                }
                Effect::Forget { request } => {
                    self.network.push(Message::Request(TxnCall(u32::MAX), request));
                }
                Effect::Cancel { call } => {
                    self.open.remove(&call);
                }
                Effect::ReadDone { .. } => {}
                Effect::Ended(end) => self.ends.push(end),
            }
        }
    }

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let count = self.network.len() as u64;
        let index = usize::try_from(self.random.next() % count).unwrap();
        let message = self.network.swap_remove(index);
        let lost = self.random.one_in(5);
        let twice = self.random.one_in(5);
        match message {
            Message::Request(call, request) => {
                if !lost {
                    let reply = self.shards.serve(&request, &mut self.random);
                    self.network.push(Message::Reply(call, reply));
                }
                if twice {
                    self.network.push(Message::Request(call, request));
                }
            }
            Message::Reply(call, reply) => {
                // The router answers a call once, so only its first answer gets through.
                if !lost && self.open.remove(&call).is_some() {
                    self.complete(call, Ok(reply));
                }
            }
        }
    }

    fn complete(&mut self, call: TxnCall, result: Result<Reply, CallError>) {
        let mut effects = Vec::new();
        self.txn.completed(&now_at(self.seconds), call, result, &mut effects);
        self.absorb(effects);
    }

    fn pass_time(&mut self) {
        self.seconds += 1;
        let overdue: Vec<TxnCall> =
            self.open.iter().filter(|(_, at)| **at <= self.seconds).map(|(c, _)| *c).collect();
        for call in overdue {
            // Completing one call may cancel another.
            if self.open.remove(&call).is_some() {
                self.complete(call, Err(unavailable(true)));
            }
        }
        let mut effects = Vec::new();
        self.txn.tick(&now_at(self.seconds), &mut effects);
        self.absorb(effects);
    }

    fn run(mut self, seed: u64) -> End {
        let now = now_at(self.seconds);
        let mut effects = Vec::new();
        if self.random.one_in(2) {
            let spans = vec![KeySpan::point(key("a1")), KeySpan::point(key("z1"))];
            let mode = LockMode::Exclusive;
            self.txn.read(&now, &shards(), mode, spans, EVERYTHING, &mut effects).unwrap();
        }
        self.absorb(effects);
        while self.txn.is_reading() && self.txn.is_open() {
            self.deliver();
            self.pass_time();
        }
        if self.txn.is_open() {
            self.txn.write(put("a1")).unwrap();
            if !self.random.one_in(4) {
                self.txn.write(put("z1")).unwrap();
            }
            let mut effects = Vec::new();
            self.txn.commit(&now_at(self.seconds), &shards(), &mut effects).unwrap();
            self.absorb(effects);
        }
        let started = self.seconds;
        while self.ends.is_empty() {
            assert!(self.seconds < started + 120, "seed {seed}: it never ended");
            for _ in 0..self.random.next() % 4 {
                self.deliver();
            }
            if self.random.one_in(2) {
                self.pass_time();
            }
        }
        let end = self.ends[0].clone();
        // What is still on its way arrives late, some of it twice, and changes nothing of the answer.
        for _ in 0..200 {
            self.deliver();
        }
        assert_eq!(self.ends.len(), 1, "seed {seed}: it ended twice");
        let is_committed = matches!(self.shards.record, Some(Decision::Commit { .. }));
        match &end {
            End::Committed { .. } => assert!(is_committed, "seed {seed}: said committed"),
            End::NotCommitted { .. } => assert!(!is_committed, "seed {seed}: said not committed"),
            End::OutcomeUnknown { .. } => {}
        }
        end
    }
}

#[test]
fn transaction_over_a_lossy_network_ends_with_what_the_coordinator_recorded() {
    let (mut committed, mut not, mut unknown) = (0, 0, 0);
    for seed in 0..4000 {
        match Run::new(seed).run(seed) {
            End::Committed { .. } => committed += 1,
            End::NotCommitted { .. } => not += 1,
            End::OutcomeUnknown { .. } => unknown += 1,
        }
    }
    // All three ends were really reached, so the checks above compared something.
    assert!(committed > 500 && not > 500 && unknown > 0, "{committed} {not} {unknown}");
}

#[test]
fn participant_list_of_a_commit_is_frozen_over_repetitions() {
    let mut rig = Rig::new();
    let commit = rig.commit_at_a();
    rig.fail(commit);
    let (lookup, _) = rig.call();
    rig.answer(lookup, Reply::Outcome(Outcome::InProgress));
    rig.tick_to(2);
    let (_, again) = rig.call();
    let Request::Commit { participants, writes, coordinator, .. } = again else { panic!() };
    let (prepare_ts, expires) = (Timestamp::from_nanos(50), Some(Timestamp::from_nanos(1050)));
    let frozen = [Participant { key: key("z1"), prepare_ts, expires, writes: true }];
    assert_eq!((&participants[..], &writes[..]), (&frozen[..], &[put("a1")][..]));
    assert_eq!(coordinator, key("a1"));
}
