//! Waiting times between tries: doubling from a first one to a longest one, with a jitter that the caller's number decides,
//! so that a simulation repeats and two processes do not knock in step.

use std::time::Duration;

/// A schedule of waiting times.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Before the second try.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
}

impl Default for Backoff {
    /// 50 ms is longer than most deadlocks and lock waits last; 5 s is how late a database that came back is noticed.
    fn default() -> Self {
        Self { first: Duration::from_millis(50), longest: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// Waiting time after the try with this number (from 1): between half and the whole of the step; `salt` picks where.
    pub fn after(&self, tries: u32, salt: u64) -> Duration {
        let doubled = self.first.saturating_mul(1u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX));
        let step = doubled.min(self.longest);
        let share = (salt.wrapping_add(u64::from(tries)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u32;
        step / 2 + (step / 2) * share / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_longest_and_repeats() {
        let backoff = Backoff::default();
        for tries in 1..60 {
            let wait = backoff.after(tries, 7);
            assert!(wait <= backoff.longest && wait >= backoff.first / 2, "{tries}: {wait:?}");
            assert_eq!(wait, backoff.after(tries, 7));
        }
        assert!(backoff.after(1, 0) < backoff.after(4, 0));
        assert_ne!(backoff.after(9, 1), backoff.after(9, 2));
    }
}
