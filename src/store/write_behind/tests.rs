//! Tests of write-behind in front of a memory store that can be made to fail.

use super::super::contract::WriteAll;
use super::*;
use crate::ids::{SeriesId, VmId};
use crate::model::{MetricKey, MetricValue, NewPoint, Point, PointFilter, VmName};
use crate::store::{self, Location, LockRetryPolicy, Written};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The inner store: counts its writes, and refuses them while it fails.
struct Watched {
    inner: Arc<dyn StoreFactory>,
    faults: Faults,
}

struct WatchedStore {
    inner: Box<dyn Store>,
    faults: Faults,
}

#[derive(Clone, Default)]
struct Faults {
    fails: Arc<AtomicBool>,
    /// Writes succeed, but their result is not reported.
    hides_results: Arc<AtomicBool>,
    puts: Arc<AtomicUsize>,
    /// Runs once, after a write and before its result is reported.
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

struct Fixture {
    factory: Arc<dyn StoreFactory>,
    buffer: Arc<WriteBehindBuffer>,
    store: Box<dyn Store>,
    /// A connection that bypasses the buffer.
    direct: Box<dyn Store>,
    faults: Faults,
}

impl StoreFactory for Watched {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(WatchedStore { inner: self.inner.connect()?, faults: self.faults.clone() }))
    }

    fn lock_retry_policy(&self) -> Option<LockRetryPolicy> {
        Some(LockRetryPolicy { lock_timeout: Duration::ZERO, reserve: Duration::ZERO })
    }
}

impl WatchedStore {
    /// Runs `write`, unless it is made to fail.
    fn play<T>(&mut self, write: impl FnOnce(&mut dyn Store) -> T) -> Result<T, StoreError> {
        if self.faults.fails.load(Ordering::Relaxed) {
            return Err(unavailable());
        }
        let outcome = write(self.inner.as_mut());
        let meanwhile = self.faults.meanwhile.lock().expect("no panic").take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        match self.faults.hides_results.load(Ordering::Relaxed) {
            true => Err(StoreError::OutcomeUnknown("it says nothing".to_owned())),
            false => Ok(outcome),
        }
    }
}

impl Store for WatchedStore {
    fn write(&mut self, writes: &[&Write]) -> Vec<WriteOutcome> {
        let puts = Arc::clone(&self.faults.puts);
        let write = |inner: &mut dyn Store| {
            puts.fetch_add(writes.iter().filter(|write| write.is_put()).count(), Ordering::Relaxed);
            inner.write(writes)
        };
        self.play(write).unwrap_or_else(|error| vec![Err(error); writes.len()])
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        self.play(|inner| inner.remove_points(removal))?
    }

    fn registry(&mut self) -> &mut dyn RegistryStore {
        self.inner.registry()
    }

    fn points(&mut self) -> &mut dyn PointStore {
        self.inner.points()
    }
}

impl Fixture {
    fn new() -> Fixture {
        let inner = store::open(&Location::Memory).expect("memory");
        let faults = Faults::default();
        let watched = Watched { inner: Arc::clone(&inner), faults: faults.clone() };
        let (factory, buffer) = with_write_behind(Arc::new(watched));
        let store = factory.connect().expect("a connection");
        let direct = inner.connect().expect("a connection");
        Fixture { factory, buffer, store, direct, faults }
    }

    /// The result of `put`, and the number of writes of the inner store.
    fn put(&mut self, put: &Write) -> (WriteOutcome, usize) {
        let before = self.puts();
        let outcome = self.store.write(&[put]).remove(0);
        (outcome, self.puts() - before)
    }

