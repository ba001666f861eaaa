//! The ends of containers that no client waits for, with jobs that the test completes.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::app::login_limiter::LoginLimits;
use crate::app::token::SystemRandom;
use crate::app::{App, Settings};
use crate::clock::UnixSeconds;
use crate::dispatch::tests::Waiting;
use crate::embed::{Embedding, HypervisorHandle, RunningContainer, TestHypervisor};
use crate::ids::ServerId;
use crate::store::{StoreError, Written};
use crate::worker::{Completion, Job, RunId};

/// A dispatcher with one container that has survived a restart.
struct Bed {
    dispatcher: Dispatcher<Waiting>,
    hypervisor: Arc<HypervisorHandle>,
    now: Now,
}

const ID: ContainerId = ContainerId([1; 16]);

impl Bed {
    fn new() -> Bed {
        let hypervisor = Arc::new(HypervisorHandle::new(Box::new(TestHypervisor::default()), || {}));
        let embedding = Embedding {
            hypervisor: Some(Arc::clone(&hypervisor)),
            server: Some(ServerId([2; 16])),
            running: vec![RunningContainer { id: ID, token_sha256: [3; 32] }],
            ..Embedding::default()
        };
        let settings = Settings {
            vms_max: 10,
            token_lifetime: Duration::from_secs(60),
            log_addresses: Default::default(),
            logins: LoginLimits { failures: None, delay_max: None },
            conversion_delay: Duration::ZERO..=Duration::ZERO,
            metrics_points: false,
            inline_bytes_max: 100,
        };
        let app = App::new(settings, embedding, Box::new(SystemRandom), Arc::default());
        let dispatcher = Dispatcher::new(app, Waiting::default(), 10, 10, Instant::ORIGIN);
        let now = Now { instant: Instant::ORIGIN + Duration::from_secs(1000), unix: UnixSeconds(0) };
        Bed { dispatcher, hypervisor, now }
    }

    /// Runs the timers that are due and the steps that follow, as a tick of the reactor does.
    fn tick(&mut self) {
        while let Some(timer) = self.dispatcher.timers_mut().pop_due(self.now.instant) {
            match timer {
                Timer::Reconcile => self.dispatcher.reconcile(self.now),
                Timer::Container(id) => self.dispatcher.retry_container(id, self.now),
                Timer::Job(key) => self.dispatcher.expire_internal(key, self.now),
                other => panic!("{other:?}"),
            }
        }
        self.dispatcher.advance_containers(self.now);
        assert!(!self.dispatcher.has_due_containers());
    }

    /// The only job that waits.
    #[track_caller]
    fn job(&mut self) -> Job {
        assert_eq!(self.dispatcher.jobs.0.len(), 1);
        self.dispatcher.jobs.0.remove(0)
    }

    /// Completes the only job that waits, and ticks.
    #[track_caller]
    fn complete(&mut self, result: Result<WorkResult, WorkError>) {
        let key = self.job().key;
        self.dispatcher.settle(Completion { key, result }, self.now);
        self.tick();
    }

    /// Nothing happens until this time has passed; then something does.
    #[track_caller]
    fn pass(&mut self, pause: Duration) {
        self.now.instant = self.now.instant + (pause - Duration::from_millis(1));
        self.tick();
        assert!(self.dispatcher.jobs.0.is_empty(), "it is too early");
        self.now.instant = self.now.instant + Duration::from_millis(1);
        self.tick();
        assert_eq!(self.dispatcher.jobs.0.len(), 1);
    }

    fn destroyed(result: Result<(), &str>) -> Result<WorkResult, WorkError> {
        let change = ContainerChange::Destroyed(result.map_err(|error| error.into()));
        Ok(WorkResult::Container(Box::new(ContainerReport { id: ID, client: None, change })))
    }
}

fn away<T>() -> Result<T, WorkError> {
    Err(WorkError::Store(StoreError::Unavailable("away".to_owned())))
}

/// The names of the rows, and whether the container has one.
fn rows(has_row: bool) -> Result<WorkResult, WorkError> {
    let name = crate::model::VmName::from_store(&ID.to_string());
    Ok(WorkResult::ManagedVms(if has_row { vec![name] } else { Vec::new() }))
}

#[test]
fn what_fails_is_tried_again_after_a_pause() {
    let mut bed = Bed::new();
    bed.tick();
    bed.complete(away());
    bed.pass(limits::RECONCILE_PAUSE);
    bed.complete(rows(true));
    assert!(bed.dispatcher.jobs.0.is_empty(), "all is in order");

    bed.hypervisor.keep_end(ID, "the guest has crashed".to_owned());
    bed.tick();
    assert!(matches!(bed.dispatcher.jobs.0[0].work, Work::Write(Write::RemoveManaged { .. })));
    bed.complete(away());
    bed.pass(limits::DESTROY_RETRY);
    bed.complete(Ok(WorkResult::Written(Written::Done)));
    assert!(matches!(bed.dispatcher.jobs.0[0].work, Work::Container(_)), "the row goes first");
    bed.complete(Bed::destroyed(Err("it hangs")));
    bed.pass(limits::DESTROY_RETRY);
    bed.complete(Bed::destroyed(Ok(())));
    bed.now.instant = bed.now.instant + 2 * limits::DESTROY_RETRY;
    bed.tick();
    assert!(bed.dispatcher.jobs.0.is_empty());
    assert_eq!(bed.dispatcher.timers().next(), None, "nothing is left");
}

#[test]
fn a_job_that_does_not_end_is_tried_again_after_its_deadline_and_a_pause() {
    let mut bed = Bed::new();
    bed.tick();
    for is_running in [false, true] {
        let job = bed.job();
        assert!(!is_running || job.state.start(RunId(1)));
        bed.now.instant = job.deadline;
        bed.tick();
        bed.pass(limits::RECONCILE_PAUSE);
    }
    bed.complete(rows(false));
    // It has no row, so its client has never got it.
    let job = bed.job();
    assert!(matches!(job.work, Work::Container(_)) && job.state.start(RunId(2)));
    bed.now.instant = job.deadline;
    bed.tick();
    bed.now.instant = bed.now.instant + 2 * limits::DESTROY_RETRY;
    bed.tick();
    assert!(bed.dispatcher.jobs.0.is_empty(), "never two destructions at a time");
    bed.dispatcher.settle(Completion { key: job.key, result: Bed::destroyed(Err("late")) }, bed.now);
    bed.tick();
    bed.pass(limits::DESTROY_RETRY);
    bed.complete(Bed::destroyed(Ok(())));
    assert_eq!(bed.dispatcher.timers().next(), None, "nothing is left");
}
