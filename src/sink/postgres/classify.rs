//! PostgreSQL's errors: which class, and what an operator is told.
//!
//! The server's own message and detail are never passed on, because both can hold row values (`Key (id)=(7) already
//! exists`, `invalid input syntax for type integer: "…"`). What is said is built from the SQLSTATE and from the names of
//! table, column and constraint.

use std::error::Error as _;
use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity};

use crate::core::failure::{Class, Failure};

/// What a SQLSTATE means here: its class, what it is, and what to do about it.
type Meaning = (Class, &'static str, &'static str);

/// Turns an error of a statement (not of COMMIT, see [`commit`]) into a failure.
pub(super) fn statement(error: &Error) -> Failure {
    match error.as_db_error() {
        Some(refused) => of_server(refused),
        None => lost(error),
    }
}

/// Turns an error of COMMIT into a failure: refused if the server said so, else nobody knows.
pub(super) fn commit(error: &Error) -> Failure {
    let mut failure = statement(error);
    // A server that ends the session while it commits may have committed; asking again (a claim) is cheap, guessing is not.
    let refused = error.as_db_error().is_some_and(|refused| !ends_session(refused) && refused.code().code() != "40003");
    if !refused {
        failure.class = Class::Unknown;
        failure.connection_lost = true;
        failure.message = format!("COMMIT was sent and its outcome is not known: {}", failure.message);
    }
    failure
}

/// Turns an error of opening a connection into a failure.
pub(super) fn connect(error: &Error) -> Failure {
    if let Some(refused) = error.as_db_error() {
        return of_server(refused);
    }
    let cause = error.source();
    let tls = cause.and_then(tls_of);
    if let Some(reason) = tls {
        return Failure::operator(
            "tls",
            format!("the server's certificate or TLS setup is not accepted ({reason}); see sslmode and sslrootcert"),
        );
    }
    // Neither the server nor the network: what was given to the driver (a missing password, TLS demanded where the server
    // has none). These texts are fixed ones of the driver.
    if error.to_string().starts_with("error performing TLS") || !is_io(error) && !error.is_closed() {
        let reason = cause.map(ToString::to_string).unwrap_or_default();
        return Failure::operator("connect", format!("{error}: {reason}; check the sink's url"));
    }
    lost(error)
}

/// The TLS library's reason, wherever it is wrapped.
fn tls_of(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return Some(error.to_string());
    }
    let inner = cause.downcast_ref::<io::Error>()?.get_ref()?;
    inner.downcast_ref::<rustls::Error>().map(ToString::to_string)
}

fn is_io(error: &Error) -> bool {
    error.source().is_some_and(|cause| cause.is::<io::Error>()) || error.to_string().starts_with("timeout")
}

/// The connection is gone, or so torn that it must not be used again.
fn lost(error: &Error) -> Failure {
    let reason = match error.source().and_then(|cause| cause.downcast_ref::<io::Error>()) {
        Some(cause) => format!("{error}: {}", cause.kind()),
        None => error.to_string(),
    };
    let message = format!("the connection to PostgreSQL is lost or could not be made: {reason}");
    Failure { connection_lost: true, ..Failure::new(Class::Transient, "connection_lost", message) }
}

