//! Worker threads with stores that panic, fail or are locked.

use super::*;
use crate::clock::UnixSeconds;
use crate::ids::{ConnId, DiskId, RequestKey, RequestSeq, VmId};
use crate::model::{AccessToken, Credentials, DiskOfVm, Login, TokenHash, Vm, VmName};
use crate::store::{
    PointRemoval, PointStore, RegistryStore, RemovedPoints, Store, VmPage, Write, WriteOutcome,
};
use crate::work::pages::PageRequest;
use crate::work::{Read, Requester, Work};
use crate::worker::{Account, JobKey, JobState, Priority};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A store that panics at first, then is out of reach.
#[derive(Default)]
struct BadFactory {
    connects: AtomicUsize,
}

impl StoreFactory for BadFactory {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        match self.connects.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("a panic that this test wants"),
            _ => Err(StoreError::Unavailable("out of reach".to_owned())),
        }
    }
}

fn pool() -> (Pool, Receiver<()>) {
    pool_on(Arc::<BadFactory>::default())
}

fn pool_on(factory: Arc<dyn StoreFactory>) -> (Pool, Receiver<()>) {
    let lane = LaneSettings { queue: 4, threads: 1 };
    let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
    let settings = PoolSettings { lanes: [lane; Lane::ALL.len()], cost };
    let (wake, woken) = channel();
    let wake = Mutex::new(wake);
    let wake = move || wake.lock().unwrap().send(()).expect("the test waits");
    (Pool::new(&settings, factory, SystemClock::new(), Box::new(wake)), woken)
}

fn job(number: u64) -> Job {
    let request_key = RequestKey { conn: ConnId { index: 0, generation: 1 }, seq: RequestSeq(0) };
    let login = Login { id: VmId(1), epoch: 0, name: VmName::from_store("a") };
    let work = Work::Read(Read::ListPage {
        requester: Requester::Vm(login),
        page: PageRequest::Vms { after: VmId(0), rows_max: 1 },
    });
    let key = JobKey { request_key, job: number };
    let deadline = SystemClock::new().now();
    let (accounts, state) = ((Account::Connection(request_key.conn), None), Arc::<JobState>::default());
    Job { key, work, priority: Priority::Normal, accounts, weight: 1, deadline, state }
}

fn result(pool: &mut Pool, woken: &Receiver<()>) -> Result<WorkResult, WorkError> {
    woken.recv_timeout(Duration::from_secs(10)).expect("a completion");
    let mut completions = VecDeque::new();
    pool.drain(&mut completions);
    assert_eq!(completions.len(), 1);
    completions.remove(0).expect("one").result
}

#[test]
fn a_worker_survives_a_panic_and_completes_its_jobs() {
    let (mut pool, woken) = pool();
    pool.try_submit(job(1)).unwrap();
    assert!(matches!(result(&mut pool, &woken), Err(WorkError::Internal)));
    pool.try_submit(job(2)).unwrap();
    pool.notify_workers();
    let unavailable = Err(WorkError::Store(StoreError::Unavailable("out of reach".to_owned())));
    assert_eq!(result(&mut pool, &woken).map(|_| ()), unavailable);
    let threads = pool.statistics().into_iter().find(|(name, _)| *name == "read_threads");
    assert_eq!(threads, Some(("read_threads", 1)));
}

/// A store whose first `busy_left` checks of a login hit a lock timeout.
struct LockedFactory {
    busy_left: Arc<AtomicUsize>,
    policy: Option<LockRetryPolicy>,
}

struct LockedStore(Box<dyn Store>, Arc<AtomicUsize>);

impl StoreFactory for LockedFactory {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        let memory = crate::store::open(&crate::store::Location::Memory)?;
        Ok(Box::new(LockedStore(memory.connect()?, Arc::clone(&self.busy_left))))
    }

    fn lock_retry_policy(&self) -> Option<LockRetryPolicy> {
        self.policy
    }
}

impl Store for LockedStore {
    fn write(&mut self, writes: &[&Write]) -> Vec<WriteOutcome> {
        self.0.write(writes)
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        self.0.remove_points(removal)
    }

    fn registry(&mut self) -> &mut dyn RegistryStore {
        self
    }

    fn points(&mut self) -> &mut dyn PointStore {
        self.0.points()
    }
}

impl RegistryStore for LockedStore {
    fn is_current(&mut self, login: &Login) -> Result<bool, StoreError> {
        let left = self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() { Err(StoreError::Busy) } else { self.0.registry().is_current(login) }
    }
    fn ping(&mut self) -> Result<(), StoreError> {
        self.0.registry().ping()
    }
    fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError> {
        self.0.registry().credentials(name)
    }
    fn credentials_by_id(&mut self, id: VmId) -> Result<Option<Credentials>, StoreError> {
        self.0.registry().credentials_by_id(id)
    }

