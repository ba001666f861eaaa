//! Unit tests of backlogs.

use super::*;
use crate::clock::Instant;
use crate::ids::{ConnId, RequestKey, RequestSeq, VmId};
use crate::model::VmName;
use crate::work::pages::PageRequest;
use crate::work::{Read, Requester, Work};
use crate::worker::{Account, JobKey};
use std::sync::Arc;

const ALL: BatchPolicy = BatchPolicy::All { max: 99, weight_max: usize::MAX };
const RUN: RunId = RunId(1);
/// Takes two jobs at a time, of each account in order.
const TWO: BatchPolicy = BatchPolicy::InOrder { max: 2, weight_max: usize::MAX };

/// A look-up of the connection `index`.
fn lookup(number: u64, index: u32) -> Job {
    let request_key = RequestKey { conn: ConnId { index, generation: 1 }, seq: RequestSeq(number) };
    let accounts = (Account::Connection(request_key.conn), None);
    let key = JobKey { request_key, job: number };
    let work = Work::Read(Read::FindCredentials { name: VmName::from_store("a") });
    let (priority, deadline, state) = (Priority::Normal, Instant::ORIGIN, Arc::default());
    Job { key, work, priority, accounts, weight: 1, deadline, state }
}

fn page(number: u64, priority: Priority) -> Job {
    let page = PageRequest::Vms { after: VmId(0), rows_max: 1 };
    let work = Work::Read(Read::ListPage { requester: Requester::AnyClient(None), page });
    Job { work, priority, ..lookup(number, number as u32) }
}

fn heavy(number: u64, index: u32, weight: usize) -> Job {
    Job { weight, ..lookup(number, index) }
}

fn numbers(jobs: Vec<Job>) -> Vec<u64> {
    jobs.iter().map(|job| job.key.job).collect()
}

#[track_caller]
fn push(backlog: &mut Backlog, job: Job) {
    assert!(backlog.push(job).expect("there is room").is_empty());
}

#[test]
fn pages_are_first_in_first_out_after_lookups() {
    let mut backlog = Backlog::new(9);
    push(&mut backlog, page(1, Priority::Normal));
    push(&mut backlog, page(2, Priority::Reserved));
    push(&mut backlog, lookup(3, 3));
    push(&mut backlog, page(4, Priority::Normal));
    assert_eq!(numbers(backlog.take(ALL, 1, RUN)), [3, 1, 2, 4]);
}

#[test]
fn reserved_pages_fit_a_full_queue_and_take_no_other_slots() {
    let mut backlog = Backlog::new(1);
    push(&mut backlog, page(1, Priority::Normal));
    push(&mut backlog, page(2, Priority::Reserved));
    assert_eq!(backlog.push(page(3, Priority::Normal)).map(numbers), Err(QueueFull));
    push(&mut backlog, lookup(4, 4));
    assert_eq!(backlog.push(lookup(5, 5)).map(numbers), Err(QueueFull), "no account has more queued");
    assert_eq!(numbers(backlog.take(ALL, 1, RUN)), [4, 1, 2]);
}

#[test]
fn lookups_do_not_starve_pages() {
    let mut backlog = Backlog::new(99);
    (10..20).for_each(|number| push(&mut backlog, lookup(number, 1)));
    (1..=3).for_each(|number| push(&mut backlog, page(number, Priority::Normal)));
    let batch = BatchPolicy::EvenShare { max: 4 };
    assert_eq!(numbers(backlog.take(batch, 1, RUN)), [10, 11, 12, 13, 1]);
}

#[test]
fn an_even_share_leaves_jobs_for_other_threads() {
    let mut backlog = Backlog::new(9);
    (1..=5).for_each(|number| push(&mut backlog, lookup(number, 1)));
    let mut share = |max| backlog.take(BatchPolicy::EvenShare { max }, 2, RUN).len();
    assert_eq!([share(9), share(9), share(9), share(9)], [3, 1, 1, 0]);
    let mut backlog = Backlog::new(9);
    (1..=9).for_each(|number| push(&mut backlog, lookup(number, 1)));
    assert_eq!(backlog.take(BatchPolicy::EvenShare { max: 2 }, 2, RUN).len(), 2, "no more than at most");
}

