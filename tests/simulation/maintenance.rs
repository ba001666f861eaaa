//! Who does to the points of a simulated world what nobody asks for: writes those that wait, and removes old ones;
//! and holds how many keys there are against how many there may be.

use std::sync::{Arc, Mutex, PoisonError};

use super::fault_config::FaultConfig;
use super::faulty_store::{FaultyStoreFactory, StoreFaults};
use super::oracle::Verification;
use super::point_model::PointModel;
use super::random::Random;
use vmherd::internals::clock::Instant;
use vmherd::internals::ids::SeriesId;
use vmherd::internals::model::PointFilter;
use vmherd::internals::store::{PointRemoval, Store, StoreError, StoreFactory, with_write_behind};

/// Whose time comes now and then, while others do something.
pub(super) struct Maintenance {
    random: Random,
    /// As everybody sees it.
    pub(super) factory: Arc<dyn StoreFactory>,
    pub(super) faults: Arc<Mutex<StoreFaults>>,
    store: Box<dyn Store>,
    /// Past all that stands before it.
    kept: Box<dyn Store>,
    acts_at: Instant,
}

impl Maintenance {
    /// Stands before `kept` what `config` wants there.
    pub(super) fn new(
        kept: &Arc<dyn StoreFactory>,
        config: &FaultConfig,
        mut random: Random,
        now: Instant,
    ) -> Maintenance {
        // Often, where at all: it takes several failures to put things out of order.
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

    /// Whether it has something to do.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.acts_at <= now
    }

    /// Does it.
    pub(super) fn turn(
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
        // What can't be written now is there the next time.
        let _ = self.store.points().flush();
        self.check(config)
    }

    /// Removes what is older than some time, often all that has one.
    fn remove(&mut self, point_model: &mut PointModel) -> Verification {
        let before = self.random.between(0, 1_000_003) as i64 - 500_000;
        let before = if self.random.chance(60) { 600_000 } else { before };
        point_model.remove(before);
        let mut after = Some(SeriesId(0));
        while let Some(behind) = after {
            let count_max = self.random.between(1, 40);
            after = match self.store.remove_points(PointRemoval { before, after: behind, count_max }) {
                Ok(removed) => removed.next,
                Err(StoreError::Busy | StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) => None,
                Err(other) => return Err(format!("what came of a removal: {other:?}")),
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
            false => Err(format!("there are {count} keys, and {} there may be", config.keys_max)),
        }
    }

    /// Nobody puts points any more: writes what waits, to a store that does what it is asked.
    pub(super) fn end(&mut self, config: &FaultConfig) -> Verification {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).failed_percent = 0;
        self.store
            .points()
            .flush()
            .map_err(|error| format!("points can't be written in the end: {error}"))?;
        self.check(config)
    }
}

/// Between what it does, at most.
const PAUSE_MICROS_MAX: usize = 1_000_000;
