//! Chance that can be played again: the seed is printed, and taken from `A2A_WEBCAP_SEED` if that is set.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// With a seed from the environment, or a fresh one.
    pub(crate) fn new(test: &str) -> Self {
        let set = std::env::var("A2A_WEBCAP_SEED").ok();
        let seed = set.map_or_else(fresh, |seed| seed.parse().expect("A2A_WEBCAP_SEED is a number"));
        println!("{test}: A2A_WEBCAP_SEED={seed}");
        Self(seed)
    }

    /// Another sequence of its own, so that one user's draws do not move another's.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

fn fresh() -> u64 {
    getrandom::u64().expect("the system has randomness") >> 16
}

/// Whether the long form of a test is wanted.
pub(crate) fn is_long() -> bool {
    std::env::var_os("A2A_WEBCAP_LONG").is_some_and(|value| value == "1")
}
