//! The tables that this client has used, so that requests carry a table's id instead of its name.
//!
//! An id means one table for ever. A name that was dropped and created again is noticed by the refusal of
//! its old id, whereupon it is forgotten here.

use crate::call::Ask;
use crate::client::Client;
use crate::error::ClientError;
use parking_lot::RwLock;
use proto::rpc::v1::{ErrorKind, GetTableRequest, Table, TableRef};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tables by name.
#[derive(Debug, Default)]
pub(crate) struct Tables(RwLock<BTreeMap<String, Arc<Table>>>);

impl Tables {
    pub(crate) fn known(&self, name: &str) -> Option<Arc<Table>> {
        self.0.read().get(name).cloned()
    }

    pub(crate) fn learn(&self, table: Table) -> Arc<Table> {
        let table = Arc::new(table);
        self.0.write().insert(table.name.clone(), Arc::clone(&table));
        table
    }

    pub(crate) fn forget(&self, name: &str) {
        self.0.write().remove(name);
    }
}

/// Whether a request failed because the id it used is no table's any more.
pub(crate) fn is_stale_table(error: &ClientError) -> bool {
    error.refusal().is_some_and(|refusal| refusal.kind == ErrorKind::TableNotFound)
}

impl Client {
    /// The table of this name, asked for at its first use.
    pub(crate) async fn table(&self, name: &str) -> Result<Arc<Table>, ClientError> {
        if let Some(table) = self.tables().known(name) {
            return Ok(table);
        }
        self.fetch_table(name).await
    }

    pub(crate) async fn fetch_table(&self, name: &str) -> Result<Arc<Table>, ClientError> {
        let table = Some(TableRef { name: name.to_owned(), id: 0 });
        let time = self.config().request_timeout;
        let answer = self.ask_anyone(GetTableRequest { table }, None, time).await?;
        match answer.table {
            Some(table) => Ok(self.tables().learn(table)),
            None => Err(ClientError::Protocol { reason: GetTableRequest::NAME }),
        }
    }
}
