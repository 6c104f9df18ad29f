//! Rows of a statement as chunks of its call's answer.

use proto::rpc::v1;
use proto::rpc::v1::session_answer::Response as Wire;
use sql::error::{SqlError, SqlState};
use sql::plan::OutputColumn;
use sql::scalar::types::Type;
use sql::scalar::value::Value;
use sql::session::Output;

use super::wire;
use crate::gateway::sql::Cancelled;
use crate::server::answers;
use crate::server::outbox::{Call, Delivery, SMALL};

/// A chunk takes rows up to about so many bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// A row is never larger: what a message may have, less what surrounds it.
const ROW_BYTES_MAX: usize = crate::server::MESSAGE_BYTES_MAX - (64 << 10);

/// See the module.
pub(super) struct Chunks {
    call: Call,
    types: Vec<Type>,
    /// Leaves with the first rows.
    columns: Option<Vec<v1::SqlColumn>>,
    transaction: Option<v1::TransactionId>,
}

impl Chunks {
    /// For that call; the first chunk names the transaction that was begun for it.
    pub(super) fn new(call: Call, transaction: Option<v1::TransactionId>) -> Self {
        Chunks { call, types: Vec::new(), columns: None, transaction }
    }

    async fn send(&mut self, rows: Vec<v1::RowValues>, size: usize) -> Result<(), SqlError> {
        let chunk = v1::ExecuteSqlResponse {
            columns: self.columns.take().unwrap_or_default(),
            rows,
            summary: None,
            transaction: self.transaction.take(),
        };
        match self.call.chunk(Wire::ExecuteSql(chunk), SMALL + size) {
            Delivery::Taken => Ok(()),
            Delivery::Full => {
                self.call.caught_up().await;
                Ok(())
            }
            Delivery::Withdrawn => Err(Cancelled::ClientGone.into()),
        }
    }
}

impl Output for Chunks {
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
