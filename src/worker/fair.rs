//! A queue that is fair between those whose jobs wait in it.
//!
//! Each job is charged to whom it is done for: a connection; or a source of logins, and the VM that it wants to be.
//! Next is the job of the one that will have been charged least, as in weighted fair queueing (Demers, Keshav and
//! Shenker, 1989). Where a job is charged to two, the one that was charged more decides. One that comes back after a rest has the
//! queue's clock for its charge: rest is no credit, and what was charged is not forgotten by a short rest.
//!
//! Invariants: jobs of the same flow leave in the order in which they came; nothing is allocated for a job
//! of a flow that is known.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::ids::ConnId;
use crate::model::{Source, VmName};

/// To whom a job is charged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Share {
    /// To a connection.
    Connection(ConnId),
    /// To where a login comes from.
    Source(Source),
    /// To whom it wants to be: the hash of the VM's name.
    Vm(u64),
}

impl Share {
    /// The VM of this name.
    pub fn vm(name: &VmName) -> Share {
        Share::Vm(BuildHasherDefault::<DefaultHasher>::default().hash_one(name))
    }
}

/// To whom a job is charged: to one, maybe to another as well.
pub type Shares = (Share, Option<Share>);

/// Jobs that wait.
pub(crate) struct FairQueue<T> {
    meters: Vec<Meter>,
    flows: Vec<Flow<T>>,
    meter_of: HashMap<Share, usize>,
    flow_of: HashMap<(usize, Option<usize>), usize>,
    /// One for each flow that has jobs. Those that came too early by what was charged meanwhile are put right when
    /// they come first.
    turns: BinaryHeap<Reverse<Turn>>,
    /// What somebody would have been charged by now who has had jobs waiting all the time.
    clock: u64,
    /// The most that anybody was charged.
    charged_max: u64,
    next_order: u64,
    length: usize,
    weight: usize,
    /// Flows and meters that were left when those at rest were last forgotten.
    remembered: usize,
}

/// What one of those is charged that jobs are done for.
struct Meter {
    share: Share,
    charged: u64,
    /// What its jobs that wait weigh.
    waiting: usize,
}

/// Jobs that are charged to the same.
struct Flow<T> {
    meters: (usize, Option<usize>),
    jobs: VecDeque<Waiting<T>>,
    has_turn: bool,
}

struct Waiting<T> {
    order: u64,
    weight: usize,
    /// The charge before which it has no turn.
    not_before: u64,
    job: T,
}

/// When it is a flow's turn: the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    /// What the one that was charged more will have been charged then.
    charged: u64,
    /// What the first was.
    charged_first: u64,
    order: u64,
    flow: usize,
}

impl<T> FairQueue<T> {
    pub(crate) fn new() -> FairQueue<T> {
        FairQueue {
            meters: Vec::new(),
            flows: Vec::new(),
            meter_of: HashMap::new(),
            flow_of: HashMap::new(),
            turns: BinaryHeap::new(),
            clock: 0,
            charged_max: 0,
            next_order: 0,
            length: 0,
            weight: 0,
            remembered: 0,
        }
    }

    /// Adds a job.
    pub(crate) fn push(&mut self, shares: Shares, weight: usize, job: T) {
        self.add(shares, weight, 0, job);
    }

    /// Adds a job whose turn comes when all those have had theirs that wait now.
    pub(crate) fn push_last(&mut self, shares: Shares, weight: usize, job: T) {
        let ends = self.meters.iter().map(|meter| meter.charged + charge(meter.waiting));
        let last = ends.max().unwrap_or(0);
        self.add(shares, weight, last, job);
    }

    /// Takes the next job, if it weighs `weight_max` at most.
    pub(crate) fn pop(&mut self, weight_max: usize) -> Option<T> {
        self.pop_charged(weight_max, |_| true)
    }

