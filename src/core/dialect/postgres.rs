//! Statements of postgres for a table.
