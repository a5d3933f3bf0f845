//! What a table looks like, from the catalogs.

use crate::core::dialect::Dialect;
use crate::core::failure::Failure;
use crate::core::table::{Column, ColumnType, DELETED_COLUMN, TOKEN_COLUMN, TableName, TableShape};
use crate::core::value::Value;
use crate::sink::Statements;

use super::session::PostgresSession;

impl PostgresSession {
    /// Describes a table, also a partitioned one; a name without a schema is looked up in the search path. `None` if there
    /// is no such table; a view or a foreign table is refused. See [`crate::sink::Session::describe`].
    pub async fn describe(&mut self, name: &TableName) -> Result<Option<TableShape>, Failure> {
        // A longer name would be cut by the server and find another table.
        for part in name.schema.iter().chain([&name.table]) {
            Dialect::Postgres.check_name(part).map_err(|reason| Failure::operator("name", reason))?;
        }
        let quoted = Value::from(Dialect::Postgres.table(name));
        let found = self.query(include_str!("../../../sql/postgres/describe_relation.sql"), &[quoted]).await?;
        let Some([oid, schema, table, kind, effects]) = found.first().map(Vec::as_slice) else { return Ok(None) };
        let name = TableName::new(schema.as_text(), table.as_text().unwrap_or_default());
        if !matches!(kind.as_text(), Some("r" | "p")) {
            return Err(Failure::operator("relation", format!("{name} is not a table: rows can only go into tables")));
        }
        let columns =
            self.query(include_str!("../../../sql/postgres/describe_columns.sql"), std::slice::from_ref(oid)).await?;
        let keys =
            self.query(include_str!("../../../sql/postgres/describe_keys.sql"), std::slice::from_ref(oid)).await?;
        let columns: Vec<Column> = columns.iter().filter_map(|row| column_of(row)).collect();
        let has = |column: &str| columns.iter().any(|known| known.name == column);
        let (has_token, has_deleted) = (has(TOKEN_COLUMN), has(DELETED_COLUMN));
        let columns = columns.into_iter().filter(|c| c.name != TOKEN_COLUMN && c.name != DELETED_COLUMN).collect();
        let (primary_key, unique_keys) = keys_of(&keys);
        let delete_has_effects = *effects == Value::Bool(true);
        Ok(Some(TableShape { name, columns, primary_key, unique_keys, has_token, has_deleted, delete_has_effects }))
    }
}

fn column_of(row: &[Value]) -> Option<Column> {
    let [name, oid, modifier, native, type_name, nullable, generated, has_default, nondeterministic] = row else {
        return None;
    };
    let truth = |value: &Value| *value == Value::Bool(true);
    let kind = column_type(oid.as_int()?, modifier.as_int()?);
    let wide_equality = wide_equality(&kind, oid.as_int()?, type_name.as_text()?, truth(nondeterministic));
    Some(Column {
        name: name.as_text()?.to_owned(),
        kind,
        native: native.as_text()?.to_owned(),
        nullable: truth(nullable),
        generated: truth(generated),
        has_default: truth(has_default),
        wide_equality,
    })
}

/// Built-in types have the same number in every database; all else (enums, domains, arrays, extensions) is not supported.
fn column_type(oid: i64, modifier: i64) -> ColumnType {
    let digits = u8::try_from(modifier).ok().filter(|digits| *digits <= 6).unwrap_or(6);
    let limit = |modifier: i64| u64::try_from(modifier - 4).ok();
    match oid {
        16 => ColumnType::Bool,
        17 => ColumnType::Bytes { max_bytes: None },
        20 => ColumnType::Int { bits: 64, unsigned: false },
        21 => ColumnType::Int { bits: 16, unsigned: false },
        23 => ColumnType::Int { bits: 32, unsigned: false },
        25 => ColumnType::Text { max_chars: None },
        114 | 3802 => ColumnType::Json,
        700 => ColumnType::Float32,
        701 => ColumnType::Float64,
        BPCHAR | 1043 => ColumnType::Text { max_chars: limit(modifier) },
        1082 => ColumnType::Date,
        1083 => ColumnType::Time { digits },
        1114 => ColumnType::Timestamp { digits },
        1184 => ColumnType::TimestampTz { digits },
        1700 => ColumnType::Decimal { limit: numeric_limit(modifier) },
        2950 => ColumnType::Uuid,
        _ => ColumnType::Unsupported,
    }
}

const BPCHAR: i64 = 1042;
const JSONB: i64 = 3802;

/// Precision and scale of a NUMERIC's modifier; the scale has eleven bits and a sign since version 15.
fn numeric_limit(modifier: i64) -> Option<(u32, i32)> {
    let packed =
        i32::try_from(modifier).ok().and_then(|modifier| modifier.checked_sub(4)).filter(|packed| *packed >= 0)?;
    Some((((packed >> 16) & 0xffff) as u32, ((packed & 0x7ff) ^ 1024) - 1024))
}

/// Why two keys that differ in the source can be one key here.
fn wide_equality(kind: &ColumnType, oid: i64, type_name: &str, nondeterministic: bool) -> Option<String> {
    let reason = match kind {
        _ if type_name == "citext" => "citext ignores upper and lower case; alter the column to text",
        _ if nondeterministic => "its collation is nondeterministic; alter the column to COLLATE \"C\"",
        ColumnType::Text { .. } if oid == BPCHAR => "char(n) ignores blanks at the end; alter the column to text",
        ColumnType::Decimal { limit: None } => "numeric without a scale takes 1.0 and 1.00 as one; give it a scale",
        ColumnType::Float32 | ColumnType::Float64 => "floating point takes 0.0 and -0.0 as one; use an exact type",
        ColumnType::Json if oid == JSONB => "jsonb takes documents of different text as one; alter the column to text",
        ColumnType::Json => "json has no equality; alter the column to text",
        _ => return None,
    };
    Some(reason.to_owned())
}

/// Rows of (index, whether it is the primary key, column), ordered by index and position.
fn keys_of(rows: &[Vec<Value>]) -> (Vec<String>, Vec<Vec<String>>) {
    let (mut primary, mut unique) = (Vec::new(), Vec::new());
    for index in rows.chunk_by(|a, b| a.first() == b.first()) {
        let names = index.iter().filter_map(|row| row.get(2)?.as_text().map(str::to_owned)).collect();
        match index.first().and_then(|row| row.get(1)) {
            Some(Value::Bool(true)) => primary = names,
            _ => unique.push(names),
        }
    }
    (primary, unique)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_of_numeric() {
        assert_eq!(numeric_limit(-1), None);
        assert_eq!(numeric_limit((10 << 16 | 2) + 4), Some((10, 2)));
        assert_eq!(numeric_limit((3 << 16 | (0x7ff & -2)) + 4), Some((3, -2)));
    }

    #[test]
    fn exact_keys_have_no_reason_against_them() {
        for (oid, modifier) in [(20, -1), (25, -1), (1043, 14), (2950, -1), (1700, (10 << 16 | 2) + 4), (1184, -1)] {
            assert_eq!(wide_equality(&column_type(oid, modifier), oid, "", false), None, "{oid}");
        }
        for (oid, modifier) in [(BPCHAR, 14), (1700, -1), (700, -1), (701, -1), (JSONB, -1), (114, -1)] {
            assert!(wide_equality(&column_type(oid, modifier), oid, "", false).is_some(), "{oid}");
        }
    }
}
