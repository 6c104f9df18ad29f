//! What SHOW answers: variables, settings of the cluster, and tables.

use std::sync::Arc;

use proto::encoding::{Direction, TableSchema};

use super::{Output, Session, Summary};
use crate::error::{SqlError, SqlState};
use crate::kv::Kv;
use crate::plan::OutputColumn;
use crate::scalar::types::Type;
use crate::scalar::value::Value;
use crate::settings::{self, CLUSTER_SETTINGS};

/// Answers rows of text.
async fn answer<O: Output>(
    out: &mut O,
    columns: &[&str],
    rows: Vec<Vec<String>>,
) -> Result<Summary, SqlError> {
    let columns: Vec<OutputColumn> = columns
        .iter()
        .map(|name| OutputColumn { name: (*name).to_owned(), ty: Type::Text })
        .collect();
    out.columns(&columns).await?;
    let mut summary = Summary::of("SHOW");
    summary.rows = rows.len() as u64;
    let rows = rows.into_iter().map(|row| row.into_iter().map(Value::Text).collect());
    out.rows(rows.collect()).await?;
    Ok(summary)
}

impl Session {
    /// `SHOW name`.
    pub(super) async fn show<O: Output>(
        &self,
        name: &str,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        let (name, value) = match name.eq_ignore_ascii_case("transaction_read_only") {
            true => {
                let read_only = match self.status() {
                    super::Status::ReadOnly => true,
                    super::Status::Idle => self.variables.is_read_only(),
                    super::Status::ReadWrite | super::Status::Failed => false,
                };
                ("transaction_read_only", if read_only { "on" } else { "off" }.to_owned())
            }
            false => self.variables.show(name)?,
        };
        answer(out, &[name], vec![vec![value]]).await
    }

    /// `SHOW ALL`.
    pub(super) async fn show_all<O: Output>(&self, out: &mut O) -> Result<Summary, SqlError> {
        let rows = self
            .variables
            .all()
            .map(|(name, value, description)| vec![name.to_owned(), value, description.to_owned()]);
        answer(out, &["name", "setting", "description"], rows.collect()).await
    }

    /// `SHOW CLUSTER SETTING name`, or all of them.
    pub(super) async fn show_cluster<K: Kv, O: Output>(
        &self,
        kv: &K,
        name: Option<&str>,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        let stored = kv.cluster_settings().await?;
        let value = |setting: &settings::ClusterSetting| {
            let stored = stored.iter().find(|(name, _)| name == setting.name);
            stored.map_or(setting.default, |(_, value)| value.as_str()).to_owned()
        };
        if let Some(name) = name {
            let setting = settings::find(name)?;
            return answer(out, &[setting.name], vec![vec![value(setting)]]).await;
        }
        let rows = CLUSTER_SETTINGS.iter().map(|setting| {
            let (name, description) = (setting.name.to_owned(), setting.description.to_owned());
            vec![name, value(setting), setting.default.to_owned(), description]
        });
        answer(out, &["name", "setting", "default", "description"], rows.collect()).await
    }

    /// `SHOW TABLES`.
    pub(super) async fn show_tables<K: Kv, O: Output>(
        &self,
        kv: &K,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        let tables = kv.tables().await?;
        let rows = tables.iter().map(|schema| vec!["public".to_owned(), schema.name().to_owned()]);
        answer(out, &["schema_name", "table_name"], rows.collect()).await
    }

    /// `SHOW COLUMNS FROM table`.
    pub(super) async fn show_columns<K: Kv, O: Output>(
        &self,
        kv: &K,
        table: &str,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        let schema = table_of(kv, table).await?;
        let keys = schema.key_positions();
        let rows = schema.columns().iter().enumerate().map(|(at, column)| {
            let yes_no = |yes| if yes { "YES" } else { "NO" }.to_owned();
            let key = keys.iter().position(|key| *key == at);
            vec![
                column.name.clone(),
                Type::of_column(column.column_type).name().to_owned(),
                yes_no(!column.not_null),
                column.default.clone().unwrap_or_default(),
                key.map(|place| (place + 1).to_string()).unwrap_or_default(),
            ]
        });
        let columns = ["column_name", "data_type", "is_nullable", "column_default", "primary_key"];
        answer(out, &columns, rows.collect()).await
    }

    /// `SHOW CREATE TABLE table`.
    pub(super) async fn show_create<K: Kv, O: Output>(
        &self,
        kv: &K,
        table: &str,
        out: &mut O,
    ) -> Result<Summary, SqlError> {
        let schema = table_of(kv, table).await?;
        let row = vec![schema.name().to_owned(), create_statement(&schema)];
        answer(out, &["table_name", "create_statement"], vec![row]).await
    }
}

async fn table_of<K: Kv>(kv: &K, name: &str) -> Result<Arc<TableSchema>, SqlError> {
    kv.table(name).await?.ok_or_else(|| {
        let message = format!("relation \"{name}\" does not exist");
        SqlError::new(SqlState::UNDEFINED_TABLE, message)
    })
}

/// The statement that makes a table like this one. Where it is split is not part of its schema.
fn create_statement(schema: &TableSchema) -> String {
    let mut lines: Vec<String> = schema
        .columns()
        .iter()
        .map(|column| {
            let not_null = if column.not_null { " NOT NULL" } else { "" };
            let default = column.default.as_ref().map(|text| format!(" DEFAULT {text}"));
            format!(
                "    {} {}{not_null}{}",
                quoted(&column.name),
                column.column_type,
                default.unwrap_or_default()
            )
        })
        .collect();
    let keys = schema.key_positions().iter().zip(schema.primary_key()).map(|(at, part)| {
        let direction = match part.direction {
            Direction::Ascending => "",
            Direction::Descending => " DESC",
        };
        format!("{}{direction}", quoted(&schema.columns()[*at].name))
    });
    lines.push(format!("    PRIMARY KEY ({})", keys.collect::<Vec<_>>().join(", ")));
    format!("CREATE TABLE {} (\n{}\n)", quoted(schema.name()), lines.join(",\n"))
}

/// A name as it must be written to be read as this name.
fn quoted(name: &str) -> String {
    let starts = name.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if starts && name.chars().all(plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::TableId;
    use proto::encoding::{Column, ColumnId, ColumnType, KeyColumn, TableParts};

    #[test]
    fn create_statement_says_all_that_the_schema_has() {
        let column = |name: &str, id, column_type, default: Option<&str>| Column {
            name: name.to_owned(),
            id: ColumnId(id),
            column_type,
            not_null: false,
            default: default.map(str::to_owned),
        };
        let schema = TableSchema::new(TableParts {
            id: TableId(100),
            name: "Odd name".to_owned(),
            columns: vec![
                column("id", 1, ColumnType::BigInt, None),
                column("n", 2, ColumnType::SmallInt, Some("1 + 1")),
            ],
            primary_key: vec![KeyColumn { column: ColumnId(1), direction: Direction::Ascending }],
            next_column: ColumnId(3),
        })
        .unwrap();
        let expected = "CREATE TABLE \"Odd name\" (\n    id BIGINT NOT NULL,\n    \
                        n SMALLINT DEFAULT 1 + 1,\n    PRIMARY KEY (id)\n)";
        assert_eq!(create_statement(&schema), expected);
    }
}
