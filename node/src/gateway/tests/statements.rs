//! Tables: creating, dropping, finding them.

use super::cluster::Fault;
use super::*;
use crate::gateway::Error;

#[test]
fn created_table_is_known_everywhere_and_its_shards_are_announced() {
    let mut rig = Rig::empty();
    rig.ask(Request::CreateTable(accounts())).unwrap();
    let announced = rig.others.iter().find_map(|effect| match effect {
        Effect::NewShards(shards) => Some(shards.clone()),
        _ => None,
    });
    assert_eq!(announced.expect("new shards are announced").len(), 2);
    let settings = GatewaySettings::new(NodeId(2), 1, 0, rig.cluster.system_shard());
    rig.gateway = Gateway::new(settings);
    assert_eq!(rig.balances(), [], "another gateway reads the catalog when it needs it");
    assert_eq!(rig.gateway.map().iter().count(), 3);
    let Ok(Response::Tables(tables)) = rig.ask(Request::ListTables) else { panic!() };
    assert_eq!(tables.len(), 1);
}

#[test]
fn second_table_of_a_name_is_refused_and_ids_are_not_reused_after_a_drop() {
    let mut rig = Rig::empty();
    let Ok(Response::Table(first)) = rig.ask(Request::CreateTable(accounts())) else { panic!() };
    let error = rig.ask(Request::CreateTable(accounts())).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }));
    rig.seconds = 2;
    let drop = Request::DropTable(TableRef::Name("accounts".to_owned()));
    assert_eq!(rig.ask(drop.clone()), Ok(Response::TableDropped));
    rig.seconds = 3;
    assert!(matches!(rig.ask(drop), Err(Error::NotFound { .. })));
    let Ok(Response::Table(second)) = rig.ask(Request::CreateTable(accounts())) else { panic!() };
    assert!(second.id() > first.id());
}

#[test]
fn unknown_table_is_looked_for_before_it_is_not_found() {
    let mut rig = Rig::bank();
    let mut read =
        read_of(Selector::SingleUse(crate::gateway::api::ReadBound::Strong), KeySet::all());
    read.table = TableRef::Name("nowhere".to_owned());
    assert!(matches!(rig.ask(Request::Read(read)), Err(Error::NotFound { .. })));
    assert_eq!(rig.asked().len(), 2, "the catalog was read, twice");
}

#[test]
fn aborted_create_is_made_again() {
    let mut rig = Rig::empty();
    let is_prepare_or_commit: fn(&ShardRequest) -> bool =
        |request| matches!(request, ShardRequest::Commit { .. });
    rig.cluster.fault = Some((is_prepare_or_commit, Fault::Silence));
    let ticket = rig.send(Request::CreateTable(accounts()));
    assert_eq!(rig.answer_to(ticket), None);
    // The attempt's locks are lost: the commit that is sent again is answered "aborted".
    let ShardRequest::Commit { attempt, .. } = rig.asked().pop().unwrap() else { panic!() };
    rig.cluster.wounded.insert(attempt.id, proto::TxnId::default());
    let owner = 1;
    let call = crate::routing::CallId { owner, part: 1 };
    let outcome = txn::message::Outcome::Aborted { reason: txn::message::AbortReason::LocksLost };
    let result = Ok(txn::message::Reply::Outcome(outcome));
    rig.step(Input::Completed { call, result });
    assert!(matches!(rig.answer_to(ticket), Some(Ok(Response::Table(_)))));
}

#[test]
fn catalog_that_cannot_be_read_is_unavailable_and_not_missing() {
    let mut rig = Rig::empty();
    let any: fn(&ShardRequest) -> bool = |_| true;
    rig.cluster.fault = Some((any, Fault::Unavailable));
    let read = read_of(Selector::SingleUse(crate::gateway::api::ReadBound::Strong), KeySet::all());
    assert!(matches!(rig.ask(Request::Read(read)), Err(Error::Unavailable { .. })));
}

#[test]
fn drop_by_id_spares_a_later_table_of_the_same_name() {
    let mut rig = Rig::empty();
    let Ok(Response::Table(first)) = rig.ask(Request::CreateTable(accounts())) else { panic!() };
    let settings = GatewaySettings::new(NodeId(2), 1, 0, rig.cluster.system_shard());
    let mut other = Gateway::new(settings);
    std::mem::swap(&mut rig.gateway, &mut other);
    rig.seconds = 2;
    rig.ask(Request::DropTable(TableRef::Id(first.id()))).unwrap();
    rig.seconds = 3;
    rig.ask(Request::CreateTable(accounts())).unwrap();
    rig.seconds = 4;
    // The first gateway has not heard of any of it.
    std::mem::swap(&mut rig.gateway, &mut other);
    let error = rig.ask(Request::DropTable(TableRef::Id(first.id()))).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }));
    let Ok(Response::Tables(tables)) = rig.ask(Request::ListTables) else { panic!() };
    assert_eq!(tables.len(), 1);
}
