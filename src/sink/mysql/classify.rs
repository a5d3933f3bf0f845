//! The driver's errors become failures.
//!
//! Messages of the server hold values (`Duplicate entry 'x'`, `Incorrect integer value: 'x'`). They are passed on only
//! for numbers whose message is known to hold names alone; for all others the text is our own, and a column is named
//! only if it is one of the table's.

use std::io;

use sqlx::mysql::MySqlDatabaseError;

use crate::core::failure::{Class, Failure};
use crate::core::table::TableShape;

/// Whether the server said that a primary key is there already.
pub(super) fn is_duplicate_key(error: &sqlx::Error) -> bool {
    server_error(error).is_some_and(|server| {
        let key = duplicate_key(server.message());
        server.number() == 1062 && key.is_none_or(|key| key == "PRIMARY" || key.ends_with(".PRIMARY"))
    })
}

/// Name of the key (in MySQL with its table) that an error 1062 ends with; a value stands before it.
fn duplicate_key(message: &str) -> Option<&str> {
    message.rsplit_once(" for key '")?.1.strip_suffix('\'')
}

/// Whether the error says for certain that the whole transaction was rolled back (SQLSTATE class 40).
pub(super) fn is_rolled_back(error: &sqlx::Error) -> bool {
    server_error(error).is_some_and(|server| server.code().is_some_and(|state| state.starts_with("40")))
}

fn server_error(error: &sqlx::Error) -> Option<&MySqlDatabaseError> {
    match error {
        sqlx::Error::Database(database) => database.try_downcast_ref::<MySqlDatabaseError>(),
        _ => None,
    }
}

/// The failure of a statement.
pub(super) fn classify(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(_) => match server_error(error) {
            Some(server) => of_server(server.number(), server.code().unwrap_or(""), server.message()),
            None => lost(Failure::operator("mysql", "the driver returned an error of another database")),
        },
        sqlx::Error::Io(io) => of_io(io),
        sqlx::Error::Tls(reason) => lost(Failure::operator(
            "mysql tls",
            format!("the TLS handshake failed: {reason}; see `ssl-mode` and `ssl-ca` of the URL"),
        )),
        // After these the driver waits for an answer that does not come, so the connection must not be used again.
        other => lost(Failure::new(Class::Transient, "mysql protocol", driver_text(other))),
    }
}

/// The failure of a statement on a table, with its name and the column or key if the server named one of them.
pub(super) fn classify_for(error: &sqlx::Error, shape: &TableShape) -> Failure {
    let mut failure = classify(error);
    if let Some(server) = server_error(error)
        && !HOLDS_NAMES_ONLY.contains(&server.number())
        && let Some(column) = named_column(server.message(), shape)
    {
        failure.message = format!("column {column:?}: {}", failure.message);
    }
    failure.context(format_args!("table {}", shape.name))
}

fn lost(mut failure: Failure) -> Failure {
    failure.connection_lost = true;
    failure
}

fn of_io(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidData => lost(Failure::operator(
            "mysql tls",
            format!("the server's certificate was refused: {error}; see `ssl-mode` and `ssl-ca` of the URL"),
        )),
        kind => {
            lost(Failure::new(Class::Transient, "mysql i/o", format!("the connection to the server failed: {kind}")))
        }
    }
}

/// Names the kind of a driver error; its own text may hold values.
fn driver_text(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Protocol(_) => "the server and the driver lost step with each other",
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => "the driver could not read a result",
        sqlx::Error::Encode(_) => "the driver could not write a parameter",
        sqlx::Error::Configuration(_) => "the driver refused its settings",
        _ => "the driver failed",
    }
}

/// Numbers whose message holds names of objects and users, and no value.
const HOLDS_NAMES_ONLY: [u16; 27] = [
    1040, 1044, 1045, 1046, 1048, 1049, 1054, 1114, 1142, 1143, 1146, 1205, 1213, 1227, 1264, 1265, 1290, 1364, 1406,
    1451, 1452, 1665, 1698, 1836, 3819, 4025, 4161,
];

