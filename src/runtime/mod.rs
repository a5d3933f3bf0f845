//! The running service.
//!
//! [`supervisor`] joins a source with lanes; [`lane`] is the shell of a lane around its state machine in
//! [`crate::core::lane`]; [`planner`] turns records into plans and asks [`lookup`]; [`tables`] knows the destination's tables; [`progress`] says what
//! has been done; [`replay`] reads a range again beside the live lanes; [`retry`] applies quarantined records again; [`collect`] and
//! [`sweep`] remove what nothing needs any more, by what [`feeding`] finds.

pub mod adopt;
pub mod collect;
pub mod feeding;
pub mod lane;
pub mod lookup;
mod nulls;
pub mod planner;
pub mod progress;
pub mod replay;
pub mod retry;
#[cfg(test)]
pub(crate) mod sim;
pub mod status;
pub mod supervisor;
pub mod sweep;
pub mod tables;
pub(crate) mod upkeep;
