//! Destination tables: names, columns, contracts.

use std::fmt;
use std::str::FromStr;

use super::value::Value;

/// Name of a destination table, as it is written in the configuration: `table` or `schema.table`. A part that holds a
/// dot or a quote is written in double quotes, with inner quotes doubled: `"Order"."a.b"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The schema (PostgreSQL) or database (MySQL); none in SQLite or for the connection's own.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
}

impl TableName {
    /// A name of given parts.
    pub fn new(schema: Option<&str>, table: &str) -> Self {
        Self { schema: schema.map(str::to_owned), table: table.to_owned() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |name: &str| {
            if name.is_empty() || name.contains(['.', '"']) {
                format!("\"{}\"", name.replace('"', "\"\""))
            } else {
                name.to_owned()
            }
        };
        match &self.schema {
            Some(schema) => write!(f, "{}.{}", part(schema), part(&self.table)),
            None => f.write_str(&part(&self.table)),
        }
    }
}

impl FromStr for TableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        loop {
            let (part, after) = take_part(rest)?;
            parts.push(part);
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => break,
                None => return Err(format!("{text:?}: expected a dot after a quoted part")),
            }
        }
        if parts.iter().any(|part| part.is_empty() || part.contains('\0')) {
            return Err(format!("{text:?}: a part of the name is empty or holds a NUL"));
        }
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(table), None, None) => Ok(Self { schema: None, table }),
            (Some(schema), Some(table), None) => Ok(Self { schema: Some(schema), table }),
            _ => Err(format!("{text:?}: expected `table` or `schema.table`; quote parts that hold a dot")),
        }
    }
}

fn take_part(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            name.push(c);
        } else if matches!(chars.peek(), Some((_, '"'))) {
            name.push('"');
            chars.next();
        } else {
            return Ok((name, &quoted[at + 1..]));
        }
    }
    Err(format!("{text:?}: the quote is not closed"))
}

/// What a column of a destination table can hold. The type decides how a value is converted and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Truth value.
    Bool,
    /// Whole number of `bits` (8, 16, 24, 32, 64).
    Int {
        /// Width.
        bits: u8,
        /// Without negative numbers.
        unsigned: bool,
    },
    /// Single precision.
    Float32,
    /// Double precision.
    Float64,
    /// Exact decimal; `None` where the column has no limit of its own.
    Decimal {
        /// Digits in all, and digits after the point.
        limit: Option<(u32, i32)>,
    },
    /// Text of at most so many characters.
    Text {
        /// Limit in characters.
        max_chars: Option<u64>,
    },
    /// Bytes of at most so many.
    Bytes {
        /// Limit in bytes.
        max_bytes: Option<u64>,
    },
    /// Calendar day.
    Date,
    /// Time of day with so many digits of a second.
    Time {
        /// Fraction digits, 0 to 6.
        digits: u8,
    },
    /// Date and time without a zone.
    Timestamp {
        /// Fraction digits, 0 to 6.
        digits: u8,
    },
    /// Instant.
    TimestampTz {
        /// Fraction digits, 0 to 6.
        digits: u8,
    },
    /// UUID.
    Uuid,
    /// JSON document.
    Json,
    /// A span of time that is written like a time of day (MySQL's TIME): negative, or up to 838:59:59.
    TimeSpan {
        /// Fraction digits, 0 to 6.
        digits: u8,
    },
    /// Time of day with an offset.
    TimeTz {
        /// Fraction digits, 0 to 6.
        digits: u8,
    },
    /// Span in months, days and microseconds.
    Interval {
        /// Fraction digits, 0 to 6.
        digits: u8,
    },
    /// A year of MySQL: 0, 1901 to 2155.
    Year,
    /// Bits.
    Bits {
        /// Their number; `None` has no limit.
        length: Option<u32>,
        /// Fewer are allowed.
        varying: bool,
    },
    /// One of some texts (ENUM), or any of them joined by commas (SET).
    Choice {
        /// The texts.
        labels: Vec<String>,
        /// Several at once.
        several: bool,
    },
    /// Lists of one type (PostgreSQL).
    Array {
        /// Type of the elements.
        element: Box<ColumnType>,
    },
    /// Names with texts (hstore).
    Map,
    /// A point of the plane, without a reference system (PostgreSQL).
    Point,
    /// A shape.
    Geometry {
        /// The only reference system that the column takes.
        srid: Option<i32>,
    },
    /// A dense vector of numbers.
    Vector {
        /// Its length, if the column has one.
        dimensions: Option<u32>,
    },
    /// A sparse vector.
    SparseVector {
        /// Its length, if the column has one.
        dimensions: Option<u32>,
    },
    /// A type whose values the database reads from their text: network addresses, ranges, ltree, tsvector, xml, money, …
    Literal,
    /// A type that is not understood: an event that carries the column is refused by name.
    Unsupported,
}

