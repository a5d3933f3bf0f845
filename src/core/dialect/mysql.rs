//! Statements of mysql for a table.