    fn puts(&self) -> usize {
        self.faults.puts.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> u64 {
        self.buffer.unwritten()
    }

    /// Removes the points older than `before`.
    fn remove(&mut self, before: i64) -> Result<RemovedPoints, StoreError> {
        self.store.remove_points(PointRemoval { before, after: SeriesId(0), count_max: 99 })
    }

    /// After a write and before its result is reported, another client writes `write` and gets `outcome`.
    fn let_others(&self, write: Write, outcome: WriteOutcome) {
        let mut other = self.factory.connect_worker().expect("a connection");
        let meanwhile = move || assert_eq!(other.write_all(&[write]), [outcome]);
        *self.faults.meanwhile.lock().expect("no panic") = Some(Box::new(meanwhile));
    }

    /// All points in the inner store.
    fn written(&mut self) -> String {
        shown(self.direct.as_mut())
    }

    /// All points as a reader sees them.
    fn seen(&mut self) -> String {
        shown(self.store.as_mut())
    }

    fn fail(&self, fails: bool) {
        self.faults.fails.store(fails, Ordering::Relaxed);
    }
}

/// `key=value@second` of each point.
fn shown(store: &mut dyn Store) -> String {
    let page = store.points().points_after(&PointFilter::default(), None, 1000).expect("points");
    let of_series = |series: &crate::model::Series| {
        let points = series.points.iter();
        points
            .map(|point| format!("{}={}@{}", series.key, point.value, point.timestamp))
            .collect::<Vec<_>>()
            .join(" ")
    };
    page.series.iter().map(of_series).collect::<Vec<_>>().join(" ")
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("it is made to fail".to_owned())
}

fn points(text: &str) -> Arc<Vec<NewPoint>> {
    let point = |word: &str| {
        let (key, rest) = word.split_once('=').expect("a key");
        let (value, second) = rest.split_once('@').expect("a value and a second");
        let value = MetricValue::new(value.parse().expect("a number")).expect("finite");
        let point = Point { timestamp: second.parse().expect("a second"), value };
        NewPoint { key: MetricKey::parse(key).expect("a key"), point }
    };
    Arc::new(text.split_whitespace().map(point).collect())
}

fn put(text: &str) -> Write {
    Write::Put { login: None, points: points(text), keys_max: 3, is_atomic: false }
}

fn put_all_or_none(text: &str) -> Write {
    Write::Put { login: None, points: points(text), keys_max: 3, is_atomic: true }
}

fn kept() -> WriteOutcome {
    Ok(Written::Put { refused: Vec::new() })
}

fn refused(places: &[usize]) -> WriteOutcome {
    Ok(Written::Put { refused: places.to_vec() })
}

#[test]
fn the_first_point_of_a_key_is_written_through_and_later_ones_are_buffered() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(&put("a=1@1")), (kept(), 1));
    assert_eq!(fixture.put(&put("a=2@1 a=3@2")), (kept(), 0));
    assert_eq!((fixture.waiting(), fixture.written()), (2, "a=1.0@1".into()));
    assert_eq!(fixture.put(&put("a=4@2 b=1@1 a=5@3")), (kept(), 2), "what waits, and then all of it");
    assert_eq!((fixture.waiting(), fixture.written()), (0, "a=2.0@1 a=4.0@2 a=5.0@3 b=1.0@1".into()));
    assert_eq!(fixture.put(&put("b=2@1 a=6@3")), (kept(), 0));
    assert_eq!(
        fixture.seen(),
        "a=2.0@1 a=4.0@2 a=6.0@3 b=2.0@1",
        "a reader sees all points, the latest value of each"
    );
    assert_eq!((fixture.waiting(), fixture.written()), (0, fixture.seen()));
}

#[test]
fn the_key_limit_holds_with_a_buffer() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(&put("a=1@1 b=1@1")).0, kept());
    assert_eq!(fixture.put(&put("a=2@2 c=1@1 d=1@1 b=2@2 d=2@2")).0, refused(&[2, 4]));
    let limit = Err(StoreError::KeyLimitReached(1));
    assert_eq!(fixture.put(&put_all_or_none("a=3@3 d=1@1")).0, limit);
    assert_eq!(fixture.put(&put_all_or_none("a=4@4 c=4@4")).0, kept());
    assert_eq!(fixture.seen(), "a=1.0@1 a=2.0@2 a=4.0@4 b=1.0@1 b=2.0@2 c=1.0@1 c=4.0@4");
}

