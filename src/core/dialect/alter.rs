//! Statements that bring a table to what its events need.

use crate::core::evolve::{Difference, Lack};
use crate::core::table::{Column, ColumnType, TableName, TableShape};
use crate::core::wire::{TableSpec, WireType};

use super::Dialect;
use super::ddl::Server;
use super::types::native_type;

/// What of a column's definition its type does not tell and a statement has to say again: in PostgreSQL its collation
/// (` collate "x"."y"`, or nothing), in MySQL all that stands behind the type in `SHOW CREATE TABLE`.
pub type Definition = String;

/// A statement that resolves a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// The statement, as it can be run; or, where there is none, what to do.
    pub text: String,
    /// It can be run as it stands, and changes nothing of what is stored.
    pub runs: bool,
}

/// The statement for a difference of a table. `definition` is that of the column, if it is there.
pub fn remedy(
    dialect: Dialect,
    (spec, server): (&TableSpec, &Server),
    shape: &TableShape,
    difference: &Difference,
    definition: &Definition,
) -> Remedy {
    let table = dialect.table(&shape.name);
    let name = dialect.ident(&difference.column);
    let advice = |text: String| Remedy { text, runs: false };
    let column = shape.position(&difference.column).map(|at| &shape.columns[at]);
    let is_key = spec.key.contains(&difference.column);
    let made = || {
        let field = spec.fields.iter().find(|field| field.name == difference.column);
        field.map(|field| match &field.kind {
            WireType::Untyped => Err(format!("alter table {table} add column {name} <type>")),
            _ => native_type(dialect, spec, field, is_key, server),
        })
    };
    match (&difference.lack, column) {
        (Lack::Missing, _) | (_, None) => match made() {
            // Old rows have no value, and none is invented: the column takes NULL whatever the source says.
            Some(Ok(native)) => Remedy { text: format!("alter table {table} add column {name} {native}"), runs: true },
            Some(Err(what)) => advice(what),
            None => advice(format!("add the column {name} to {table}")),
        },
        (Lack::Narrow(kind), Some(column)) => match wider(dialect, column, kind, is_key) {
            Some(native) => retype(dialect, &shape.name, column, &native, definition),
            None => advice(format!("give column {name} of {table} a wider type by hand; {}", by_hand(dialect))),
        },
        (Lack::Apart, Some(column)) => match made() {
            Some(Ok(native)) => Remedy { runs: false, ..convert(dialect, &shape.name, column, &native) },
            _ => advice(format!("give column {name} of {table} a type that its events fit")),
        },
        (Lack::NotNull | Lack::NotCarried, Some(column)) => take_null(dialect, &shape.name, column, definition),
    }
}

/// The statement that gives a column of a table (or of its side table, whose key has the same types) another type.
pub fn retype(dialect: Dialect, table: &TableName, column: &Column, native: &str, definition: &Definition) -> Remedy {
    let (table, name) = (dialect.table(table), dialect.ident(&column.name));
    let text = match dialect {
        Dialect::Postgres => format!("alter table {table} alter column {name} type {native}{definition}"),
        Dialect::Mysql => format!("alter table {table} modify column {name} {native}{definition}"),
        Dialect::Sqlite => {
            let text = format!("make {table} anew with {name} {native}: {}", by_hand(dialect));
            return Remedy { text, runs: false };
        }
    };
    Remedy { text, runs: true }
}

fn by_hand(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres | Dialect::Mysql => "what is stored has to be looked at",
        Dialect::Sqlite => "SQLite cannot alter a column",
    }
}

/// A change of the kind of values: only a person can say that what is stored means the same afterwards.
fn convert(dialect: Dialect, table: &TableName, column: &Column, native: &str) -> Remedy {
    let (quoted, name) = (dialect.table(table), dialect.ident(&column.name));
    match dialect {
        Dialect::Postgres => {
            let text = format!("alter table {quoted} alter column {name} type {native} using {name}::{native}");
            Remedy { text, runs: false }
        }
        _ => retype(dialect, table, column, native, &String::new()),
    }
}

fn take_null(dialect: Dialect, table: &TableName, column: &Column, definition: &Definition) -> Remedy {
    let (quoted, name) = (dialect.table(table), dialect.ident(&column.name));
    match dialect {
        Dialect::Postgres => {
            Remedy { text: format!("alter table {quoted} alter column {name} drop not null"), runs: true }
        }
        Dialect::Mysql => {
            let native = &column.native;
            let text = format!("alter table {quoted} modify column {name} {native}{}", without_not_null(definition));
            Remedy { text, runs: true }
        }
        Dialect::Sqlite => {
            let text =
                format!("make {quoted} anew with {name} {} without NOT NULL: {}", column.native, by_hand(dialect));
            Remedy { text, runs: false }
        }
    }
}

