//! The maintenance of a simulated world's points: writes buffered points, removes old ones, and checks the number of
//! keys.

use std::sync::{Arc, Mutex, PoisonError};

use super::fault_config::FaultConfig;
use super::faulty_store::{FaultyStoreFactory, StoreFaults};
use super::point_model::PointModel;
use super::random::Random;
use super::verification::Verification;
use vmherd::internals::clock::Instant;
use vmherd::internals::ids::SeriesId;
use vmherd::internals::model::PointFilter;
use vmherd::internals::store::{PointRemoval, Store, StoreError, StoreFactory, with_write_behind};

/// Runs at random times, between the operations of others.
pub(super) struct Maintenance {
    random: Random,
    /// The store as the workers see it.
    pub(super) factory: Arc<dyn StoreFactory>,
    pub(super) faults: Arc<Mutex<StoreFaults>>,
    store: Box<dyn Store>,
    /// The store itself, without buffer and faults.
    kept: Box<dyn Store>,
    acts_at: Instant,
}

impl Maintenance {
    /// Puts the buffer and the faults that `config` has before `kept`.
    pub(super) fn new(
        kept: &Arc<dyn StoreFactory>,
        config: &FaultConfig,
        mut random: Random,
        now: Instant,
    ) -> Maintenance {
        // Often, if at all: it takes several failures to change the order of writes.
        let failed_percent = if config.failed_percent > 0 { 40 } else { 0 };
        let faults = StoreFaults { random: random.fork(), failed_percent, write_hook: None };
        let faults = Arc::new(Mutex::new(faults));
        let factory: Arc<dyn StoreFactory> = match config.writes_behind {
            true => {
                let unreliable = FaultyStoreFactory::new(Arc::clone(kept), Arc::clone(&faults));
                with_write_behind(Arc::new(unreliable)).0
            }
            false => Arc::clone(kept),
        };
        let store = factory.connect_worker().expect("memory is always there");
        let kept = kept.connect().expect("memory is always there");
        let acts_at = now + random.micros(0, PAUSE_MICROS_MAX);
        Maintenance { random, factory, faults, store, kept, acts_at }
    }

    /// Whether it runs by `now`.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.acts_at <= now
    }

    /// Does what is due.
    pub(super) fn run(
        &mut self,
        now: Instant,
        config: &FaultConfig,
        point_model: &mut PointModel,
    ) -> Verification {
        let pause = self.random.pick(&[PAUSE_MICROS_MAX / 100, PAUSE_MICROS_MAX / 10, PAUSE_MICROS_MAX]);
        self.acts_at = now + self.random.micros(0, pause);
        if config.removes_points && self.random.chance(30) {
            return self.remove(point_model);
        }
        // Points that can't be written now stay in the buffer.
        let _ = self.store.points().flush();
        self.check(config)
    }

    /// Removes the points before some second, often all of them.
    fn remove(&mut self, point_model: &mut PointModel) -> Verification {
        let before = self.random.between(0, 1_000_003) as i64 - 500_000;
        let before = if self.random.chance(60) { 600_000 } else { before };
        point_model.remove(before);
        let mut after = Some(SeriesId(0));
        while let Some(cursor) = after {
            let count_max = self.random.between(1, 40);
            after = match self.store.remove_points(PointRemoval { before, after: cursor, count_max }) {
                Ok(removed) => removed.next,
                Err(StoreError::Busy | StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) => None,
                Err(other) => return Err(format!("a removal failed with {other:?}")),
            };
        }
        Ok(())
    }

    /// Whether there are no more keys than there may be.
    pub(super) fn check(&mut self, config: &FaultConfig) -> Verification {
        let page = self.kept.points().points_after(&PointFilter::default(), None, usize::MAX);
        let count = page.map_err(|error| error.to_string())?.series.len();
        match count as u64 <= config.keys_max {
            true => Ok(()),
            false => Err(format!("there are {count} keys, more than {}", config.keys_max)),
        }
    }

    /// No client puts points any more: writes the buffered ones, to a store without faults.
    pub(super) fn end(&mut self, config: &FaultConfig) -> Verification {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).failed_percent = 0;
        self.store
            .points()
            .flush()
            .map_err(|error| format!("points can't be written in the end: {error}"))?;
        self.check(config)
    }
}

/// The longest pause between two runs.
const PAUSE_MICROS_MAX: usize = 1_000_000;
