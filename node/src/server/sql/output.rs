//! Rows of a statement as chunks of its call's answer.

use std::sync::Arc;

use proto::TxnId;
use proto::rpc::v1;
use proto::rpc::v1::session_answer::Response as Wire;
use sql::error::{SqlError, SqlState};
use sql::plan::OutputColumn;
use sql::scalar::types::Type;
use sql::scalar::value::Value;
use sql::session::{Output, Status, Summary};

use super::asker::Cancel;
use super::wire;
use crate::gateway::sql::Cancelled;
use crate::server::answers;
use crate::server::call::finish_large;
use crate::server::outbox::{Call, Delivery, SMALL};

/// A chunk takes rows up to about so many bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// A row is never larger: what a message may have, less what surrounds it.
const ROW_BYTES_MAX: usize = crate::server::MESSAGE_BYTES_MAX - (64 << 10);

/// See the module.
pub(super) struct Chunks {
    call: Call,
    cancel: Arc<Cancel>,
    types: Vec<Type>,
    /// Leaves with the first rows.
    columns: Option<Vec<v1::SqlColumn>>,
    /// Was begun for the statement.
    begun: Option<TxnId>,
    /// Leaves with the first chunk.
    transaction: Option<v1::TransactionId>,
}

impl Chunks {
    /// For that call, which waits for its client no longer than until it is cancelled.
    pub(super) fn new(call: Call, cancel: Arc<Cancel>) -> Self {
        Chunks { call, cancel, types: Vec::new(), columns: None, begun: None, transaction: None }
    }

    /// The last chunk: how the statement ended. Gives a transaction that stays open and that nobody was told of.
    pub(super) fn finish(mut self, summary: Summary, status: Status) -> Option<TxnId> {
        let mut chunk = wire::summary(summary, status);
        chunk.transaction = self.transaction.take();
        let is_told = finish_large(&self.call, Wire::ExecuteSql(chunk));
        self.begun.filter(|_| !is_told)
    }

    async fn send(&mut self, rows: Vec<v1::RowValues>, size: usize) -> Result<(), SqlError> {
        let chunk = v1::ExecuteSqlResponse {
            columns: self.columns.take().unwrap_or_default(),
            rows,
            summary: None,
            transaction: self.transaction.take(),
        };
        let delivery = tokio::select! {
            biased;
            reason = self.cancel.cancelled() => return Err(reason.into()),
            delivery = self.call.chunk_in_turn(Wire::ExecuteSql(chunk), SMALL + size) => delivery,
        };
        match delivery {
            Delivery::Taken | Delivery::Full => Ok(()),
            Delivery::Withdrawn => Err(Cancelled::ClientGone.into()),
        }
    }
}

impl Output for Chunks {
    fn begun(&mut self, transaction: TxnId) {
        self.begun = Some(transaction);
        self.transaction = Some(transaction.into());
    }

    async fn columns(&mut self, columns: &[OutputColumn]) -> Result<(), SqlError> {
        self.types = columns.iter().map(|column| column.ty).collect();
        self.columns = Some(columns.iter().map(wire::column).collect());
        // With the rows, if there are any: most answers are one chunk and the summary.
        self.send(Vec::new(), 64 * columns.len()).await
    }

    async fn rows(&mut self, rows: Vec<Vec<Value>>) -> Result<(), SqlError> {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        for row in rows {
            let values: Vec<v1::Value> = row.into_iter().map(wire::value).collect();
            let size = values.iter().map(answers::value_size).sum::<usize>();
            if size > ROW_BYTES_MAX {
                let message = format!(
                    "a row of the result takes {size} bytes, at most {ROW_BYTES_MAX} fit a message"
                );
                return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
                    .with_hint("Select fewer columns, or parts of the large values."));
            }
            if bytes + size > ROW_BYTES_MAX {
                self.send(std::mem::take(&mut chunk), bytes).await?;
                bytes = 0;
            }
            bytes += size;
            chunk.push(v1::RowValues { values });
            if bytes >= CHUNK_BYTES {
                self.send(std::mem::take(&mut chunk), bytes).await?;
                bytes = 0;
            }
        }
        if !chunk.is_empty() {
            self.send(chunk, bytes).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::outbox::{Outbox, TimeoutSubject};
    use tokio::time::{Duration, Instant};
    use truetime::Timestamp;

    #[tokio::test]
    async fn transaction_that_nobody_was_told_of_is_given_back() {
        let at = Timestamp::from_nanos(1);
        let id = TxnId { horizon: at, begin: at, origin: 1, sequence: 1 };
        for is_withdrawn in [false, true] {
            let outbox = Arc::new(Outbox::default());
            let end = Instant::now() + Duration::from_secs(60);
            let call = outbox.begin(7, end, TimeoutSubject::Statement, 1).unwrap();
            let mut out = Chunks::new(call, Arc::default());
            out.begun(id);
            if is_withdrawn {
                outbox.withdraw(7);
            }
            let untold = out.finish(Summary::default(), Status::Idle);
            assert_eq!(untold, is_withdrawn.then_some(id));
        }
    }
}
