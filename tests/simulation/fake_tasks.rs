//! The work of simulated workers: run on a store in memory, or failed. Passwords are not hashed, and keys not encrypted:
//! that would take real time, and could not be replayed.

#[cfg(feature = "sealed")]
use super::fake_keys::run_exchange;
use super::fault_config::FaultConfig;
use super::random::Random;
use vmherd::internals::store::{StoreError, Write};
use vmherd::internals::work::pages::PageRequest;
use vmherd::internals::work::password::{Cost, PasswordCheck};
use vmherd::internals::work::{Hash, Lane, Read, Work, WorkError, WorkResult, WorkerContext};

/// Runs `work`, or has it fail.
pub(super) fn run_task(
    work: Work,
    tools: &mut WorkerContext,
    random: &mut Random,
    config: &FaultConfig,
) -> TaskResult {
    let is_write = matches!(work, Work::Write(_));
    match work {
        Work::Hash(Hash::New { password }) => {
            return Ok(WorkResult::Hashed(fake_hash(password.expose())));
        }
        Work::Hash(Hash::Verify { password, stored }) => {
            let hash = fake_hash(password.expose());
            let is_right = stored.is_some_and(|stored| stored == hash);
            let right =
                if random.chance(20) { PasswordCheck::RightRehashed(hash) } else { PasswordCheck::Right };
            return Ok(WorkResult::Verified(if is_right { right } else { PasswordCheck::Wrong }));
        }
        #[cfg(feature = "sealed")]
        Work::Exchange(exchange) => {
            return Ok(WorkResult::Exchanged(run_exchange(&exchange, random)));
        }
        _ => {}
    }
    let is_computing = work.lane() == Lane::Compute;
    if is_computing || !random.chance(config.failed_percent) {
        return tools.run([&work]).pop().expect("one result for one work");
    }
    let why = "a simulated fault".to_owned();
    Err(WorkError::Store(match random.between(0, 2) {
        0 => StoreError::Busy,
        1 if is_write => {
            if random.chance(50) {
                tools.run([&work]);
            }
            StoreError::OutcomeUnknown(why)
        }
        _ => StoreError::Unavailable(why),
    }))
}

/// Whether it puts or gets points.
pub(super) fn is_of_points(work: &Work) -> bool {
    matches!(
        work,
        Work::Write(Write::Put { .. }) | Work::Read(Read::ListPage { page: PageRequest::Points { .. }, .. })
    )
}

/// The same work with a limit of `max` keys.
pub(super) fn with_keys_max(work: Work, max: u64) -> Work {
    match work {
        Work::Write(Write::Put { login, points, is_atomic, keys_max }) => {
            Work::Write(Write::Put { login, points, is_atomic, keys_max: keys_max.min(max) })
        }
        other => other,
    }
}

/// The result of a job's work.
pub(super) type TaskResult = Result<WorkResult, WorkError>;

/// The cost of a hash, which is never computed.
pub(super) const COST: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

/// Stands in for the hash of a password.
pub(super) fn fake_hash(password: &str) -> String {
    format!("fake:{password}")
}
