//! Statements that make tables: a destination table from an event's schema, lastword's own columns, side tables, change logs.
//!
//! Types are chosen in [`super::types`]. Key columns are NOT NULL and compare as bytes: `COLLATE "C"` in PostgreSQL, a binary collation without padding and a length
//! that an index can hold in MySQL. What the type of a source column does not tell is refused, not guessed.

use std::collections::BTreeMap;

use crate::core::table::{
    Contract, DELETED_COLUMN, DeleteMode, TOKEN_BYTES_MAX, TOKEN_COLUMN, Table, TableName, TableShape, TokenStorage,
};
use crate::core::wire::{Field, TableSpec, WireType};

use super::Dialect;
use super::types::native_type;

/// What the server has that decides about the types of made columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Which of the two servers of the MySQL family it is.
    pub family: Family,
    /// PostgreSQL: types of installed extensions by their name (`hstore`), each as statements write it (`"public".hstore`).
    /// MariaDB: types that not every version has (`uuid`).
    pub types: BTreeMap<String, String>,
}

/// Which of the two servers of the MySQL family it is: their binary collations without padding have different names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// MariaDB (and for PostgreSQL and SQLite without meaning).
    #[default]
    MariaDb,
    /// Oracle's MySQL.
    MySql,
}

impl Family {
    pub(super) fn key_collation(self) -> &'static str {
        match self {
            Self::MariaDb => "utf8mb4_nopad_bin",
            Self::MySql => "utf8mb4_0900_bin",
        }
    }
}

/// The statement that makes a table of a spec. `Err` says which column cannot be made and what to do.
pub fn create_table(dialect: Dialect, spec: &TableSpec, server: &Server) -> Result<String, String> {
    if spec.fields.is_empty() {
        return Err(format!("the events for {} do not tell its columns; create the table first", spec.name));
    }
    let mut columns = Vec::new();
    for field in &spec.fields {
        let is_key = spec.key.contains(&field.name);
        let native = native_type(dialect, spec, field, is_key, server)?;
        let null = if is_key || !field.optional { " not null" } else { "" };
        columns.push(format!("{} {native}{null}", dialect.ident(&field.name)));
    }
    if let Some(missing) = spec.key.iter().find(|name| !spec.fields.iter().any(|field| field.name == **name)) {
        return Err(format!("the events for {} do not carry its key column {missing:?}", spec.name));
    }
    if spec.contract == Contract::FinalState {
        columns.extend(own_columns(dialect, spec, false, false));
    }
    let key: Vec<String> = spec.key.iter().map(|name| dialect.ident(name)).collect();
    columns.push(format!("primary key ({})", key.join(", ")));
    Ok(format!(
        "create table if not exists {} ({}){}",
        dialect.table(&spec.name),
        columns.join(", "),
        table_options(dialect)
    ))
}

fn table_options(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "",
        Dialect::Mysql => " engine=InnoDB default charset=utf8mb4",
        Dialect::Sqlite => "",
    }
}

/// Lastword's columns that a table still lacks.
fn own_columns(dialect: Dialect, spec: &TableSpec, has_token: bool, has_deleted: bool) -> Vec<String> {
    let mut columns = Vec::new();
    if spec.token_storage == TokenStorage::Column && !has_token {
        columns.push(format!("{} {}", dialect.ident(TOKEN_COLUMN), token_type(dialect)));
    }
    if spec.delete == DeleteMode::Soft && !has_deleted {
        let (kind, no) = if dialect == Dialect::Sqlite { ("integer", "0") } else { ("boolean", "false") };
        columns.push(format!("{} {kind} not null default {no}", dialect.ident(DELETED_COLUMN)));
    }
    columns
}

fn token_type(dialect: Dialect) -> String {
    match dialect {
        Dialect::Postgres => "bytea".to_owned(),
        Dialect::Mysql => format!("varbinary({TOKEN_BYTES_MAX})"),
        Dialect::Sqlite => "blob".to_owned(),
    }
}

