//! Shards of dropped tables are removed (section 4).

use super::cluster::Fault;
use super::*;
use crate::gateway::Error;
use crate::system::{ShardRecord, ShardState, counter_key, decode, shard_key, tables};
use proto::Key;
use proto::encoding::table_span;
use txn::message::Outcome;

fn asks_for_removal(request: &ShardRequest) -> bool {
    matches!(request, ShardRequest::Remove { .. })
}

impl Rig {
    /// The leader of the system shard is beside this gateway from here on.
    fn take_duty(&mut self) {
        let made = self.cluster.newest(&counter_key(crate::system::Counter::Catalog));
        let made = made.map(|(made, _)| made).unwrap_or_default();
        self.step(Input::SystemShard { leads: true, made });
    }

    fn states(&self) -> Vec<ShardState> {
        let records = self.cluster.rows_of(&table_span(tables::SHARDS));
        records.iter().map(|value| decode::<ShardRecord>(value).unwrap().state).collect()
    }

    fn removals_asked(&mut self) -> usize {
        self.asked().iter().filter(|request| asks_for_removal(request)).count()
    }

    fn drop_accounts(&mut self) {
        self.ask(Request::DropTable(table())).unwrap();
        self.asked();
    }
}

#[test]
fn dropped_shards_are_asked_and_then_marked() {
    let mut rig = Rig::bank();
    rig.take_duty();
    assert_eq!(rig.removals_asked(), 0, "nothing is dropped");
    rig.seconds = 2;
    rig.ask(Request::DropTable(table())).unwrap();
    assert_eq!(rig.removals_asked(), 2, "the drop has it read the map");
    assert_eq!(rig.states(), [ShardState::Removed; 2]);
    // The gateway reads its own mark, and is done.
    rig.tick_to(3);
    assert_eq!(rig.gateway.map().dropping().count(), 0);
    rig.tick_to(60);
    assert_eq!(rig.removals_asked(), 0);
}

#[test]
fn gateway_that_is_not_beside_the_system_shards_leader_removes_nothing() {
    let mut rig = Rig::bank();
    rig.take_duty();
    rig.step(Input::SystemShard { leads: false, made: Timestamp::ZERO });
    rig.seconds = 2;
    rig.drop_accounts();
    rig.step(Input::Refresh);
    rig.tick_to(60);
    assert_eq!(rig.states(), [ShardState::Dropping; 2]);
}

#[test]
fn shards_are_asked_only_when_their_drop_is_in_use_everywhere() {
    let mut rig = Rig::bank();
    rig.cluster.keeps_bound = true;
    rig.seconds = 10;
    // Two other nodes never acknowledge, and may have leases.
    rig.send(Request::DropTable(table()));
    rig.take_duty();
    rig.tick_to(30);
    rig.tick_to(60);
    assert_eq!(rig.removals_asked(), 0);
    assert_eq!(rig.states(), [ShardState::Dropping; 2]);
    rig.tick_to(71);
    assert_eq!(rig.removals_asked(), 2);
    assert_eq!(rig.states(), [ShardState::Removed; 2]);
}

#[test]
fn shard_that_cannot_be_removed_yet_is_asked_again_and_holds_up_no_other() {
    let mut rig = Rig::bank();
    rig.drop_accounts();
    rig.cluster.fault = Some((asks_for_removal, Fault::Unavailable));
    rig.seconds = 2;
    rig.take_duty();
    assert_eq!(rig.removals_asked(), 2);
    let mut states = rig.states();
    states.sort_by_key(|state| *state == ShardState::Removed);
    assert_eq!(states, [ShardState::Dropping, ShardState::Removed]);
    rig.tick_to(4);
    assert_eq!(rig.removals_asked(), 1);
    assert_eq!(rig.states(), [ShardState::Removed; 2]);
}

