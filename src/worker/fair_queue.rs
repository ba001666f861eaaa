//! A queue that is fair between the accounts whose jobs it holds.
//!
//! Each job is charged to one account, a connection, or to two, the source of a login and the VM it names. The
//! next job is that of the account with the lowest charge, as in weighted fair queueing (Demers, Keshav and
//! Shenker, 1989). Of two accounts, the one with the higher charge counts. An account that returns after a
//! pause starts at the queue's virtual time: idling earns no credit, and a short pause clears no charge.
//!
//! A flow can be held: its jobs stay until it is released, and others run meanwhile.
//!
//! Invariants: jobs of one flow leave in order; a job of a known flow allocates nothing.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::ids::ConnId;
use crate::model::{Source, VmName};

/// An account that jobs are charged to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Account {
    /// A connection.
    Connection(ConnId),
    /// The source of a login.
    Source(Source),
    /// The VM that a login names: the hash of its name.
    Vm(u64),
}

impl Account {
    /// The account of the VM of this name.
    pub fn vm(name: &VmName) -> Account {
        Account::Vm(BuildHasherDefault::<DefaultHasher>::default().hash_one(name))
    }
}

/// The accounts of a job: one, or two.
pub type Accounts = (Account, Option<Account>);

/// A fair queue of jobs.
pub(crate) struct FairQueue<T> {
    usage: BTreeMap<Account, AccountUsage>,
    flows: BTreeMap<Accounts, Flow<T>>,
    /// One entry for each flow with jobs that is not held. An entry that has become too early is corrected when it reaches
    /// the front.
    schedule: BinaryHeap<Reverse<ScheduleEntry>>,
    /// The charge that an account with jobs always queued would have now.
    virtual_time: u64,
    /// The highest charge of any account.
    charged_max: u64,
    next_order: u64,
    length: usize,
    /// The jobs of held flows among them.
    held: usize,
    weight: usize,
    /// The number of flows and accounts after the last clean-up.
    retained: usize,
}

/// The charge of one account.
#[derive(Default)]
struct AccountUsage {
    charged: u64,
    /// The total weight of its queued jobs.
    queued_weight: usize,
}

/// Jobs that are charged to the same accounts.
struct Flow<T> {
    jobs: VecDeque<QueuedJob<T>>,
    is_scheduled: bool,
    is_held: bool,
}

struct QueuedJob<T> {
    order: u64,
    weight: usize,
    job: T,
}

/// The position of a flow in the schedule: the lowest comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ScheduleEntry {
    /// The charge, after its next job, of its more expensive account.
    charged: u64,
    /// The charge of its first account.
    charged_first: u64,
    order: u64,
    accounts: Accounts,
}

impl<T> Default for FairQueue<T> {
    fn default() -> FairQueue<T> {
        FairQueue {
            usage: BTreeMap::new(),
            flows: BTreeMap::new(),
            schedule: BinaryHeap::new(),
            virtual_time: 0,
            charged_max: 0,
            next_order: 0,
            length: 0,
            held: 0,
            weight: 0,
            retained: 0,
        }
    }
}

impl<T> FairQueue<T> {
    /// Adds a job.
    pub(crate) fn push(&mut self, accounts: Accounts, weight: usize, job: T) {
        self.forget_idle();
        self.add(accounts, weight, job, VecDeque::push_back);
    }

    /// Adds a job before the others of its flow.
    pub(crate) fn push_first(&mut self, accounts: Accounts, weight: usize, job: T) {
        self.add(accounts, weight, job, VecDeque::push_front);
    }

    fn add(
        &mut self,
        accounts: Accounts,
        weight: usize,
        job: T,
        push: impl FnOnce(&mut VecDeque<QueuedJob<T>>, QueuedJob<T>),
    ) {
        for account in both(accounts) {
            let usage = self.usage.entry(account).or_default();
            if usage.queued_weight == 0 {
                usage.charged = usage.charged.max(self.virtual_time);
            }
            usage.queued_weight += weight;
        }
        let flow = self.flows.entry(accounts).or_insert_with(Flow::new);
        push(&mut flow.jobs, QueuedJob { order: self.next_order, weight, job });
        self.next_order += 1;
        self.length += 1;
        self.held += usize::from(flow.is_held);
        self.weight += weight;
        schedule(accounts, flow, &self.usage, &mut self.schedule);
    }

