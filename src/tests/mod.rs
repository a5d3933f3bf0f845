//! Whole pipelines of the library with parts of it taken away, which only tests inside of it can do.

mod guards;
#[path = "../../tests/captures_suite/inside.rs"]
mod inside;
#[allow(dead_code)]
#[path = "../../tests/captures_suite/stage.rs"]
mod stage;
