//! Logs and metrics: what is said, under which names, in which form. Whoever has something to say calls a function of
//! [`metrics`]; no other module uses the raw macros of the `metrics` crate.

pub mod logging;
pub mod metrics;