    /// Holds the jobs of `accounts` until they are released.
    pub(crate) fn hold(&mut self, accounts: Accounts) {
        let flow = self.flows.entry(accounts).or_insert_with(Flow::new);
        if !std::mem::replace(&mut flow.is_held, true) {
            self.held += flow.jobs.len();
        }
    }

    /// Lets the jobs of `accounts` leave again.
    pub(crate) fn release(&mut self, accounts: Accounts) {
        let Some(flow) = self.flows.get_mut(&accounts).filter(|flow| flow.is_held) else { return };
        flow.is_held = false;
        self.held -= flow.jobs.len();
        schedule(accounts, flow, &self.usage, &mut self.schedule);
    }

    /// Takes the next job, if it weighs at most `weight_max`.
    pub(crate) fn pop(&mut self, weight_max: usize) -> Option<T> {
        self.pop_charged(weight_max, |_| true)
    }

    /// Like [`FairQueue::pop`], but charges the job only if `is_charged` returns true: an abandoned job
    /// costs nothing, and must not be charged to others.
    pub(crate) fn pop_charged(&mut self, weight_max: usize, is_charged: impl Fn(&T) -> bool) -> Option<T> {
        // One that is alone is the first, whatever it is charged.
        let is_only = self.schedule.len() == 1;
        let (first, entry, flow) = loop {
            let mut first = self.schedule.peek_mut()?;
            let accounts = first.0.accounts;
            let flow = self.flows.get_mut(&accounts)?;
            match schedule_entry(accounts, flow, &self.usage) {
                Some(entry) if is_only || entry == first.0 => break (first, entry, flow),
                Some(entry) => first.0 = entry,
                None => {
                    PeekMut::pop(first);
                    flow.is_scheduled = false;
                }
            }
        };
        if flow.jobs.front()?.weight > weight_max {
            return None;
        }
        let QueuedJob { weight, job, .. } = flow.jobs.pop_front()?;
        let is_last = flow.jobs.is_empty();
        if is_last {
            PeekMut::pop(first);
            flow.is_scheduled = false;
        } else {
            drop(first);
        }
        flow.shrink();
        let charge = if is_charged(&job) { charge(weight) } else { 0 };
        self.remove_from_totals(entry.accounts, weight, charge);
        let progress = charge / (self.schedule.len() + usize::from(is_last)) as u64;
        self.virtual_time = (self.virtual_time + progress).max(entry.charged_first);
        if self.length == 0 {
            // No account is waiting, so none can be ahead.
            self.virtual_time = self.charged_max;
        }
        Some(job)
    }

    /// Removes the newest job of the account with the most queued weight, if that is more than one of
    /// `accounts` would have with a job of this `weight`.
    pub(crate) fn pop_newest_of_heaviest(&mut self, accounts: Accounts, weight: usize) -> Option<T> {
        let first = self.heavier_than(accounts.0, weight, |accounts| Some(accounts.0));
        let evicted = match (first, accounts.1) {
            (None, Some(second)) => self.heavier_than(second, weight, |accounts| accounts.1),
            _ => first,
        }?;
        let flow = self.flows.get_mut(&evicted)?;
        let QueuedJob { weight, job, .. } = flow.jobs.pop_back()?;
        flow.shrink();
        self.held -= usize::from(flow.is_held);
        self.remove_from_totals(evicted, weight, 0);
        Some(job)
    }

