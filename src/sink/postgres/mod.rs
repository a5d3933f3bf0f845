//! PostgreSQL 15 and later as destination.

mod apply;
mod classify;
mod connect;
mod describe;
mod session;
mod stage;
mod tls;

#[cfg(test)]
mod on_services;

pub use connect::PostgresSink;
pub use session::PostgresSession;
