//! The tests. All of them need the services of `tests/services`.

mod group;