    fn password_hash_prefixes(&mut self, count_max: usize) -> Result<Vec<String>, StoreError> {
        self.0.registry().password_hash_prefixes(count_max)
    }
    fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> Result<Option<Login>, StoreError> {
        self.0.registry().token_owner(token, now)
    }
    fn is_access_token(&mut self, token: &TokenHash) -> Result<bool, StoreError> {
        self.0.registry().is_access_token(token)
    }
    fn access_tokens(&mut self) -> Result<Vec<AccessToken>, StoreError> {
        self.0.registry().access_tokens()
    }
    fn vms_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.0.registry().vms_after(after, rows_max)
    }
    fn ever_connected_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.0.registry().ever_connected_after(after, rows_max)
    }
    fn vms(&mut self, ids: &[VmId]) -> Result<Vec<Vm>, StoreError> {
        self.0.registry().vms(ids)
    }
    fn disks_after(&mut self, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>, StoreError> {
        self.0.registry().disks_after(after, count_max)
    }
}

/// The result of a job with `left` until its deadline on a store that is busy three times, and how many of these times
/// are left.
fn result_while_locked(
    policy: Option<LockRetryPolicy>,
    left: Duration,
    work: Work,
) -> (Result<WorkResult, WorkError>, usize) {
    let busy_left = Arc::new(AtomicUsize::new(3));
    let factory = LockedFactory { busy_left: Arc::clone(&busy_left), policy };
    let (mut pool, woken) = pool_on(Arc::new(factory));
    let mut clock = pool.shared.clock;
    pool.try_submit(Job { deadline: clock.now() + left, work, ..job(1) }).unwrap();
    (result(&mut pool, &woken), busy_left.load(Ordering::Relaxed))
}

#[test]
fn a_locked_write_is_retried_until_its_deadline() {
    let minute = Duration::from_secs(60);
    let policy = Some(LockRetryPolicy { lock_timeout: minute, reserve: 3 * minute });
    let locked = |policy, left| {
        let (result, left) = result_while_locked(policy, left, job(1).work);
        (result.map(|_| ()), left)
    };
    let gone = Err(WorkError::Store(StoreError::NotCurrent));
    assert_eq!(locked(policy, 4 * minute), (gone, 0), "the store answers in the end");
    assert_eq!(locked(policy, 5 * minute / 2), (Err(BUSY), 2), "the last attempt");
    assert_eq!(locked(policy, minute), (Err(BUSY), 2), "a page is always tried");
    let current = Some(Login { id: VmId(1), epoch: 0, name: VmName::from_store("a") });
    let lookup = Work::Read(Read::FindToken { token: TokenHash([0; 32]), current, now: UnixSeconds(0) });
    let (result, busy_left) = result_while_locked(policy, minute, lookup);
    assert_eq!((result.map(|_| ()), busy_left), (Err(BUSY), 3), "too late to begin");
    assert_eq!(locked(None, 4 * minute), (Err(BUSY), 2), "the store has waited itself");
}

#[test]
fn only_one_read_of_a_batch_waits_for_a_lock() {
    let busy_left = Arc::new(AtomicUsize::new(3));
    let factory = LockedFactory { busy_left: Arc::clone(&busy_left), policy: None };
    let mut context =
        WorkerContext::new(Arc::new(factory), known_costs(Cost { memory_kib: 64, passes: 1, lanes: 1 }));
    let lookup = Work::Read(Read::FindCredentials { name: VmName::from_store("a") });
    let results = context.run([&job(1).work, &lookup, &job(2).work, &job(3).work]);
    assert_eq!(results.len(), 4);
    assert!(matches!(results[1], Ok(WorkResult::Credentials(None))), "{results:?}");
    for at in [0, 2, 3] {
        assert!(matches!(&results[at], Err(error) if *error == BUSY), "{results:?}");
    }
    assert_eq!(busy_left.load(Ordering::Relaxed), 2, "one has waited for all");
}

#[test]
fn an_abandoned_job_does_not_run() {
    let (mut pool, woken) = pool();
    let abandoned = job(1);
    abandoned.state.abandon();
    pool.try_submit(abandoned).unwrap();
    pool.try_submit(job(2)).unwrap();
    pool.notify_workers();
    assert!(matches!(result(&mut pool, &woken), Err(WorkError::Internal)), "the first to run panics");
}
