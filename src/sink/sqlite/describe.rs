//! A table's shape.
//!
//! A column of an ordinary (not STRICT) table alters what is written to it by its *affinity*, which SQLite derives from the
//! declared type's letters: INTEGER, REAL, TEXT and BLOB keep values of their own kind as they are; NUMERIC makes numbers of
//! texts that look like numbers (`1.50` becomes 1.5). So types of NUMERIC affinity (DECIMAL, DATETIME, UUID, JSON, STRING, …) are
//! not written to. TEXT takes them all, as the texts of [`crate::core::text`]; the name of its type may say what the text is
//! (see [`kind_in_name`]).

use crate::core::dialect::Dialect;
use crate::core::failure::Failure;
use crate::core::table::{Column, ColumnType, DELETED_COLUMN, TOKEN_COLUMN, TableName, TableShape};
use crate::core::value::Value;
use crate::sink::Statements;

use super::SqliteSession;

/// What may happen when a row is deleted.
const EFFECTS: &str = "select 1 from sqlite_schema as m join pragma_foreign_key_list(m.name) as f \
     where m.type = 'table' and f.\"table\" = ? collate nocase union all \
     select 1 from sqlite_schema where type = 'trigger' and tbl_name = ? collate nocase limit 1";

impl SqliteSession {
    /// See [`crate::sink::Session::describe`].
    pub async fn describe(&mut self, name: &TableName) -> Result<Option<TableShape>, Failure> {
        // One identifier: a schema is part of a table's name here.
        let stored = match &name.schema {
            Some(schema) => format!("{schema}.{}", name.table),
            None => name.table.clone(),
        };
        let parameter = [Value::from(stored)];
        let kind = self
            .query(
                "select type, name, strict from pragma_table_list where name = ? collate nocase and schema = 'main'",
                &parameter,
            )
            .await?;
        let Some(kind) = kind.first() else { return Ok(None) };
        if text(kind, 0) != "table" {
            let what = format!("{name} is a {} and not a table; lastword writes to tables", text(kind, 0));
            return Err(Failure::operator("not_a_table", what));
        }
        // SQLite finds names whatever their case; two of ours that differ in nothing else would be one table.
        if Some(text(kind, 1)) != parameter[0].as_text() {
            let what = format!(
                "{name} would be the table {:?}: names of tables differ in more than case in SQLite; use `into`",
                text(kind, 1)
            );
            return Err(Failure::operator("name_taken", what));
        }
        let strict = kind.get(2).and_then(Value::as_int) == Some(1);
        let rows = self
            .query(
                "select name, type, \"notnull\", dflt_value, pk, hidden from pragma_table_xinfo(?) order by cid",
                &parameter,
            )
            .await?;
        let mut shape = shape(name, &rows, strict);
        self.add_unique_keys(&mut shape, &parameter).await?;
        let twice = [parameter[0].clone(), parameter[0].clone()];
        shape.delete_has_effects = !self.query(EFFECTS, &twice).await?.is_empty();
        Ok(Some(shape))
    }

    async fn add_unique_keys(&mut self, shape: &mut TableShape, table: &[Value]) -> Result<(), Failure> {
        let indexes = self
            .query(
                "select name, origin, partial from pragma_index_list(?) where \"unique\" = 1 order by seq desc",
                table,
            )
            .await?;
        for index in indexes {
            let cells = self
                .query("select name, coll from pragma_index_xinfo(?) where key = 1 order by seqno", &[index[0].clone()])
                .await?;
            for cell in &cells {
                widen(shape, text(cell, 0), text(cell, 1));
            }
            let (is_primary, is_partial) = (text(&index, 1) == "pk", index[2].as_int() == Some(1));
            if !is_primary {
                // A partial index keeps only some rows apart, an expression is no column: neither can be a key.
                let named = |cell: &Vec<Value>| match cell[0].as_text() {
                    Some(column) if !is_partial => column.to_owned(),
                    _ => "(an expression, or a part of the rows)".to_owned(),
                };
                shape.unique_keys.push(cells.iter().map(named).collect());
            }
        }
        Ok(())
    }
}

