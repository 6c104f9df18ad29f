//! Tables that others change: leases, acknowledgements, changes that wait (section 7, T62).

use super::cluster::Fault;
use super::*;
use crate::gateway::Error;
use crate::gateway::api::ReadBound;
use crate::system::{Acknowledgement, Counter, acknowledgement_key, counter_key, decode};
use txn::message::AbortReason;

fn asks_for_lease(request: &ShardRequest) -> bool {
    matches!(request, ShardRequest::CatalogLease { .. })
}

fn drop_accounts() -> Request {
    Request::DropTable(table())
}

fn strong() -> Request {
    Request::Read(read_of(Selector::SingleUse(ReadBound::Strong), points(&[1])))
}

/// A bank whose leases count: a version's bound is kept until it has passed.
fn bank() -> Rig {
    let mut rig = Rig::bank();
    rig.cluster.keeps_bound = true;
    rig
}

impl Rig {
    /// A gateway of another node, or another process of one.
    fn gateway_of(&self, node: u64, start: u32) -> Gateway {
        Gateway::new(GatewaySettings::new(NodeId(node), start, 0, self.cluster.system_shard()))
    }

    /// Lets another gateway have the requests; the one before hears of nothing.
    fn swap(&mut self, other: &mut Gateway) {
        std::mem::swap(&mut self.gateway, other);
    }

    fn version(&self) -> Timestamp {
        self.cluster.newest(&counter_key(Counter::Catalog)).expect("a table was created").0
    }

    fn acknowledged(&self, node: u64) -> Option<Timestamp> {
        let (_, value) = self.cluster.newest(&acknowledgement_key(NodeId(node), 0))?;
        Some(decode::<Acknowledgement>(value?).unwrap().version)
    }

    fn tell(&mut self) {
        let version = self.version();
        self.step(Input::CatalogChanged { version });
    }
}

#[test]
fn gateway_that_hears_of_no_drop_uses_the_table_no_longer_than_its_lease() {
    let mut rig = bank();
    let id = rig.begin();
    rig.ask(Request::Write { transaction: id, mutations: vec![update(&[(1, 5)])] }).unwrap();
    let mut other = rig.gateway_of(2, 1);
    rig.swap(&mut other);
    rig.seconds = 10;
    let dropped = rig.send(drop_accounts());
    assert_eq!(rig.answer_to(dropped), None);
    // The lease of second 1 is good until 61: two adjacent versions are in use.
    rig.swap(&mut other);
    rig.seconds = 30;
    assert!(rig.ask(strong()).is_ok());
    rig.swap(&mut other);
    rig.tick_to(60);
    assert_eq!(rig.answer_to(dropped), None, "somebody may still use the table");
    rig.swap(&mut other);
    // Past its lease a gateway that cannot ask serves nothing,
    rig.seconds = 62;
    for request in
        [strong(), Request::Commit { target: CommitTarget::Transaction(id), mutations: vec![] }]
    {
        rig.cluster.fault = Some((asks_for_lease, Fault::Unavailable));
        assert!(matches!(rig.ask(request), Err(Error::Unavailable { .. })));
    }
    // and one that can learns that the table is gone; what began before is too late.
    assert!(matches!(rig.ask(strong()), Err(Error::NotFound { .. })));
    let reason = AbortReason::SchemaChanged;
    assert_eq!(rig.commit(id, Vec::new()), Err(Error::Aborted { reason }));
    rig.swap(&mut other);
    rig.tick_to(71);
    assert_eq!(rig.answer_to(dropped), Some(Ok(Response::TableDropped)), "all leases are over");
}

#[test]
fn old_reads_need_no_lease_that_is_still_good() {
    let mut rig = bank();
    rig.balances();
    rig.seconds = 100;
    rig.asked();
    let stale = ReadBound::ExactStaleness(Duration::from_secs(50));
    rig.rows(read_of(Selector::SingleUse(stale), points(&[1])));
    assert_eq!(rig.asked().len(), 2, "the read, and a renewal for whoever comes next");
    rig.cluster.fault = Some((asks_for_lease, Fault::Unavailable));
    rig.rows(read_of(Selector::SingleUse(stale), points(&[1])));
}

#[test]
fn renewal_of_the_same_version_gives_a_transaction_more_time() {
    let mut rig = bank();
    let id = rig.begin();
    rig.ask(Request::Write { transaction: id, mutations: vec![update(&[(1, 5)])] }).unwrap();
    rig.seconds = 65;
    rig.commit(id, Vec::new()).unwrap();
    let below = rig.asked().into_iter().find_map(|request| match request {
        ShardRequest::Commit { below, .. } => below,
        _ => None,
    });
    assert!(below.expect("it names the end") > now_at(120).sure().unwrap().latest);
}

