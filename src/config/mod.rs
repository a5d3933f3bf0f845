//! Configuration in two steps: [`raw`] is what was written, [`checked`] is what it means; [`mod@load`] goes from one to the
//! other.
//!
//! A value may be written in three places; the later one wins:
//!
//! 1. the file (TOML): `[sink]` / `writers = 4`;
//! 2. the environment: `LASTWORD_` and the path of the key in capitals, joined by two underscores:
//!    `LASTWORD_SINK__WRITERS=4`. A librdkafka property is written with `_` for each dot:
//!    `LASTWORD_SOURCE__CLIENT__SASL_PASSWORD`. Variables without `__` are not settings and are left alone;
//! 3. flags: `--set sink.writers=4`.
//!
//! Lists are written in the environment and in flags with commas (`a,b`) or as a TOML array (`["a","b"]`). Rules for
//! topics (`[[table]]`) are written in the file only. Paths are relative to the working directory of the process.
//!
//! Every value remembers where it was written, and an error says so. All errors of a configuration are shown together.
//! No error holds a value that could be a secret.

mod check;
pub mod checked;
pub mod effective;
pub mod load;
mod paths;
pub mod problem;
pub mod raw;
pub mod read;
pub mod secret;
mod tree;
pub mod units;

pub use effective::effective;
pub use load::{Environment, load};
pub use problem::ConfigErrors;
pub use secret::redact_url;
