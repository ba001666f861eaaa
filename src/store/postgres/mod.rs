//! The store in a PostgreSQL database, on this host or another.
//!
//! This file opens a database and decides what is tried again; [`sessions`] has the connections, [`writes`] and
//! [`reads`] use them. A connection that was lost is replaced when it is next needed. SQL is constant text with parameters: no
//! triggers, no stored procedures. The same database may be open in other daemons.
//!
//! Invariants: a write whose commit was sent is never tried again, be it a COMMIT or a statement that is a
//! transaction by itself; whatever else the database says of a transaction, nothing of it was done.

mod address;
mod connector;
mod failure;
mod hosts;
mod metrics;
mod migrate;
mod options;
mod reads;
mod session;
mod sessions;
mod shared;
mod values;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{NotOpen, Opening, Patience, PointAt, PointPage, Store, StoreError, StoreFactory, VmPage, Write};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{Credentials, DiskOfVm, Login, PointFilter, TokenHash, Vm, VmName};
use connector::Connector;
use failure::{Failure, POOLER};
use session::{Retries, Session, Waits};
use sessions::{Borrower, Sessions};
use shared::{Locked, Outcome};

pub use address::Address;

/// Makes connections to one database, once it is open.
pub(super) struct PostgresFactory {
    sessions: Arc<Sessions>,
    is_open: AtomicBool,
}

/// One that has work for connections: it borrows one for each step.
struct PostgresStore {
    sessions: Arc<Sessions>,
    borrower: Borrower,
}

impl PostgresFactory {
    /// The database at `address`, to be used by so many connections at a time, not open yet.
    pub(super) fn new(address: &Address, connections_max: usize) -> PostgresFactory {
        let sessions = Arc::new(Sessions::new(Connector::new(address), connections_max));
        PostgresFactory { sessions, is_open: AtomicBool::new(false) }
    }

    fn store(&self, waits: Waits) -> Result<PostgresStore, StoreError> {
        match self.is_open.load(Ordering::Acquire) {
            true => Ok(PostgresStore::new(&self.sessions, waits)),
            false => Err(StoreError::Unavailable("the database has not been reached yet".to_owned())),
        }
    }

    /// Whether each connection has a session of the server's of its own: settings and prepared statements last as
    /// long as that. Two that are open at the same time show it, where there may be two.
    fn check_pooler(&self, session: &mut Session) -> Result<(), Failure> {
        if self.sessions.max() < 2 {
            return Ok(());
        }
        let Ok(mut other) = self.sessions.connector().connect_now(Waits::Long) else { return Ok(()) };
        let own = backend(session)?;
        for _ in 0..limits::POSTGRES_POOLER_PROBES {
            let others = backend(&mut other)?;
            if others == own || backend(session)? != own {
                return Err(Failure::Unwelcome(POOLER.to_owned()));
            }
        }
        Ok(())
    }
}

impl Opening for PostgresFactory {
    /// Connects to the database, and brings it up to date if necessary.
    fn open(&self) -> Result<(), NotOpen> {
        let mut session = self.sessions.take(self.sessions.join(Waits::Long)).map_err(not_open)?;
        self.check_pooler(&mut session).map_err(not_open)?;
        migrate::migrate(&mut session)
            .map_err(|error| NotOpen { may_come: !matches!(error, StoreError::Refused(_)), error })?;
        session.disown();
        self.is_open.store(true, Ordering::Release);
        Ok(())
    }
}

fn not_open(failure: Failure) -> NotOpen {
    NotOpen { may_come: !matches!(failure, Failure::Unwelcome(_)), error: failure.into_store_error() }
}

/// Which of the server's processes works for `session`.
fn backend(session: &mut Session) -> Result<Option<String>, Failure> {
    let sql = "SELECT pid || ' since ' || backend_start FROM pg_catalog.pg_stat_activity
               WHERE pid = pg_catalog.pg_backend_pid()";
    Ok(session.run_for_text(sql)?)
}

