//! Classes of failures, and what each leads to.
//!
//! An error is classified once, where it leaves the sink or the source; from there on only the class decides.

use std::fmt;

/// Class of a failure (see the table in the crate documentation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It may work when it is tried again: connection lost before COMMIT was sent, deadlock, lock timeout, busy.
    Transient,
    /// COMMIT was sent and no answer came: the transaction may have been made or not.
    Unknown,
    /// The checkpoint's compare-and-swap hit no row: someone else owns the partition or moved it.
    Fenced,
    /// The data of some record cannot be written: constraint, range, encoding.
    Record,
    /// A table is not as it was described: it was altered, dropped or made anew meanwhile.
    Table,
    /// Only a person can help: permission, missing table, full disk, wrong credentials.
    Operator,
}

/// A failure of a source or a sink. `Display` is meant for operators and never holds row values or secrets.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What may be done.
    pub class: Class,
    /// Short stable name: an SQLSTATE, `mysql 1205`, `sqlite busy`, `kafka …`, or one of ours.
    pub code: String,
    /// What failed, where, and what to do.
    pub message: String,
    /// For [`Class::Fenced`]: the partitions whose compare-and-swap missed, if known.
    pub fenced: Vec<super::record::TopicPartition>,
    /// The connection is gone; a new one is needed before the next try.
    pub connection_lost: bool,
}

impl Failure {
    /// A failure of a class with a code and a message.
    pub fn new(class: Class, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, code: code.into(), message: message.into(), fenced: Vec::new(), connection_lost: false }
    }

    /// A failure that only a person can mend.
    pub fn operator(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Class::Operator, code, message)
    }

    /// Whether a unique key refused a row that another row stands in the way of (PostgreSQL, MySQL, SQLite).
    pub fn is_unique_violation(&self) -> bool {
        matches!(self.code.as_str(), "23505" | "mysql 1062" | "sqlite unique")
    }

    /// Whether a foreign key refused a row: its parent is not there yet, or a child of it still is (PostgreSQL, MySQL, SQLite).
    pub fn is_foreign_key_violation(&self) -> bool {
        matches!(self.code.as_str(), "23503" | "mysql 1451" | "mysql 1452" | "sqlite foreign key")
    }

    /// The reason code of a row that another row stands in the way of: a change that has not come yet may move it.
    pub fn waits_for_others(&self) -> Option<&'static str> {
        if self.is_unique_violation() {
            Some("unique_violation")
        } else {
            self.is_foreign_key_violation().then_some("foreign_key_violation")
        }
    }

    /// Whether a lock was not given in time (PostgreSQL, MySQL, SQLite).
    pub fn is_lock_timeout(&self) -> bool {
        self.class == Class::Transient && matches!(self.code.as_str(), "55P03" | "mysql 1205" | "sqlite busy")
    }

    /// Says in addition where it happened.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Failure {}
