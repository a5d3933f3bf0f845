//! The pure core: what an event means and what follows from it. No tokio, no driver, no clock, no randomness, no
//! environment in here; the shell around it does the I/O and passes the time in.

pub mod adopt;
pub mod align;
pub mod backoff;
pub mod batch;
pub mod calendar;
pub mod collect;
pub mod decimal;
pub mod decode;
pub mod dialect;
pub mod epoch;
pub mod event;
pub mod evolve;
pub mod failure;
pub mod framing;
pub mod geometry;
pub mod guard;
pub mod lane;
pub mod ledger;
pub mod mapping;
pub mod merge;
pub mod naming;
pub mod nulls;
pub mod order;
pub mod parking;
pub mod pgcopy;
pub mod plan;
pub mod reason;
pub mod record;
pub mod table;
pub mod text;
pub mod token;
pub mod unavailable;
pub mod value;
pub mod verdict;
pub mod wire;