fn ends_session(refused: &DbError) -> bool {
    matches!(refused.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
        || matches!(refused.code().code().get(..4), Some("57P0"))
        || refused.code().code().starts_with("08")
}

fn of_server(refused: &DbError) -> Failure {
    let code = refused.code().code();
    // Replanning found another result type: the only 0A000 that goes away by itself.
    let stale_plan = code == "0A000" && refused.routine() == Some("RevalidateCachedQuery");
    let (class, what, remedy) =
        if stale_plan { (Class::Transient, "a table changed under a prepared statement", "") } else { meaning(code) };
    let mut message = format!("PostgreSQL refused: {what}");
    let names = [
        ("table", refused.table()),
        ("column", refused.column()),
        ("constraint", refused.constraint()),
        ("type", refused.datatype()),
    ];
    for (kind, name) in names {
        if let Some(name) = name {
            message.push_str(&format!(", {kind} {name:?}"));
        }
    }
    if !remedy.is_empty() {
        message.push_str("; ");
        message.push_str(remedy);
    }
    Failure { connection_lost: ends_session(refused), ..Failure::new(class, code, message) }
}

/// The table. Exact codes first, then classes of codes.
fn meaning(code: &str) -> Meaning {
    use Class::{Operator, Record, Table, Transient};
    match code {
        "40001" => (Transient, "serialization failure", ""),
        "40P01" => (Transient, "deadlock", ""),
        "55P03" => (Transient, "a lock was not free within lock_timeout", ""),
        "55006" => (Transient, "an object is in use", ""),
        "57014" => (Transient, "the statement was cancelled or ran into a time limit", ""),
        "57P01" | "57P02" | "57P03" => (Transient, "the server stops, starts or ended the session", ""),
        "25P03" | "57P05" | "25P04" => (Transient, "the server ended the session by a time limit", ""),
        "25P02" => (Transient, "the transaction had failed before", ""),
        "53300" => (Transient, "too many connections", "raise max_connections or lower writers"),
        "53200" => (Transient, "the server is out of memory", ""),
        "53100" => (Operator, "the server's disk is full", "free space (check unused replication slots, too)"),
        "42501" => (Operator, "permission denied", "grant the rights that the setup page lists"),
        "28P01" | "28000" => {
            (Operator, "user, password or host-based access refused", "check the sink's url and pg_hba.conf")
        }
        "3D000" => (Operator, "the database does not exist", "create it or correct the sink's url"),
        "3F000" => (Table, "the schema does not exist", "create it or correct `into`"),
        "42P01" => (Table, "a table does not exist", "create it again"),
        "42703" => (Table, "a column does not exist", "add it again"),
        "42804" | "42846" | "22P03" => {
            (Table, "a column has another type than when it was described", "give it a type that its events fit")
        }
        "42P10" => (Table, "no unique index has exactly the key columns", "create one, or set `key` to a unique key"),
        "428C9" => (Table, "a column is GENERATED ALWAYS", "alter it to GENERATED BY DEFAULT, or exclude the column"),
        "25006" => (Operator, "the server is read-only", "connect to the primary (target_session_attrs=read-write)"),
        "0A000" => (Operator, "the server does not support the statement", "the table may be of an unusual kind"),
        "P0001" => (Record, "a trigger raised an exception", ""),
        "44000" => (Record, "a view's check option is violated", ""),
        "21000" => (Record, "cardinality violation", ""),
        "22003" => (Record, "a number is out of range", ""),
        "22001" => (Record, "text is too long for its column", ""),
        "22021" | "22P05" => (Record, "text holds a character that the database's encoding has not", ""),
        "22P02" | "22032" => (Record, "text is not in the form of its type", ""),
        "23502" => (Record, "NULL in a NOT NULL column", ""),
        "23503" => (
            Record,
            "a foreign key is violated",
            "rows of several tables arrive in no fixed order: it is tried again for some seconds; drop the key here if that is not enough",
        ),
        "23505" => (Record, "a unique key other than the business key is violated", ""),
        "23514" => (Record, "a CHECK constraint is violated, or no partition takes the row", ""),
        "23P01" => (Record, "an exclusion constraint is violated", ""),
        _ => by_class(code),
    }
}

fn by_class(code: &str) -> Meaning {
    use Class::{Operator, Record, Transient};
    match code.get(..2).unwrap_or_default() {
        "08" => (Transient, "the connection failed", ""),
        "40" => (Transient, "the transaction was rolled back", ""),
        "22" => (Record, "a value does not fit its type", ""),
        "23" => (Record, "a constraint is violated", ""),
        "09" | "27" => (Record, "a trigger refused the row", ""),
        "54" => (Record, "a row or an index entry exceeds a limit of the server", ""),
        "28" => (Operator, "the server refused the login", "check the sink's url and pg_hba.conf"),
        "53" => (Operator, "the server lacks a resource", "see the server's log"),
        "58" => (Operator, "the server has a system error", "see the server's log"),
        "XX" => (Operator, "the server has an internal error", "see the server's log"),
        "42" => (Operator, "the statement does not fit the table", "compare the table with its events"),
        _ => (Operator, "an unexpected error", "see the server's log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_classes() {
        for (codes, class) in [
            (["40001", "40P01", "55P03", "57014", "08006", "57P01", "53300", "53200"], Class::Transient),
            (["22003", "22P02", "23505", "23502", "23503", "23514", "21000", "22999"], Class::Record),
            (["42501", "28P01", "3D000", "53100", "25006", "58030", "XX000", "42601"], Class::Operator),
            (["42P01", "42703", "22P03", "42804", "42846", "3F000", "42P10", "428C9"], Class::Table),
        ] {
            for code in codes {
                assert_eq!(meaning(code).0, class, "{code}");
            }
        }
        assert_eq!(meaning("").0, Class::Operator);
        assert_eq!(meaning("é").0, Class::Operator);
    }

    #[test]
    fn whoever_must_act_is_told_what_to_do() {
        let codes = ["53100", "42501", "28P01", "3D000", "42P01", "42703", "42P10", "25006", "XX000", "58030", "ZZZZZ"];
        for code in codes {
            assert!(!meaning(code).2.is_empty(), "{code}");
        }
    }
}
