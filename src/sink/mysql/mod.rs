//! MySQL and MariaDB as destination.
//!
//! A session is one raw connection. A plan is applied by prepared multi-row statements of few fixed lengths
//! ([`crate::core::dialect::mysql`]); measured, that is faster here than `LOAD DATA LOCAL`, which the driver lacks
//! anyway.

mod apply;
mod changes;
mod classify;
mod connect;
mod describe;
mod keys;
mod related;
mod session;
mod values;

#[cfg(test)]
mod on_services;

pub use connect::MysqlSink;
pub use session::MysqlSession;