/// A column of a destination table as the database describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnType,
    /// The database's own name of the type, for statements (stages, casts) and messages: `numeric(10,2)`, `bigint unsigned`.
    pub native: String,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// The database makes the value itself (generated column); events do not write it.
    pub generated: bool,
    /// The database refuses to update it (GENERATED ALWAYS AS IDENTITY); a row can be inserted with it.
    pub identity: bool,
    /// The database has a default for it.
    pub has_default: bool,
    /// For key columns: why equality here is wider than byte equality (collation, citext, padding), else `None`.
    pub wide_equality: Option<String>,
}

/// A destination table as the database describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableShape {
    /// Its full name (schema filled in).
    pub name: TableName,
    /// Its columns in their order, lastword's own (`_lastword_…`) left out.
    pub columns: Vec<Column>,
    /// Columns of the primary key in key order (names); empty without one.
    pub primary_key: Vec<String>,
    /// The other unique keys (each a list of column names) that are not the primary key.
    pub unique_keys: Vec<Vec<String>>,
    /// Whether the column `_lastword_token` is there.
    pub has_token: bool,
    /// Whether the column `_lastword_deleted` is there.
    pub has_deleted: bool,
    /// Deleting a row may change other tables: a foreign key points at it, or a trigger watches its deletes.
    pub delete_has_effects: bool,
    /// What else has a say about its rows, for `check` to tell: triggers that change them, foreign keys.
    pub remarks: Vec<String>,
}

impl TableShape {
    /// Index of a column by its exact name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// What a table promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contract {
    /// One row per live key with its newest change, a tombstone per deleted key.
    FinalState,
    /// Every record once, appended.
    ChangeLog,
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FinalState => "final-state",
            Self::ChangeLog => "change-log",
        })
    }
}

/// What a delete does to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeleteMode {
    /// The row goes, a tombstone stays.
    Hard,
    /// The row stays with `_lastword_deleted` set; an unknown key gets a tombstone.
    Soft,
    /// Deletes are not applied (a weaker contract, printed as such).
    Ignore,
}

/// Where the token of a live row is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenStorage {
    /// In the column `_lastword_token` of the table.
    Column,
    /// In a side table, token and tombstone in one row per key ever seen.
    Side,
}

/// Name of the token column of a table.
pub const TOKEN_COLUMN: &str = "_lastword_token";
/// Name of the column that marks a softly deleted row.
pub const DELETED_COLUMN: &str = "_lastword_deleted";
/// Longest token in bytes; the width of token columns in MySQL.
pub const TOKEN_BYTES_MAX: usize = 48;

