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
        let keys =
            self.query(include_str!("../../../sql/postgres/describe_keys.sql"), std::slice::from_ref(oid)).await?;
        let columns = self.columns(&name).await?;
        let has = |column: &str| columns.iter().any(|known| known.name == column);
        let (has_token, has_deleted) = (has(TOKEN_COLUMN), has(DELETED_COLUMN));
        let columns: Vec<Column> =
            columns.into_iter().filter(|c| c.name != TOKEN_COLUMN && c.name != DELETED_COLUMN).collect();
        let (primary_key, unique_keys) = keys_of(&keys);
        let delete_has_effects = *effects == Value::Bool(true);
        let remarks = self.remarks(oid, &columns).await?;
        Ok(Some(TableShape {
            name,
            columns,
            primary_key,
            unique_keys,
            has_token,
            has_deleted,
            delete_has_effects,
            remarks,
        }))
    }

    /// See [`TableShape::remarks`].
    async fn remarks(&mut self, oid: &Value, columns: &[Column]) -> Result<Vec<String>, Failure> {
        let sql = include_str!("../../../sql/postgres/describe_remarks.sql");
        let rows = self.query(sql, std::slice::from_ref(oid)).await?;
        let text = |row: &[Value], at: usize| row.get(at).and_then(Value::as_text).unwrap_or_default().to_owned();
        let identities = columns.iter().filter(|column| column.identity);
        let identities = identities.map(|column| {
            format!("{:?} is GENERATED ALWAYS AS IDENTITY: rows come with its value, no update changes it", column.name)
        });
        let others = rows.iter().map(|row| {
            let (name, other) = (text(row, 1), text(row, 2));
            match text(row, 0).as_str() {
                "trigger" => format!("trigger {name:?} may change or drop rows before they are written"),
                "parent" => format!(
                    "foreign key {name:?}: a row waits for its parent in {other}, some seconds, then goes to quarantine"
                ),
                _ => format!("foreign key {name:?}: rows of {other} hang on its rows; a delete follows their rule"),
            }
        });
        Ok(others.chain(identities).collect())
    }

    /// The columns of a table, lastword's own among them; none if there is no such table.
    pub(super) async fn columns(&mut self, name: &TableName) -> Result<Vec<Column>, Failure> {
        let quoted = Value::from(Dialect::Postgres.table(name));
        let rows = self.query(include_str!("../../../sql/postgres/describe_columns.sql"), &[quoted]).await?;
        Ok(rows.chunk_by(|a, b| a.first() == b.first()).filter_map(column_of).collect())
    }
}

/// A column from the rows of its type: the type itself, and for an array what it is of.
fn column_of(rows: &[Vec<Value>]) -> Option<Column> {
    let row = rows.first()?;
    let truth = |at: usize| row.get(at) == Some(&Value::Bool(true));
    let types: Vec<PgTypeRow<'_>> = rows.iter().map(|row| PgTypeRow::new(row)).collect::<Option<_>>()?;
    let kind = match &*types {
        [one] => one.kind(),
        [_, element] => element.element_kind(),
        _ => ColumnType::Unsupported,
    };
    let wide_equality = wide_equality(&kind, &types[0], truth(13));
    Some(Column {
        name: row.first()?.as_text()?.to_owned(),
        kind,
        native: row.get(4)?.as_text()?.to_owned(),
        nullable: truth(9),
        generated: truth(10),
        has_default: truth(11),
        identity: truth(12),
        wide_equality,
    })
}

/// A type as the catalog has it; never a domain.
struct PgTypeRow<'a> {
    oid: i64,
    modifier: i64,
    name: &'a str,
    /// `b` base, `c` composite, `e` enum, `m` multirange, `p` pseudo, `r` range.
    class: &'a str,
    delimiter: &'a str,
    extension: &'a str,
    money_digits: i64,
}

impl<'a> PgTypeRow<'a> {
    fn new(row: &'a [Value]) -> Option<Self> {
        let text = |at: usize| row.get(at)?.as_text();
        let number = |at: usize| row.get(at)?.as_int();
        Some(Self {
            oid: number(2)?,
            modifier: number(3)?,
            name: text(5)?,
            class: text(6)?,
            delimiter: text(7)?,
            extension: text(8).unwrap_or_default(),
            money_digits: number(14)?,
        })
    }