impl StoreFactory for PostgresFactory {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        let store = self.store(Waits::Long)?;
        // Whoever makes one by itself wants to know.
        store.sessions.take(store.borrower).map_err(Failure::into_store_error)?.keep();
        Ok(Box::new(store))
    }

    fn connect_worker(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(self.store(Waits::Short)?))
    }

    fn worker_patience(&self) -> Option<Patience> {
        let reserve = limits::STORE_DEADLINE - limits::POSTGRES_LOCK;
        Some(Patience { attempt: limits::POSTGRES_LOCK_ATTEMPT, reserve })
    }

    fn writers_max(&self) -> usize {
        limits::POSTGRES_WRITERS
    }
}

impl Store for PostgresStore {
    fn write(&mut self, writes: &[Write]) -> Vec<Outcome> {
        let mut retries = Retries::new(self.borrower.waits);
        // Old points are removed apart: what is put in the same transaction could be behind them in one order and
        // before them in the other.
        let parts = writes.chunk_by(|one, next| !metrics::is_removal(one) && !metrics::is_removal(next));
        parts.flat_map(|part| self.write_part(part, &mut retries)).collect()
    }

    fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError> {
        self.read(|session| reads::credentials(session, name))
    }

    fn credentials_by_id(&mut self, id: VmId) -> Result<Option<Credentials>, StoreError> {
        self.read(|session| reads::credentials_by_id(session, id))
    }

    fn password_hash_starts(&mut self, count_max: usize) -> Result<Vec<String>, StoreError> {
        self.read(|session| reads::password_hash_starts(session, count_max))
    }

    fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> Result<Option<Login>, StoreError> {
        self.read(|session| reads::token_owner(session, token, now))
    }

    fn token_owners(
        &mut self,
        tokens: &[(TokenHash, UnixSeconds)],
    ) -> Result<Vec<Option<Login>>, StoreError> {
        self.read(|session| reads::token_owners(session, tokens))
    }

    fn is_current(&mut self, login: &Login) -> Result<bool, StoreError> {
        self.read(|session| reads::is_current(session, login))
    }

    fn vms_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.read(|session| reads::vms_after(session, after, rows_max))
    }

    fn ever_connected_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.read(|session| reads::ever_connected_after(session, after, rows_max))
    }

    fn vms(&mut self, ids: &[VmId]) -> Result<Vec<Vm>, StoreError> {
        self.read(|session| reads::vms(session, ids))
    }

    fn disks_after(&mut self, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>, StoreError> {
        self.read(|session| reads::disks_after(session, after, count_max))
    }

    fn points_after(
        &mut self,
        filter: &PointFilter,
        after: Option<PointAt>,
        count_max: usize,
    ) -> Result<PointPage, StoreError> {
        self.read(|session| metrics::points_after(session, filter, after, count_max))
    }
}

impl PostgresStore {
    fn new(sessions: &Arc<Sessions>, waits: Waits) -> PostgresStore {
        PostgresStore { sessions: Arc::clone(sessions), borrower: sessions.join(waits) }
    }