#[test]
fn points_of_one_request_share_a_commit() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(&put("a=1@1")).0, kept());
    assert_eq!(fixture.put(&put("a=2@2 a=2@3")), (kept(), 0));
    assert_eq!(fixture.put(&put_all_or_none("a=3@2 b=3@2")), (kept(), 2), "what waits, and then all of it");
    assert_eq!((fixture.waiting(), fixture.written()), (0, "a=1.0@1 a=3.0@2 a=2.0@3 b=3.0@2".into()));
    assert_eq!(fixture.put(&put_all_or_none("a=4@2 b=4@2")), (kept(), 0), "they wait together");
    let many: String = (0..limits::POINTS_PER_COMMIT_MAX).map(|second| format!("a=1@{second} ")).collect();
    assert_eq!(fixture.put(&put(&many)), (kept(), 0));
    assert_eq!(fixture.put(&put(&many)), (kept(), 0));
    let before = fixture.puts();
    fixture.seen();
    let commits = fixture.puts() - before;
    assert_eq!(commits, 2, "requests are not cut, however many points a commit is to have");
}

#[test]
fn buffered_points_survive_store_failures() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(&put("a=1@1")).0, kept());
    fixture.fail(true);
    assert_eq!(fixture.put(&put("a=2@2 a=3@3")).0, kept());
    assert_eq!(fixture.put(&put("a=4@4 b=1@1")).0, Err(unavailable()), "a key that is not known");
    let asked = fixture.store.points().points_after(&PointFilter::default(), None, 9);
    assert_eq!(asked, Err(unavailable()), "a read never returns fewer points than were put");
    assert_eq!(fixture.put(&put("a=5@2")).0, kept());
    assert_eq!(fixture.put(&put_all_or_none("a=6@3 b=1@1")).0, Err(unavailable()));
    assert_eq!((fixture.waiting(), fixture.written()), (3, "a=1.0@1".into()));
    fixture.fail(false);
    assert_eq!(fixture.put(&put("a=7@3 b=2@1")).0, kept(), "what is written at once has its turn, too");
    assert_eq!(fixture.put(&put("a=8@3")), (kept(), 0));
    assert_eq!(fixture.seen(), "a=1.0@1 a=5.0@2 a=8.0@3 b=2.0@1", "in the order in which they came");
}

#[test]
fn a_put_needs_a_current_login_and_other_writes_pass_through() {
    let mut fixture = Fixture::new();
    let gone = Login { id: VmId(7), epoch: 0, name: VmName::from_store("gone") };
    let (points, keys_max, is_atomic) = (points("a=2@2"), 3, false);
    let of_gone = Write::Put { login: Some(gone), points, keys_max, is_atomic };
    let remove = Write::Remove(VmName::from_store("gone"));
    let outcomes = fixture.store.write_all(&[put("a=1@1"), of_gone, remove, put("a=3@3")]);
    assert_eq!(outcomes, [kept(), Err(StoreError::NotCurrent), Err(StoreError::UnknownVm), kept()]);
    assert_eq!(fixture.seen(), "a=1.0@1 a=3.0@3");
}

#[test]
fn a_full_buffer_is_flushed_by_the_writer_that_finds_it_full() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(&put("a=1@0")).0, kept());
    let many: String = (0..1000).map(|second| format!("a=1@{second} ")).collect();
    let many = put(&many);
    let puts = limits::WRITE_BEHIND_POINTS_MAX / 1000 + 1;
    for _ in 0..puts {
        assert_eq!(fixture.put(&many), (kept(), 0));
    }
    fixture.fail(true);
    assert_eq!(fixture.put(&many).0, Err(unavailable()), "there is no room for more");
    assert_eq!(fixture.waiting(), puts as u64 * 1000);
    fixture.fail(false);
    assert_eq!(fixture.put(&many).0, kept());
    assert_eq!(fixture.waiting(), 1000);
}

