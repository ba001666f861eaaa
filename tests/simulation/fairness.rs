//! Checks that the queue of a lane is fair between accounts: connections, or for key exchanges their sources, whatever the queue does inside.
//!
//! A connection that always has jobs queued must not delay or displace the jobs of others: a job is refused or evicted
//! only in favour of connections with less queued, and while two connections both have jobs queued, neither gets much
//! more done than the other. A connection whose writes are under way has to wait for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::verification::{Verification, ensure};
use vmherd::internals::work::Lane;
use vmherd::internals::worker::{Account, Job, JobState, Priority, RunId};

/// The queued jobs of one lane, by account. Jobs of logins and pages of lists have rules of their own.
#[derive(Default)]
pub(super) struct FairnessMonitor {
    usage: BTreeMap<Account, Usage>,
    /// For two connections that both have jobs queued: how much more work of the first than of the second had been
    /// taken when that began.
    lead_before: BTreeMap<(Account, Account), i64>,
    /// The weight of the heaviest job so far.
    heaviest: i64,
    /// The accounts whose later jobs wait for a run, with the jobs of the run.
    held: Vec<(RunId, Account, Arc<JobState>)>,
}

/// The work of one connection.
#[derive(Clone, Copy, Default)]
struct Usage {
    /// The jobs in the queue, and the sum of their weights.
    queued: usize,
    queued_weight: usize,
    /// The sum of the weights of the jobs that were taken from it.
    taken: i64,
}

impl FairnessMonitor {
    /// `job` has been queued.
    pub(super) fn add(&mut self, job: &Job) {
        let Some(account) = account_of(job) else { return };
        self.heaviest = self.heaviest.max(job.weight as i64);
        let own = self.usage.entry(account).or_default();
        own.queued += 1;
        own.queued_weight += job.weight;
        if own.queued == 1 {
            self.begin_comparing(account);
        }
    }

    /// The jobs of `account` may be taken from now on, if there are any.
    fn begin_comparing(&mut self, account: Account) {
        let own = self.usage.get(&account).copied().unwrap_or_default();
        if own.queued == 0 || self.is_held(account) {
            return;
        }
        for (other, usage) in self.usage.iter().filter(|(_, usage)| usage.queued > 0) {
            if *other != account && !self.is_held(*other) {
                self.lead_before.insert((account, *other), own.taken - usage.taken);
                self.lead_before.insert((*other, account), usage.taken - own.taken);
            }
        }
    }

    fn end_comparing(&mut self, account: Account) {
        self.lead_before.retain(|(first, second), _| *first != account && *second != account);
    }

    fn is_held(&self, account: Account) -> bool {
        self.held.iter().any(|(_, held, _)| *held == account)
    }

    /// A run of `jobs` begins: later jobs of their accounts wait for it.
    pub(super) fn begin_run(&mut self, run: RunId, jobs: &[Job]) {
        for job in jobs {
            let Some(account) = account_of(job) else { continue };
            self.held.push((run, account, Arc::clone(&job.state)));
            self.end_comparing(account);
        }
    }

    /// A run has ended.
    pub(super) fn end_run(&mut self, run: RunId) {
        self.release(|(of, ..)| *of == run);
    }

    /// Jobs of a run that may never end were abandoned.
    pub(super) fn give_up(&mut self, run: RunId) {
        self.release(|(of, _, state)| *of == run && state.is_abandoned());
    }

    fn release(&mut self, is_over: impl Fn(&(RunId, Account, Arc<JobState>)) -> bool) {
        let over: Vec<_> = self.held.extract_if(.., |held| is_over(held)).collect();
        over.into_iter().for_each(|(_, account, _)| self.begin_comparing(account));
    }

    /// `job` was refused because the queue is full.
    pub(super) fn check_refusal(&self, job: &Job) -> Verification {
        let Some(account) = account_of(job) else { return Ok(()) };
        let weight = self.weight_of(account) + job.weight;
        let has_heavier = self.usage.values().any(|usage| usage.queued_weight > weight);
        ensure(!has_heavier, "a job is refused, and another connection has more queued")
    }

    /// `job` was evicted from the queue in favour of `newer`.
    pub(super) fn evict(&mut self, job: &Job, newer: &Job) -> Verification {
        let Some(account) = account_of(job) else { return Ok(()) };
        let weight = self.weight_of(account);
        self.remove(account, job);
        match account_of(newer) {
            Some(newer_account) => ensure(
                weight > self.weight_of(newer_account) + newer.weight,
                "a job is evicted in favour of a connection with more queued",
            ),
            None => Ok(()),
        }
    }

    /// `job` was taken from the queue, to be run.
    pub(super) fn take(&mut self, job: &Job) -> Verification {
        let Some(account) = account_of(job) else { return Ok(()) };
        if !job.state.is_abandoned() {
            self.usage.entry(account).or_default().taken += job.weight as i64;
        }
        let own = self.usage.get(&account).copied().unwrap_or_default();
        let lead_max = LEAD_MAX * self.heaviest;
        let lead = |(other, usage): (&Account, &Usage)| {
            let before = self.lead_before.get(&(account, *other))?;
            (usage.queued > 0).then_some(own.taken - usage.taken - before)
        };
        let lead = self.usage.iter().filter_map(lead).max().unwrap_or(0);
        self.remove(account, job);
        match lead <= lead_max {
            true => Ok(()),
            false => Err(format!("a connection is ahead of a waiting one by {lead}, more than {lead_max}")),
        }
    }

    fn weight_of(&self, account: Account) -> usize {
        self.usage.get(&account).map_or(0, |usage| usage.queued_weight)
    }

    fn remove(&mut self, account: Account, job: &Job) {
        let own = self.usage.entry(account).or_default();
        own.queued -= 1;
        own.queued_weight -= job.weight;
        if own.queued == 0 {
            self.end_comparing(account);
        }
    }
}

/// The account that a job is charged to, if it is one in its turn.
fn account_of(job: &Job) -> Option<Account> {
    let is_login = job.work.lane() == Lane::Auth;
    let is_in_turn = job.priority != Priority::Low && !job.work.is_page() && !is_login;
    match job.accounts {
        (account, None) if is_in_turn => Some(account),
        _ => None,
    }
}

/// By how many of the heaviest jobs a connection may get ahead of another while both wait.
const LEAD_MAX: i64 = 6;