#[test]
fn shards_that_cannot_be_removed_yet_keep_none_behind_them_waiting() {
    // Two are asked at a time. One of the first two fails: the next two have their turn before it.
    let mut rig = Rig::bank();
    let others = NewTable { name: "others".to_owned(), ..accounts() };
    rig.ask(Request::CreateTable(others)).unwrap();
    rig.seconds = 2;
    rig.drop_accounts();
    rig.seconds = 3;
    rig.ask(Request::DropTable(TableRef::Name("others".to_owned()))).unwrap();
    rig.asked();
    rig.cluster.fault = Some((asks_for_removal, Fault::Unavailable));
    rig.seconds = 4;
    rig.take_duty();
    let mut asked = Vec::new();
    for seconds in 5..15 {
        rig.tick_to(seconds);
        asked.extend(rig.asked().into_iter().filter_map(|request| match request {
            ShardRequest::Remove { key } => Some(key),
            _ => None,
        }));
    }
    assert_eq!(rig.states(), [ShardState::Removed; 4]);
    assert_eq!(asked.len(), 5);
    assert_eq!(asked[4], asked[0], "{asked:?}");
}

#[test]
fn another_gateway_finishes_what_one_began_whichever_step_that_came_to() {
    let is_removal: fn(&ShardRequest) -> bool = asks_for_removal;
    let is_commit: fn(&ShardRequest) -> bool =
        |request| matches!(request, ShardRequest::Commit { .. });
    for step in [is_removal, is_commit] {
        let mut rig = Rig::bank();
        rig.drop_accounts();
        rig.cluster.fault = Some((step, Fault::Silence));
        rig.seconds = 2;
        rig.take_duty();
        assert!(rig.states().contains(&ShardState::Dropping), "it waits for an answer");
        // Its node dies, and with it the locks of the mark.
        if let Some(ShardRequest::Commit { attempt, .. }) = rig.asked().into_iter().find(is_commit)
        {
            rig.cluster.wounded.insert(attempt.id, proto::TxnId::default());
        }
        let settings = GatewaySettings::new(NodeId(2), 1, 0, rig.cluster.system_shard());
        rig.gateway = Gateway::new(settings);
        rig.seconds = 3;
        rig.take_duty();
        rig.tick_to(10);
        assert_eq!(rig.states(), [ShardState::Removed; 2]);
    }
}

#[test]
fn outcome_whose_coordinator_was_removed_is_no_longer_known() {
    let mut rig = Rig::bank();
    let insert = |id| write(WriteKind::Insert, &["id", "balance"], vec![balance_row(id)]);
    let mutations = vec![insert(7)];
    let resolve = Request::ResolveCommit { id: None, mutations: mutations.clone(), max_age: None };
    let Ok(Response::Resolved { id, coordinator }) = rig.ask(resolve) else { panic!() };
    let target = CommitTarget::SingleUse { id, coordinator: coordinator.clone(), priority: None };
    let commit = Request::Commit { target, mutations };
    rig.drop_accounts();
    rig.seconds = 2;
    rig.take_duty();
    rig.tick_to(3);
    rig.asked();
    let lookup = Request::LookupOutcome { id, coordinator };
    for request in [lookup, commit] {
        let answer = rig.ask(request);
        assert_eq!(answer, Ok(Response::Outcome(Outcome::NoLongerKnown)));
    }
    // A read is told that there is no such table, and a table of this name is another one.
    let read = read_of(Selector::SingleUse(crate::gateway::api::ReadBound::Strong), KeySet::all());
    assert!(matches!(rig.ask(Request::Read(read)), Err(Error::NotFound { .. })));
    let before: Vec<Key> = rig.cluster.keys_of(&table_span(tables::SHARDS));
    let Ok(Response::Table(again)) = rig.ask(Request::CreateTable(accounts())) else { panic!() };
    let start = table_span(again.id()).start;
    assert!(!before.contains(&shard_key(&start)), "key ranges are not used again");
    assert_eq!(rig.states().len(), 4, "the marks stay");
    assert!(rig.gateway.map().is_removed(&table_span(proto::TableId(again.id().0 - 1)).start));
}

fn balance_row(id: i64) -> Vec<Datum> {
    vec![Datum::BigInt(id), Datum::BigInt(1)]
}
