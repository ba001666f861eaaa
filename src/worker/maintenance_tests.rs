//! The maintenance threads, with a store in memory.

use super::*;
use crate::model::{MetricKey, MetricValue, NewPoint, Point, PointFilter};
use crate::store::{self, Location, Write, Written};
use std::thread;

const DEADLINE: Duration = Duration::from_secs(20);

fn memory() -> Arc<dyn StoreFactory> {
    store::open(&Location::Memory).expect("memory")
}

fn put(store: &mut dyn Store, key: &str, second: i64) {
    let point = Point { timestamp: second, value: MetricValue::new(1.0).expect("finite") };
    let points = Arc::new(vec![NewPoint { key: MetricKey::from_store(key), point }]);
    let write = Write::Put { login: None, points, keys_max: 9, is_atomic: false };
    assert_eq!(store.write(&[&write]), [Ok(Written::Put { refused: Vec::new() })]);
}

/// The seconds of all points that the store has.
fn seconds(store: &mut dyn Store) -> Vec<i64> {
    let page = store.points().points_after(&PointFilter::default(), None, 1000).expect("points");
    page.series.iter().flat_map(|series| series.points.iter().map(|point| point.timestamp)).collect()
}

/// Waits until the store has just these points.
fn wait_for(store: &mut dyn Store, wanted: &[i64]) {
    let mut clock = SystemClock::new();
    let deadline = clock.now() + DEADLINE;
    while seconds(store) != wanted {
        assert!(clock.now() < deadline, "{:?} instead of {wanted:?}", seconds(store));
        thread::yield_now();
    }
}

#[test]
fn buffered_points_are_flushed_in_the_background() {
    let inner = memory();
    let (factory, buffer) = store::with_write_behind(Arc::clone(&inner));
    let maintenance =
        Maintenance::start(Arc::clone(&factory), Some(buffer), None, SystemClock::new()).expect("threads");
    let mut store = factory.connect().expect("a connection");
    let mut direct = inner.connect().expect("a connection");
    put(store.as_mut(), "a", 1);
    put(store.as_mut(), "a", 2);
    wait_for(direct.as_mut(), &[1, 2]);
    let names: Vec<&str> = maintenance.statistics().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["points_written_behind", "points_unwritten", "points_removed"]);
    assert_eq!(maintenance.statistics()[0].1, 1);
}

#[test]
fn shutdown_waits_for_buffered_points() {
    let inner = memory();
    let (factory, buffer) = store::with_write_behind(Arc::clone(&inner));
    let maintenance =
        Maintenance::start(Arc::clone(&factory), Some(buffer), None, SystemClock::new()).expect("threads");
    let mut store = factory.connect().expect("a connection");
    (1..=100).for_each(|second| put(store.as_mut(), "a", second));
    assert_eq!(maintenance.shut_down(DEADLINE), 0);
    let mut direct = inner.connect().expect("a connection");
    assert_eq!(seconds(direct.as_mut()), (1..=100).collect::<Vec<_>>());
}

#[test]
fn setting_a_retention_removes_old_points() {
    let inner = memory();
    let mut store = inner.connect().expect("a connection");
    let now = SystemClock::new().unix_now().0;
    let few = limits::RETENTION_STEP as i64 * 2 + 7;
    (0..few).for_each(|second| put(store.as_mut(), "old", second));
    put(store.as_mut(), "both", 1);
    put(store.as_mut(), "both", now);
    let maintenance = Maintenance::start(inner, None, None, SystemClock::new()).expect("threads");
    assert_eq!(seconds(store.as_mut()).len(), 1000, "a page of many");
    maintenance.set_retention(Some(Duration::from_secs(3600)));
    wait_for(store.as_mut(), &[now]);
    let removed = |maintenance: &Maintenance| maintenance.statistics()[2].1;
    let mut clock = SystemClock::new();
    let deadline = clock.now() + DEADLINE;
    while removed(&maintenance) != few as u64 + 1 {
        assert!(clock.now() < deadline, "{} are counted", removed(&maintenance));
        thread::yield_now();
    }
}

/// Panics at the first `panics` connections.
struct Fragile {
    inner: Arc<dyn StoreFactory>,
    panics: AtomicU64,
}

impl StoreFactory for Fragile {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        let left = self.panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(left.is_err(), "on purpose");
        self.inner.connect()
    }
}

#[test]
fn the_threads_survive_a_panic() {
    let inner = memory();
    let mut direct = inner.connect().expect("a connection");
    put(direct.as_mut(), "old", 1);
    let fragile = Arc::new(Fragile { inner: Arc::clone(&inner), panics: AtomicU64::new(0) });
    let (factory, buffer) = store::with_write_behind(Arc::<Fragile>::clone(&fragile));
    let mut store = factory.connect().expect("a connection");
    let now = SystemClock::new().unix_now().0;
    put(store.as_mut(), "new", now);
    fragile.panics.store(2, Ordering::Relaxed);
    let maintenance =
        Maintenance::start(factory, Some(buffer), Some(Duration::from_secs(3600)), SystemClock::new())
            .expect("threads");
    put(store.as_mut(), "new", now + 1);
    let mut clock = SystemClock::new();
    let deadline = clock.now() + DEADLINE;
    while fragile.panics.load(Ordering::Relaxed) > 0 {
        assert!(clock.now() < deadline, "no thread connects");
        thread::yield_now();
    }
    maintenance.set_retention(Some(Duration::from_secs(1800)));
    wait_for(direct.as_mut(), &[now, now + 1]);
    assert_eq!(maintenance.shut_down(DEADLINE), 0);
}
