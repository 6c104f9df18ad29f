//! The gateway against a cluster in memory that keeps the meaning of the messages and answers at once.

mod catalog;
mod cluster;
mod locked;
mod removal;
mod snapshots;
mod statements;

use proto::NodeId;
use proto::encoding::{Column, ColumnId, ColumnType, Datum};
use std::time::Duration;
use truetime::{Mono, Now, TimeInterval, Timestamp};
use txn::lock_table::LockMode;

use super::api::{
    Answer, Begun, ClientId, CommitTarget, Read, Request, Response, Rows, Selector, Ticket,
    TransactionHandle, TransactionOptions,
};
use super::machine::{Effect, Gateway, Input};
use super::settings::GatewaySettings;
use crate::routing::Route;
use cluster::Cluster;
use proto::table::NewTable;
use proto::table::{KeySet, Mutation, TableRef, WriteKind};
use txn::message::Request as ShardRequest;

/// A gateway, the cluster behind it, and one client.
pub(super) struct Rig {
    pub(super) gateway: Gateway,
    pub(super) cluster: Cluster,
    pub(super) seconds: u64,
    next_ticket: u64,
    pub(super) answers: Vec<(Ticket, Answer)>,
    /// Every request to a shard since last taken.
    pub(super) asked: Vec<(ShardRequest, Route)>,
    pub(super) others: Vec<Effect>,
    /// Calls that nobody answered.
    pub(super) unanswered: Vec<crate::routing::CallId>,
}

pub(super) const CLIENT: ClientId = ClientId(1);

pub(super) fn now_at(seconds: u64) -> Now {
    let at = Timestamp::from_nanos(1_000_000_000_000).plus(Duration::from_secs(seconds));
    Now {
        mono: Mono::from_nanos(seconds * 1_000_000_000),
        interval: Ok(TimeInterval::around(at, Duration::from_micros(100))),
    }
}

impl Rig {
    /// An initialised cluster of three nodes without tables.
    pub(super) fn empty() -> Self {
        let cluster = Cluster::new(3);
        let settings = GatewaySettings::new(NodeId(1), 1, 0, cluster.system_shard());
        Rig::with(cluster, settings)
    }

    pub(super) fn with(cluster: Cluster, settings: GatewaySettings) -> Self {
        Rig {
            gateway: Gateway::new(settings),
            cluster,
            seconds: 1,
            next_ticket: 0,
            answers: Vec::new(),
            asked: Vec::new(),
            others: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    /// With table `accounts (id, owner, balance)`, split at 100, and rows 1, 2, 101, 102 of balance 10.
    pub(super) fn bank() -> Self {
        let mut rig = Rig::empty();
        rig.ask(Request::CreateTable(accounts())).unwrap();
        let rows = [1, 2, 101, 102].map(|id| account(id, 10)).to_vec();
        let insert = write(WriteKind::Insert, &["id", "owner", "balance"], rows);
        let id = rig.begin();
        rig.commit(id, vec![insert]).unwrap();
        rig.asked.clear();
        rig.others.clear();
        rig
    }

    pub(super) fn send(&mut self, request: Request) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.step(Input::Request { client: CLIENT, ticket, request });
        ticket
    }

    /// Sends a request and takes its answer, which must come without any time passing.
    pub(super) fn ask(&mut self, request: Request) -> Answer {
        let ticket = self.send(request);
        self.answer_to(ticket).expect("it was answered")
    }

    pub(super) fn answer_to(&mut self, ticket: Ticket) -> Option<Answer> {
        let count = self.answers.iter().filter(|(of, _)| *of == ticket).count();
        assert!(count <= 1, "{ticket:?} was answered {count} times");
        let position = self.answers.iter().position(|(of, _)| *of == ticket)?;
        Some(self.answers.remove(position).1)
    }

    pub(super) fn step(&mut self, input: Input) {
        let now = now_at(self.seconds);
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.gateway.step(&now, input, &mut effects);
            self.gateway.check_invariants();
            for effect in effects {
                match effect {
                    Effect::Call { call, request, route } => {
                        let result = self.cluster.serve(&now, &request);
                        self.asked.push((request, route));
                        match result {
                            Some(result) => inputs.push_back(Input::Completed { call, result }),
                            None => self.unanswered.push(call),
                        }
                    }
                    Effect::Answer { ticket, answer } => self.answers.push((ticket, answer)),
                    Effect::UpdateMap(map) => self.cluster.map = map,
                    Effect::CatalogChanged { version, nodes } => {
                        assert!(nodes.contains(&NodeId(1)), "all registered nodes are told");
                        inputs.push_back(Input::CatalogChanged { version });
                    }
                    other => self.others.push(other),
                }
            }
        }
    }

