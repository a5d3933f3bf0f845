//! lastword applies change events to databases so that **the newest change of every key has the last word**: whatever is
//! replayed, repeated, delivered late, crashed through or run twice, the destination ends in the state that the source had.
//!
//! # The way of the data
//!
//! ```text
//! Kafka / file ─► decode ─► change event ─► order token ─► collapse ─► plan ─► one transaction ─► stored offsets
//!  source/       core/decode  core/event    core/order    core/batch  core/plan   sink/*           (in the sink)
//! ```
//!
//! [`core`] is pure: no tokio, no driver, no clock, no randomness, no environment. The shell around it does the I/O.
//! Dependencies point one way: `cli → runtime → {source, sink, server} → core`.
//!
//! # Invariants
//!
//! 1. *Atomic*: a partition's stored `next_offset` moves only in the transaction that applied exactly `[from, next)`, only if
//!    it was `from`, and only under the current fence; or by an audited act that raises the fence.
//! 2. *Newest wins*: the row or tombstone of a key carries the greatest token ever applied to it. Anything not greater changes
//!    nothing.
//! 3. *No resurrection*: after a delete with token T no event with a token below T brings the row back, in any delivery
//!    order, batch split or number of repetitions.
//! 4. *Accounted*: every consumed record is a change (applied or superseded), filtered, quarantined or a control record, and is
//!    counted in exactly one of these, in the transaction that passes its offset.
//! 5. *Fenced*: at most one owner can advance a partition; whatever a former owner still does has no effect.
//! 6. *Never guessed*: after an unknown commit outcome nothing is done before it is settled; a value that cannot be converted is
//!    an error, never NULL or a default; a missing token is a refusal, never zero; tokens of different scopes are never
//!    compared.
//! 7. *Replayable*: replaying any range changes no row, token, tombstone, truncate token or change-log entry. The final
//!    state does not depend on where batches were cut.
//!
//! # When something fails
//!
//! | class | examples | what happens |
//! |---|---|---|
//! | transient | connection lost, deadlock, lock timeout, busy, broker down | the same records again, with backoff and jitter; the group membership stays |
//! | unknown | connection lost during COMMIT | claim again, which waits for the lost session, then go on from what it returns |
//! | fenced | compare-and-swap hit no row | claim again only if the recorded owner is still this process |
//! | record | undecodable, does not fit, constraint violated | found by bisection, quarantined, the rest goes on; or the partition stops, as configured |
//! | table | a column or table is gone, a type is another one | the tables are described anew and the batch is planned again; if that does not help, only the table's partitions stop, and look again by themselves |
//! | operator | offsets outside of the log, topic made anew, disk full, missing right | stop what is affected, keep the rest running, say what to do |
//!
//! Errors name table, column, partition, offset; never values.

pub mod cli;
pub mod config;
pub mod core;
pub mod failpoint;
pub mod runtime;
pub mod server;
pub mod sink;
pub mod source;
pub mod telemetry;

// The tests of the library that run whole pipelines use what the tests from outside have.
#[cfg(test)]
extern crate self as lastword;
#[cfg(test)]
#[allow(dead_code, unused_imports)]
#[path = "../tests/support/mod.rs"]
mod support;
#[cfg(test)]
mod tests;
