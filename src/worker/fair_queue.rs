//! A queue that is fair between the accounts whose jobs it holds.
//!
//! Each job is charged to one account, a connection, or to two, the source of a login and the VM it names. The
//! next job is that of the account with the lowest charge, as in weighted fair queueing (Demers, Keshav and
//! Shenker, 1989). Of two accounts, the one with the higher charge counts. An account that returns after a
//! pause starts at the queue's virtual time: idling earns no credit, and a short pause clears no charge.
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
    /// One entry for each flow with jobs. An entry that has become too early is corrected when it reaches
    /// the front.
    schedule: BinaryHeap<Reverse<ScheduleEntry>>,
    /// The charge that an account with jobs always queued would have now.
    virtual_time: u64,
    /// The highest charge of any account.
    charged_max: u64,
    next_order: u64,
    length: usize,
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
            weight: 0,
            retained: 0,
        }
    }
}

impl<T> FairQueue<T> {
    /// Adds a job.
    pub(crate) fn push(&mut self, accounts: Accounts, weight: usize, job: T) {
        self.forget_idle();
        for account in both(accounts) {
            let usage = self.usage.entry(account).or_default();
            if usage.queued_weight == 0 {
                usage.charged = usage.charged.max(self.virtual_time);
            }
            usage.queued_weight += weight;
        }
        let new_flow = || Flow { jobs: VecDeque::new(), is_scheduled: false };
        let flow = self.flows.entry(accounts).or_insert_with(new_flow);
        flow.jobs.push_back(QueuedJob { order: self.next_order, weight, job });
        if !std::mem::replace(&mut flow.is_scheduled, true) {
            self.schedule.extend(schedule_entry(accounts, flow, &self.usage).map(Reverse));
        }
        self.next_order += 1;
        self.length += 1;
        self.weight += weight;
    }

    /// Takes the next job, if it weighs at most `weight_max`.
    pub(crate) fn pop(&mut self, weight_max: usize) -> Option<T> {
        self.pop_charged(weight_max, |_| true)
    }