    pub(super) fn tick_to(&mut self, seconds: u64) {
        self.seconds = seconds;
        self.step(Input::Tick);
    }

    pub(super) fn begin(&mut self) -> proto::TxnId {
        let options = TransactionOptions::ReadWrite(Default::default());
        match self.ask(Request::Begin(options)).unwrap() {
            Response::Begun(Begun { transaction: TransactionHandle::ReadWrite(id), .. }) => id,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn commit(&mut self, id: proto::TxnId, mutations: Vec<Mutation>) -> Answer {
        self.ask(Request::Commit { target: CommitTarget::Transaction(id), mutations })
    }

    pub(super) fn rows(&mut self, read: Read) -> Rows {
        match self.ask(Request::Read(read)).unwrap() {
            Response::Rows(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    /// The balances by id, as a strong read sees them.
    pub(super) fn balances(&mut self) -> Vec<(i64, i64)> {
        let mut read = read_of(Selector::SingleUse(super::api::ReadBound::Strong), KeySet::all());
        read.columns = vec!["id".to_owned(), "balance".to_owned()];
        let rows = self.rows(read).rows;
        rows.iter()
            .map(|row| match row.values[..] {
                [Datum::BigInt(id), Datum::BigInt(balance)] => (id, balance),
                ref other => panic!("{other:?}"),
            })
            .collect()
    }

    pub(super) fn asked(&mut self) -> Vec<ShardRequest> {
        std::mem::take(&mut self.asked).into_iter().map(|(request, _)| request).collect()
    }
}

pub(super) fn accounts() -> NewTable {
    let column = |name: &str, column_type, not_null| {
        let (name, id) = (name.to_owned(), ColumnId::default());
        Column { name, id, column_type, not_null, default: None }
    };
    NewTable {
        name: "accounts".to_owned(),
        columns: vec![
            column("id", ColumnType::BigInt, true),
            column("owner", ColumnType::Text, false),
            column("balance", ColumnType::BigInt, false),
        ],
        primary_key: vec!["id".to_owned()],
        splits: vec![vec![Datum::BigInt(100)]],
    }
}

pub(super) fn account(id: i64, balance: i64) -> Vec<Datum> {
    vec![Datum::BigInt(id), Datum::Text(format!("o{id}")), Datum::BigInt(balance)]
}

pub(super) fn table() -> TableRef {
    TableRef::Name("accounts".to_owned())
}

pub(super) fn write(kind: WriteKind, columns: &[&str], rows: Vec<Vec<Datum>>) -> Mutation {
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    Mutation::Write { kind, table: table(), columns, rows }
}

/// Sets the balance of existing rows.
pub(super) fn update(balances: &[(i64, i64)]) -> Mutation {
    let rows = balances.iter().map(|(id, b)| vec![Datum::BigInt(*id), Datum::BigInt(*b)]).collect();
    write(WriteKind::Update, &["id", "balance"], rows)
}

pub(super) fn points(ids: &[i64]) -> KeySet {
    KeySet { points: ids.iter().map(|id| vec![Datum::BigInt(*id)]).collect(), ranges: Vec::new() }
}

pub(super) fn read_of(selector: Selector, keys: KeySet) -> Read {
    let (columns, limit, lock, resume) = (Vec::new(), None, LockMode::Shared, None);
    Read { selector, table: table(), columns, keys, limit, lock, resume }
}

/// The values alone.
pub(super) fn values(rows: &Rows) -> Vec<Vec<Datum>> {
    rows.rows.iter().map(|row| row.values.clone()).collect()
}

pub(super) fn in_txn(id: proto::TxnId) -> Selector {
    Selector::Existing(TransactionHandle::ReadWrite(id))
}