fn text(row: &[Value], at: usize) -> &str {
    row.get(at).and_then(Value::as_text).unwrap_or("")
}

fn shape(name: &TableName, rows: &[Vec<Value>], strict: bool) -> TableShape {
    let mut columns = Vec::new();
    let mut primary: Vec<(i64, String)> = Vec::new();
    let (mut has_token, mut has_deleted) = (false, false);
    let keys = rows.iter().filter(|row| row[4].as_int().unwrap_or(0) > 0).count();
    for row in rows {
        let column_name = text(row, 0).to_owned();
        match column_name.as_str() {
            TOKEN_COLUMN => has_token = true,
            DELETED_COLUMN => has_deleted = true,
            _ => columns.push(column(row, strict, keys)),
        }
        if let Some(place @ 1..) = row[4].as_int() {
            primary.push((place, column_name));
        }
    }
    primary.sort();
    TableShape {
        name: name.clone(),
        columns,
        primary_key: primary.into_iter().map(|(_, name)| name).collect(),
        unique_keys: Vec::new(),
        has_token,
        has_deleted,
        delete_has_effects: false,
        remarks: Vec::new(),
    }
}

fn column(row: &[Value], strict: bool, keys: usize) -> Column {
    let declared = text(row, 1);
    let kind = kind_of(declared, strict);
    let native = match kind {
        ColumnType::Unsupported if declared.is_empty() => "no type".to_owned(),
        ColumnType::Unsupported if !strict => {
            format!("{declared} (which alters texts that look like numbers; TEXT does not)")
        }
        _ => declared.to_owned(),
    };
    // The alias of the row's number: made by SQLite where nothing is given.
    let is_row_number = keys == 1 && row[4].as_int() == Some(1) && declared.eq_ignore_ascii_case("integer");
    let wide_equality = match kind {
        ColumnType::Float64 => {
            Some("REAL holds some numbers only by approximation; make the column INTEGER or TEXT".to_owned())
        }
        _ => None,
    };
    Column {
        name: text(row, 0).to_owned(),
        kind,
        native,
        nullable: row[2].as_int() == Some(0) && !is_row_number,
        generated: matches!(row[5].as_int(), Some(2 | 3)),
        identity: false,
        has_default: !row[3].is_null() || is_row_number,
        wide_equality,
    }
}

/// What a column holds, by SQLite's rules for affinity (https://www.sqlite.org/datatype3.html, section 3.1), which look for
/// letters anywhere in the declared type and take the first rule that fits.
fn kind_of(declared: &str, strict: bool) -> ColumnType {
    let upper = declared.to_ascii_uppercase();
    let has = |letters: &[&str]| letters.iter().any(|part| upper.contains(part));
    if upper.is_empty() || (strict && upper == "ANY") {
        ColumnType::Unsupported
    } else if has(&["INT"]) {
        ColumnType::Int { bits: 64, unsigned: false }
    } else if let Some(kind) = kind_in_name(&upper) {
        kind
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        ColumnType::Text { max_chars: None }
    } else if has(&["BLOB"]) {
        ColumnType::Bytes { max_bytes: None }
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        ColumnType::Float64
    } else if upper.starts_with("BOOL") {
        // NUMERIC affinity, but 0 and 1 are all that is written.
        ColumnType::Bool
    } else {
        ColumnType::Unsupported
    }
}

