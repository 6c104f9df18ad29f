//! The table that the scenarios use: `rows (id, value, filler)`, over a few shards.

use std::collections::BTreeMap;

use client::{
    Bound, Client, ClientError, Column, ColumnType, Mutations, Scan, Table, TablePlacement,
};
use proto::rpc::v1::SplitEvenly;
use truetime::Timestamp;

use super::until;

pub(crate) const TABLE: &str = "rows";
pub(crate) const COLUMNS: [&str; 2] = ["id", "value"];

/// Creates the table; its shards divide the ids from 0 to 1,000 among them.
pub(crate) async fn create_table(client: &Client, shards: u32) {
    let column = |name: &str, column_type: ColumnType, not_null| Column {
        name: name.to_owned(),
        r#type: column_type.into(),
        not_null,
        ..Column::default()
    };
    let table = Table {
        name: TABLE.to_owned(),
        columns: vec![
            column("id", ColumnType::Bigint, true),
            column("value", ColumnType::Bigint, true),
            column("filler", ColumnType::Text, false),
        ],
        primary_key: vec!["id".to_owned()],
        ..Table::default()
    };
    let placement = TablePlacement::SplitEvenly(SplitEvenly { shards, from: 0, to: 1_000 });
    until("the table is created", async || {
        client.create_table_if_missing(table.clone(), Some(placement.clone())).await
    })
    .await;
}

/// Writes one row, in a transaction of its own.
pub(crate) async fn put(client: &Client, id: i64, value: i64) -> Result<Timestamp, ClientError> {
    let mut mutations = Mutations::new();
    mutations.insert_or_update(TABLE, &COLUMNS, vec![id.into(), value.into()]);
    let committed = client.apply(&mutations).await?;
    Ok(committed.commit.timestamp.expect("a commit that wrote has a timestamp"))
}

/// The value of a row as it is now.
pub(crate) async fn read_one(client: &Client, id: i64) -> Result<Option<i64>, ClientError> {
    let row = client.snapshot(Bound::Strong).get(TABLE, id, &["value"]).await?;
    row.map(|row| row.get(0)).transpose().map_err(ClientError::from)
}

/// All rows as they are now, from one snapshot.
pub(crate) async fn read_all(client: &Client) -> Result<BTreeMap<i64, i64>, ClientError> {
    let scan = Scan { columns: &COLUMNS, ..Scan::default() };
    let rows = client.snapshot(Bound::Strong).scan(TABLE, scan).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}
