//! SQLite's errors as failures.

use sqlx::error::{DatabaseError, Error};

use crate::core::failure::{Class, Failure};

// Primary result codes, https://www.sqlite.org/rescode.html: the low byte of the extended codes that sqlx reports.
const ERROR: u32 = 1;
const PERM: u32 = 3;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const NOMEM: u32 = 7;
const READONLY: u32 = 8;
const INTERRUPT: u32 = 9;
const IOERR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const PROTOCOL: u32 = 15;
const SCHEMA: u32 = 17;
const TOOBIG: u32 = 18;
const CONSTRAINT: u32 = 19;
const CONSTRAINT_UNIQUE: u32 = CONSTRAINT | 8 << 8;
const CONSTRAINT_FOREIGN_KEY: u32 = CONSTRAINT | 3 << 8;
const MISMATCH: u32 = 20;
const NOTADB: u32 = 26;

/// How SQLite says that a table or a column is not there: it has no code of its own for that.
const ALTERED: [&str; 3] = ["no such table", "no such column", "has no column named"];

/// What an error of a statement means.
pub(super) fn classify(error: Error) -> Failure {
    match &error {
        Error::Database(database) if extended(database.as_ref()) == Some(CONSTRAINT_UNIQUE) => {
            let what = "a unique key other than the business key is violated";
            Failure::new(Class::Record, "sqlite unique", format!("{what}: {}", database.message()))
        }
        Error::Database(database) if extended(database.as_ref()) == Some(CONSTRAINT_FOREIGN_KEY) => {
            // The message names neither the table nor the key.
            let what = "a foreign key refuses the row: its parent is not there, or a child of it still is";
            Failure::new(Class::Record, "sqlite foreign key", what)
        }
        Error::Database(database) => by_code(code(database.as_ref()), database.message()),
        Error::WorkerCrashed | Error::Io(_) | Error::Protocol(_) => {
            let mut failure = Failure::new(Class::Transient, "sqlite connection", "the thread of the connection ended");
            failure.connection_lost = true;
            failure
        }
        Error::Configuration(_) => Failure::operator("sqlite url", format!("the sink's URL cannot be used: {error}")),
        // A cell that is not of the type that SQLite says: text that is not UTF-8.
        _ => Failure::operator("sqlite driver", format!("the driver refused a statement or a result: {error}")),
    }
}

/// What an error of COMMIT means. SQLite answers for itself, there is no connection to be lost; only a disk error while the log is
/// written leaves open whether the commit will be found after a restart.
pub(super) fn classify_commit(error: Error) -> Failure {
    let primary = match &error {
        Error::Database(database) => code(database.as_ref()),
        _ => None,
    };
    let mut failure = classify(error);
    if primary == Some(IOERR) || failure.connection_lost {
        failure.class = Class::Unknown;
    }
    failure
}

fn code(error: &dyn DatabaseError) -> Option<u32> {
    extended(error).map(|extended| extended & 0xFF)
}

fn extended(error: &dyn DatabaseError) -> Option<u32> {
    error.code()?.parse().ok()
}

fn by_code(code: Option<u32>, message: &str) -> Failure {
    let (class, name, advice) = match code {
        Some(BUSY) => (Class::Transient, "sqlite busy", "another connection holds the database's write lock"),
        Some(LOCKED) => (Class::Transient, "sqlite locked", "another connection holds a lock"),
        Some(NOMEM) => (Class::Transient, "sqlite nomem", "memory is short"),
        Some(INTERRUPT) => (Class::Transient, "sqlite interrupt", "the statement was interrupted"),
        Some(PROTOCOL) => (Class::Transient, "sqlite protocol", "a race for the log's locks"),
        Some(CONSTRAINT) => (Class::Record, "sqlite constraint", "the row does not fit the table"),
        Some(TOOBIG) => (Class::Record, "sqlite toobig", "a value is larger than SQLite takes"),
        Some(MISMATCH) => (Class::Record, "sqlite mismatch", "a value does not fit its column"),
        Some(FULL) => (Class::Operator, "sqlite full", "the disk or the database is full: make room"),
        Some(READONLY) => (
            Class::Operator,
            "sqlite readonly",
            "the database cannot be written: look at the rights of its file and folder",
        ),
        Some(CANTOPEN) => (
            Class::Operator,
            "sqlite cantopen",
            "the database cannot be opened: does its folder exist, and may this account write there?",
        ),
        Some(CORRUPT) => (Class::Operator, "sqlite corrupt", "the database is damaged: restore it from a backup"),
        Some(NOTADB) => (Class::Operator, "sqlite notadb", "the file is not an SQLite database"),
        Some(PERM) => (Class::Operator, "sqlite perm", "access was refused"),
        Some(IOERR) => (Class::Operator, "sqlite ioerr", "the disk reported an error"),
        Some(SCHEMA) => (Class::Table, "sqlite schema", "the table was altered"),
        Some(ERROR) if ALTERED.iter().any(|text| message.contains(text)) => {
            (Class::Table, "sqlite schema", "the table is not as it was described")
        }
        _ => (Class::Operator, "sqlite error", "the database refused the statement"),
    };
    // SQLite's messages name tables and columns, never values.
    Failure::new(class, name, format!("{advice}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lead_to_classes() {
        for (code, class) in [
            (BUSY, Class::Transient),
            (LOCKED, Class::Transient),
            (CONSTRAINT, Class::Record),
            (FULL, Class::Operator),
            (READONLY, Class::Operator),
            (CANTOPEN, Class::Operator),
            (CORRUPT, Class::Operator),
            (NOTADB, Class::Operator),
            (1, Class::Operator),
        ] {
            assert_eq!(by_code(Some(code), "").class, class, "{code}");
        }
        assert_eq!(by_code(Some(1), "no such column: x").class, Class::Table);
        assert_eq!(by_code(None, "").class, Class::Operator);
        assert_eq!(classify_commit(Error::WorkerCrashed).class, Class::Unknown);
    }
}
