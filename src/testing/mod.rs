//! Convergence tests of your own pipeline: script events, deliver them badly, compare what is there.
//!
//! A [`Scenario`] is a configuration with the records that it reads: scripted, or read from files as `kcat -C -J` prints them. A
//! [`Delivery`] says how they come: in order, or mixed, repeated, cut into any batches, by processes that crash and take partitions from
//! each other, over connections that break in the middle of commits. What runs is the pipeline itself; only the log is in
//! memory. [`Contents`] are what the destination holds then. [`Scenario::assert_converges`] does all of it: whatever the delivery, the
//! rows must be those that [`crate::sink::memory`] expects, and a replay of everything must change nothing.
//!
//! ```
//! use lastword::testing::Scenario;
//!
//! // As in lastword.toml; the source and the sink's URL may be missing.
//! let mut scenario = Scenario::new(
//!     r#"
//!     [[table]]
//!     topic = "shop.public.people"
//!     into = "people"
//!     "#,
//! )
//! .expect("a configuration");
//!
//! // Events as they lie on the topic: two changes of one row, one that is inserted and deleted again.
//! let row = |id, name| format!(r#"{{"id":{id},"name":"{name}"}}"#);
//! let change = |op: &str, lsn: u64, before: &str, after: &str| {
//!     format!(
//!         r#"{{"op":"{op}","before":{before},"after":{after},"source":{{"connector":"postgresql","name":"shop","db":"shop",
//!            "schema":"public","table":"people","snapshot":"false","ts_ms":1700000000000,"lsn":{lsn},"sequence":"[\"{lsn}\",\"{lsn}\"]"}}}}"#
//!     )
//! };
//! scenario.topic("shop.public.people", 3);
//! scenario.event("shop.public.people", Some(r#"{"id":1}"#), Some(&change("c", 10, "null", &row(1, "Ann"))));
//! scenario.event("shop.public.people", Some(r#"{"id":2}"#), Some(&change("c", 20, "null", &row(2, "Bob"))));
//! scenario.event("shop.public.people", Some(r#"{"id":1}"#), Some(&change("u", 30, "null", &row(1, "Anna"))));
//! scenario.event("shop.public.people", Some(r#"{"id":2}"#), Some(&change("d", 40, &row(2, "Bob"), "null")));
//! scenario.event("shop.public.people", Some(r#"{"id":2}"#), None);
//!
//! // Every run gets an empty database. These events carry no schema, so the table must be there.
//! let folder = tempfile::tempdir().expect("a folder");
//! let mut runs = 0;
//! let reports = scenario.assert_converges(0..3, |setup| {
//!     runs += 1;
//!     setup.push("create table people (id integer primary key, name text)".to_owned());
//!     format!("sqlite:{}", folder.path().join(format!("run-{runs}.db")).display())
//! });
//! assert!(reports.iter().all(|report| report.crashes > 0 && report.quarantined.is_empty()));
//! ```
//!
//! # What it does not show
//!
//! The log is not Kafka: transactions of producers, compaction and a broker's own failures are not simulated. Calls that are in flight
//! when a process crashes come to their end; nobody hears of it. Events of one partition are never exchanged, because Kafka
//! does not do that either.

mod contents;
mod converge;
mod delivery;
mod faults;
mod oracle;
mod random;
mod run;
mod scenario;

pub use contents::{Contents, Row, as_text};
pub use converge::Divergence;
pub use delivery::Delivery;
pub use run::{Quarantined, Report};
pub use scenario::Scenario;