#[test]
fn change_is_answered_once_every_node_acknowledges_it() {
    let mut rig = bank();
    let (mut second, mut third) = (rig.gateway_of(2, 1), rig.gateway_of(3, 1));
    for other in [&mut second, &mut third] {
        rig.swap(other);
        rig.balances();
        rig.swap(other);
    }
    // Both kinds of use of the old version hold the acknowledgement back.
    let old = rig.version();
    rig.swap(&mut third);
    let id = rig.begin();
    rig.ask(Request::Write { transaction: id, mutations: vec![update(&[(1, 5)])] }).unwrap();
    let is_read: fn(&ShardRequest) -> bool =
        |request| matches!(request, ShardRequest::SnapshotRead { .. });
    rig.cluster.fault = Some((is_read, Fault::Silence));
    let read = rig.send(strong());
    rig.swap(&mut third);
    rig.seconds = 2;
    let dropped = rig.send(drop_accounts());
    let version = rig.version();
    assert_eq!(rig.acknowledged(1), Some(version), "the gateway itself is among them");
    rig.swap(&mut second);
    rig.tell();
    assert_eq!(rig.acknowledged(2), Some(version));
    rig.swap(&mut second);
    rig.swap(&mut third);
    rig.tell();
    assert_eq!(rig.acknowledged(3), Some(old));
    assert!(matches!(rig.ask(strong()), Err(Error::NotFound { .. })), "nothing new begins on it");
    rig.ask(Request::Rollback(id)).unwrap();
    assert_eq!(rig.acknowledged(3), Some(old));
    let call = rig.unanswered.pop().expect("the read of the old version is under way");
    let what = txn::transaction::Obstacle::NoShard;
    let error = txn::transaction::CallError::Unavailable { what, maybe_executed: false };
    rig.step(Input::Completed { call, result: Err(error) });
    assert!(rig.answer_to(read).is_some());
    assert_eq!(rig.acknowledged(3), Some(version));
    rig.swap(&mut third);
    rig.tick_to(3);
    assert_eq!(rig.answer_to(dropped), Some(Ok(Response::TableDropped)));
}

#[test]
fn change_waits_for_the_one_before_to_be_in_use_everywhere() {
    let mut rig = bank();
    rig.seconds = 10;
    let mut second = accounts();
    second.name = "second".to_owned();
    let created = rig.send(Request::CreateTable(second));
    let version = rig.version();
    let dropped = rig.send(drop_accounts());
    rig.tick_to(20);
    rig.tick_to(60);
    rig.balances();
    assert_eq!((rig.answer_to(created), rig.answer_to(dropped)), (None, None));
    assert_eq!(rig.version(), version, "nobody is yet sure to use the second version");
    rig.tick_to(71);
    assert!(matches!(rig.answer_to(created), Some(Ok(Response::Table(_)))));
    assert!(rig.version() > version, "now the third is made");
    assert_eq!(rig.answer_to(dropped), None, "of second 60 there is a lease on the one before");
}

#[test]
fn restarted_gateway_acknowledges_only_after_the_bound_it_finds() {
    let mut rig = bank();
    let old = rig.version();
    rig.gateway = rig.gateway_of(2, 1);
    rig.seconds = 2;
    let _ = rig.send(drop_accounts());
    let version = rig.version();
    // The process of node 1 ended with a lease until 61, and perhaps commits on their way.
    rig.gateway = rig.gateway_of(1, 2);
    rig.tick_to(30);
    rig.tell();
    assert_eq!(rig.acknowledged(1), Some(old));
    rig.tick_to(62);
    assert_eq!(rig.acknowledged(1), Some(old), "others have leases until 62");
    rig.tick_to(63);
    assert_eq!(rig.acknowledged(1), Some(version));
}

#[test]
fn commit_of_unknown_outcome_holds_the_acknowledgement_back() {
    let mut rig = bank();
    let is_commit: fn(&ShardRequest) -> bool =
        |request| matches!(request, ShardRequest::Commit { .. });
    rig.cluster.fault = Some((is_commit, Fault::Silence));
    let id = rig.begin();
    let target = CommitTarget::Transaction(id);
    let commit = rig.send(Request::Commit { target, mutations: vec![update(&[(1, 5)])] });
    rig.tick_to(22);
    rig.tick_to(23);
    assert!(matches!(rig.answer_to(commit), Some(Err(Error::OutcomeUnknown { .. }))));
    let before = rig.acknowledged(1);
    let mut other = rig.gateway_of(2, 1);
    rig.swap(&mut other);
    let _ = rig.send(drop_accounts());
    rig.swap(&mut other);
    rig.tell();
    assert_eq!(rig.acknowledged(1), before, "it may still be executed");
    rig.tick_to(62);
    assert_eq!(rig.acknowledged(1), Some(rig.version()));
}
