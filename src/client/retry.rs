//! How long to wait before the next try, and when to give up.

use std::time::Duration;

/// How a client gets a lost line back.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The wait before the first try. Default: 1 s. Each further wait is twice as long.
    pub first_wait: Duration,
    /// The longest wait. Default: 30 s.
    pub longest_wait: Duration,
    /// Tries in a row that bring nothing before the client gives up. Default: 5. 0: never reconnect.
    pub tries: u32,
    /// How much of a wait may be left out at random, so that clients of a restarted server do not all
    /// come at once: 0.0 (nothing) to 1.0. Default: 0.2.
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
            tries: 5,
            jitter: 0.2,
        }
    }
}

impl RetryPolicy {
    /// Never reconnects: a lost line is an error at once.
    pub fn never() -> Self {
        Self { tries: 0, ..Self::default() }
    }

    /// Sets the wait before the first try.
    #[must_use]
    pub fn first_wait(mut self, wait: Duration) -> Self {
        self.first_wait = wait;
        self
    }

    /// Sets the longest wait.
    #[must_use]
    pub fn longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = wait;
        self
    }

    /// Sets how many tries in a row may bring nothing.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// Sets how much of a wait may be left out at random.
    #[must_use]
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }
}

/// The waits of one run of tries.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    policy: RetryPolicy,
    done: u32,
}

/// One more try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Try {
    /// 1, 2, 3, …
    pub(super) attempt: u32,
    /// How long to wait before it.
    pub(super) wait: Duration,
}

impl Backoff {
    pub(super) fn new(policy: RetryPolicy) -> Self {
        Self { policy, done: 0 }
    }

    /// Something came of it: the next wait is the first again.
    pub(super) fn reset(&mut self) {
        self.done = 0;
    }

    /// The next try, or none if there were enough. `chance` is from 0.0 to 1.0.
    pub(super) fn next(&mut self, chance: f64) -> Option<Try> {
        if self.done >= self.policy.tries {
            return None;
        }
        let doubled = self.policy.first_wait.saturating_mul(1_u32.checked_shl(self.done).unwrap_or(u32::MAX));
        self.done += 1;
        let left_out = self.policy.jitter.clamp(0.0, 1.0) * chance.clamp(0.0, 1.0);
        let wait = doubled.min(self.policy.longest_wait).mul_f64(1.0 - left_out);
        Some(Try { attempt: self.done, wait })
    }
}

/// A number from 0.0 to 1.0, at random. Without randomness every client waits the whole time.
pub(super) fn chance() -> f64 {
    getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(policy: RetryPolicy, chance: f64) -> Vec<u64> {
        let mut backoff = Backoff::new(policy);
        std::iter::from_fn(|| backoff.next(chance)).map(|next| next.wait.as_millis() as u64).collect()
    }

    #[test]
    fn each_wait_is_twice_the_one_before_and_after_five_the_client_gives_up() {
        assert_eq!(waits(RetryPolicy::default(), 0.0), [1_000, 2_000, 4_000, 8_000, 16_000]);
    }

    #[test]
    fn jitter_only_shortens() {
        assert_eq!(waits(RetryPolicy::default().tries(2), 1.0), [800, 1_600]);
        assert_eq!(waits(RetryPolicy::default().tries(1).jitter(7.0), 1.0), [0]);
    }

    #[test]
    fn waits_stop_growing() {
        let many = waits(RetryPolicy::default().tries(40), 0.0);
        assert_eq!((many.len(), many[39]), (40, 30_000));
        let short = RetryPolicy::default().longest_wait(Duration::from_secs(5));
        assert_eq!(waits(short, 0.0), [1_000, 2_000, 4_000, 5_000, 5_000]);
    }

    #[test]
    fn success_starts_anew() {
        let mut backoff = Backoff::new(RetryPolicy::default());
        backoff.next(0.0);
        backoff.next(0.0);
        backoff.reset();
        assert_eq!(backoff.next(0.0), Some(Try { attempt: 1, wait: Duration::from_secs(1) }));
    }

    #[test]
    fn never_is_never() {
        assert!(waits(RetryPolicy::never(), 0.0).is_empty());
    }
}
