//! The tests. All of them need the services of `tests/services`.

mod collection;
mod gaps;
mod group;
mod nulls;
mod offsets;
mod replay;
mod signals;
mod transactions;
mod unknown;
mod writers;