    /// Runs `writes` in one transaction, if that is possible.
    fn write_part(&mut self, writes: &[Write], retries: &mut Retries) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; writes.len()];
        // A lock that somebody holds costs those who need it their time, and nobody else.
        if writes.len() > 1 {
            self.write_open(writes, Locked::SetAside, &mut outcomes, retries);
            let is_part_done = outcomes.iter().any(Option::is_some);
            if is_part_done && self.borrower.waits == Waits::Short {
                let set_aside = || Err(StoreError::Busy);
                return outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(set_aside)).collect();
            }
        }
        self.write_open(writes, Locked::Wait, &mut outcomes, retries);
        let missing = || Err(StoreError::Unavailable("a write was left out".to_owned()));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    /// Runs those of `writes` that have no outcome yet, in one transaction; if one of them breaks it, each
    /// in one of its own.
    fn write_open(
        &mut self,
        writes: &[Write],
        locked: Locked,
        outcomes: &mut [Option<Outcome>],
        retries: &mut Retries,
    ) {
        let open = (0..writes.len()).filter(|index| outcomes[*index].is_none()).collect();
        self.write_at(open, writes, locked, outcomes, retries);
    }

    /// Runs those of `writes` at `open` likewise.
    fn write_at(
        &mut self,
        open: Vec<usize>,
        writes: &[Write],
        locked: Locked,
        outcomes: &mut [Option<Outcome>],
        retries: &mut Retries,
    ) {
        if open.is_empty() {
            return;
        }
        let together: Vec<&Write> = open.iter().map(|index| &writes[*index]).collect();
        match self.commit(&together, locked, retries) {
            Ok(done) => {
                for (index, outcome) in open.into_iter().zip(done) {
                    outcomes[index] = outcome;
                }
            }
            Err(Failure::Rejected(_)) if open.len() > 1 => self.write_apart(writes, &open, outcomes, retries),
            // Points are not written past those who hold them: where that may be it, all puts are set aside.
            Err(Failure::Locked)
                if locked == Locked::SetAside
                    && together.iter().any(|write| metrics::concerns(write))
                    && !together.iter().all(|write| metrics::concerns(write)) =>
            {
                let others = open.into_iter().filter(|index| !metrics::concerns(&writes[*index])).collect();
                self.write_at(others, writes, locked, outcomes, retries);
            }
            Err(failure) => {
                let error = failure.into_store_error();
                open.into_iter().for_each(|index| outcomes[index] = Some(Err(error.clone())));
            }
        }
    }

    /// One transaction for each of the writes at `open`. Once the database itself fails the rest is not
    /// tried: each would wait for the same again.
    fn write_apart(
        &mut self,
        writes: &[Write],
        open: &[usize],
        outcomes: &mut [Option<Outcome>],
        retries: &mut Retries,
    ) {
        let mut given_up: Option<StoreError> = None;
        for index in open {
            if let Some(error) = &given_up {
                outcomes[*index] = Some(Err(error.clone()));
                continue;
            }
            outcomes[*index] = match self.commit(&[&writes[*index]], Locked::Wait, retries) {
                Ok(mut done) => done.pop().flatten(),
                Err(failure) => {
                    given_up = match &failure {
                        Failure::Rejected(_) => None,
                        Failure::Unknown(why) => Some(StoreError::Unavailable(why.clone())),
                        other => Some(other.clone().into_store_error()),
                    };
                    Some(Err(failure.into_store_error()))
                }
            };
        }
    }

    /// Runs one transaction, and again where it is known that nothing was done and that may change.
    fn commit(
        &mut self,
        writes: &[&Write],
        locked: Locked,
        retries: &mut Retries,
    ) -> Result<Vec<Option<Outcome>>, Failure> {
        self.retry(retries, |session| writes::commit(session, writes, locked))
    }

    fn read<T>(&mut self, read: impl Fn(&mut Session) -> Result<T, Failure>) -> Result<T, StoreError> {
        let mut retries = Retries::new(self.borrower.waits);
        self.retry(&mut retries, read).map_err(Failure::into_store_error)
    }

    /// Does `work` on a connection, on a new one where that was lost.
    fn retry<T>(
        &mut self,
        retries: &mut Retries,
        work: impl Fn(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        loop {
            let mut session = self.sessions.take(self.borrower)?;
            let failure = match session.suit(self.borrower.waits).and_then(|()| work(&mut session)) {
                Ok(result) => {
                    session.keep();
                    return Ok(result);
                }
                Err(failure) => failure,
            };
            if failure.leaves_connection() && session.run("ROLLBACK").is_ok() {
                session.keep();
            } else {
                session.lose();
            }
            if !retries.again(&failure) {
                return Err(failure);
            }
        }
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.sessions.forget(self.borrower);
    }
}

#[cfg(test)]
mod tests;
