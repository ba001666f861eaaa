//! Pseudorandom numbers: the same for the same seed, on any machine.
//!
//! The generator is SplitMix64 (Steele, Lea and Flood, 2014).

use std::io;
use std::time::Duration;

use vmherd::internals::app::token;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream of the seed `number`.
    pub(crate) fn new(number: u64) -> Random {
        // Mixed once: otherwise streams of seeds a constant apart would be the same stream, one step apart.
        Random(Random(number).number())
    }

    /// An independent stream: more draws from one do not change the other.
    pub(crate) fn fork(&mut self) -> Random {
        Random::new(self.number())
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.number() % (high - low + 1) as u64) as usize
    }

    /// As [`Random::between`], mostly near `low`.
    pub(crate) fn mostly_few(&mut self, low: usize, high: usize) -> usize {
        let top = self.between(low, high);
        let top = self.between(low, top);
        self.between(low, top)
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.between(0, 99) < percent
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.between(0, choices.len() - 1)]
    }

    /// A time from `low` to `high` microseconds.
    pub(crate) fn micros(&mut self, low: usize, high: usize) -> Duration {
        Duration::from_micros(self.between(low, high) as u64)
    }

    /// Puts `items` in any order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.between(0, last));
        }
    }
}

impl token::Random for Random {
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill_with(|| self.number() as u8);
        Ok(())
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
