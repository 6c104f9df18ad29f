//! Somebody creates and drops tables while the others work and things fail, and looks whether all gateways
//! heard of it. Each table has two shards and gets rows in both, so that there are outcomes, locks and versions
//! to be done with when it goes; `invariants/removal.rs` looks at what is left of its shards in the end.
//!
//! What is checked (TRANSACTIONS.md section 7): after a CREATE TABLE was answered no gateway calls the table
//! unknown, and after a DROP TABLE was answered none reads it. Each table has a name of its own, so that a
//! statement whose answer was lost disturbs nothing later.

use node::gateway::api::{
    Answer, CommitTarget, Read, ReadBound, ReadWriteOptions, Request, Response, Selector,
    TransactionHandle, TransactionOptions,
};
use node::gateway::{Error, Subject};
use proto::table::NewTable;
use proto::table::{KeySet, Mutation, TableRef, WriteKind};
use txn::lock_table::LockMode;

use super::cluster::Cluster;
use super::plan::{MS, SECOND};
use super::run::OPERATOR;
use super::tables::{Content, Table};

/// How many gateways are looked at after a change.
const LOOKS: usize = 3;

impl Cluster<'_> {
    /// Goes on until `until`.
    pub(super) fn churn(&mut self, until: u64) -> Result<(), String> {
        let mut number = 0;
        while self.now < until {
            let pause = self.rng.between(100 * MS, 3 * SECOND);
            self.run((self.now + pause).min(until), |_| false);
            number += 1;
            self.come_and_go(&format!("passing{number}"), until)?;
        }
        Ok(())
    }

    fn come_and_go(&mut self, name: &str, until: u64) -> Result<(), String> {
        let name = name.to_owned();
        let definition = NewTable { name: name.clone(), ..Table::Notes.definition(2, 2) };
        let created = self.ask_somebody(Request::CreateTable(definition), until);
        if !matches!(created, Some(Ok(Response::Table(_)))) {
            return Ok(());
        }
        self.changes += 1;
        for _ in 0..LOOKS {
            let read = self.ask_somebody(read_of(&name), until);
            if let Some(Err(Error::NotFound { what: Subject::Table(_) })) = read {
                return Err(format!("catalog: {name} was created and is unknown to a gateway"));
            }
        }
        self.fill(&name, until);
        let drop = Request::DropTable(TableRef::Name(name.clone()));
        let Some(Ok(_)) = self.ask_somebody(drop, until) else { return Ok(()) };
        self.changes += 1;
        for _ in 0..LOOKS {
            if let Some(Ok(_)) = self.ask_somebody(read_of(&name), until) {
                return Err(format!("catalog: {name} was dropped and a gateway still reads it"));
            }
        }
        Ok(())
    }

    /// Writes a row into each shard of a table, in one transaction. Its outcome may remain unknown, and it may
    /// be on its way when the table goes.
    fn fill(&mut self, name: &str, until: u64) {
        let node = self.rng.index(self.machines.len());
        let options = TransactionOptions::ReadWrite(ReadWriteOptions::default());
        let begun = self.ask_at(node, Request::Begin(options), until);
        let Some(Ok(Response::Begun(begun))) = begun else { return };
        let TransactionHandle::ReadWrite(id) = begun.transaction else { return };
        let rows = [0, 1].map(|id| (id, Content { amount: 1, tag: 1 }));
        let write = match Table::Notes.write(WriteKind::InsertOrUpdate, &rows) {
            Mutation::Write { kind, columns, rows, .. } => {
                Mutation::Write { kind, table: TableRef::Name(name.to_owned()), columns, rows }
            }
            delete @ Mutation::Delete { .. } => delete,
        };
        let target = CommitTarget::Transaction(id);
        self.ask_at(node, Request::Commit { target, mutations: vec![write] }, until);
    }

    /// Asks any gateway once; nothing when no answer came.
    fn ask_somebody(&mut self, request: Request, until: u64) -> Option<Answer> {
        let node = self.rng.index(self.machines.len());
        self.ask_at(node, request, until)
    }

    fn ask_at(&mut self, node: usize, request: Request, until: u64) -> Option<Answer> {
        let ticket = self.request(node, OPERATOR, request);
        self.operator = Some((ticket, None));
        self.run(until, |cluster| {
            cluster.operator.as_ref().is_some_and(|(_, answer)| answer.is_some())
        });
        self.operator.take()?.1?
    }
}

fn read_of(name: &str) -> Request {
    Request::Read(Read {
        selector: Selector::SingleUse(ReadBound::Strong),
        table: TableRef::Name(name.to_owned()),
        columns: Vec::new(),
        keys: KeySet::all(),
        limit: None,
        lock: LockMode::Shared,
        resume: None,
    })
}
