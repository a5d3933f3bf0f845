//! Configuration in two steps: [`raw`] is what was written, [`checked`] is what it means; [`load`] goes from one to the other.

pub mod checked;
pub mod load;
pub mod raw;
pub mod secret;
