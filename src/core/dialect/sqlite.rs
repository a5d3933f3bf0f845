//! Statements of sqlite for a table.
