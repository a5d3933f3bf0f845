//! Schemas and tables are made, perhaps by several processes at once.

use std::collections::BTreeMap;

use crate::core::dialect::Dialect;
use crate::core::dialect::ddl::{Family, Server};
use crate::core::failure::{Class, Failure};
use crate::core::value::Value;
use crate::failpoint::failpoint;
use crate::sink::{Session, Statements};

/// The statement that makes a schema (PostgreSQL) or database (MySQL), if it is missing. PostgreSQL asks for the right to create
/// one even where `if not exists` has nothing to do, so it is looked for first.
pub(super) async fn missing_schema(session: &mut Session, schema: &str) -> Result<Option<String>, Failure> {
    let dialect = session.dialect();
    let (look, make) = match dialect {
        Dialect::Postgres => ("select 1 from pg_catalog.pg_namespace where nspname = $1", "schema"),
        Dialect::Mysql => ("select 1 from information_schema.schemata where schema_name = ?", "database"),
        Dialect::Sqlite => return Ok(None),
    };
    let found = session.query(look, &[Value::from(schema)]).await?;
    Ok(found.is_empty().then(|| format!("create {make} if not exists {}", dialect.ident(schema))))
}

/// What the server has that decides about the types of made columns.
pub(super) async fn server(session: &mut Session) -> Result<Server, Failure> {
    let mut server = Server::default();
    match session.dialect() {
        Dialect::Sqlite => {}
        Dialect::Mysql => {
            let version = session.query("select version()", &[]).await?;
            let version = version.first().and_then(|row| row.first()?.as_text()).unwrap_or_default();
            if version.to_ascii_lowercase().contains("mariadb") {
                server.types = mariadb_types(version);
            } else {
                server.family = Family::MySql;
            }
        }
        Dialect::Postgres => {
            let types = session.query(include_str!("../../../sql/postgres/extension_types.sql"), &[]).await?;
            let text = |value: Option<&Value>| value.and_then(Value::as_text).map(str::to_owned);
            server.types = types.iter().filter_map(|row| Some((text(row.first())?, text(row.get(1))?))).collect();
        }
    }
    Ok(server)
}

/// Types that a version of MariaDB has beside those of all.
fn mariadb_types(version: &str) -> BTreeMap<String, String> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let known = [("inet6", (10, 5)), ("uuid", (10, 7)), ("inet4", (10, 10))];
    let has = known.into_iter().filter(|(_, since)| version >= *since);
    has.map(|(name, _)| (name.to_owned(), name.to_owned())).collect()
}

/// Runs a statement that makes something. Another process may be making the same: also `if not exists` does not keep two
/// sessions apart (PostgreSQL then reports a duplicate key of its catalog). Whatever else is refused is never the fault of the
/// record that met the table first, so it must not be put aside for it.
pub(super) async fn define(session: &mut Session, statement: &str) -> Result<(), Failure> {
    let made = session.execute(statement, &[]).await;
    failpoint!(TABLE_MADE);
    match made {
        Err(failure) if is_there_already(&failure) => Ok(()),
        Err(mut failure) => {
            if failure.class == Class::Record {
                failure.class = Class::Operator;
            }
            Err(failure)
        }
        Ok(_) => Ok(()),
    }
}

/// Whether someone else made it: table, schema, column or type (PostgreSQL), table, database or column (MySQL), column (SQLite).
pub(super) fn is_there_already(failure: &Failure) -> bool {
    match failure.code.as_str() {
        "23505" | "42P07" | "42P06" | "42701" | "42710" | "mysql 1050" | "mysql 1007" | "mysql 1060" => true,
        "sqlite error" => {
            failure.message.contains("duplicate column name") || failure.message.contains("already exists")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_version() {
        let names = |version| mariadb_types(version).into_keys().collect::<Vec<_>>();
        assert_eq!(names("10.6.4-MariaDB"), ["inet6"]);
        assert_eq!(names("10.11.19-MariaDB-0+deb12u1"), ["inet4", "inet6", "uuid"]);
        // Old proxies put "5.5.5-" before the version: the types of all are safe.
        assert!(names("5.5.5-10.11.2-MariaDB").is_empty());
    }

    #[test]
    fn what_another_process_made_meanwhile_is_no_failure() {
        for code in ["23505", "42P07", "42701", "mysql 1050", "mysql 1060"] {
            assert!(is_there_already(&Failure::new(Class::Record, code, "")), "{code}");
        }
        assert!(is_there_already(&Failure::operator("sqlite error", "duplicate column name: _lastword_token")));
        assert!(!is_there_already(&Failure::operator("sqlite error", "near \"x\": syntax error")));
        assert!(!is_there_already(&Failure::operator("42501", "permission denied")));
    }
}
