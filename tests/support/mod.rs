//! What the suites have in common: captured records, databases and topics of a test's own, and the program under test.

pub mod canonical;
pub mod captures;
pub mod database;
pub mod deliver;
pub mod events;
pub mod kafka;
pub mod lists;
pub mod mutate;
pub mod program;
pub mod random;
pub mod render;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A variable of the test environment that names a service.
pub fn service(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set; run tests/run, or tests/run --fast without services"))
}

/// A name that no other test has, also not one of a former run on the same servers: lower case letters and digits.
pub fn unique(prefix: &str) -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_micros();
    format!("{prefix}{now:x}n{}", LAST.fetch_add(1, Ordering::Relaxed))
}

/// Longest wait for anything: not what a test measures, but when it is given up.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer; panics with `what` when the limit is over.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    patiently(what, LIMIT, ask)
}

/// [`eventually`], with another limit.
pub fn patiently<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
