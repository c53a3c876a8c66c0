//! Chance from a seed: the same seed plays the same game.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // Mixed once, or the numbers of one seed would be those of the seed before, one step on.
        Self(Self(seed).next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Less than `below`, which counts as 1 if it is 0.
    pub(crate) fn under(&mut self, below: usize) -> usize {
        usize::try_from(self.next() % below.max(1) as u64).expect("it was one")
    }

    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.under(100) < chance
    }

    /// One of these, which must not be none.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.under(from.len())]
    }
}
