//! The tests. They need the services; the campaign starts its own.

mod broken;
mod campaign;
