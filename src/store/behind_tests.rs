//! The waiting room before a store in memory that can be made to fail, and its writer.

use super::*;
use crate::model::{MetricValue, Point};
use crate::store::{self, Location};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A store behind the waiting room: what it is asked to write is counted, and refused while it fails.
struct Watched {
    inner: Arc<dyn StoreFactory>,
    fails: Arc<AtomicBool>,
    puts: Arc<AtomicUsize>,
}

struct WatchedStore {
    inner: Box<dyn Store>,
    fails: Arc<AtomicBool>,
    puts: Arc<AtomicUsize>,
}

struct Bed {
    factory: BehindFactory,
    store: Box<dyn Store>,
    /// A connection that goes past the waiting room.
    direct: Box<dyn Store>,
    fails: Arc<AtomicBool>,
    puts: Arc<AtomicUsize>,
}

impl StoreFactory for Watched {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        let (fails, puts) = (Arc::clone(&self.fails), Arc::clone(&self.puts));
        Ok(Box::new(WatchedStore { inner: self.inner.connect()?, fails, puts }))
    }
}

impl Store for WatchedStore {
    fn write(&mut self, writes: &[Write]) -> Vec<Outcome> {
        if self.fails.load(Ordering::Relaxed) {
            return vec![Err(unavailable()); writes.len()];
        }
        let puts = writes.iter().filter(|write| matches!(write, Write::Put { .. })).count();
        self.puts.fetch_add(puts, Ordering::Relaxed);
        self.inner.write(writes)
    }
    fn points_after(
        &mut self,
        filter: &PointFilter,
        after: Option<PointAt>,
        count_max: usize,
    ) -> Result<PointPage, StoreError> {
        self.inner.points_after(filter, after, count_max)
    }
    fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError> {
        self.inner.credentials(name)
    }
    fn credentials_by_id(&mut self, id: VmId) -> Result<Option<Credentials>, StoreError> {
        self.inner.credentials_by_id(id)
    }
    fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> Result<Option<Login>, StoreError> {
        self.inner.token_owner(token, now)
    }
    fn is_current(&mut self, login: &Login) -> Result<bool, StoreError> {
        self.inner.is_current(login)
    }
    fn vms_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.inner.vms_after(after, rows_max)
    }
    fn ever_connected_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.inner.ever_connected_after(after, rows_max)
    }
    fn vms(&mut self, ids: &[VmId]) -> Result<Vec<Vm>, StoreError> {
        self.inner.vms(ids)
    }
    fn disks_after(&mut self, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>, StoreError> {
        self.inner.disks_after(after, count_max)
    }
}

impl Bed {
    fn new() -> Bed {
        let inner = store::open(&Location::Memory).expect("memory");
        let (fails, puts) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let watched =
            Watched { inner: Arc::clone(&inner), fails: Arc::clone(&fails), puts: Arc::clone(&puts) };
        let factory = BehindFactory::new(Arc::new(watched));
        let store = factory.connect().expect("a connection");
        let direct = inner.connect().expect("a connection");
        Bed { factory, store, direct, fails, puts }
    }

    /// What each point of `put` came to be; how many writes that took.
    fn put(&mut self, put: &Write) -> (Outcome, usize) {
        let before = self.puts.load(Ordering::Relaxed);
        let outcome = self.store.write(std::slice::from_ref(put)).remove(0);
        (outcome, self.puts.load(Ordering::Relaxed) - before)
    }

    fn waiting(&self) -> u64 {
        self.factory.behind().counts().0
    }

    /// All points in the store, past the waiting room.
    fn written(&mut self) -> String {
        shown(self.direct.as_mut())
    }

    /// All points as whoever asks for them sees them.
    fn seen(&mut self) -> String {
        shown(self.store.as_mut())
    }

    fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }
}

