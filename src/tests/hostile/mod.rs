//! Hostile input: what reads bytes from outside is given bytes that nobody would write.
//!
//! Every target is a function of bytes: it panics where something does not hold, and nothing else. Under `cargo test` it gets
//! random bytes for a fixed time, under a fuzzer (`cargo bolero test NAME`) what covers more and more of the code. The bytes are mostly
//! decisions how a real record is changed ([`mutate`](crate::support::mutate)). What once failed lies in `tests/hostile_suite/corpus`.
//!
//! A failure prints the seed: `BOLERO_RANDOM_SEED=… cargo test NAME` repeats it.

mod config;
mod copy;
mod files;
mod found;
mod framing;
mod memory;
mod positions;
mod records;
mod values;

use std::time::Duration;

/// How long each target runs: two seconds; half a minute with `LASTWORD_TEST_LONG=1`; `LASTWORD_FUZZ_SECONDS` says otherwise.
fn budget() -> Duration {
    let given = std::env::var("LASTWORD_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let long = std::env::var_os("LASTWORD_TEST_LONG").is_some();
    Duration::from_secs(given.unwrap_or(if long { 30 } else { 2 }))
}

/// Runs a target as a test and for fuzzers.
macro_rules! fuzz {
    ($name:ident, $target:expr) => {
        #[test]
        fn $name() {
            let budget = super::budget();
            bolero::check!().with_iterations(usize::MAX).with_test_time(budget).for_each($target);
        }
    };
}
use fuzz;

/// Does the work, which may hold only so much memory for each byte that it is given, and some more.
#[track_caller]
fn bounded<T>(given: usize, each: usize, more: usize, work: impl FnOnce() -> T) -> T {
    let (done, most) = memory::peak(work);
    assert!(most <= given * each + more, "{most} bytes of memory for {given} bytes");
    done
}