    /// The same, and charges it only where it is to be: nothing is done for one that was given up, and a client must
    /// not have others charged for such.
    pub(crate) fn pop_charged(&mut self, weight_max: usize, is_charged: impl Fn(&T) -> bool) -> Option<T> {
        let turn = self.next_turn()?;
        let flow = &mut self.flows[turn.flow];
        if flow.jobs.front()?.weight > weight_max {
            return None;
        }
        let Waiting { weight, job, .. } = flow.jobs.pop_front()?;
        let charge = if is_charged(&job) { charge(weight) } else { 0 };
        for meter in both(flow.meters) {
            self.meters[meter].charged += charge;
            self.charged_max = self.charged_max.max(self.meters[meter].charged);
        }
        self.uncount(turn.flow, weight);
        let progress = charge / self.turns.len() as u64;
        self.clock = (self.clock + progress).max(turn.charged_first);
        if self.length == 0 {
            // Nobody waits whom anybody could be ahead of.
            self.clock = self.charged_max;
        }
        Some(job)
    }

    /// Takes back the job that came last of the one that has the most waiting, where that is more than one of `shares`
    /// would have with a job of this `weight`.
    pub(crate) fn pop_newest_of_heaviest(&mut self, shares: Shares, weight: usize) -> Option<T> {
        let first = self.heavier_than(shares.0, weight, |flow| Some(flow.meters.0));
        let flow = match (first, shares.1) {
            (None, Some(second)) => self.heavier_than(second, weight, |flow| flow.meters.1),
            _ => first,
        }?;
        let Waiting { weight, job, .. } = self.flows[flow].jobs.pop_back()?;
        self.uncount(flow, weight);
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

    /// What all jobs weigh together.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    fn add(&mut self, shares: Shares, weight: usize, not_before: u64, job: T) {
        self.forget_rested();
        let (first, second) = shares;
        let meters = (self.meter(first), second.map(|share| self.meter(share)));
        for meter in both(meters) {
            let meter = &mut self.meters[meter];
            if meter.waiting == 0 {
                meter.charged = meter.charged.max(self.clock);
            }
            meter.waiting += weight;
        }
        let flow = *self.flow_of.entry(meters).or_insert_with(|| {
            self.flows.push(Flow { meters, jobs: VecDeque::new(), has_turn: false });
            self.flows.len() - 1
        });
        let order = self.next_order;
        self.next_order += 1;
        self.length += 1;
        self.weight += weight;
        self.flows[flow].jobs.push_back(Waiting { order, weight, not_before, job });
        self.give_turn(flow);
    }

    /// Whose turn it is.
    fn next_turn(&mut self) -> Option<Turn> {
        loop {
            let mut first = self.turns.peek_mut()?;
            let at = first.0.flow;
            match turn(at, &self.flows[at], &self.meters) {
                Some(turn) if turn == first.0 => return Some(turn),
                Some(turn) => first.0 = turn,
                None => {
                    PeekMut::pop(first);
                    self.flows[at].has_turn = false;
                }
            }
        }
    }

    /// The flow that has the newest job of the heaviest, of those that `meter` names, if that is heavier than `share`
    /// with a job of this `weight`.
    fn heavier_than(
        &self,
        share: Share,
        weight: usize,
        meter: impl Fn(&Flow<T>) -> Option<usize>,
    ) -> Option<usize> {
        let own = weight + self.meter_of.get(&share).map_or(0, |own| self.meters[*own].waiting);
        let heaviest = self.flows.iter().filter_map(&meter).max_by_key(|at| self.meters[*at].waiting)?;
        if self.meters[heaviest].waiting <= own {
            return None;
        }
        let its = self.flows.iter().enumerate().filter(|(_, flow)| meter(flow) == Some(heaviest));
        let newest = its.filter_map(|(at, flow)| Some((flow.jobs.back()?.order, at))).max()?;
        Some(newest.1)
    }

    fn give_turn(&mut self, at: usize) {
        let flow = &mut self.flows[at];
        if flow.has_turn {
            return;
        }
        if let Some(turn) = turn(at, flow, &self.meters) {
            flow.has_turn = true;
            self.turns.push(Reverse(turn));
        }
    }

    fn meter(&mut self, share: Share) -> usize {
        *self.meter_of.entry(share).or_insert_with(|| {
            self.meters.push(Meter { share, charged: 0, waiting: 0 });
            self.meters.len() - 1
        })
    }