#[test]
fn a_batch_is_limited_by_weight_but_takes_at_least_one_job() {
    let mut backlog = Backlog::new(9);
    for (number, weight) in [(1, 2), (2, 3), (3, 9), (4, 1), (5, 1)] {
        push(&mut backlog, heavy(number, 1, weight));
    }
    let mut taken = || numbers(backlog.take(BatchPolicy::All { max: 9, weight_max: 5 }, 1, RUN));
    assert_eq!([taken(), taken(), taken(), taken()], [vec![1, 2], vec![3], vec![4, 5], vec![]]);
}

#[test]
fn queued_weight_is_bounded_by_evicting_the_heaviest_account() {
    let most = limits::QUEUED_WEIGHT_MAX;
    let mut backlog = Backlog::new(9);
    push(&mut backlog, heavy(1, 1, most / 2));
    push(&mut backlog, heavy(2, 1, most / 2));
    assert_eq!(backlog.push(heavy(3, 1, 1)).map(numbers), Err(QueueFull));
    assert_eq!(backlog.push(lookup(4, 2)).map(numbers), Ok(vec![2]));
    assert_eq!(numbers(backlog.take(ALL, 1, RUN)), [4, 1]);
    push(&mut backlog, heavy(5, 1, 2 * most));
    assert_eq!(numbers(backlog.take(ALL, 1, RUN)), [5], "one has room whatever it weighs");
}

#[test]
fn low_priority_jobs_are_not_starved_and_are_evicted_first() {
    let later = |number| Job { priority: Priority::Low, ..lookup(number, 1) };
    let mut backlog = Backlog::new(8);
    (1..=2).for_each(|number| push(&mut backlog, later(number)));
    (3..=8).for_each(|number| push(&mut backlog, lookup(number, 2)));
    assert_eq!(backlog.push(lookup(9, 2)).map(numbers), Ok(vec![2]), "whatever the others have waiting");
    assert_eq!(backlog.push(Job { priority: Priority::Low, ..lookup(2, 3) }).map(numbers), Ok(vec![9]));
    let one = BatchPolicy::All { max: 1, weight_max: usize::MAX };
    let order: Vec<u64> = (0..8).flat_map(|_| numbers(backlog.take(one, 1, RUN))).collect();
    assert_eq!(limits::LOW_PRIORITY_INTERVAL, 4);
    assert_eq!(order, [3, 4, 5, 1, 6, 7, 8, 2]);
}

#[test]
fn abandoned_jobs_are_not_charged() {
    let mut backlog = Backlog::new(9);
    for number in 1..=3 {
        let job = lookup(number, 1);
        job.state.abandon();
        push(&mut backlog, job);
    }
    (5..=7).for_each(|number| push(&mut backlog, lookup(number, 2)));
    let one = BatchPolicy::All { max: 1, weight_max: usize::MAX };
    let order: Vec<u64> = (0..4).flat_map(|_| numbers(backlog.take(one, 1, RUN))).collect();
    assert_eq!(order, [1, 2, 3, 5]);
    push(&mut backlog, lookup(4, 1));
    assert_eq!(numbers(backlog.take(ALL, 1, RUN)), [6, 4, 7], "its turn is the next but one");
}

#[test]
fn a_requeued_job_fits_a_full_queue() {
    let mut backlog = Backlog::new(1);
    push(&mut backlog, lookup(2, 2));
    backlog.end_run(RUN, vec![lookup(1, 1)]);
    assert_eq!(backlog.push(lookup(3, 3)).map(numbers), Err(QueueFull));
    assert_eq!([(); 2].map(|()| numbers(backlog.take(ALL, 1, RUN))), [[2], [1]]);
}

#[test]
fn retries_run_alone_and_alternate_with_batches() {
    let mut backlog = Backlog::new(99);
    backlog.end_run(RUN, (1..=3).map(|number| lookup(number, 1)).collect());
    (10..=13).for_each(|number| push(&mut backlog, lookup(number, 2)));
    push(&mut backlog, page(20, Priority::Normal));
    let two = BatchPolicy::All { max: 2, weight_max: usize::MAX };
    let order = [(); 6].map(|()| numbers(backlog.take(two, 1, RUN)));
    assert_eq!(order, [vec![10, 11, 20], vec![1], vec![12, 13], vec![2], vec![3], vec![]]);
}

