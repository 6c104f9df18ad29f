//! All shards in one: what the messages mean, without concurrency, timeouts or leaders.

use proto::{Epoch, GrantPair, Key, KeySpan, NodeId, ReplicaId, ShardId, TxnId, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use truetime::{Now, Timestamp};
use txn::message::{AbortReason, Outcome, ReadLimit, Refusal, Reply, Request, Row, Write};
use txn::transaction::{CallError, Obstacle};

use crate::routing::{ShardDescriptor, ShardMap};
use crate::system::{Counter, NodeRecord, counter_key, encode, node_key, system_shard_span};

/// What a request is met with instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Fault {
    /// Never answered.
    Silence,
    /// Taken, but the answer is lost.
    AnswerLost,
    /// Not taken, and the router gave up.
    Unavailable,
    /// Refused, for the leader's disk is full.
    DiskFull,
}

pub(in crate::gateway) type Matcher = fn(&Request) -> bool;

pub(in crate::gateway) struct Cluster {
    versions: BTreeMap<Key, Vec<(Timestamp, Option<Value>)>>,
    locks: BTreeMap<(ShardId, TxnId), GrantPair>,
    prepared: BTreeMap<(ShardId, TxnId), Vec<Write>>,
    records: BTreeMap<TxnId, (Outcome, u64)>,
    pub(in crate::gateway) wounded: BTreeMap<TxnId, TxnId>,
    next: u64,
    nodes: u64,
    pub(in crate::gateway) map: Arc<ShardMap>,
    /// How long a catalog lease is.
    pub(in crate::gateway) lease: Duration,
    /// Above every catalog lease granted.
    pub(in crate::gateway) bound: Timestamp,
    /// The bound when the newest version was made. Zero, and so over, unless a test wants it kept.
    pub(in crate::gateway) made_bound: Timestamp,
    pub(in crate::gateway) keeps_bound: bool,
    /// Applies once to the first request that matches.
    pub(in crate::gateway) fault: Option<(Matcher, Fault)>,
}

impl Cluster {
    pub(in crate::gateway) fn new(nodes: u64) -> Self {
        let mut cluster = Cluster {
            versions: BTreeMap::new(),
            locks: BTreeMap::new(),
            prepared: BTreeMap::new(),
            records: BTreeMap::new(),
            wounded: BTreeMap::new(),
            next: 0,
            nodes,
            map: Arc::default(),
            lease: Duration::from_secs(60),
            bound: Timestamp::ZERO,
            made_bound: Timestamp::ZERO,
            keeps_bound: false,
            fault: None,
        };
        cluster.map = Arc::new(ShardMap::new([cluster.system_shard()]));
        for id in (1..=nodes).map(NodeId) {
            let (advertise, http) = (format!("n{}:7420", id.0), format!("n{}:7480", id.0));
            let record = NodeRecord { id, uuid: [0; 16], advertise, http, cores: 1 };
            let value = Some(encode(&record).unwrap());
            cluster.versions.insert(node_key(id), vec![(Timestamp::from_nanos(1), value)]);
        }
        cluster
    }

    pub(in crate::gateway) fn system_shard(&self) -> ShardDescriptor {
        let replicas = (1..=self.nodes).map(|node| (ReplicaId(node), NodeId(node))).collect();
        ShardDescriptor { id: ShardId::SYSTEM, span: system_shard_span(), replicas }
    }

    /// The newest version of a row.
    pub(in crate::gateway) fn newest(&self, key: &Key) -> Option<(Timestamp, Option<&Value>)> {
        let (timestamp, value) = self.versions.get(key)?.last()?;
        Some((*timestamp, value.as_ref()))
    }

    /// The rows of a span as they are.
    pub(in crate::gateway) fn rows_of(&self, span: &KeySpan) -> Vec<Value> {
        let newest = |key| self.newest(key).and_then(|(_, value)| value.cloned());
        self.keys_of(span).iter().filter_map(newest).collect()
    }

    /// The keys of a span that ever had a row.
    pub(in crate::gateway) fn keys_of(&self, span: &KeySpan) -> Vec<Key> {
        self.versions.keys().filter(|key| span.contains(key)).cloned().collect()
    }

