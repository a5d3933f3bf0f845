//! A table as `information_schema` tells it.

use crate::core::dialect::Dialect;
use crate::core::dialect::mysql::ON_UPDATE;
use crate::core::failure::Failure;
use crate::core::table::{Column, ColumnType, DELETED_COLUMN, TOKEN_COLUMN, TableName, TableShape};
use crate::core::value::Value;
use crate::sink::Statements;

use super::session::MysqlSession;

/// Names that start so are lastword's own.
const OWN_PREFIX: &str = "_lastword_";

const TABLES: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES \
     WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ?";

const COLUMNS: &str = "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, \
     CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, COLLATION_NAME \
     FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";

const INDEXES: &str = "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS \
     WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX";

/// MariaDB's JSON is LONGTEXT with a check; its rows in `information_schema` say nothing else.
const CHECKS: &str = "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS \
     WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ?";

/// What may happen when a row is deleted. Other accounts' tables and triggers may be hidden from this one.
const EFFECTS: &str = "SELECT 1 FROM information_schema.KEY_COLUMN_USAGE \
     WHERE REFERENCED_TABLE_SCHEMA = ? AND REFERENCED_TABLE_NAME = ? UNION ALL \
     SELECT 1 FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ? \
     AND EVENT_MANIPULATION = 'DELETE' LIMIT 1";

impl MysqlSession {
    /// See [`crate::sink::Session::describe`].
    ///
    /// # Errors
    ///
    /// [`crate::core::failure::Class::Operator`] also for a table whose engine has no transactions: nothing that is
    /// promised would hold for it.
    pub async fn describe(&mut self, name: &TableName) -> Result<Option<TableShape>, Failure> {
        let Some((schema, table)) = self.stored_name(name).await? else {
            return Ok(None);
        };
        let names = [Value::from(schema.as_str()), Value::from(table.as_str())];
        let name = TableName::new(Some(&schema), &table);
        let mut columns = Vec::new();
        let (mut has_token, mut has_deleted) = (false, false);
        let mariadb = self.server().mariadb;
        let json = if mariadb { json_columns(&self.query(CHECKS, &names).await?) } else { Vec::new() };
        for row in self.query(COLUMNS, &names).await? {
            let mut column = column_of(&row, mariadb);
            if json.contains(&Dialect::Mysql.ident(&column.name)) {
                column.kind = ColumnType::Json;
            }
            has_token |= column.name == TOKEN_COLUMN;
            has_deleted |= column.name == DELETED_COLUMN;
            if !column.name.starts_with(OWN_PREFIX) {
                columns.push(column);
            }
        }
        let twice = [&names[..], &names[..]].concat();
        let delete_has_effects = !self.query(EFFECTS, &twice).await?.is_empty();
        let (primary_key, unique_keys) = (Vec::new(), Vec::new());
        let mut shape = TableShape {
            name,
            columns,
            primary_key,
            unique_keys,
            has_token,
            has_deleted,
            delete_has_effects,
            remarks: Vec::new(),
        };
        take_indexes(&mut shape, &self.query(INDEXES, &names).await?);
        Ok(Some(shape))
    }

    /// Database and table as the server writes them. `information_schema` compares without case; where the server's
    /// names have a case, so has ours.
    async fn stored_name(&mut self, name: &TableName) -> Result<Option<(String, String)>, Failure> {
        let params = [Value::from(name.schema.as_deref()), Value::from(name.table.as_str())];
        let folds = self.server().folds_names;
        let same = |stored: &str, wanted: &str| stored == wanted || (folds && stored.eq_ignore_ascii_case(wanted));
        for row in self.query(TABLES, &params).await? {
            let (schema, table) = (text(&row, 0), text(&row, 1));
            let wanted_schema = name.schema.as_deref().unwrap_or(schema);
            if !same(schema, wanted_schema) || !same(table, &name.table) {
                continue;
            }
            let engine = text(&row, 3);
            if text(&row, 2) != "VIEW" && !matches!(engine.to_ascii_lowercase().as_str(), "innodb" | "rocksdb") {
                let shown = TableName::new(Some(schema), table);
                return Err(Failure::operator(
                    "not_transactional",
                    format!(
                        "table {shown} has the engine {engine:?}, which has no transactions; \
                         ALTER TABLE … ENGINE=InnoDB"
                    ),
                ));
            }
            return Ok(Some((schema.to_owned(), table.to_owned())));
        }
        Ok(None)
    }
}

