//! Pseudo-random numbers (SplitMix64), and pauses of random length.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A stream of numbers.
pub struct Random(u64);

impl Random {
    /// Other numbers in each run.
    pub fn new() -> Random {
        Random::with_seed(RandomState::new().build_hasher().finish())
    }

    /// The same numbers for the same seed.
    pub fn with_seed(seed: u64) -> Random {
        Random(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.any() % end
    }

    /// The bits of any finite number, and now and then of a value whose bits are easily lost.
    pub fn value(&mut self) -> f64 {
        if self.below(64) == 0 {
            return [-0.0, 0.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, 10.0][self.below(6) as usize];
        }
        loop {
            let value = f64::from_bits(self.any());
            if value.is_finite() {
                return value;
            }
        }
    }

    /// Spins for up to some ten microseconds, so that what comes next does not always come right after an answer.
    pub fn spin(&mut self) {
        (0..self.below(1 << 14)).for_each(|_| std::hint::spin_loop());
    }
}
