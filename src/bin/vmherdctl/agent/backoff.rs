//! Pauses between attempts.

use std::time::Duration;

/// Pauses that double up to a maximum. Each is drawn between its half and its whole, so that agents that lost their
/// server at the same time do not come back at the same time.
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `min` to `max`.
    pub fn new(min: Duration, max: Duration) -> Backoff {
        Backoff { min, max, next: min }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let half = self.next / 2;
        self.next = (self.next * 2).min(self.max);
        half + half.mul_f64(random_fraction())
    }

    /// The next pause is a short one again.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

/// Between 0 and 1; 1 without random numbers.
pub fn random_fraction() -> f64 {
    getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum_and_are_spread() {
        let (min, max) = (Duration::from_millis(200), Duration::from_secs(3));
        let mut backoff = Backoff::new(min, max);
        for whole in [200, 400, 800, 1600, 3000, 3000].map(Duration::from_millis) {
            let pause = backoff.pause();
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
        }
        let pauses: Vec<Duration> = (0..200).map(|_| backoff.pause()).collect();
        let quarter = max * 3 / 4;
        let long = pauses.iter().filter(|pause| **pause > quarter).count();
        assert!((50..150).contains(&long), "{long} of 200 are in the upper half");
        backoff.reset();
        assert!(backoff.pause() <= min);
    }
}