/// Text of a result column; MySQL returns some of `information_schema` as bytes.
fn text(row: &[Value], index: usize) -> &str {
    row.get(index).and_then(Value::as_bytes).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

fn column_of(row: &[Value], mariadb: bool) -> Column {
    let number = |index: usize| row.get(index).and_then(Value::as_int);
    let (name, native, extra) = (text(row, 0).to_owned(), text(row, 2).to_owned(), text(row, 5).to_ascii_uppercase());
    let facts = Facts { length: number(6), precision: number(7), scale: number(8), fraction: number(9), mariadb };
    let kind = kind_of(text(row, 1), &native, facts);
    let generated = ["VIRTUAL GENERATED", "STORED GENERATED", "PERSISTENT"].iter().any(|mark| extra.contains(mark));
    // MariaDB writes the default NULL as text, and text in quotes.
    let default = row.get(4).is_some_and(|default| !default.is_null()) && !(mariadb && text(row, 4) == "NULL");
    let has_default = default || extra.contains("AUTO_INCREMENT") || extra.contains("DEFAULT_GENERATED");
    let wide_equality = wide_equality(&name, &native, &kind, text(row, 10), mariadb);
    // Statements that leave such a column out have to say so, see `TableText::mark_rows`.
    let native = if extra.contains(ON_UPDATE) { format!("{native} {ON_UPDATE}") } else { native };
    Column {
        name,
        kind,
        native,
        nullable: text(row, 3) == "YES",
        generated,
        identity: false,
        has_default,
        wide_equality,
    }
}

/// Quoted names of the columns that a check keeps to JSON.
fn json_columns(checks: &[Vec<Value>]) -> Vec<String> {
    let named = |row: &Vec<Value>| Some(text(row, 0).strip_prefix("json_valid(")?.strip_suffix(')')?.to_owned());
    checks.iter().filter_map(named).collect()
}

/// Numbers that `information_schema` has beside the name of a type.
#[derive(Clone, Copy)]
struct Facts {
    length: Option<i64>,
    precision: Option<i64>,
    scale: Option<i64>,
    fraction: Option<i64>,
    mariadb: bool,
}

/// Type of a column. `tinyint(1)` stays a small number: the server knows no truth value, and 2 must stay 2.
fn kind_of(data_type: &str, native: &str, facts: Facts) -> ColumnType {
    let lower = native.to_ascii_lowercase();
    let int = |bits| ColumnType::Int { bits, unsigned: lower.contains("unsigned") };
    let length = facts.length.and_then(|length| u64::try_from(length).ok());
    let digits = facts.fraction.and_then(|digits| u8::try_from(digits).ok()).unwrap_or(0);
    let choice = |several| match labels(native) {
        Some(labels) => ColumnType::Choice { labels, several },
        None => ColumnType::Unsupported,
    };
    match data_type.to_ascii_lowercase().as_str() {
        "tinyint" => int(8),
        "smallint" => int(16),
        "mediumint" => int(24),
        "int" | "integer" => int(32),
        "bigint" => int(64),
        // A display width or scale rounds what is stored.
        "float" if !lower.contains('(') => ColumnType::Float32,
        "double" | "real" if !lower.contains('(') => ColumnType::Float64,
        "decimal" | "numeric" => match (facts.precision.map(u32::try_from), facts.scale.map(i32::try_from)) {
            (Some(Ok(precision)), Some(Ok(scale))) => ColumnType::Decimal { limit: Some((precision, scale)) },
            _ => ColumnType::Unsupported,
        },
        // For the text family the length is in bytes: an upper bound of its characters, the server checks the rest.
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => ColumnType::Text { max_chars: length },
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            ColumnType::Bytes { max_bytes: length }
        }
        "bit" => match facts.precision.map(u32::try_from) {
            Some(Ok(bits)) => ColumnType::Bits { length: Some(bits), varying: false },
            _ => ColumnType::Unsupported,
        },
        "year" => ColumnType::Year,
        "enum" => choice(false),
        "set" => choice(true),
        "date" => ColumnType::Date,
        "time" => ColumnType::TimeSpan { digits },
        "datetime" => ColumnType::Timestamp { digits },
        "timestamp" => ColumnType::TimestampTz { digits },
        "json" => ColumnType::Json,
        "uuid" => ColumnType::Uuid,
        "inet4" | "inet6" => ColumnType::Literal,
        // The server refuses a shape of another kind than the column's.
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" => ColumnType::Geometry { srid: None },
        // In MySQL the number is the most that fits, in MariaDB all vectors of a column have it.
        "vector" => ColumnType::Vector { dimensions: number_in(&lower).filter(|_| facts.mariadb) },
        _ => ColumnType::Unsupported,
    }
}

