//! Reads a table, page by page.

use proto::table::KeySet;
use std::future::Future;

use super::keys::key_set;
use super::run::{Row, Run, rows_needed};
use crate::error::{SqlError, SqlState};
use crate::kv::{self, Kv};
use crate::plan::node::Scan;
use crate::scalar::value::Value;

/// How far a scan is.
#[derive(Debug, Default)]
pub(super) enum ScanState {
    /// It has not begun.
    #[default]
    Start,
    /// It goes on here.
    At { keys: KeySet, limit: Option<u64>, resume: Vec<u8> },
    /// There is no more.
    End,
}

/// The next page.
pub(super) fn next<'a, K: Kv>(
    scan: &'a Scan,
    state: &'a mut ScanState,
    run: &'a mut Run<'_, K>,
) -> impl Future<Output = Result<Option<Vec<Row>>, SqlError>> + Send + 'a {
    async move {
        loop {
            let (keys, limit, resume) = match std::mem::replace(state, ScanState::End) {
                ScanState::End => return Ok(None),
                ScanState::At { keys, limit, resume } => (keys, limit, Some(resume)),
                ScanState::Start => {
                    let keys = key_set(&scan.schema, &scan.keys, &mut run.evaluator())?;
                    let limit = match &scan.bounds {
                        Some(bounds) => rows_needed(bounds, run)?,
                        None => None,
                    };
                    if limit == Some(0) || (keys.points.is_empty() && keys.ranges.is_empty()) {
                        return Ok(None);
                    }
                    (keys, limit, None)
                }
            };
            let transaction = run.transaction.ok_or_else(|| {
                SqlError::new(SqlState::INTERNAL_ERROR, "a table is read outside a transaction")
            })?;
            let request = kv::Scan {
                transaction,
                schema: scan.schema.clone(),
                columns: scan.columns.clone(),
                keys: keys.clone(),
                limit,
                lock: scan.lock,
                resume,
            };
            let page = run.kv.scan(request).await?;
            if let Some(resume) = page.resume {
                *state = ScanState::At { keys, limit, resume };
            }
            if !page.rows.is_empty() {
                let row = |row: Vec<_>| row.into_iter().map(Value::from_datum).collect();
                return Ok(Some(page.rows.into_iter().map(row).collect()));
            }
        }
    }
}