#[test]
fn a_removed_series_frees_its_key_and_buffers_no_more_points() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(&put("a=1@1 b=1@20 c=1@20")).0, kept());
    let gone = vec![MetricKey::from_store("a")];
    assert_eq!(fixture.remove(9), Ok(RemovedPoints { count: 1, next: None, removed_keys: gone }));
    assert_eq!(fixture.put(&put("d=1@20")).0, kept());
    assert_eq!(fixture.put(&put("a=2@20")).0, refused(&[0]));
    assert_eq!(fixture.put(&put_all_or_none("b=2@20 a=2@20")).0, Err(StoreError::KeyLimitReached(1)));
    assert_eq!(fixture.put(&put("b=3@20")), (kept(), 0), "that changes nothing for others");
    assert_eq!(fixture.seen(), "b=3.0@20 c=1.0@20 d=1.0@20");
}

#[test]
fn a_point_buffered_during_removal_of_its_series_reuses_its_key() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(&put("a=1@1 b=1@20 c=1@20")).0, kept());
    fixture.let_others(put("a=3@21"), kept());
    assert_eq!(fixture.remove(9).map(|_| ()), Ok(()));
    assert_eq!((fixture.waiting(), fixture.written()), (0, "b=1.0@20 c=1.0@20 a=3.0@21".into()));
    assert_eq!(fixture.put(&put("d=1@20")).0, refused(&[0]));
    // If it cannot be written now, it stays before the points of others.
    assert_eq!(fixture.put(&put("a=3@22")), (kept(), 1), "its series is known again");
    fixture.let_others(put("a=4@41"), kept());
    let fails = Arc::clone(&fixture.faults.fails);
    let other = fixture.faults.meanwhile.lock().expect("no panic").take().expect("set above");
    let meanwhile = move || {
        other();
        fails.store(true, Ordering::Relaxed);
    };
    *fixture.faults.meanwhile.lock().expect("no panic") = Some(Box::new(meanwhile));
    assert_eq!(fixture.remove(30).map(|_| ()), Ok(()));
    assert_eq!((fixture.waiting(), fixture.written()), (1, String::new()));
    assert_eq!(fixture.put(&put("a=5@41")).0, Err(unavailable()));
    fixture.fail(false);
    assert_eq!(fixture.put(&put("d=1@50 e=1@50 f=1@50")).0, refused(&[2]));
    assert_eq!(fixture.seen(), "a=4.0@41 d=1.0@50 e=1.0@50");
}

#[test]
fn an_unknown_removal_outcome_clears_the_known_keys() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(&put("a=1@1 b=1@20 c=1@20")).0, kept());
    fixture.faults.hides_results.store(true, Ordering::Relaxed);
    assert!(matches!(fixture.remove(9), Err(StoreError::OutcomeUnknown(_))));
    fixture.faults.hides_results.store(false, Ordering::Relaxed);
    assert_eq!(fixture.put(&put("d=1@20")).0, kept());
    assert_eq!(fixture.put(&put("a=2@20 b=2@20")), (refused(&[0]), 1));
    assert_eq!(fixture.put(&put("b=3@20")), (kept(), 0), "it is known again");
    assert_eq!(fixture.seen(), "b=3.0@20 c=1.0@20 d=1.0@20");
}

#[test]
fn a_panic_during_removal_clears_the_known_keys() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(&put("a=1@1 b=1@20 c=1@20")).0, kept());
    *fixture.faults.meanwhile.lock().expect("no panic") = Some(Box::new(|| panic!("on purpose")));
    let remove = std::panic::AssertUnwindSafe(|| fixture.remove(9));
    assert!(std::panic::catch_unwind(remove).is_err());
    assert_eq!(fixture.put(&put("d=1@20")).0, kept());
    assert_eq!(fixture.put(&put("a=2@20")).0, refused(&[0]));
    assert_eq!(fixture.seen(), "b=1.0@20 c=1.0@20 d=1.0@20");
}

/// Another process may remove a series unnoticed; acknowledged points are stored nevertheless.
#[test]
fn acknowledged_points_are_kept_when_another_process_removes_their_series() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(&put("a=1@1 b=1@1 c=1@1")).0, kept());
    let removal = PointRemoval { before: 9, after: SeriesId(0), count_max: 9 };
    assert!(fixture.direct.remove_points(removal).is_ok());
    assert_eq!(fixture.direct.write_all(&[put("d=1@20 e=1@20 f=1@20")]), [kept()]);
    assert_eq!(fixture.put(&put("a=2@20")), (kept(), 0));
    assert_eq!(fixture.seen(), "d=1.0@20 e=1.0@20 f=1.0@20 a=2.0@20");
    assert_eq!(fixture.waiting(), 0);
}

