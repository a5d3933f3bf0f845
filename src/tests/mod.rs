//! Whole pipelines of the library with parts of it taken away, which only tests inside of it can do; and what its simulations share.

mod guards;
mod hostile;
#[path = "../../tests/captures_suite/inside.rs"]
mod inside;
mod seeds;
mod simulation;
#[allow(dead_code)]
#[path = "../../tests/captures_suite/stage.rs"]
mod stage;

pub(crate) use seeds::seeds;