/// A destination table that events are applied to: its shape with what was decided about it. Made once when the table
/// is first met, shared by all lanes.
#[derive(Debug)]
pub struct Table {
    /// Number of the table in this process, for caches of statements.
    pub id: u32,
    /// Its shape when it was met.
    pub shape: TableShape,
    /// Its contract.
    pub contract: Contract,
    /// What a delete does.
    pub delete: DeleteMode,
    /// Where its tokens are.
    pub token_storage: TokenStorage,
    /// Indices (into `shape.columns`) of the business key, in key order.
    pub key: Vec<usize>,
    /// Another process, partition or pipeline cannot write the same keys: said by the configuration, leaves out the re-check.
    pub single_writer: bool,
}

impl Table {
    /// Full name.
    pub fn name(&self) -> &TableName {
        &self.shape.name
    }

    /// Name of its tombstone table (or, with side tokens, of its token table) inside the bookkeeping schema: a readable
    /// prefix and a hash of the full name, so that any name fits into 63 bytes and two tables never share one.
    pub fn side_name(&self) -> String {
        side_table_name(&self.shape.name, self.token_storage)
    }
}

/// See [`Table::side_name`].
pub fn side_table_name(name: &TableName, storage: TokenStorage) -> String {
    let readable: String = name
        .table
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .take(24)
        .collect();
    let kind = match storage {
        TokenStorage::Column => "tombstone",
        TokenStorage::Side => "token",
    };
    let full = format!("{}\u{0}{}", name.schema.as_deref().unwrap_or(""), name.table);
    format!("{kind}_{readable}_{:016x}", fnv1a(full.as_bytes()))
}

/// FNV-1a, 64 bit: a name, not a security matter; the same on every machine and in every version.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Values of a row for some columns of its table.
pub type Row = Vec<Value>;

/// Tables for tests.
#[cfg(test)]
pub(crate) mod fixture {
    use super::*;

    /// A column that may be NULL and has nothing special.
    pub(crate) fn column(name: &str, kind: ColumnType) -> Column {
        Column {
            name: name.to_owned(),
            kind,
            native: String::new(),
            nullable: true,
            generated: false,
            identity: false,
            has_default: false,
            wide_equality: None,
        }
    }

    /// Whole numbers of 64 bits.
    pub(crate) const BIGINT: ColumnType = ColumnType::Int { bits: 64, unsigned: false };

    /// A final-state table of such columns, keyed by the first, with hard deletes and tokens in the row.
    pub(crate) fn table(id: u32, name: &str, columns: &[&str]) -> Table {
        let shape = TableShape {
            name: TableName::new(None, name),
            columns: columns.iter().map(|name| column(name, BIGINT)).collect(),
            primary_key: vec![columns[0].to_owned()],
            unique_keys: Vec::new(),
            has_token: true,
            has_deleted: false,
            delete_has_effects: false,
            remarks: Vec::new(),
        };
        Table {
            id,
            shape,
            contract: Contract::FinalState,
            delete: DeleteMode::Hard,
            token_storage: TokenStorage::Column,
            key: vec![0],
            single_writer: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_print_and_refuse() {
        for text in ["t", "public.t", "\"a.b\"", "\"Or\"\"der\".\"a.b\"", "Größe.ümlaut"] {
            let name: TableName = text.parse().expect(text);
            assert_eq!(name.to_string().parse::<TableName>().as_ref(), Ok(&name), "{text}");
        }
        let quoted: TableName = "\"Or\"\"der\".\"a.b\"".parse().expect("quoted name");
        assert_eq!((quoted.schema.as_deref(), quoted.table.as_str()), (Some("Or\"der"), "a.b"));
        for text in ["", ".", "a.", "a.b.c", "\"a", "\"a\"b", "a\0"] {
            assert!(text.parse::<TableName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn side_names_fit_and_differ() {
        let long = TableName::new(Some("s"), &"x".repeat(200));
        assert!(side_table_name(&long, TokenStorage::Column).len() <= 55);
        let a = side_table_name(&TableName::new(Some("a"), "b.c"), TokenStorage::Column);
        let b = side_table_name(&TableName::new(Some("a.b"), "c"), TokenStorage::Column);
        assert_ne!(a, b);
    }
}