/// `key=value@second` of each point.
fn shown(store: &mut dyn Store) -> String {
    let page = store.points_after(&PointFilter::default(), None, 1000).expect("points");
    let of_series = |series: &crate::model::Series| {
        let points = series.points.iter();
        points
            .map(|point| format!("{}={}@{}", series.key, point.value, point.second))
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
        let point = Point { second: second.parse().expect("a second"), value };
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

fn kept() -> Outcome {
    Ok(Written::Put { refused: Vec::new() })
}

fn refused(places: &[usize]) -> Outcome {
    Ok(Written::Put { refused: places.to_vec() })
}

#[test]
fn the_first_point_of_a_key_is_written_and_those_that_follow_wait() {
    let mut bed = Bed::new();
    assert_eq!(bed.put(&put("a=1@1")), (kept(), 1));
    assert_eq!(bed.put(&put("a=2@1 a=3@2")), (kept(), 0));
    assert_eq!((bed.waiting(), bed.written()), (2, "a=1.0@1".into()));
    assert_eq!(bed.put(&put("a=4@2 b=1@1 a=5@3")), (kept(), 1), "only what is new is written");
    assert_eq!((bed.waiting(), bed.written()), (4, "a=1.0@1 b=1.0@1".into()));
    assert_eq!(
        bed.seen(),
        "a=2.0@1 a=4.0@2 a=5.0@3 b=1.0@1",
        "whoever asks sees all, the latest value of each"
    );
    assert_eq!((bed.waiting(), bed.written()), (0, bed.seen()));
}

#[test]
fn keys_are_limited_as_without_a_waiting_room() {
    let mut bed = Bed::new();
    assert_eq!(bed.put(&put("a=1@1 b=1@1")).0, kept());
    assert_eq!(bed.put(&put("a=2@2 c=1@1 d=1@1 b=2@2 d=2@2")).0, refused(&[2, 4]));
    let limit = Err(StoreError::KeyLimitReached(1));
    assert_eq!(bed.put(&put_all_or_none("a=3@3 d=1@1")).0, limit);
    assert_eq!(bed.put(&put_all_or_none("a=4@4 c=4@4")).0, kept());
    assert_eq!(bed.seen(), "a=1.0@1 a=2.0@2 a=4.0@4 b=1.0@1 b=2.0@2 c=1.0@1 c=4.0@4");
}

#[test]
fn points_that_belong_together_share_a_commit() {
    let mut bed = Bed::new();
    assert_eq!(bed.put(&put("a=1@1")).0, kept());
    assert_eq!(bed.put(&put("a=2@2 a=2@3")), (kept(), 0));
    assert_eq!(bed.put(&put_all_or_none("a=3@2 b=3@2")), (kept(), 2), "what waits, and then all of it");
    assert_eq!((bed.waiting(), bed.written()), (0, "a=1.0@1 a=3.0@2 a=2.0@3 b=3.0@2".into()));
    assert_eq!(bed.put(&put_all_or_none("a=4@2 b=4@2")), (kept(), 0), "they wait together");
    let many: String = (0..limits::POINTS_PER_COMMIT_MAX).map(|second| format!("a=1@{second} ")).collect();
    assert_eq!(bed.put(&put(&many)), (kept(), 0));
    assert_eq!(bed.put(&put(&many)), (kept(), 0));
    let before = bed.puts.load(Ordering::Relaxed);
    bed.seen();
    let commits = bed.puts.load(Ordering::Relaxed) - before;
    assert_eq!(commits, 2, "requests are not cut, however many points a commit is to have");
}

#[test]
fn points_outlast_a_store_that_fails() {
    let mut bed = Bed::new();
    assert_eq!(bed.put(&put("a=1@1")).0, kept());
    bed.fail(true);
    assert_eq!(bed.put(&put("a=2@2 a=3@3")).0, kept());
    assert_eq!(bed.put(&put("a=4@4 b=1@1")).0, Err(unavailable()), "a key that is not known");
    let asked = bed.store.points_after(&PointFilter::default(), None, 9);
    assert_eq!(asked, Err(unavailable()), "nobody is told of less than was put");
    assert_eq!(bed.put(&put("a=5@2")).0, kept());
    assert_eq!((bed.waiting(), bed.written()), (3, "a=1.0@1".into()));
    bed.fail(false);
    assert_eq!(bed.seen(), "a=1.0@1 a=5.0@2 a=3.0@3", "in the order in which they came");
}

#[test]
fn a_login_has_to_hold_and_other_writes_go_by() {
    let mut bed = Bed::new();
    let gone = Login { id: VmId(7), epoch: 0, name: VmName::stored("gone") };
    let (points, keys_max, is_atomic) = (points("a=2@2"), 3, false);
    let of_gone = Write::Put { login: Some(gone), points, keys_max, is_atomic };
    let remove = Write::Remove(VmName::stored("gone"));
    let outcomes = bed.store.write(&[put("a=1@1"), of_gone, remove, put("a=3@3")]);
    assert_eq!(outcomes, [kept(), Err(StoreError::NotCurrent), Err(StoreError::UnknownVm), kept()]);
    assert_eq!(bed.seen(), "a=1.0@1 a=3.0@3");
}

#[test]
fn whoever_finds_no_room_makes_some() {
    let mut bed = Bed::new();
    assert_eq!(bed.put(&put("a=1@0")).0, kept());
    let many: String = (0..1000).map(|second| format!("a=1@{second} ")).collect();
    let many = put(&many);
    let puts = limits::POINTS_BEHIND_MAX / 1000 + 1;
    for _ in 0..puts {
        assert_eq!(bed.put(&many), (kept(), 0));
    }
    bed.fail(true);
    assert_eq!(bed.put(&many).0, Err(unavailable()), "there is no room for more");
    assert_eq!(bed.waiting(), puts as u64 * 1000);
    bed.fail(false);
    assert_eq!(bed.put(&many).0, kept());
    assert_eq!(bed.waiting(), 1000);
}

#[test]
fn a_series_that_went_comes_back_or_its_points_are_counted_as_lost() {
    let mut bed = Bed::new();
    assert_eq!(bed.put(&put("a=1@1 b=1@1")).0, kept());
    let remove = Write::RemovePoints { before: 9, after: crate::ids::SeriesId(0), count_max: 9 };
    bed.direct.write(&[remove])[0].as_ref().expect("removed");
    assert_eq!(bed.put(&put("a=2@20")).0, kept());
    assert_eq!(bed.seen(), "a=2.0@20");
    assert_eq!(bed.factory.behind().counts(), (0, 0));
}

#[test]
fn many_threads_lose_nothing_and_keep_the_order_of_each() {
    let mut bed = Bed::new();
    let keys_max = 8;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let factory = &bed.factory;
            scope.spawn(move || {
                let mut store = factory.connect().expect("a connection");
                for value in 0..500 {
                    let points = points(&format!("k{thread}={value}@1 k{thread}={value}@{}", value + 2));
                    let write = Write::Put { login: None, points, keys_max, is_atomic: value % 2 == 0 };
                    assert_eq!(store.write(&[write]), [kept()]);
                    if value % 50 == thread {
                        let behind = factory.behind();
                        behind.flush(store.as_mut(), limits::POINTS_BEHIND_PATIENCE).expect("it is written");
                    }
                }
            });
        }
    });
    let filter = PointFilter::default();
    let page = bed.store.points_after(&filter, None, 10_000).expect("points");
    assert_eq!(page.series.len(), 4);
    for series in page.series {
        let values: Vec<f64> = series.points.iter().map(|point| point.value.get()).collect();
        let wanted: Vec<f64> = std::iter::once(499).chain(0..500).map(f64::from).collect();
        assert_eq!(values, wanted, "{}", series.key);
    }
    assert_eq!(bed.factory.behind().counts(), (0, 0));
}