    fn kind(&self) -> ColumnType {
        match self.class {
            // A limit of a type that is not known here might cut values without a word.
            "e" | "m" | "r" => ColumnType::Literal,
            "b" if self.modifier == -1 => self.known().unwrap_or(ColumnType::Literal),
            "b" => self.known().unwrap_or(ColumnType::Unsupported),
            _ => ColumnType::Unsupported,
        }
    }

    fn known(&self) -> Option<ColumnType> {
        self.built_in().or_else(|| self.of_extension())
    }

    /// The type of an array of these. The text of money hangs on the locale; some types have another mark between elements.
    fn element_kind(&self) -> ColumnType {
        match self.kind() {
            ColumnType::Unsupported => ColumnType::Unsupported,
            _ if self.delimiter != "," || self.oid == MONEY => ColumnType::Unsupported,
            element => ColumnType::Array { element: Box::new(element) },
        }
    }

    /// Built-in types have the same number in every database.
    fn built_in(&self) -> Option<ColumnType> {
        let modifier = self.modifier;
        let digits = u8::try_from(modifier).ok().filter(|digits| *digits <= 6).unwrap_or(6);
        let limit = |modifier: i64| u64::try_from(modifier - 4).ok();
        let length = u32::try_from(modifier).ok();
        Some(match self.oid {
            16 => ColumnType::Bool,
            17 => ColumnType::Bytes { max_bytes: None },
            18 => ColumnType::Text { max_chars: Some(1) },
            19 => ColumnType::Text { max_chars: Some(63) },
            20 => ColumnType::Int { bits: 64, unsigned: false },
            21 => ColumnType::Int { bits: 16, unsigned: false },
            23 => ColumnType::Int { bits: 32, unsigned: false },
            25 => ColumnType::Text { max_chars: None },
            26 => ColumnType::Int { bits: 32, unsigned: true },
            114 | JSONB => ColumnType::Json,
            600 => ColumnType::Point,
            700 => ColumnType::Float32,
            701 => ColumnType::Float64,
            // 64 bits of the smallest unit.
            MONEY => ColumnType::Decimal { limit: Some((18, i32::try_from(self.money_digits).ok()?)) },
            BPCHAR | 1043 => ColumnType::Text { max_chars: limit(modifier) },
            1082 => ColumnType::Date,
            1083 => ColumnType::Time { digits },
            1114 => ColumnType::Timestamp { digits },
            1184 => ColumnType::TimestampTz { digits },
            1186 => interval(modifier),
            1266 => ColumnType::TimeTz { digits },
            1560 => ColumnType::Bits { length, varying: false },
            1562 => ColumnType::Bits { length, varying: true },
            1700 => ColumnType::Decimal { limit: numeric_limit(modifier) },
            2950 => ColumnType::Uuid,
            _ => return None,
        })
    }

    fn of_extension(&self) -> Option<ColumnType> {
        let dimensions = u32::try_from(self.modifier).ok();
        Some(match (self.extension, self.name) {
            ("citext", "citext") => ColumnType::Text { max_chars: None },
            ("hstore", "hstore") => ColumnType::Map,
            ("postgis", "geometry" | "geography") => ColumnType::Geometry { srid: postgis_srid(self.modifier) },
            ("vector", "vector" | "halfvec") => ColumnType::Vector { dimensions },
            ("vector", "sparsevec") => ColumnType::SparseVector { dimensions },
            _ => return None,
        })
    }
}

const BPCHAR: i64 = 1042;
const JSONB: i64 = 3802;
const MONEY: i64 = 790;

/// An interval of some fields only drops the others without a word.
fn interval(modifier: i64) -> ColumnType {
    const ALL_FIELDS: i64 = 0x7fff;
    match u8::try_from(modifier & 0xffff) {
        _ if modifier == -1 => ColumnType::Interval { digits: 6 },
        _ if modifier >> 16 & 0xffff != ALL_FIELDS => ColumnType::Unsupported,
        Ok(digits) if digits <= 6 => ColumnType::Interval { digits },
        _ => ColumnType::Interval { digits: 6 },
    }
}

/// The reference system in a PostGIS modifier: a signed number of 21 bits above the eight of shape and dimensions.
fn postgis_srid(modifier: i64) -> Option<i32> {
    let srid = ((modifier & 0x0fff_ff00) - (modifier & 0x1000_0000)) >> 8;
    i32::try_from(srid).ok().filter(|srid| modifier >= 0 && *srid > 0)
}

