//! The simulated workers as the reactor sees them.

use std::collections::VecDeque;

use super::environment::Environment;
use super::fake_tasks::TaskResult;
#[cfg(feature = "sealed")]
use super::net::peer_of;
use super::world::Shared;
use vmherd::internals::limits;
use vmherd::internals::store::Write;
use vmherd::internals::work::{Compute, Hash, Lane, Read, Work};
#[cfg(feature = "sealed")]
use vmherd::internals::worker::Account;
use vmherd::internals::worker::{Completion, Job, Jobs, LaneStatus, QueueFull, RunId};

/// The workers.
pub(super) struct FakeJobs(pub(super) Shared);

impl Jobs for FakeJobs {
    fn try_submit(&mut self, job: Job) -> Result<(), QueueFull> {
        let env = &mut self.0.borrow_mut().env;
        env.observations.operations += 1;
        env.log(|| format!("job {} of {:?}: {}", job.key.job, job.key.request_key, kind_of(&job.work)));
        if let Work::Write(Write::Put { points, .. }) = &job.work
            && !(1..=limits::POINTS_PER_REQUEST_MAX).contains(&points.len())
        {
            env.fail(format!("{} points are put at once", points.len()));
        }
        #[cfg(feature = "sealed")]
        if let Work::Exchange(_) = &job.work {
            let connection = env.network.open_connection(job.key.request_key.conn);
            let source = connection.map(|connection| Account::Source(peer_of(connection).source()));
            if source != Some(job.accounts.0) || job.accounts.1.is_some() {
                env.fail(format!("a key exchange is charged to {:?}", job.accounts));
            }
        }
        let Environment { now, workers, config, .. } = env;
        workers.submit(job, *now, config)
    }

    fn run_at_once(&mut self, work: &Work) -> Option<TaskResult> {
        let env = &mut self.0.borrow_mut().env;
        let Environment { workers, config, .. } = &mut *env;
        let result = workers.run_at_once(work, config)?;
        env.observations.operations += 1;
        env.log(|| format!("at once: {}, done: {}", kind_of(work), result.is_ok()));
        Some(result)
    }

    fn drain(&mut self, completions: &mut VecDeque<Completion>) {
        let env = &mut self.0.borrow_mut().env;
        let Environment { workers, network, config, .. } = &mut *env;
        let is_open = |conn| network.open_connection(conn).is_some();
        let done = workers.collect(config.doubled_percent, is_open);
        env.workers.handlers.hurry(env.now);
        env.observations.operations += done.len() as u64;
        for completion in &done {
            let (job, is_done) = (completion.key.job, completion.result.is_ok());
            env.log(|| format!("job {job} is collected, done: {is_done}"));
        }
        completions.extend(done);
    }

    fn replace_worker(&mut self, lane: Lane, run: RunId) {
        let env = &mut self.0.borrow_mut().env;
        env.log(|| format!("run {} of {lane:?} is given up", run.0));
        if let Err(why) = env.workers.replace(lane, run, env.config.threads) {
            env.fail(format!("{why}: {lane:?}"));
        }
    }

    fn status(&self, lane: Lane) -> LaneStatus {
        self.0.borrow().env.workers.status(lane)
    }

    fn statistics(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

fn kind_of(work: &Work) -> &'static str {
    match work {
        Work::Read(Read::Ping) => "ping the store",
        Work::Read(Read::FindToken { .. }) => "find a token",
        Work::Read(Read::FindAccessToken { .. }) => "find an access token",
        Work::Read(Read::Changes { .. }) => "read changes",
        Work::Read(Read::FindCredentials { .. }) | Work::Read(Read::FindCredentialsById { .. }) => {
            "find credentials"
        }
        Work::Read(Read::ManagedVms { .. }) => "find the VMs of the server",
        Work::Read(Read::Vms { .. }) => "read changed VMs",
        Work::Compute(Compute::Decode { .. }) => "decode a message",
        Work::Compute(Compute::Convert { .. }) => "convert",
        #[cfg(feature = "sealed")]
        Work::Exchange(_) => "exchange keys",
        Work::Hash(Hash::New { .. }) => "hash",
        Work::Hash(Hash::Verify { .. }) => "verify",
        Work::Read(Read::ListPage { .. }) => "a page",
        Work::Write(_) => "write",
        Work::Handle(_) => "call a handler",
        Work::Container(_) => "call the hypervisor",
        Work::Admit(_) => "ask the gate",
    }
}