#[test]
fn jobs_of_one_account_are_run_by_one_thread_in_order() {
    let mut backlog = Backlog::new(99);
    for (number, index) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 1)] {
        push(&mut backlog, lookup(number, index));
    }
    assert_eq!(numbers(backlog.take(TWO, 2, RunId(1))), [1, 4]);
    assert_eq!((backlog.queued(), backlog.ready()), (4, 0), "both accounts have jobs under way");
    assert!(backlog.take(TWO, 2, RunId(2)).is_empty());
    push(&mut backlog, lookup(7, 3));
    assert_eq!(numbers(backlog.take(TWO, 2, RunId(3))), [7]);
    backlog.end_run(RunId(1), Vec::new());
    assert_eq!(numbers(backlog.take(TWO, 2, RunId(4))), [2, 5]);
    backlog.end_run(RunId(3), Vec::new());
    assert_eq!(backlog.ready(), 0);
    backlog.end_run(RunId(4), Vec::new());
    assert_eq!(numbers(backlog.take(TWO, 2, RunId(5))), [3, 6]);
}

#[test]
fn a_job_that_is_tried_again_is_not_overtaken() {
    let mut backlog = Backlog::new(99);
    (1..=5).for_each(|number| push(&mut backlog, lookup(number, 1)));
    push(&mut backlog, lookup(10, 2));
    let three = BatchPolicy::InOrder { max: 4, weight_max: usize::MAX };
    let jobs = backlog.take(three, 2, RunId(1));
    let again = jobs.into_iter().filter(|job| job.key.job != 1).collect();
    backlog.end_run(RunId(1), again);
    push(&mut backlog, lookup(11, 2));
    // The first of each account alone; the others only after it.
    assert_eq!(numbers(backlog.take(TWO, 2, RunId(2))), [10]);
    let again = backlog.take(TWO, 2, RunId(3));
    assert_eq!((numbers(again.clone()), backlog.ready()), (vec![2], 0));
    backlog.end_run(RunId(2), Vec::new());
    backlog.end_run(RunId(3), again);
    let order = [(); 5].map(|()| {
        let jobs = numbers(backlog.take(TWO, 2, RunId(4)));
        backlog.end_run(RunId(4), Vec::new());
        jobs
    });
    assert_eq!(order, [vec![11], vec![2], vec![3, 4], vec![5], vec![]]);
}

#[test]
fn a_run_that_never_ends_holds_up_jobs_until_its_own_are_abandoned() {
    let mut backlog = Backlog::new(99);
    (1..=3).for_each(|number| push(&mut backlog, lookup(number, 1)));
    let stuck = backlog.take(TWO, 2, RunId(1));
    stuck[0].state.abandon();
    backlog.give_up(RunId(1));
    assert_eq!(backlog.ready(), 0, "the second may still be done");
    stuck[1].state.abandon();
    backlog.give_up(RunId(1));
    push(&mut backlog, lookup(4, 1));
    assert_eq!(numbers(backlog.take(TWO, 2, RunId(2))), [3, 4]);
    push(&mut backlog, lookup(5, 1));
    backlog.end_run(RunId(1), Vec::new());
    assert_eq!(backlog.ready(), 0, "the other run is under way");
    backlog.end_run(RunId(2), Vec::new());
    assert_eq!(numbers(backlog.take(TWO, 2, RunId(3))), [5]);
}

#[test]
fn all_jobs_are_drained_whatever_runs() {
    let mut backlog = Backlog::new(99);
    (1..=3).for_each(|number| push(&mut backlog, lookup(number, 1)));
    backlog.take(TWO, 2, RunId(1));
    assert_eq!(numbers(backlog.drain()), [3]);
    push(&mut backlog, lookup(4, 1));
    let taken = backlog.take(TWO, 2, RunId(2));
    push(&mut backlog, lookup(5, 1));
    backlog.end_run(RunId(1), Vec::new());
    assert_eq!((numbers(taken), backlog.ready()), (vec![4], 0), "an old run holds nothing up");
}