    /// A job of `flow` waits no more.
    fn uncount(&mut self, flow: usize, weight: usize) {
        for meter in both(self.flows[flow].meters) {
            self.meters[meter].waiting -= weight;
        }
        self.length -= 1;
        self.weight -= weight;
        let jobs = &mut self.flows[flow].jobs;
        if jobs.is_empty() {
            jobs.shrink_to(JOBS_KEPT);
        }
    }

    /// Forgets flows without jobs, and what was charged to those that nobody is behind of, when there are as many
    /// as to be worth it.
    fn forget_rested(&mut self) {
        if self.flows.len() + self.meters.len() < 2 * self.remembered + FORGOTTEN_AT_ONCE {
            return;
        }
        let (flows, meters) = (std::mem::take(&mut self.flows), std::mem::take(&mut self.meters));
        (self.meter_of, self.flow_of) = (HashMap::new(), HashMap::new());
        self.turns.clear();
        let mut places = Vec::with_capacity(meters.len());
        for meter in meters {
            places.push(self.meters.len());
            if meter.waiting > 0 || meter.charged > self.clock {
                self.meter_of.insert(meter.share, self.meters.len());
                self.meters.push(meter);
            }
        }
        for mut flow in flows.into_iter().filter(|flow| !flow.jobs.is_empty()) {
            flow.meters = (places[flow.meters.0], flow.meters.1.map(|meter| places[meter]));
            flow.has_turn = false;
            self.flow_of.insert(flow.meters, self.flows.len());
            self.flows.push(flow);
            self.give_turn(self.flows.len() - 1);
        }
        self.remembered = self.flows.len() + self.meters.len();
    }
}

fn both((first, second): (usize, Option<usize>)) -> impl Iterator<Item = usize> {
    [Some(first), second].into_iter().flatten()
}

/// When it is the turn of `flow`, the one at this place; never where it has no jobs.
fn turn<T>(at: usize, flow: &Flow<T>, meters: &[Meter]) -> Option<Turn> {
    let Waiting { order, weight, not_before, .. } = flow.jobs.front()?;
    let charged_first = meters[flow.meters.0].charged;
    let charged = flow.meters.1.map_or(0, |second| meters[second].charged).max(charged_first);
    let charged = charged.max(*not_before) + charge(*weight);
    Some(Turn { charged, charged_first, order: *order, flow: at })
}

/// What is charged for a job of this weight: fine enough to be shared out among thousands. A million points a second
/// can be charged for a hundred years.
fn charge(weight: usize) -> u64 {
    (weight as u64) << 12
}

