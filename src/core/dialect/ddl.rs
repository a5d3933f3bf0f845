//! Statements that make tables.
