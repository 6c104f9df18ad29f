//! SHOW COLUMNS and SHOW CREATE TABLE.

use proto::encoding::TableSchema;

use super::OutputColumn;
use crate::scalar::types::Type;
use crate::scalar::value::Value;

type Shown = (Vec<Vec<Value>>, Vec<OutputColumn>);

/// Output columns of type text.
pub(super) fn text_columns(names: &[&str]) -> Vec<OutputColumn> {
    names.iter().map(|name| OutputColumn { name: (*name).to_owned(), ty: Type::Text }).collect()
}

/// SHOW COLUMNS.
pub(super) fn columns(schema: &TableSchema) -> Shown {
    let mut columns = text_columns(&["column_name", "data_type"]);
    columns.push(OutputColumn { name: "is_nullable".to_owned(), ty: Type::Boolean });
    columns.extend(text_columns(&["column_default"]));
    columns.push(OutputColumn { name: "key_position".to_owned(), ty: Type::Int });
    let rows = schema.columns().iter().enumerate().map(|(at, column)| {
        let key = schema.key_positions().iter().position(|key| *key == at);
        let key = key.and_then(|key| i64::try_from(key + 1).ok());
        vec![
            Value::Text(column.name.clone()),
            Value::Text(Type::of_column(column.column_type).name().to_owned()),
            Value::Bool(!column.not_null),
            column.default.clone().map_or(Value::Null, Value::Text),
            key.map_or(Value::Null, Value::Int),
        ]
    });
    (rows.collect(), columns)
}

/// SHOW CREATE TABLE.
pub(super) fn create_table(schema: &TableSchema) -> Shown {
    let mut lines: Vec<String> = schema
        .columns()
        .iter()
        .map(|column| {
            let not_null = if column.not_null { " NOT NULL" } else { "" };
            let default = column.default.as_ref().map(|text| format!(" DEFAULT {text}"));
            let name = quoted(&column.name);
            format!("  {name} {}{not_null}{}", column.column_type, default.unwrap_or_default())
        })
        .collect();
    let key = schema.key_positions().iter().map(|at| quoted(&schema.columns()[*at].name));
    lines.push(format!("  PRIMARY KEY ({})", key.collect::<Vec<_>>().join(", ")));
    let text = format!("CREATE TABLE {} (\n{}\n)", quoted(schema.name()), lines.join(",\n"));
    let row = vec![Value::Text(schema.name().to_owned()), Value::Text(text)];
    (vec![row], text_columns(&["table_name", "create_statement"]))
}

/// A name as SQL would have to write it.
fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !is_reserved(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Words that cannot be names without quotes.
fn is_reserved(name: &str) -> bool {
    const RESERVED: &str = " all analyse analyze and any array as asc asymmetric both case cast check \
        collate column constraint create current_catalog current_date current_role current_time \
        current_timestamp current_user default deferrable desc distinct do else end except false \
        fetch for foreign from grant group having in initially intersect into lateral leading limit \
        localtime localtimestamp not null offset on only or order placing primary references \
        returning select session_user some symmetric table then to trailing true union unique user \
        using variadic when where window with ";
    RESERVED.contains(&format!(" {name} "))
}
