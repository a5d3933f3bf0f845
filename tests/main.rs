//! Everything that is tested from outside, in one program.
//!
//! Tests that need a service live in modules named `on_services`; `tests/run --fast` leaves them out. They share servers, so
//! each has a database, topics and a pipeline of its own.

mod captures_suite;
mod cli_suite;
mod crash_suite;
mod evolve_suite;
// Release builds have no failpoints.
#[cfg(debug_assertions)]
mod fault_suite;
mod hostile_suite;
mod model;
mod round_trip_suite;
mod support;
mod tidy;