/// Takes NOT NULL out of a definition, but not out of a default or a comment that holds these words.
fn without_not_null(definition: &str) -> String {
    match definition.find(" NOT NULL") {
        Some(at) if !definition[..at].contains('\'') => {
            format!("{} NULL{}", &definition[..at], &definition[at + " NOT NULL".len()..])
        }
        _ => definition.to_owned(),
    }
}

/// The native type that a column gets to hold `kind`, which holds what it held. `None` where the database has none, or where a key
/// would be written in another form than its tombstones and quarantined records have.
fn wider(dialect: Dialect, column: &Column, kind: &ColumnType, is_key: bool) -> Option<String> {
    if is_key && !keeps_key(&column.kind, kind) {
        return None;
    }
    match dialect {
        Dialect::Postgres => postgres(kind),
        Dialect::Mysql => mysql(column, kind, is_key),
        // Its types have no limits; those that have one cannot be altered.
        Dialect::Sqlite => None,
    }
}

/// The native type that a key column gets to hold `kind`, in its table and in the one beside.
pub fn wider_key(dialect: Dialect, column: &Column, kind: &ColumnType) -> Option<String> {
    wider(dialect, column, kind, true)
}

/// Whether keys keep their canonical bytes.
fn keeps_key(have: &ColumnType, kind: &ColumnType) -> bool {
    match (have, kind) {
        (ColumnType::Decimal { limit: Some((_, a)) }, ColumnType::Decimal { limit: Some((_, b)) }) => a == b,
        (ColumnType::Decimal { .. }, _) => false,
        (have, kind) => std::mem::discriminant(have) == std::mem::discriminant(kind),
    }
}

fn postgres(kind: &ColumnType) -> Option<String> {
    Some(match kind {
        ColumnType::Int { bits: 0..=15, .. } | ColumnType::Int { bits: 16, unsigned: false } => "smallint".to_owned(),
        ColumnType::Int { bits: 16..=31, .. } | ColumnType::Int { bits: 32, unsigned: false } => "integer".to_owned(),
        ColumnType::Int { bits: 32..=63, .. } | ColumnType::Int { unsigned: false, .. } => "bigint".to_owned(),
        ColumnType::Int { .. } => "numeric(20,0)".to_owned(),
        ColumnType::Decimal { limit: Some((precision, scale)) } if *precision <= 1000 => {
            format!("numeric({precision},{scale})")
        }
        ColumnType::Decimal { .. } => "numeric".to_owned(),
        ColumnType::Float32 => "real".to_owned(),
        ColumnType::Float64 => "double precision".to_owned(),
        ColumnType::Text { max_chars: Some(chars @ 1..=10_485_760) } => format!("varchar({chars})"),
        ColumnType::Text { .. } => "text".to_owned(),
        ColumnType::Bytes { .. } => "bytea".to_owned(),
        ColumnType::Time { digits } => format!("time({digits})"),
        ColumnType::Timestamp { digits } => format!("timestamp({digits})"),
        ColumnType::TimestampTz { digits } => format!("timestamptz({digits})"),
        _ => return None,
    })
}

/// Most characters of a VARCHAR in utf8mb4 in a row of 65535 bytes, and with room for others.
const VARCHAR_MAX: u64 = 16_000;

fn mysql(column: &Column, kind: &ColumnType, is_key: bool) -> Option<String> {
    let native = column.native.to_ascii_lowercase();
    Some(match kind {
        ColumnType::Int { bits, unsigned } => {
            let name = match bits {
                0..=8 => "tinyint",
                9..=16 => "smallint",
                17..=24 => "mediumint",
                25..=32 => "int",
                _ => "bigint",
            };
            format!("{name}{}", if *unsigned { " unsigned" } else { "" })
        }
        ColumnType::Decimal { limit: Some((precision, scale)) } if *precision <= 65 && (0..=30).contains(scale) => {
            format!("decimal({precision},{scale})")
        }
        ColumnType::Float64 => "double".to_owned(),
        ColumnType::Text { max_chars } | ColumnType::Bytes { max_bytes: max_chars } => {
            let (short, long) = match kind {
                ColumnType::Text { .. } => ("varchar", "longtext"),
                _ => ("varbinary", "longblob"),
            };
            match max_chars {
                Some(length @ 1..=VARCHAR_MAX) if native.contains('(') => format!("{short}({length})"),
                // No key holds a text without a limit.
                _ if is_key => return None,
                _ => long.to_owned(),
            }
        }
        ColumnType::Time { digits } | ColumnType::TimeSpan { digits } => format!("time({digits})"),
        ColumnType::Timestamp { digits } => format!("datetime({digits})"),
        ColumnType::TimestampTz { digits } => format!("timestamp({digits})"),
        _ => return None,
    })
}