fn of_server(number: u16, state: &str, message: &str) -> Failure {
    let (class, gone, text) = meaning(number, state);
    let text =
        if HOLDS_NAMES_ONLY.contains(&number) { format!("{message}{}", remedy(number)) } else { text.to_owned() };
    let key = if number == 1062 { duplicate_key(message) } else { None };
    let text = key.map_or(text.clone(), |key| format!("{text}: key {key:?}"));
    let mut failure = Failure::new(class, format!("mysql {number}"), format!("{text} [{state}]"));
    failure.connection_lost = gone;
    failure
}

/// Class of a number, whether the connection is gone with it, and what it means in our own words.
fn meaning(number: u16, state: &str) -> (Class, bool, &'static str) {
    use Class::{Operator, Record, Table, Transient};
    match number {
        1205 => (Transient, false, "a lock was not granted in time"),
        1213 | 1614 | 3101 => {
            (Transient, false, "the transaction was rolled back because of a conflict with another one")
        }
        1020 | 1412 | 1615 => (Transient, false, "rows or a table changed under the statement"),
        1317 | 1969 | 3024 => (Transient, false, "the statement was interrupted"),
        1028 | 1037 | 1038 | 1041 => (Transient, false, "the server is short of memory"),
        1243 => (Transient, true, "the server forgot a prepared statement"),
        1040 | 1203 | 1226 => (Transient, true, "the server has no connection to spare"),
        1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1927 | 2006 | 2013 | 4031 => {
            (Transient, true, "the server ended the connection")
        }
        1153 => (Record, true, "a statement is larger than the server's max_allowed_packet"),
        1022 | 1062 | 1169 | 1586 | 1761 => (Record, false, "a unique key holds the value of another row already"),
        1364 => (Record, false, "a column has no default and the event no value"),
        1048 | 1263 => (Record, false, "NULL for a column that does not allow it"),
        1264 | 1690 | 167 => (Record, false, "a number is out of the column's range"),
        // 1416, 3037, 3548, 3643, 3667 to 3671: shapes, MySQL's reference systems.
        1416 | 3037 | 3548 | 3643 | 3667..=3671 => (Record, false, "a shape that the column does not take"),
        1265 | 1292 | 1366 | 1367 | 1411 | 1441 => (Record, false, "a value cannot be converted to the column's type"),
        1300 => (Record, false, "text holds characters that the column's character set does not have"),
        1406 => (Record, false, "a value is too long for its column"),
        1216 | 1217 | 1451 | 1452 => (Record, false, "a foreign key refuses the row"),
        1526 | 1748 => (Record, false, "no partition of the table takes the row"),
        1644 | 3819 | 4025 => (Record, false, "a constraint or a trigger refuses the row"),
        3140..=3144 => (Record, false, "the text is not JSON"),
        1021 | 1030 | 1114 | 1197 => (Operator, false, "the server's disk, table space or binary log cache is full"),
        1045 | 1698 | 1129 | 1130 => (Operator, true, "the server refused the login"),
        1054 | 1072 => (Table, false, "a column does not exist"),
        1136 | 1146 => (Table, false, "a table does not exist, or has other columns"),
        1461 => (Operator, false, "the server's max_prepared_stmt_count is reached: raise it"),
        1665 => (Operator, false, "binlog_format=STATEMENT cannot be used with READ COMMITTED"),
        1290 | 1792 | 1836 => (Operator, false, "the server is read-only"),
        _ => match state.get(..2) {
            Some("22" | "23") => (Record, false, "the server refuses the data of a row"),
            Some("40") => (Transient, false, "the transaction was rolled back"),
            Some("08") => (Transient, true, "the connection broke"),
            _ => (Operator, false, "the server refused the statement"),
        },
    }
}