#[test]
fn puts_of_one_batch_overwrite_in_order() {
    let batches: [&[Write]; 4] = [
        &[put("a=2@1"), put_all_or_none("a=3@1 b=3@1")],
        &[put("a=2@1 b=2@1"), put("a=3@1"), put("b=3@1")],
        &[put("a=2@1"), put("b=2@1 a=2@2"), put_all_or_none("a=3@1 b=3@1 a=3@2")],
        &[put("b=2@1"), put("a=3@1"), put("b=3@1")],
    ];
    for batch in batches {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.put(&put("a=1@1")).0, kept());
        assert_eq!(fixture.put(&put("a=1.5@1")).0, kept());
        assert!(fixture.store.write_all(batch).iter().all(|outcome| *outcome == kept()));
        let seen = fixture.seen();
        assert!(!seen.contains("=1.") && !seen.contains("=2."), "{batch:?}: {seen}");
    }
}

#[test]
fn a_written_through_put_precedes_puts_buffered_meanwhile() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(&put("a=1@1 c=1@1")).0, kept());
    // A writer that must not wait gets an error.
    fixture.let_others(put("a=3@1"), Err(StoreError::Busy));
    assert_eq!(fixture.put(&put_all_or_none("a=2@1 b=2@1")).0, kept());
    assert_eq!(fixture.put(&put("a=3@1")), (kept(), 0), "known as before");
    fixture.let_others(put("c=9@9"), kept());
    assert_eq!(fixture.put(&put("a=4@1 d=4@1")).0, refused(&[1]), "others are not in its way");
    assert_eq!(fixture.seen(), "a=4.0@1 c=1.0@1 c=9.0@9 b=2.0@1");
}

#[test]
fn other_writes_succeed_when_points_fail() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.put(&put("a=1@1")).0, kept());
    let turn = Arc::clone(&fixture.buffer);
    let turn = turn.acquire(Duration::ZERO).expect("the guard is free");
    let mut worker = fixture.factory.connect_worker().expect("a connection");
    let remove = Write::Remove(VmName::from_store("gone"));
    let outcomes = worker.write_all(&[put("a=2@1"), remove, put("b=2@1")]);
    assert_eq!(outcomes, [kept(), Err(StoreError::UnknownVm), Err(StoreError::Busy)]);
    let asked = worker.points().points_after(&PointFilter::default(), None, 9);
    assert_eq!(asked, Err(StoreError::Busy));
    drop(turn);
    assert_eq!(fixture.seen(), "a=2.0@1");
}

#[test]
fn concurrent_threads_lose_nothing_and_keep_their_order() {
    let mut fixture = Fixture::new();
    let keys_max = 8;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let factory = &fixture.factory;
            scope.spawn(move || {
                let mut store = factory.connect().expect("a connection");
                for value in 0..500 {
                    let points = points(&format!("k{thread}={value}@1 k{thread}={value}@{}", value + 2));
                    let write = Write::Put { login: None, points, keys_max, is_atomic: value % 2 == 0 };
                    assert_eq!(store.write_all(&[write]), [kept()]);
                    if value % 50 == thread {
                        store.points().flush().expect("it is written");
                    }
                }
            });
        }
    });
    let filter = PointFilter::default();
    let page = fixture.store.points().points_after(&filter, None, 10_000).expect("points");
    assert_eq!(page.series.len(), 4);
    for series in page.series {
        let values: Vec<f64> = series.points.iter().map(|point| point.value.get()).collect();
        let wanted: Vec<f64> = std::iter::once(499).chain(0..500).map(f64::from).collect();
        assert_eq!(values, wanted, "{}", series.key);
    }
    assert_eq!(fixture.waiting(), 0);
}
