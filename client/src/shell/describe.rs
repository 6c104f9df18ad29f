//! `\d`: tables, and where their rows are.

use super::render::{Grid, show};
use super::settings::{Format, Settings};
use super::value::{literal, type_name};
use crate::shard_map::{ShardMap, ShardPlace};
use proto::rpc::v1::{RowKey, Table};
use proto::{NodeId, TableId};

/// All tables.
pub(super) fn tables(
    tables: &[Table],
    map: &ShardMap,
    settings: &Settings,
    width_max: Option<usize>,
) -> String {
    let row = |table: &Table| {
        let shards = map.shards(TableId(table.id)).len();
        [table.name.clone(), key(table), table.columns.len().to_string(), shards.to_string()]
    };
    let rows: Vec<_> = tables.iter().map(row).collect();
    let count = rows.len();
    let text =
        show(&Grid::of_text(["Table", "Key", "Columns", "Shards"], rows), settings, width_max);
    match settings.format {
        Format::Table if count == 1 => format!("{text}(1 table)\n\n"),
        Format::Table => format!("{text}({count} tables)\n\n"),
        Format::Csv | Format::Json => text,
    }
}

/// One table. In CSV and JSON its columns alone, so that the output stays one table.
pub(super) fn table(
    table: &Table,
    map: &ShardMap,
    settings: &Settings,
    width_max: Option<usize>,
) -> String {
    let row = |column: &proto::rpc::v1::Column| {
        let not_null = column.not_null || table.primary_key.contains(&column.name);
        [
            column.name.clone(),
            type_name(column.r#type()).to_owned(),
            if not_null { "not null" } else { "" }.to_owned(),
            column.default_expression.clone(),
        ]
    };
    let rows = table.columns.iter().map(row).collect();
    let columns = Grid::of_text(["Column", "Type", "Nullable", "Default"], rows);
    let columns = show(&columns, settings, width_max);
    if settings.format != Format::Table {
        return columns;
    }
    let places = map.shards(TableId(table.id));
    let ends = places.iter().skip(1).map(|place| bound(&place.start, "end"));
    let ends = ends.chain(std::iter::once("end".to_owned()));
    let shards = places.iter().zip(ends).map(|(place, end)| shard(place, end)).collect();
    let shards = Grid::of_text(["Shard", "From", "To (excluded)", "Leader", "Replicas"], shards);
    format!(
        "Table \"{}\"\n{columns}Primary key: {}\n\nShards:\n{}\n",
        table.name,
        key(table),
        show(&shards, settings, width_max)
    )
}

fn shard(place: &ShardPlace, end: String) -> [String; 5] {
    let replicas: Vec<String> = place.replicas.iter().map(NodeId::to_string).collect();
    [
        place.shard.to_string(),
        bound(&place.start, "start"),
        end,
        place.leader.map_or_else(|| "none known".to_owned(), |node| node.to_string()),
        replicas.join(" "),
    ]
}

/// A bound of a range of keys; `open` when it is the end of the table.
fn bound(key: &RowKey, open: &str) -> String {
    if key.values.is_empty() {
        return open.to_owned();
    }
    let values: Vec<String> = key.values.iter().map(literal).collect();
    format!("({})", values.join(", "))
}

fn key(table: &Table) -> String {
    format!("({})", table.primary_key.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Format, Settings};
    use crate::shard_map::ShardMap;
    use proto::rpc::v1::{Column, ColumnType, RowKey, ShardLocation, ShardMapResponse, Table};

    fn accounts() -> (Table, ShardMap) {
        let column = |name: &str, of: ColumnType, not_null, default: &str| Column {
            name: name.to_owned(),
            r#type: of.into(),
            not_null,
            default_expression: default.to_owned(),
        };
        let table = Table {
            name: "accounts".to_owned(),
            id: 100,
            columns: vec![
                column("id", ColumnType::Bigint, true, ""),
                column("owner", ColumnType::Text, false, ""),
                column("balance", ColumnType::Bigint, true, "0"),
            ],
            primary_key: vec!["id".to_owned()],
        };
        let shard = |shard, start, leader| ShardLocation {
            shard,
            table: 100,
            start,
            leader,
            replicas: vec![1, 2, 3],
        };
        let shards = vec![shard(11, None, 1), shard(12, Some(RowKey::from(500)), 0)];
        let map = ShardMapResponse { version: 1, shards, nodes: Vec::new() }.into();
        (table, map)
    }

    #[test]
    fn table_shows_columns_key_and_shards() {
        let (table, map) = accounts();
        let text = super::table(&table, &map, &Settings::default(), None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "Table \"accounts\"",
                " Column  |  Type  | Nullable | Default",
                "---------+--------+----------+---------",
                " id      | bigint | not null |",
                " owner   | text   |          |",
                " balance | bigint | not null | 0",
                "Primary key: (id)",
                "",
                "Shards:",
                " Shard | From  | To (excluded) |   Leader   | Replicas",
                "-------+-------+---------------+------------+----------",
                " s11   | start | (500)         | n1         | n1 n2 n3",
                " s12   | (500) | end           | none known | n1 n2 n3",
                "",
            ],
            "\n{text}"
        );
    }

    #[test]
    fn table_in_csv_is_its_columns() {
        let (table, map) = accounts();
        let settings = Settings { format: Format::Csv, ..Settings::default() };
        let text = super::table(&table, &map, &settings, None);
        assert!(text.starts_with("Column,Type,Nullable,Default\nid,bigint,not null,"), "{text}");
        assert_eq!(text.lines().count(), 4);
    }

    #[test]
    fn list_of_tables_has_keys_and_shards() {
        let (table, map) = accounts();
        let text = super::tables(&[table], &map, &Settings::default(), None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "  Table   | Key  | Columns | Shards",
                "----------+------+---------+--------",
                " accounts | (id) | 3       | 2",
                "(1 table)",
                "",
            ],
            "\n{text}"
        );
    }
}