/// Jobs that a flow without any keeps room for.
const JOBS_KEPT: usize = 16;
/// Flows and meters, beyond as many as were left the last time, that are worth looking for those to forget.
const FORGOTTEN_AT_ONCE: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(index: u32) -> Shares {
        (Share::Connection(ConnId { index, generation: 1 }), None)
    }

    fn login(user: u32, vm: u64) -> Shares {
        (Share::Source(Source::User(Some(user))), Some(Share::Vm(vm)))
    }

    /// A queue of so many jobs for each of those, each job with the number of whom it is for.
    fn queue(jobs: &[(Shares, usize, usize)]) -> FairQueue<usize> {
        let mut queue = FairQueue::new();
        for (number, (shares, weight, count)) in jobs.iter().enumerate() {
            (0..*count).for_each(|_| queue.push(*shares, *weight, number));
        }
        queue
    }

    fn next(queue: &mut FairQueue<usize>, count: usize) -> Vec<usize> {
        (0..count).map_while(|_| queue.pop(usize::MAX)).collect()
    }

    #[test]
    fn jobs_of_one_client_leave_in_the_order_of_their_arrival() {
        let mut queue = FairQueue::new();
        (0..100).for_each(|number| queue.push(connection(1), 1 + number % 7, number));
        assert_eq!(queue.weight(), (0..100).map(|number| 1 + number % 7).sum::<usize>());
        assert_eq!(next(&mut queue, 200), (0..100).collect::<Vec<_>>());
        assert_eq!((queue.len(), queue.weight()), (0, 0));
    }

    #[test]
    fn clients_share_by_weight() {
        let mut queue = queue(&[(connection(1), 1000, 5), (connection(2), 100, 50)]);
        let first = next(&mut queue, 22);
        assert_eq!(first.iter().filter(|number| **number == 0).count(), 2, "{first:?}");
    }

    #[test]
    fn a_client_that_comes_is_served_before_those_that_have_had_more() {
        let crowd: Vec<_> = (1..=40).map(|index| (connection(index), 1000, 8)).collect();
        let mut queue = queue(&crowd);
        for round in 0..100 {
            next(&mut queue, 1 + round % 3);
            queue.push(connection(99), 1, 99);
            assert!(next(&mut queue, 2).contains(&99), "in round {round}");
        }
    }

    #[test]
    fn clients_that_are_new_each_time_starve_no_other() {
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
    fn a_source_and_a_vm_have_one_share_each() {
        // One source that wants to be many, and one that comes later.
        let mut one = FairQueue::new();
        (0..100).for_each(|vm| one.push(login(1, vm), 1, 1));
        next(&mut one, 10);
        one.push(login(2, 7), 1, 2);
        assert!(next(&mut one, 2).contains(&2));
        // Many sources that want to be one, and one that wants to be another.
        let mut many = FairQueue::new();
        (0..100).for_each(|user| many.push(login(user, 1), 1, 1));
        next(&mut many, 10);
        many.push(login(200, 2), 1, 2);
        assert!(next(&mut many, 2).contains(&2));
        // One that wants to be the same as a source that has much waiting.
        let mut same = FairQueue::new();
        (0..100).for_each(|_| same.push(login(1, 1), 1, 1));
        next(&mut same, 10);
        same.push(login(2, 1), 1, 2);
        assert!(next(&mut same, 2).contains(&2));
        // The same again and again.
        for _ in 0..20 {
            next(&mut same, 3);
            same.push(login(2, 1), 1, 2);
            assert!(next(&mut same, 2).contains(&2));
        }
        // The same source for another VM.
        let mut vms = FairQueue::new();
        (0..100).for_each(|_| vms.push(login(1, 1), 1, 1));
        next(&mut vms, 10);
        vms.push(login(1, 2), 1, 2);
        next(&mut vms, 20);
        assert_eq!(vms.len(), 71, "nothing is lost");
    }

    #[test]
    fn the_newest_of_the_heaviest_makes_room_for_a_lighter_one() {
        let mut queue = FairQueue::new();
        (0..5).for_each(|number| queue.push(login(1, 1), 1, number));
        (5..8).for_each(|number| queue.push(login(2, 2), 1, number));
        assert_eq!(queue.pop_newest_of_heaviest(login(1, 1), 1), None, "it is the heaviest itself");
        assert_eq!(queue.pop_newest_of_heaviest(login(3, 3), 1), Some(4));
        assert_eq!(queue.pop_newest_of_heaviest(login(2, 2), 1), None, "it would have as many");
        let mut crowd = FairQueue::new();
        (0..5).for_each(|user| crowd.push(login(user as u32, 1), 1, user));
        assert_eq!(crowd.pop_newest_of_heaviest(login(9, 2), 1), Some(4), "the VM has the most");
        assert_eq!(crowd.pop_newest_of_heaviest(login(9, 1), 1), None);
        assert_eq!(next(&mut crowd, 9), [0, 1, 2, 3]);
    }

    #[test]
    fn what_has_had_its_turn_waits_for_all_that_wait() {
        let mut queue = queue(&[(connection(1), 100, 3), (connection(2), 1, 2)]);
        queue.push_last(connection(3), 1, 9);
        queue.push(connection(3), 1, 8);
        let order = next(&mut queue, 9);
        assert_eq!(order[5..], [9, 8], "{order:?}");
    }

    #[test]
    fn those_that_rest_are_forgotten() {
        let mut queue = FairQueue::new();
        queue.push(connection(0), 1, 0);
        for index in 1..10_000 {
            queue.push(connection(index), 1, 1);
            queue.pop(usize::MAX);
        }
        assert!(queue.flows.len() + queue.meters.len() < 1000);
        assert_eq!(queue.len(), 1);
    }
}