    pub(in crate::gateway) fn locks_of(&self, id: TxnId) -> usize {
        self.locks.keys().filter(|(_, of)| *of == id).count()
    }

    pub(in crate::gateway) fn serve(
        &mut self,
        now: &Now,
        request: &Request,
    ) -> Option<Result<Reply, CallError>> {
        let what = Obstacle::NoLeader { shard: ShardId(0) };
        let unavailable = Err(CallError::Unavailable { what, maybe_executed: true });
        let fault = self.fault.take_if(|(matches, _)| matches(request)).map(|(_, fault)| fault);
        match fault {
            Some(Fault::Silence) => return None,
            Some(Fault::Unavailable) => return Some(unavailable),
            Some(Fault::DiskFull) => {
                return Some(Ok(Reply::Refused(Refusal::DiskFull { node: NodeId(3) })));
            }
            Some(Fault::AnswerLost) | None => {}
        }
        if request.routing_key().is_some_and(|key| self.map.is_removed(key)) {
            return Some(Ok(Reply::Refused(Refusal::Removed)));
        }
        let Some(shard) = request.routing_key().and_then(|key| self.map.find(key)) else {
            let what = Obstacle::NoShard;
            return Some(Err(CallError::Unavailable { what, maybe_executed: false }));
        };
        let shard = shard.clone();
        let reply = self.reply(now, &shard, request);
        Some(if fault.is_some() { unavailable } else { Ok(reply) })
    }

    fn reply(&mut self, now: &Now, shard: &ShardDescriptor, request: &Request) -> Reply {
        match request {
            Request::LockedRead { attempt, spans, limit, .. } => {
                assert!(spans.iter().all(|span| shard.span.covers(span)), "cut at the border");
                match self.grant(shard.id, attempt) {
                    Ok(grant) => self.rows(Some(grant), Timestamp::MAX, spans, *limit),
                    Err(reason) => Reply::Aborted { reason },
                }
            }
            Request::Lock { attempt, .. } => match self.grant(shard.id, attempt) {
                Ok(grant) => Reply::Locked { grant },
                Err(reason) => Reply::Aborted { reason },
            },
            Request::SnapshotRead { at, spans, limit } => {
                assert!(spans.iter().all(|span| shard.span.covers(span)), "cut at the border");
                self.rows(None, *at, spans, *limit)
            }
            Request::Prepare { attempt, writes, .. } => {
                if let Err(reason) = self.grant(shard.id, attempt) {
                    return Reply::Aborted { reason };
                }
                self.prepared.insert((shard.id, attempt.id), writes.clone());
                Reply::Prepared { prepare_ts: now.sure().unwrap().latest, expires: None }
            }
            Request::Commit { attempt, writes, digest, below, .. } => {
                let id = attempt.id;
                if let Some((outcome, recorded)) = self.records.get(&id) {
                    let known = matches!(outcome, Outcome::Aborted { .. }) || recorded == digest;
                    return if known {
                        Reply::Outcome(outcome.clone())
                    } else {
                        Reply::Refused(txn::leader::contradiction())
                    };
                }
                let outcome = match self.grant(shard.id, attempt) {
                    Ok(_) if below.is_some_and(|below| now.sure().unwrap().latest >= below) => {
                        Outcome::Aborted { reason: AbortReason::SchemaChanged }
                    }
                    Ok(_) => self.commit(now, id, writes.clone()),
                    Err(reason) => Outcome::Aborted { reason },
                };
                self.finish(id, outcome, *digest)
            }
            Request::Abort { id, .. } => match self.records.get(id) {
                Some((outcome, _)) => Reply::Outcome(outcome.clone()),
                None => self.finish(*id, Outcome::Aborted { reason: AbortReason::GivenUp }, 0),
            },
            Request::Lookup { id, .. } => {
                let recorded = self.records.get(id).map(|(outcome, _)| outcome.clone());
                Reply::Outcome(recorded.unwrap_or(Outcome::InProgress))
            }
            Request::Release { id, .. } => {
                self.locks.remove(&(shard.id, *id));
                Reply::Released
            }
            Request::KeepAlive { attempt, .. } => match self.grant(shard.id, attempt) {
                Ok(_) => Reply::Alive,
                Err(reason) => Reply::Aborted { reason },
            },
            Request::CatalogLease { .. } => self.catalog_lease(now),
            Request::Remove { .. } => Reply::Refused(Refusal::Removed),
            Request::GoAhead { .. } | Request::Wound { .. } | Request::Resolve { .. } => {
                panic!("no gateway asks {request:?}")
            }
        }
    }

