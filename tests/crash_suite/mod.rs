//! Crashes, takeovers, replays and gaps: real processes of the built binary against real Kafka, PostgreSQL and MariaDB.
//!
//! Every test generates its traffic from a seed that it prints (`LASTWORD_TEST_SEED` gives it back), and compares the
//! destination with the generator's own table. `LASTWORD_TEST_LONG=1` makes the crash tests run over a million events.

pub mod kafka;
mod on_services;
pub mod process;
pub mod proxy;
pub mod servers;
pub mod support;
pub mod traffic;