/// `7` of `vector(7)`.
fn number_in(native: &str) -> Option<u32> {
    native.split_once('(')?.1.strip_suffix(')')?.parse().ok()
}

/// The texts of `enum('a','it''s','back\\slash')`: quotes are doubled, backslashes and control characters escaped as in the server's
/// literals.
fn labels(native: &str) -> Option<Vec<String>> {
    let mut rest = native.split_once('(')?.1.strip_suffix(')')?;
    let mut labels = Vec::new();
    loop {
        let (label, after) = literal(rest.strip_prefix('\'')?)?;
        labels.push(label);
        if after.is_empty() {
            return Some(labels);
        }
        rest = after.strip_prefix(',')?;
    }
}

/// A literal behind its opening quote, and what follows its closing one.
fn literal(text: &str) -> Option<(String, &str)> {
    let mut literal = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if matches!(chars.peek(), Some((_, '\''))) => literal.push(chars.next()?.1),
            '\'' => return Some((literal, &text[at + 1..])),
            '\\' => literal.push(match chars.next()?.1 {
                '0' => '\0',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'b' => '\u{8}',
                'Z' => '\u{1a}',
                other => other,
            }),
            other => literal.push(other),
        }
    }
    None
}

/// Why two different values of the source may be one value of this column.
fn wide_equality(name: &str, native: &str, kind: &ColumnType, collation: &str, mariadb: bool) -> Option<String> {
    let quoted = format!("`{}`", name.replace('`', "``"));
    let exact = if mariadb { "utf8mb4_nopad_bin" } else { "utf8mb4_0900_bin" };
    let lower = native.to_ascii_lowercase();
    match kind {
        ColumnType::Text { max_chars } => {
            let is_char = lower.starts_with("char");
            if !is_char && is_exact_collation(collation) {
                return None;
            }
            let why = if is_char {
                "trailing blanks are cut from char columns".to_owned()
            } else if collation.ends_with("_bin") {
                format!("the collation {collation} ignores trailing blanks")
            } else {
                format!("the collation {collation} takes different texts for equal")
            };
            let wanted = match max_chars {
                Some(length) if *length <= 1000 => format!("varchar({length})"),
                _ => "varchar(255)".to_owned(),
            };
            Some(format!(
                "{why}; ALTER TABLE … MODIFY {quoted} {wanted} CHARACTER SET utf8mb4 COLLATE {exact} NOT NULL"
            ))
        }
        ColumnType::Bytes { max_bytes } if lower.starts_with("binary") => Some(format!(
            "binary columns are padded with zero bytes; ALTER TABLE … MODIFY {quoted} varbinary({}) NOT NULL",
            max_bytes.unwrap_or(255)
        )),
        ColumnType::Float32 | ColumnType::Float64 => {
            Some(format!("{native} values are equal only by approximation; use decimal or varchar"))
        }
        _ => None,
    }
}

/// Compares by bytes and does not pad: MariaDB's `…_nopad_bin`, MySQL's `utf8mb4_0900_bin`.
fn is_exact_collation(collation: &str) -> bool {
    collation == "binary" || collation == "utf8mb4_0900_bin" || collation.ends_with("_nopad_bin")
}

