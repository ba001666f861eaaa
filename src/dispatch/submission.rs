//! Passes work to the lanes.

use std::sync::Arc;

use super::in_flight::{InFlight, Origin, Owner, PageWait, time_left};
use super::timers::Timer;
use super::{Client, Dispatcher, RequestContext};
use crate::app::commands::Stage;
use crate::app::containers::Outcome;
use crate::clock::Instant;
#[cfg(feature = "sealed")]
use crate::crypto::KeyExchange;
use crate::ids::{ConnId, RequestSeq};
use crate::limits;
use crate::model::{Answer, Failure, LongMessage};
use crate::work::{Compute, Lane, Work};
use crate::worker::{Account, Accounts, Job, JobKey, JobState, Jobs, QueueFull};

impl<J: Jobs> Dispatcher<J> {
    /// Submits a long message to be decoded by a worker.
    pub(crate) fn begin_decoding(&mut self, seq: RequestSeq, message: LongMessage, client: &mut Client<'_>) {
        let customs = Arc::clone(self.app.customs());
        let work = Work::Compute(Compute::Decode { message, customs });
        if self.submit(Origin::new(client.key(seq)), work, Owner::Session, client).is_err() {
            self.counters.jobs_refused += 1;
            client.session.decoded(seq, Err(Failure::Busy.into()));
        }
    }

    /// Submits a key exchange, for a worker.
    #[cfg(feature = "sealed")]
    pub(crate) fn begin_exchange(&mut self, seq: RequestSeq, exchange: KeyExchange, client: &mut Client<'_>) {
        let work = Work::Exchange(exchange);
        if self.submit(Origin::new(client.key(seq)), work, Owner::Session, client).is_err() {
            self.counters.jobs_refused += 1;
            client.session.decoded(seq, Err(Failure::Busy.into()));
        }
    }

    /// Submits `work` to its lane; answers `busy` if the queue is full.
    pub(crate) fn work(
        &mut self,
        context: RequestContext,
        work: Work,
        stage: Stage,
        client: &mut Client<'_>,
    ) {
        let RequestContext { command, origin } = context;
        let seq = origin.request_key.seq;
        let container = stage.info().container();
        if self.submit(origin, work, Owner::App { command, stage }, client).is_err() {
            self.counters.jobs_refused += 1;
            if let Some((id, step)) = container {
                self.app.containers_mut().settle(id, step, Outcome::NotDone);
            }
            self.answer(seq, command, Answer::Failed(Failure::Busy), client);
        }
    }

    pub(super) fn submit(
        &mut self,
        origin: Origin,
        work: Work,
        owner: Owner,
        client: &mut Client<'_>,
    ) -> Result<(), QueueFull> {
        let lane = work.lane();
        let weight = self.submit_job(origin, work, owner, client.now.instant)?;
        client.load.jobs += 1;
        client.load.handler_calls += u16::from(lane == Lane::Handler);
        client.load.weight += weight as u32;
        Ok(())
    }

    /// Submits `work`; returns its weight.
    pub(super) fn submit_job(
        &mut self,
        origin: Origin,
        work: Work,
        owner: Owner,
        submitted: Instant,
    ) -> Result<usize, QueueFull> {
        let Origin { request_key, priority, store_time, login_delay, deadline: request_deadline } = origin;
        let lane = work.lane();
        let deadline = submitted
            + match &work {
                Work::Handle(call) => call.deadline,
                Work::Container(call) => call.deadline(),
                _ => time_left(lane, store_time, login_delay),
            };
        let deadline = request_deadline.map_or(deadline, |of_request| of_request.min(deadline));
        let is_container = matches!(work, Work::Container(_));
        let request_deadline = if is_container { Some(deadline) } else { request_deadline };
        let state = Arc::new(JobState::default());
        let key = JobKey { request_key, job: self.next_job };
        self.next_job += 1;
        let (accounts, weight) = (self.accounts(lane, request_key.conn, &owner), work.weight());
        let page = work.is_page().then(|| PageWait {
            until: submitted + limits::PAGE_WAIT_MAX,
            run: None,
            lane_done: self.jobs.status(lane).done,
        });
        self.jobs.try_submit(Job {
            key,
            work,
            priority,
            accounts,
            weight,
            deadline,
            state: Arc::clone(&state),
        })?;
        self.timers.arm(deadline, Timer::Job(key));
        let weight = weight + owner.weight();
        self.weight += weight;
        self.store_jobs += usize::from(lane.uses_store());
        let job = key.job;
        let in_flight = InFlight {
            job,
            lane,
            owner,
            state,
            submitted,
            deadline,
            request_deadline,
            store_time,
            weight,
            page,
        };
        self.in_flight.insert(request_key, Box::new(in_flight));
        Ok(weight)
    }

    /// The accounts that a job of `lane` is charged to.
    fn accounts(&self, lane: Lane, conn: ConnId, owner: &Owner) -> Accounts {
        if lane == Lane::Auth
            && let Owner::App { stage, .. } = owner
            && let Some(peer) = self.app.presence().peer(conn)
        {
            return (Account::Source(peer.source()), stage.info().hashed_name().map(Account::vm));
        }
        #[cfg(feature = "sealed")]
        if lane == Lane::Keys
            && let Some(peer) = self.app.presence().peer(conn)
        {
            return (Account::Source(peer.source()), None);
        }
        (Account::Connection(conn), None)
    }
}
