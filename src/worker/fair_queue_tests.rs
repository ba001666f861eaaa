//! Unit tests of fair queues.

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
fn a_held_flow_keeps_its_jobs_in_order() {
    let mut queue = queue(&[(connection(0), 1, 3), (connection(1), 1, 2)]);
    queue.hold(connection(0));
    queue.hold(connection(0));
    assert_eq!((queue.len(), queue.ready()), (5, 2));
    assert_eq!(next(&mut queue, 9), [1, 1]);
    assert_eq!(queue.pop_newest_of_heaviest(connection(1), 1), Some(0), "it may be evicted");
    queue.push_first(connection(0), 1, 7);
    queue.push(connection(0), 1, 8);
    // Enough others for a clean-up.
    (10..1000).for_each(|index| queue.push(connection(index), 1, 9));
    assert_eq!(next(&mut queue, 990), [9; 990]);
    assert_eq!((queue.len(), queue.ready(), queue.pop(usize::MAX)), (4, 0, None));
    queue.release(connection(0));
    assert_eq!((queue.ready(), next(&mut queue, 9)), (4, vec![7, 0, 0, 8]));
    queue.release(connection(0));
    assert_eq!((queue.len(), queue.ready()), (0, 0));
}

#[test]
fn held_flows_are_drained_too() {
    let mut queue = queue(&[(connection(0), 1, 2), (connection(1), 1, 1)]);
    queue.hold(connection(0));
    assert_eq!(queue.drain().len(), 3);
    queue.push(connection(0), 1, 5);
    assert_eq!(queue.pop(usize::MAX), Some(5), "it is no longer held");
}

#[test]
fn idle_accounts_are_forgotten() {
    let mut queue = FairQueue::default();
    queue.push(connection(0), 1, 0);
    for index in 1..10_000 {
        queue.push(connection(index), 1, 1);
        queue.pop(usize::MAX);
    }
    assert!(queue.flows.len() + queue.usage.len() < 2 * FORGET_THRESHOLD);
    assert_eq!(queue.len(), 1);
}

#[test]
fn a_hundred_accounts_are_remembered_while_idle() {
    let mut queue = FairQueue::default();
    for _ in 0..3 {
        (0..100).for_each(|index| queue.push(connection(index), 1, 1));
        assert_eq!((queue.flows.len(), queue.usage.len()), (100, 100));
        assert_eq!(next(&mut queue, 100).len(), 100);
    }
    assert_eq!((queue.flows.len(), queue.schedule.len()), (100, 0));
}