fn take_indexes(shape: &mut TableShape, rows: &[Vec<Value>]) {
    let mut last = "";
    for row in rows {
        let (index, column) = (text(row, 0), text(row, 1).to_owned());
        if index != "PRIMARY" {
            if index != last {
                shape.unique_keys.push(Vec::new());
            }
            let named = if column.is_empty() { "(an expression)".to_owned() } else { column };
            if let Some(key) = shape.unique_keys.last_mut() {
                key.push(named);
            }
        } else {
            if row.get(2).is_some_and(|length| !length.is_null())
                && let Some(position) = shape.position(&column)
            {
                shape.columns[position].wide_equality =
                    Some("the primary key holds only the beginning of the column; make it hold all of it".to_owned());
            }
            shape.primary_key.push(column);
        }
        last = index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(data_type: &str, native: &str) -> ColumnType {
        let facts = Facts { length: Some(40), precision: Some(10), scale: Some(2), fraction: Some(6), mariadb: false };
        kind_of(data_type, native, facts)
    }

    #[test]
    fn types_are_exact_or_unsupported() {
        assert_eq!(kind("tinyint", "tinyint(1)"), ColumnType::Int { bits: 8, unsigned: false });
        assert_eq!(kind("bigint", "bigint(20) unsigned"), ColumnType::Int { bits: 64, unsigned: true });
        assert_eq!(kind("int", "int(5) unsigned zerofill"), ColumnType::Int { bits: 32, unsigned: true });
        assert_eq!(kind("decimal", "decimal(10,2)"), ColumnType::Decimal { limit: Some((10, 2)) });
        assert_eq!(kind("float", "float(7,3)"), ColumnType::Unsupported);
        assert_eq!(kind("double", "double"), ColumnType::Float64);
        assert_eq!(kind("timestamp", "timestamp(6)"), ColumnType::TimestampTz { digits: 6 });
        assert_eq!(kind("time", "time(6)"), ColumnType::TimeSpan { digits: 6 });
        assert_eq!(kind("bit", "bit(10)"), ColumnType::Bits { length: Some(10), varying: false });
        assert_eq!(kind("year", "year(4)"), ColumnType::Year);
        assert_eq!(kind("geomcollection", "geomcollection"), ColumnType::Geometry { srid: None });
        assert_eq!(kind("vector", "vector(7)"), ColumnType::Vector { dimensions: None });
        assert_eq!(number_in("vector(7)"), Some(7));
        for unknown in ["xmltype", "row", ""] {
            assert_eq!(kind(unknown, unknown), ColumnType::Unsupported, "{unknown}");
        }
    }

    #[test]
    fn labels_are_read_as_they_are() {
        let all = labels(r"enum('a','it''s','b,c','back\\slash','x\n''','')").expect("labels");
        assert_eq!(all, ["a", "it's", "b,c", "back\\slash", "x\n'", ""]);
        for broken in ["enum", "enum()", "enum('a'", "enum('a'x)", "enum('a',)", r"enum('a\')", "set('ä')')"] {
            assert_eq!(labels(broken), None, "{broken}");
            assert_eq!(kind("enum", broken), ColumnType::Unsupported);
        }
    }

    #[test]
    fn only_byte_equality_is_narrow_enough_for_a_key() {
        let text = ColumnType::Text { max_chars: Some(40) };
        let wide = |native: &str, collation: &str| wide_equality("k`", native, &text, collation, true);
        assert_eq!(wide("varchar(40)", "utf8mb4_nopad_bin"), None);
        assert_eq!(wide("varchar(40)", "utf8mb4_0900_bin"), None);
        let remedy = wide("varchar(40)", "utf8mb4_bin").expect("pads");
        assert!(remedy.contains("trailing blanks") && remedy.contains("`k``` varchar(40)"), "{remedy}");
        assert!(wide("varchar(40)", "latin1_swedish_ci").expect("no case").contains("latin1_swedish_ci"));
        assert!(wide("char(40)", "utf8mb4_nopad_bin").is_some());
        let bytes = ColumnType::Bytes { max_bytes: Some(16) };
        assert!(wide_equality("k", "binary(16)", &bytes, "", true).is_some());
        assert_eq!(wide_equality("k", "varbinary(16)", &bytes, "", true), None);
        assert!(wide_equality("k", "double", &ColumnType::Float64, "", false).is_some());
    }
}