    fn catalog_lease(&mut self, now: &Now) -> Reply {
        let versions = self.versions.get(&counter_key(Counter::Catalog));
        let made = versions.and_then(|versions| versions.last()).map(|(made, _)| *made);
        let (made, found_bound) = (made.unwrap_or_default(), self.bound);
        let expires = now.sure().unwrap().latest.plus(self.lease);
        self.bound = self.bound.max(expires);
        let made_bound = self.made_bound;
        Reply::CatalogLease { expires, made, made_bound, found_bound }
    }

    fn grant(
        &mut self,
        shard: ShardId,
        attempt: &txn::message::Attempt,
    ) -> Result<GrantPair, AbortReason> {
        if let Some(by) = self.wounded.get(&attempt.id) {
            return Err(AbortReason::Wounded { by: *by });
        }
        self.next += 1;
        let fresh = GrantPair { epoch: Epoch(1), number: self.next };
        let held = self.locks.entry((shard, attempt.id)).or_insert(fresh);
        match attempt.grant {
            Some(pair) if pair != *held => Err(AbortReason::LocksLost),
            Some(_) | None => Ok(*held),
        }
    }

    fn commit(&mut self, now: &Now, id: TxnId, own: Vec<Write>) -> Outcome {
        self.next += 1;
        // A fake of one clock for all: timestamps only grow within a second.
        let commit_ts =
            Timestamp::from_nanos(now.sure().unwrap().earliest.nanos() - 500_000_000 + self.next);
        let of_txn: Vec<_> = self.prepared.keys().filter(|(_, of)| *of == id).copied().collect();
        let prepared = of_txn.iter().filter_map(|key| self.prepared.remove(key)).flatten();
        let writes: Vec<Write> = prepared.collect::<Vec<_>>().into_iter().chain(own).collect();
        let changes = |write: &Write| write.key == counter_key(Counter::Catalog);
        if self.keeps_bound && writes.iter().any(changes) {
            self.made_bound = self.bound;
        }
        for write in writes {
            self.versions.entry(write.key).or_default().push((commit_ts, write.value));
        }
        Outcome::Committed { commit_ts, participants: Vec::new(), commit_wait: 3 }
    }

    fn finish(&mut self, id: TxnId, outcome: Outcome, digest: u64) -> Reply {
        self.locks.retain(|(_, of), _| *of != id);
        self.prepared.retain(|(_, of), _| *of != id);
        self.records.insert(id, (outcome.clone(), digest));
        Reply::Outcome(outcome)
    }

    fn rows(
        &self,
        grant: Option<GrantPair>,
        at: Timestamp,
        spans: &[KeySpan],
        limit: ReadLimit,
    ) -> Reply {
        let (mut rows, mut rest, mut bytes) = (Vec::<Row>::new(), Vec::new(), 0);
        for span in spans {
            let mut from = span.start.clone();
            let full = |rows: &Vec<Row>, bytes: u64| {
                rows.len() as u64 >= limit.rows || bytes >= limit.bytes
            };
            for (key, versions) in self.versions.range(span.start.clone()..) {
                if !span.contains(key) || full(&rows, bytes) {
                    break;
                }
                let version = versions.iter().rev().find(|(timestamp, _)| *timestamp <= at);
                if let Some((timestamp, Some(value))) = version {
                    bytes += (key.as_bytes().len() + value.as_bytes().len()) as u64;
                    let (key, timestamp, value) = (key.clone(), *timestamp, value.clone());
                    rows.push(Row { key, timestamp, value });
                }
                from = key.successor();
            }
            let left = KeySpan { start: from, end: span.end.clone() };
            if full(&rows, bytes) && !left.is_empty() {
                rest.push(left);
            }
        }
        Reply::Rows { grant, rows, rest }
    }
}
