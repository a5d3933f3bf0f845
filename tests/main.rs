//! Tests of the whole program.

mod crash_suite;
