//! CREATE TABLE and DROP TABLE.

use proto::table::{NewTable, TableRef};
use std::future::Future;

use crate::error::{SqlError, SqlState};
use crate::kv::Kv;

/// Creates a table, unless there may be one.
pub(super) fn create_table<'a, K: Kv>(
    kv: &'a K,
    table: &'a NewTable,
    if_not_exists: bool,
) -> impl Future<Output = Result<Vec<String>, SqlError>> + Send + 'a {
    async move {
        let exists = format!("relation \"{}\" already exists", table.name);
        match kv.create_table(table.clone()).await {
            Ok(_) => Ok(Vec::new()),
            Err(error) if error.state == SqlState::DUPLICATE_TABLE => match if_not_exists {
                true => Ok(vec![format!("{exists}, skipping")]),
                false => Err(SqlError { message: exists, ..error }),
            },
            Err(error) => Err(error),
        }
    }
}

/// Drops tables; none of them if one does not exist.
pub(super) fn drop_tables<'a, K: Kv>(
    kv: &'a K,
    names: &'a [String],
    if_exists: bool,
) -> impl Future<Output = Result<Vec<String>, SqlError>> + Send + 'a {
    async move {
        let (mut notices, mut found) = (Vec::new(), Vec::new());
        for name in names {
            let missing = format!("table \"{name}\" does not exist");
            match kv.table(name).await? {
                Some(schema) => found.push((name, schema.id())),
                None if if_exists => notices.push(format!("{missing}, skipping")),
                None => return Err(SqlError::new(SqlState::UNDEFINED_TABLE, missing)),
            }
        }
        for (name, id) in found {
            match kv.drop_table(TableRef::Id(id)).await {
                Err(error) if error.state == SqlState::UNDEFINED_TABLE => {
                    let missing = format!("table \"{name}\" does not exist");
                    if !if_exists {
                        return Err(SqlError { message: missing, ..error });
                    }
                    notices.push(format!("{missing}, skipping"));
                }
                other => other?,
            }
        }
        Ok(notices)
    }
}