/// The statements that add lastword's columns to a table that exists; none if it has them.
pub fn add_own_columns(dialect: Dialect, shape: &TableShape, spec: &TableSpec) -> Vec<String> {
    // With side tokens the table is not touched, not even for the mark of soft deletes: that is checked where it is met.
    if spec.contract == Contract::ChangeLog || spec.token_storage == TokenStorage::Side {
        return Vec::new();
    }
    let columns = own_columns(dialect, spec, shape.has_token, shape.has_deleted);
    // Two processes may meet the table at once; where the language can say it, the second one finds nothing to do.
    let unless_there = if dialect == Dialect::Postgres { "if not exists " } else { "" };
    let add = |column| format!("alter table {} add column {unless_there}{column}", dialect.table(&shape.name));
    columns.into_iter().map(add).collect()
}

/// The statement that makes the tombstone table of a table, or its token table with side tokens. Its key columns have the types of
/// the table's, so that both hold the same keys equal.
pub fn side_table(dialect: Dialect, table: &Table) -> String {
    if dialect == Dialect::Postgres {
        return postgres_side_table(table);
    }
    let side = dialect.bookkeeping(&table.side_name());
    let key: Vec<_> = table.key.iter().map(|at| &table.shape.columns[*at]).collect();
    let names: Vec<String> = key.iter().map(|column| dialect.ident(&column.name)).collect();
    let deleted_at = match dialect {
        Dialect::Postgres | Dialect::Mysql => "datetime(6) not null default current_timestamp(6)",
        Dialect::Sqlite => "text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now'))",
    };
    let mut own = vec![format!("{} {} not null", dialect.ident(TOKEN_COLUMN), token_type(dialect))];
    if table.token_storage == TokenStorage::Side {
        let kind = if dialect == Dialect::Sqlite { "integer" } else { "boolean" };
        own.push(format!("{} {kind} not null", dialect.ident(DELETED_COLUMN)));
    }
    own.push(format!("deleted_at {deleted_at}"));
    own.push(format!("primary key ({})", names.join(", ")));
    if dialect == Dialect::Mysql {
        // Columns made by a SELECT keep type, character set and collation, which the type's name alone does not tell. A
        // column without a default must be among them, or a strict session refuses the statement (1364) although no row
        // is selected.
        let options = table_options(dialect);
        let from = dialect.table(table.name());
        let mut selected = names;
        selected.push(format!("'' as {}", dialect.ident(TOKEN_COLUMN)));
        if table.token_storage == TokenStorage::Side {
            selected.push(format!("0 as {}", dialect.ident(DELETED_COLUMN)));
        }
        return format!(
            "create table if not exists {side} ({}){options} as select {} from {from} where 1 = 0",
            own.join(", "),
            selected.join(", ")
        );
    }
    let key = key.iter().zip(&names).map(|(column, name)| format!("{name} {} not null", column.native));
    let columns: Vec<String> = key.chain(own).collect();
    format!("create table if not exists {side} ({})", columns.join(", "))
}

/// Types and collations come from the target itself: the index of a text key in another collation is of no use when the two are
/// joined, and every batch would read all tombstones (seen).
///
/// A block, because a table that is made from a query gets its key by a second statement, and because names must be looked
/// up once only: columns carry the alias, as a bare `found` would be a variable of the block's language.
fn postgres_side_table(table: &Table) -> String {
    let dialect = Dialect::Postgres;
    let side = dialect.bookkeeping(&table.side_name());
    let (token, deleted) = (dialect.ident(TOKEN_COLUMN), dialect.ident(DELETED_COLUMN));
    let names: Vec<String> = table.key.iter().map(|at| dialect.ident(&table.shape.columns[*at].name)).collect();
    let mut selected: Vec<String> = names.iter().map(|name| format!("t.{name}")).collect();
    selected.push(format!("''::bytea as {token}"));
    let mut rules = vec![
        format!("add primary key ({})", names.join(", ")),
        format!("alter column {token} set not null"),
        "alter column deleted_at set not null".to_owned(),
        "alter column deleted_at set default now()".to_owned(),
    ];
    if table.token_storage == TokenStorage::Side {
        selected.push(format!("false as {deleted}"));
        rules.push(format!("alter column {deleted} set not null"));
    }
    selected.push("now() as deleted_at".to_owned());
    let body = format!(
        "begin\nif to_regclass('{side}') is null then\n\
         create table {side} as select {} from {} as t with no data;\n\
         alter table {side} {};\nend if;\n\
         exception when duplicate_table or unique_violation then null;\nend",
        selected.join(", "),
        dialect.table(table.name()),
        rules.join(", "),
    );
    dollar_quoted(&body)
}