/// Precision and scale of a NUMERIC's modifier; the scale has eleven bits and a sign since version 15.
fn numeric_limit(modifier: i64) -> Option<(u32, i32)> {
    let packed =
        i32::try_from(modifier).ok().and_then(|modifier| modifier.checked_sub(4)).filter(|packed| *packed >= 0)?;
    Some((((packed >> 16) & 0xffff) as u32, ((packed & 0x7ff) ^ 1024) - 1024))
}

/// Why two keys that differ in the source can be one key here.
fn wide_equality(kind: &ColumnType, of: &PgTypeRow<'_>, nondeterministic: bool) -> Option<String> {
    let reason = match kind {
        _ if of.name == "citext" => "citext ignores upper and lower case; alter the column to text",
        _ if nondeterministic => "its collation is nondeterministic; alter the column to COLLATE \"C\"",
        ColumnType::Text { .. } if of.oid == BPCHAR => "char(n) ignores blanks at the end; alter the column to text",
        ColumnType::Decimal { limit: None } => "numeric without a scale takes 1.0 and 1.00 as one; give it a scale",
        ColumnType::Float32 | ColumnType::Float64 => "floating point takes 0.0 and -0.0 as one; use an exact type",
        ColumnType::Json if of.oid == JSONB => {
            "jsonb takes documents of different text as one; alter the column to text"
        }
        ColumnType::Json => "json has no equality; alter the column to text",
        ColumnType::Interval { .. } => "interval takes 1 month and 30 days as one; alter the column to text",
        ColumnType::Literal if of.class == "e" || of.name == "ltree" => return None,
        ColumnType::Literal => "the type takes several spellings as one value; alter the column to text",
        ColumnType::Array { .. }
        | ColumnType::Map
        | ColumnType::Point
        | ColumnType::Geometry { .. }
        | ColumnType::Vector { .. }
        | ColumnType::SparseVector { .. } => {
            "values of this type are not compared byte by byte; alter the column to text"
        }
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

    fn row(oid: i64, modifier: i64) -> PgTypeRow<'static> {
        PgTypeRow { oid, modifier, name: "", class: "b", delimiter: ",", extension: "", money_digits: 2 }
    }

    #[test]
    fn exact_keys_have_no_reason_against_them() {
        let wide = |row: &PgTypeRow<'_>| wide_equality(&row.kind(), row, false);
        for (oid, modifier) in [(20, -1), (25, -1), (1043, 14), (2950, -1), (1700, (10 << 16 | 2) + 4), (1184, -1)] {
            assert_eq!(wide(&row(oid, modifier)), None, "{oid}");
        }
        for (oid, modifier) in [(BPCHAR, 14), (1700, -1), (700, -1), (701, -1), (JSONB, -1), (114, -1), (869, -1)] {
            assert!(wide(&row(oid, modifier)).is_some(), "{oid}");
        }
        assert_eq!(wide(&PgTypeRow { class: "e", ..row(99_999, -1) }), None);
    }

    /// What a limit would cut without a word is not taken for an open type.
    #[test]
    fn limits_of_types_are_understood_or_refused() {
        assert_eq!(row(1186, -1).kind(), ColumnType::Interval { digits: 6 });
        assert_eq!(row(1186, 0x7fff << 16 | 3).kind(), ColumnType::Interval { digits: 3 });
        assert_eq!(row(1186, 0x0006 << 16 | 0xffff).kind(), ColumnType::Unsupported, "interval year to month");
        assert_eq!(row(99_999, -1).kind(), ColumnType::Literal);
        assert_eq!(row(99_999, 7).kind(), ColumnType::Unsupported);
        assert_eq!(row(1560, 3).kind(), ColumnType::Bits { length: Some(3), varying: false });
        let geometry = |modifier| PgTypeRow { name: "geometry", extension: "postgis", ..row(99_999, modifier) }.kind();
        assert_eq!(geometry(-1), ColumnType::Geometry { srid: None });
        assert_eq!(geometry(4326 << 8 | 1 << 2), ColumnType::Geometry { srid: Some(4326) });
        assert_eq!(row(MONEY, -1).element_kind(), ColumnType::Unsupported);
        let boxes = PgTypeRow { delimiter: ";", ..row(603, -1) };
        assert_eq!((boxes.kind(), boxes.element_kind()), (ColumnType::Literal, ColumnType::Unsupported));
    }
}