    /// Takes all jobs, and releases all flows.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let held: Vec<Accounts> =
            self.flows.iter().filter(|(_, flow)| flow.is_held).map(|(accounts, _)| *accounts).collect();
        held.into_iter().for_each(|accounts| self.release(accounts));
        std::iter::from_fn(|| self.pop(usize::MAX)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The number of jobs that are not held.
    pub(crate) fn ready(&self) -> usize {
        self.length - self.held
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The total weight of all jobs.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// The accounts of the newest job of the heaviest account that `select` selects, if that account is heavier than
    /// `account` with a job of this `weight`.
    fn heavier_than(
        &self,
        account: Account,
        weight: usize,
        select: impl Fn(Accounts) -> Option<Account>,
    ) -> Option<Accounts> {
        let queued_weight = |account| self.usage.get(&account).map_or(0, |usage| usage.queued_weight);
        let newest_jobs = self.flows.iter().filter_map(|(accounts, flow)| {
            let order = flow.jobs.back()?.order;
            Some((queued_weight(select(*accounts)?), order, *accounts))
        });
        let (heaviest, _, accounts) = newest_jobs.max()?;
        (heaviest > weight + queued_weight(account)).then_some(accounts)
    }

    /// Subtracts a job of `accounts` from the totals, and adds `charge` to the charge of each account.
    fn remove_from_totals(&mut self, accounts: Accounts, weight: usize, charge: u64) {
        for account in both(accounts) {
            let usage = self.usage.entry(account).or_default();
            usage.queued_weight -= weight;
            usage.charged += charge;
            self.charged_max = self.charged_max.max(usage.charged);
        }
        self.length -= 1;
        self.weight -= weight;
    }

    /// Forgets flows without jobs and accounts whose charge no longer matters, once there are enough of
    /// them.
    fn forget_idle(&mut self) {
        if self.flows.len() + self.usage.len() < 2 * self.retained + FORGET_THRESHOLD {
            return;
        }
        self.flows.retain(|_, flow| !flow.jobs.is_empty() || flow.is_held);
        self.usage.retain(|_, usage| usage.queued_weight > 0 || usage.charged > self.virtual_time);
        let entries =
            self.flows.iter().filter_map(|(accounts, flow)| schedule_entry(*accounts, flow, &self.usage));
        self.schedule = entries.map(Reverse).collect();
        self.flows.values_mut().for_each(|flow| flow.is_scheduled = flow.may_leave());
        self.retained = self.flows.len() + self.usage.len();
    }
}

impl<T> Flow<T> {
    fn new() -> Flow<T> {
        Flow { jobs: VecDeque::new(), is_scheduled: false, is_held: false }
    }

    /// Whether it has jobs and is not held.
    fn may_leave(&self) -> bool {
        !self.jobs.is_empty() && !self.is_held
    }

    /// Releases most of the memory of an empty flow.
    fn shrink(&mut self) {
        if self.jobs.is_empty() {
            self.jobs.shrink_to(JOBS_CAPACITY_KEPT);
        }
    }
}

fn both((first, second): Accounts) -> impl Iterator<Item = Account> {
    [Some(first), second].into_iter().flatten()
}

/// Schedules `flow`, which belongs to `accounts`, if it has jobs that may leave.
fn schedule<T>(
    accounts: Accounts,
    flow: &mut Flow<T>,
    usage: &BTreeMap<Account, AccountUsage>,
    schedule: &mut BinaryHeap<Reverse<ScheduleEntry>>,
) {
    if !flow.is_scheduled
        && let Some(entry) = schedule_entry(accounts, flow, usage)
    {
        flow.is_scheduled = true;
        schedule.push(Reverse(entry));
    }
}

/// The schedule entry of `flow`, which belongs to `accounts`; `None` if it has no jobs or is held.
fn schedule_entry<T>(
    accounts: Accounts,
    flow: &Flow<T>,
    usage: &BTreeMap<Account, AccountUsage>,
) -> Option<ScheduleEntry> {
    let QueuedJob { order, weight, .. } = flow.jobs.front().filter(|_| !flow.is_held)?;
    let charged = |account| usage.get(&account).map_or(0, |usage| usage.charged);
    let charged_first = charged(accounts.0);
    let charged = accounts.1.map_or(0, charged).max(charged_first) + charge(*weight);
    Some(ScheduleEntry { charged, charged_first, order: *order, accounts })
}

/// The charge of a job: scaled up so that it can be divided among thousands. A million points a second overflow
/// it after a hundred years.
fn charge(weight: usize) -> u64 {
    (weight as u64) << 12
}

/// The capacity that a flow without jobs keeps.
const JOBS_CAPACITY_KEPT: usize = 4;
/// The number of flows and accounts, beyond those retained the last time, at which idle ones are forgotten: those of 128
/// connections, so that the ones that are busy by turns are not made anew each time.
const FORGET_THRESHOLD: usize = 256;

#[cfg(test)]
#[path = "fair_queue_tests.rs"]
mod tests;