/// A block of PostgreSQL's, in quotes that its text (names are hostile) does not hold.
fn dollar_quoted(body: &str) -> String {
    let tags = std::iter::once("$lastword$".to_owned()).chain((1_u32..).map(|number| format!("$lastword{number}$")));
    let mut fitting = tags.skip_while(|tag| body.contains(tag.as_str()));
    let tag = fitting.next().unwrap_or_default();
    format!("do {tag} {body} {tag}")
}

/// The fixed columns of a change log; the first four tell a record from all others and are its key.
pub fn change_log_spec(name: TableName) -> TableSpec {
    let field = |name: &str, kind: WireType, optional: bool| Field::new(name, kind, optional);
    let long = || WireType::Int { bits: 64 };
    TableSpec {
        name,
        fields: vec![
            field("topic", WireType::Text, false),
            field("incarnation", WireType::Text, false),
            field("partition_id", WireType::Int { bits: 32 }, false),
            field("record_offset", long(), false),
            field("op", WireType::Text, false),
            field("token", WireType::Bytes, true),
            field("source_time_ms", long(), true),
            field("record_time_ms", long(), true),
            field("key_json", WireType::Text, true),
            field("before_json", WireType::Text, true),
            field("after_json", WireType::Text, true),
        ],
        key: ["topic", "incarnation", "partition_id", "record_offset"].map(str::to_owned).to_vec(),
        contract: Contract::ChangeLog,
        delete: DeleteMode::Hard,
        token_storage: TokenStorage::Column,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: TableName) -> TableSpec {
        let field = |name: &str, kind: WireType, optional| Field::new(name, kind, optional);
        TableSpec {
            name,
            fields: vec![
                field("id", WireType::Int { bits: 64 }, false),
                field("Code \"x\"`", WireType::Text, false),
                field("price", WireType::Decimal { scale: 2, precision: Some(10) }, true),
            ],
            key: vec!["Code \"x\"`".into(), "id".into()],
            contract: Contract::FinalState,
            delete: DeleteMode::Soft,
            token_storage: TokenStorage::Column,
        }
    }

    #[test]
    fn tables_of_the_three_languages() {
        let made =
            |dialect| create_table(dialect, &spec(TableName::new(Some("s"), "t")), &Server::default()).expect("made");
        assert_eq!(
            made(Dialect::Postgres),
            "create table if not exists \"s\".\"t\" (\"id\" bigint not null, \"Code \"\"x\"\"`\" text collate \"C\" not null, \
             \"price\" numeric(10,2), \"_lastword_token\" bytea, \"_lastword_deleted\" boolean not null default false, \
             primary key (\"Code \"\"x\"\"`\", \"id\"))"
        );
        assert_eq!(
            made(Dialect::Mysql),
            "create table if not exists `s`.`t` (`id` bigint not null, `Code \"x\"``` varchar(255) character set utf8mb4 \
             collate utf8mb4_nopad_bin not null, `price` decimal(10,2), `_lastword_token` varbinary(48), \
             `_lastword_deleted` boolean not null default false, primary key (`Code \"x\"```, `id`)) engine=InnoDB default charset=utf8mb4"
        );
        assert_eq!(
            made(Dialect::Sqlite),
            "create table if not exists \"s.t\" (\"id\" INTEGER not null, \"Code \"\"x\"\"`\" TEXT not null, \"price\" DECIMAL_TEXT(10,2), \
             \"_lastword_token\" blob, \"_lastword_deleted\" integer not null default 0, primary key (\"Code \"\"x\"\"`\", \"id\"))"
        );
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let mut unknown = spec(TableName::new(None, "t"));
        unknown.fields[2].kind = WireType::Unsupported { name: "io.debezium.data.geometry.Point".into() };
        let refusal = create_table(Dialect::Postgres, &unknown, &Server::default()).expect_err("refused");
        assert!(refusal.contains("\"price\"") && refusal.contains("geometry.Point"), "{refusal}");
        unknown.fields[2].kind = WireType::Untyped;
        assert!(create_table(Dialect::Mysql, &unknown, &Server::default()).is_err());
    }
}