/// What to do about it.
fn remedy(number: u16) -> &'static str {
    match number {
        1044 | 1142 | 1143 | 1227 => "; grant the user the right",
        1045 | 1698 => "; check user and password of the URL",
        1046 | 1049 => "; name an existing database in the URL",
        1054 => "; add the column again",
        1114 => "; make room on the server's disk",
        1146 => "; create the table, or let lastword create it (`create = true`)",
        1290 | 1836 => "; connect to a server that takes writes",
        1665 => "; set binlog_format to ROW or MIXED",
        _ => "",
    }
}

/// The column of the table that a message names at its end: the value, if there is one, comes before. A name counts
/// only if the table has it, so that text of a value is never taken for one.
fn named_column<'s>(message: &str, shape: &'s TableShape) -> Option<&'s str> {
    let (_, tail) = message.rsplit_once("for column ")?;
    let name = tail.rsplit_once(" at row ").map_or(tail, |(name, _)| name);
    let is_it = |column: &&str| name == format!("'{column}'") || name.ends_with(&format!("`{column}`"));
    shape.columns.iter().map(|column| column.name.as_str()).find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::table::{Column, ColumnType, TableName, fixture};

    fn shape(column: &str) -> TableShape {
        TableShape {
            name: TableName::new(Some("d"), "t"),
            columns: vec![Column { native: "date".to_owned(), ..fixture::column(column, ColumnType::Date) }],
            primary_key: Vec::new(),
            unique_keys: Vec::new(),
            has_token: false,
            has_deleted: false,
            delete_has_effects: false,
            remarks: Vec::new(),
        }
    }

    #[test]
    fn numbers_have_the_class_that_decides() {
        for (number, class, gone) in [
            (1205, Class::Transient, false),
            (1213, Class::Transient, false),
            (1927, Class::Transient, true),
            (1062, Class::Record, false),
            (4025, Class::Record, false),
            (1146, Class::Table, false),
            (1054, Class::Table, false),
            (1045, Class::Operator, true),
            (1836, Class::Operator, false),
        ] {
            let failure = of_server(number, "HY000", "m");
            assert_eq!((failure.class, failure.connection_lost), (class, gone), "{number}");
            assert_eq!(failure.code, format!("mysql {number}"));
        }
        assert_eq!(of_server(9999, "22007", "m").class, Class::Record);
        assert_eq!(of_server(9999, "40000", "m").class, Class::Transient);
        assert_eq!(of_server(9999, "HY000", "m").class, Class::Operator);
    }

    #[test]
    fn values_stay_out_of_messages() {
        for (number, message) in [
            (1062, "Duplicate entry 'geheim' for key 'PRIMARY'"),
            (1366, "Incorrect integer value: 'geheim' for column `d`.`t`.`a` at row 3"),
            (1292, "Truncated incorrect DOUBLE value: 'geheim'"),
            (1690, "BIGINT value is out of range in '(geheim + 1)'"),
            (1644, "geheim"),
            (60_000, "geheim"),
        ] {
            let text = of_server(number, "HY000", message).to_string();
            assert!(!text.contains("geheim"), "{text}");
        }
        let named = of_server(1062, "23000", "Duplicate entry 'x' for key 'a' for key 't.code'").to_string();
        assert!(named.contains("\"t.code\"") && !named.contains("'x'"), "{named}");
        assert!(of_server(1406, "22001", "Data too long for column 'a' at row 3").message.contains("column 'a'"));
    }

    #[test]
    fn columns_are_named_only_if_they_are_the_tables() {
        let maria = "Incorrect integer value: 'x' for column `d`.`t`.`a` at row 3";
        let mysql = "Incorrect integer value: 'x' for column 'a' at row 3";
        assert_eq!(named_column(maria, &shape("a")), Some("a"));
        assert_eq!(named_column(mysql, &shape("a")), Some("a"));
        assert_eq!(named_column("Truncated incorrect DOUBLE value: 'x for column 'b''", &shape("a")), None);
        assert_eq!(named_column(mysql, &shape("b")), None);
    }
}