/// What stands behind the type of a column in the text of `SHOW CREATE TABLE`.
pub fn mysql_definition(create: &str, column: &Column) -> Option<Definition> {
    let begin = format!("{} {}", Dialect::Mysql.ident(&column.name), column.native);
    let line = create.lines().map(str::trim).find(|line| line.starts_with(&begin))?;
    let rest = &line[begin.len()..];
    let rest = rest.strip_suffix(',').unwrap_or(rest);
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::table::{Contract, DeleteMode, TokenStorage, fixture};
    use crate::core::wire::Field;

    fn spec(fields: Vec<Field>) -> TableSpec {
        TableSpec {
            name: TableName::new(Some("s"), "t"),
            fields,
            key: vec!["id".to_owned()],
            contract: Contract::FinalState,
            delete: DeleteMode::Hard,
            token_storage: TokenStorage::Column,
        }
    }

    fn of(dialect: Dialect, column: Column, wire: WireType, lack: Lack, definition: &str) -> Remedy {
        let mut shape = fixture::table(1, "t", &["id"]).shape;
        let name = column.name.clone();
        shape.columns.retain(|known| known.name != name);
        if lack != Lack::Missing {
            shape.columns.push(column);
        }
        let spec = spec(vec![Field::new(name.clone(), wire, true)]);
        let difference = Difference { column: name, lack };
        remedy(dialect, (&spec, &Server::default()), &shape, &difference, &definition.to_owned())
    }

    fn column(native: &str, kind: ColumnType) -> Column {
        Column { native: native.to_owned(), nullable: false, ..fixture::column("c", kind) }
    }

    #[test]
    fn statements_of_the_languages() {
        let int = || column("int(11)", ColumnType::Int { bits: 32, unsigned: false });
        let big = || Lack::Narrow(ColumnType::Int { bits: 64, unsigned: false });
        let wire = || WireType::Int { bits: 64 };
        let text = |dialect, lack, definition: &str| {
            let Remedy { text, runs } = of(dialect, int(), wire(), lack, definition);
            (text, runs)
        };
        let runs = |text: &str| (text.to_owned(), true);
        assert_eq!(text(Dialect::Postgres, Lack::Missing, ""), runs("alter table \"t\" add column \"c\" bigint"));
        assert_eq!(text(Dialect::Postgres, big(), ""), runs("alter table \"t\" alter column \"c\" type bigint"));
        assert_eq!(
            text(Dialect::Postgres, Lack::NotNull, ""),
            runs("alter table \"t\" alter column \"c\" drop not null")
        );
        let kept = " NOT NULL DEFAULT 5 COMMENT 'is NOT NULL'";
        assert_eq!(text(Dialect::Mysql, big(), kept), runs(&format!("alter table `t` modify column `c` bigint{kept}")));
        assert_eq!(
            text(Dialect::Mysql, Lack::NotCarried, kept),
            runs("alter table `t` modify column `c` int(11) NULL DEFAULT 5 COMMENT 'is NOT NULL'")
        );
        assert!(!text(Dialect::Sqlite, big(), "").1);
        let (apart, runs) = text(Dialect::Postgres, Lack::Apart, "");
        assert_eq!(
            (apart.as_str(), runs),
            ("alter table \"t\" alter column \"c\" type bigint using \"c\"::bigint", false)
        );
    }

    /// What was written of a key must be found again: its canonical bytes may not change.
    #[test]
    fn keys_are_widened_only_where_they_stay_the_same() {
        let key = |native: &str, kind, to| {
            let column = Column { name: "id".to_owned(), ..column(native, kind) };
            of(Dialect::Mysql, column, WireType::Text, Lack::Narrow(to), " NOT NULL").runs
        };
        let decimal = |precision, scale| ColumnType::Decimal { limit: Some((precision, scale)) };
        let int = |bits| ColumnType::Int { bits, unsigned: false };
        let text = |max_chars| ColumnType::Text { max_chars };
        assert!(key("int(11)", int(32), int(64)));
        assert!(key("decimal(6,2)", decimal(6, 2), decimal(9, 2)));
        assert!(!key("decimal(6,2)", decimal(6, 2), decimal(9, 4)));
        assert!(!key("int(11)", int(32), decimal(12, 2)));
        assert!(key("varchar(9)", text(Some(9)), text(Some(20))));
        assert!(!key("varchar(9)", text(Some(9)), text(None)));
    }

    #[test]
    fn definitions_are_found_by_name_and_type() {
        let create = "CREATE TABLE `t` (\n  `id` int(11) NOT NULL,\n  `c` varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL DEFAULT 'a,b',\n  `cc` int(11),\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB";
        let named = |name: &str, native: &str| Column {
            name: name.to_owned(),
            ..column(native, ColumnType::Int { bits: 32, unsigned: false })
        };
        let definition = |name, native| mysql_definition(create, &named(name, native));
        assert_eq!(
            definition("c", "varchar(9)").as_deref(),
            Some(" CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL DEFAULT 'a,b'")
        );
        assert_eq!(definition("cc", "int(11)").as_deref(), Some(""));
        assert_eq!(definition("c", "varchar(8)"), None);
    }
}