/// What a column of text or bytes is said to hold by the name of its type: `DECIMAL_TEXT`, `DECIMAL_TEXT(10,2)`, `DATE_TEXT`,
/// `TIME_TEXT` (also spans below zero and above a day), `TIMETZ_TEXT`, `TIMESTAMP_TEXT`, `TIMESTAMPTZ_TEXT`, `DURATION_TEXT`
/// (`INTERVAL` holds the letters INT, which make numbers of texts), `UUID_TEXT`, `JSON_TEXT`, `BITS_TEXT(8)`, `GEOMETRY_BLOB`.
///
/// # Why
///
/// SQLite has no types for these, and events without a schema do not tell that a number is a date. The name of the type is
/// the one place where the owner of the table can; tables that lastword makes have them, too.
fn kind_in_name(upper: &str) -> Option<ColumnType> {
    if upper == "GEOMETRY_BLOB" {
        return Some(ColumnType::Geometry { srid: None });
    }
    let (name, rest) = upper.split_once("_TEXT")?;
    let number = || rest.trim().strip_prefix('(')?.strip_suffix(')');
    let limit = || {
        let (digits, scale) = number()?.split_once(',')?;
        Some((digits.trim().parse().ok()?, scale.trim().parse().ok()?))
    };
    Some(match name {
        "DECIMAL" if rest.is_empty() => ColumnType::Decimal { limit: None },
        "DECIMAL" => ColumnType::Decimal { limit: Some(limit()?) },
        "BITS" => ColumnType::Bits { length: Some(number()?.trim().parse().ok()?), varying: false },
        _ if !rest.is_empty() => return None,
        "DATE" => ColumnType::Date,
        "TIME" => ColumnType::TimeSpan { digits: 6 },
        "TIMETZ" => ColumnType::TimeTz { digits: 6 },
        "TIMESTAMP" => ColumnType::Timestamp { digits: 6 },
        "TIMESTAMPTZ" => ColumnType::TimestampTz { digits: 6 },
        "DURATION" => ColumnType::Interval { digits: 6 },
        "UUID" => ColumnType::Uuid,
        "JSON" => ColumnType::Json,
        _ => return None,
    })
}

/// Notes an index that takes different texts for one key.
fn widen(shape: &mut TableShape, column: &str, collation: &str) {
    let Some(at) = shape.position(column) else { return };
    let column = &mut shape.columns[at];
    if collation.eq_ignore_ascii_case("binary") || !matches!(column.kind, ColumnType::Text { .. }) {
        return;
    }
    let name = Dialect::Sqlite.ident(&column.name);
    column.wide_equality = Some(format!(
        "the key's index compares with the collation {collation}, which takes different texts for equal; make the table anew with \
         {name} TEXT COLLATE BINARY NOT NULL"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_by_the_letters() {
        let int = ColumnType::Int { bits: 64, unsigned: false };
        for (declared, kind) in [
            ("INTEGER", int.clone()),
            ("bigint unsigned", int.clone()),
            ("FLOATING POINT", int),
            ("varchar(20)", ColumnType::Text { max_chars: None }),
            ("BLOB", ColumnType::Bytes { max_bytes: None }),
            ("double precision", ColumnType::Float64),
            ("boolean", ColumnType::Bool),
            ("DECIMAL(10,2)", ColumnType::Unsupported),
            ("decimal_text(10, 2)", ColumnType::Decimal { limit: Some((10, 2)) }),
            ("DECIMAL_TEXT", ColumnType::Decimal { limit: None }),
            ("DATE_TEXT", ColumnType::Date),
            ("TIMESTAMPTZ_TEXT", ColumnType::TimestampTz { digits: 6 }),
            ("TIME_TEXT", ColumnType::TimeSpan { digits: 6 }),
            ("BITS_TEXT(8)", ColumnType::Bits { length: Some(8), varying: false }),
            ("BITS_TEXT", ColumnType::Text { max_chars: None }),
            ("GEOMETRY_BLOB", ColumnType::Geometry { srid: None }),
            ("FORMAT_TEXT", ColumnType::Text { max_chars: None }),
            ("DATETIME", ColumnType::Unsupported),
            ("STRING", ColumnType::Unsupported),
            ("", ColumnType::Unsupported),
        ] {
            assert_eq!(kind_of(declared, false), kind, "{declared}");
        }
        assert_eq!(kind_of("ANY", true), ColumnType::Unsupported);
    }
}