    /// Like [`FairQueue::pop`], but charges the job only if `is_charged` returns true: an abandoned job
    /// costs nothing, and must not be charged to others.
    pub(crate) fn pop_charged(&mut self, weight_max: usize, is_charged: impl Fn(&T) -> bool) -> Option<T> {
        let (entry, flow) = loop {
            let mut first = self.schedule.peek_mut()?;
            let accounts = first.0.accounts;
            let flow = self.flows.get_mut(&accounts)?;
            match schedule_entry(accounts, flow, &self.usage) {
                Some(entry) if entry == first.0 => break (entry, flow),
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
        flow.shrink();
        let charge = if is_charged(&job) { charge(weight) } else { 0 };
        self.remove_from_totals(entry.accounts, weight, charge);
        let progress = charge / self.schedule.len() as u64;
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
        self.remove_from_totals(evicted, weight, 0);
        Some(job)
    }

    /// Takes all jobs.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.pop(usize::MAX)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.length
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
        self.flows.retain(|_, flow| !flow.jobs.is_empty());
        self.usage.retain(|_, usage| usage.queued_weight > 0 || usage.charged > self.virtual_time);
        let entries =
            self.flows.iter().filter_map(|(accounts, flow)| schedule_entry(*accounts, flow, &self.usage));
        self.schedule = entries.map(Reverse).collect();
        self.retained = self.flows.len() + self.usage.len();
    }
}

impl<T> Flow<T> {
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

/// The schedule entry of `flow`, which belongs to `accounts`; `None` if it has no jobs.
fn schedule_entry<T>(
    accounts: Accounts,
    flow: &Flow<T>,
    usage: &BTreeMap<Account, AccountUsage>,
) -> Option<ScheduleEntry> {
    let QueuedJob { order, weight, .. } = flow.jobs.front()?;
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
const JOBS_CAPACITY_KEPT: usize = 16;
/// The number of flows and accounts, beyond those retained the last time, at which idle ones are forgotten.
const FORGET_THRESHOLD: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(index: u32) -> Accounts {
        (Account::Connection(ConnId { index, generation: 1 }), None)
    }

    fn login(user: u32, vm: u64) -> Accounts {
        (Account::Source(Source::User(Some(user))), Some(Account::Vm(vm)))
    }

    /// A queue of the given accounts, weights and counts; each job is the index of its entry.
    fn queue(jobs: &[(Accounts, usize, usize)]) -> FairQueue<usize> {
        let mut queue = FairQueue::default();
        for (number, (accounts, weight, count)) in jobs.iter().enumerate() {
            (0..*count).for_each(|_| queue.push(*accounts, *weight, number));
        }
        queue
    }

    fn next(queue: &mut FairQueue<usize>, count: usize) -> Vec<usize> {
        (0..count).map_while(|_| queue.pop(usize::MAX)).collect()
    }

    #[test]
    fn jobs_of_one_account_are_first_in_first_out() {
        let mut queue = FairQueue::default();
        (0..100).for_each(|number| queue.push(connection(1), 1 + number % 7, number));
        assert_eq!(queue.weight(), (0..100).map(|number| 1 + number % 7).sum::<usize>());
        assert_eq!(next(&mut queue, 200), (0..100).collect::<Vec<_>>());
        assert_eq!((queue.len(), queue.weight()), (0, 0));
    }

    #[test]
    fn accounts_share_by_weight() {
        let mut queue = queue(&[(connection(1), 1000, 5), (connection(2), 100, 50)]);
        let first = next(&mut queue, 22);
        assert_eq!(first.iter().filter(|number| **number == 0).count(), 2, "{first:?}");
    }

    #[test]
    fn a_new_account_is_served_before_those_charged_more() {
        let crowd: Vec<_> = (1..=40).map(|index| (connection(index), 1000, 8)).collect();
        let mut queue = queue(&crowd);
        for round in 0..100 {
            next(&mut queue, 1 + round % 3);
            queue.push(connection(99), 1, 99);
            assert!(next(&mut queue, 2).contains(&99), "in round {round}");
        }
    }

    #[test]
    fn a_stream_of_new_accounts_starves_no_other() {
        let mut queue = queue(&[(connection(0), 10, 50)]);
        let mut served = 0;
        for index in 1..1000 {
            queue.push(connection(index), 10, 1);
            queue.push(connection(1000 + index), 10, 1);
            served += usize::from(queue.pop(usize::MAX) == Some(0));
        }
        assert!(served >= 5, "{served}");
    }

    #[test]
    fn a_source_and_a_vm_each_have_one_account() {
        // One source with many VMs, and a second source.
        let mut one = FairQueue::default();
        (0..100).for_each(|vm| one.push(login(1, vm), 1, 1));
        next(&mut one, 10);
        one.push(login(2, 7), 1, 2);
        assert!(next(&mut one, 2).contains(&2));
        // Many sources with one VM, and another source with another VM.
        let mut many = FairQueue::default();
        (0..100).for_each(|user| many.push(login(user, 1), 1, 1));
        next(&mut many, 10);
        many.push(login(200, 2), 1, 2);
        assert!(next(&mut many, 2).contains(&2));
        // A second source with the same VM as a source with many jobs.
        let mut same = FairQueue::default();
        (0..100).for_each(|_| same.push(login(1, 1), 1, 1));
        next(&mut same, 10);
        same.push(login(2, 1), 1, 2);
        assert!(next(&mut same, 2).contains(&2));
        // The same, repeatedly.
        for _ in 0..20 {
            next(&mut same, 3);
            same.push(login(2, 1), 1, 2);
            assert!(next(&mut same, 2).contains(&2));
        }
        // The same source with another VM.
        let mut vms = FairQueue::default();
        (0..100).for_each(|_| vms.push(login(1, 1), 1, 1));
        next(&mut vms, 10);
        vms.push(login(1, 2), 1, 2);
        next(&mut vms, 20);
        assert_eq!(vms.len(), 71, "nothing is lost");
    }

    #[test]
    fn the_newest_job_of_the_heaviest_account_is_evicted_for_a_lighter_one() {
        let mut queue = FairQueue::default();
        (0..5).for_each(|number| queue.push(login(1, 1), 1, number));
        (5..8).for_each(|number| queue.push(login(2, 2), 1, number));
        assert_eq!(queue.pop_newest_of_heaviest(login(1, 1), 1), None, "it is the heaviest itself");
        assert_eq!(queue.pop_newest_of_heaviest(login(3, 3), 1), Some(4));
        assert_eq!(queue.pop_newest_of_heaviest(login(2, 2), 1), None, "it would have as many");
        let mut crowd = FairQueue::default();
        (0..5).for_each(|user| crowd.push(login(user as u32, 1), 1, user));
        assert_eq!(crowd.pop_newest_of_heaviest(login(9, 2), 1), Some(4), "the VM has the most");
        assert_eq!(crowd.pop_newest_of_heaviest(login(9, 1), 1), None);
        assert_eq!(next(&mut crowd, 9), [0, 1, 2, 3]);
    }

    #[test]
    fn idle_accounts_are_forgotten() {
        let mut queue = FairQueue::default();
        queue.push(connection(0), 1, 0);
        for index in 1..10_000 {
            queue.push(connection(index), 1, 1);
            queue.pop(usize::MAX);
        }
        assert!(queue.flows.len() + queue.usage.len() < 1000);
        assert_eq!(queue.len(), 1);
    }
}
