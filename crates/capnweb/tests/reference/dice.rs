//! A seeded source of chance: the same seed throws the same dice on every machine.

/// SplitMix64: small, and good enough to choose what a script does next.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 for a bound of 0.
    pub(crate) fn under(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        let thrown = self.next() % u64::try_from(bound).expect("a usize fits");
        usize::try_from(thrown).expect("less than a usize")
    }

    /// True in `percent` of a hundred throws.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.under(100) < percent
    }

    pub(crate) fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.under(list.len())]
    }

    /// One of the list, or none if it is empty.
    pub(crate) fn any_of<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        (!list.is_empty()).then(|| self.one_of(list).clone())
    }
}
