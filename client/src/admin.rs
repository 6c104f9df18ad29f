//! Tables, and the cluster itself.

use crate::call::Ask;
use crate::client::Client;
use crate::error::ClientError;
use bytes::Bytes;
use proto::TxnId;
use proto::rpc::v1::create_table_request::Placement;
use proto::rpc::v1::{
    CreateTableRequest, DropTableRequest, InitRequest, InitResponse, ListTablesRequest,
    LookupOutcomeRequest, LookupOutcomeResponse, Outcome, StatusRequest, StatusResponse, Table,
    TableRef,
};
use std::sync::Arc;
use truetime::Timestamp;

impl Client {
    /// Creates a table; an error when there is one of that name. A lost answer leaves open whether it
    /// was created.
    pub async fn create_table(
        &self,
        table: Table,
        placement: Option<Placement>,
    ) -> Result<Arc<Table>, ClientError> {
        let request = CreateTableRequest { table: Some(table), placement, if_not_exists: false };
        let time = self.config().ddl_timeout;
        self.created(self.ask_once(request, time).await?.table)
    }

    /// Creates a table unless there is one of that name; answers the one there is.
    pub async fn create_table_if_missing(
        &self,
        table: Table,
        placement: Option<Placement>,
    ) -> Result<Arc<Table>, ClientError> {
        let request = CreateTableRequest { table: Some(table), placement, if_not_exists: true };
        let time = self.config().ddl_timeout;
        self.created(self.ask_anyone(request, None, time).await?.table)
    }

    fn created(&self, table: Option<Table>) -> Result<Arc<Table>, ClientError> {
        match table {
            Some(table) => Ok(self.tables().learn(table)),
            None => Err(ClientError::Protocol { reason: CreateTableRequest::NAME }),
        }
    }

    /// Drops a table, if it exists.
    pub async fn drop_table(&self, name: &str) -> Result<(), ClientError> {
        let table = Some(TableRef { name: name.to_owned(), id: 0 });
        let request = DropTableRequest { table, if_exists: true };
        self.tables().forget(name);
        self.ask_anyone(request, None, self.config().ddl_timeout).await?;
        Ok(())
    }

    /// Describes a table as it is now.
    pub async fn get_table(&self, name: &str) -> Result<Arc<Table>, ClientError> {
        self.fetch_table(name).await
    }

    /// Describes all tables, by name.
    pub async fn list_tables(&self) -> Result<Vec<Table>, ClientError> {
        let time = self.config().request_timeout;
        Ok(self.ask_anyone(ListTablesRequest {}, None, time).await?.tables)
    }

    /// Initialises the cluster; does nothing when it is. Streams opened before do not know their nodes' ids:
    /// connect anew to have leaders followed.
    pub async fn init(&self) -> Result<InitResponse, ClientError> {
        self.ask_anyone(InitRequest {}, None, self.config().request_timeout).await
    }

    /// How the cluster is, as one node finds out.
    pub async fn status(&self) -> Result<StatusResponse, ClientError> {
        let time = self.config().request_timeout;
        self.ask_anyone(StatusRequest { local: false }, None, time).await
    }

    /// What became of a transaction whose outcome was unknown, and its timestamp when it committed.
    pub async fn lookup_outcome(
        &self,
        id: TxnId,
        coordinator_key: Bytes,
    ) -> Result<(Outcome, Option<Timestamp>), ClientError> {
        let request = LookupOutcomeRequest { transaction: Some(id.into()), coordinator_key };
        let time = self.config().request_timeout;
        let answer: LookupOutcomeResponse = self.ask_anyone(request, None, time).await?;
        let outcome = answer.outcome();
        let timestamp =
            (outcome == Outcome::Committed).then(|| Timestamp::from_nanos(answer.commit_timestamp));
        Ok((outcome, timestamp))
    }
}
