//! The store in a PostgreSQL database, on this host or another.
//!
//! This file makes connections and decides what is tried again; [`writes`] and [`reads`] use them. A
//! connection that was lost is replaced when it is next needed. SQL is constant text with parameters: no
//! triggers, no stored procedures. The same database may be open in other daemons.
//!
//! Invariants: a write whose commit was sent is never tried again, be it a COMMIT or a statement that is a
//! transaction by itself; whatever else the database says of a transaction, nothing of it was done.

mod address;
mod failure;
mod hosts;
mod metrics;
mod migrate;
mod reads;
mod session;
mod shared;
mod values;
mod writes;

use std::sync::Arc;

use super::{Patience, PointAt, PointPage, Store, StoreError, StoreFactory, VmPage, Write};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{Credentials, DiskOfVm, Login, PointFilter, TokenHash, Vm, VmName};
use failure::Failure;
use session::{Connector, Retries, Session, Waits};
use shared::{Locked, Outcome};

pub use address::Address;

/// Makes connections to one database.
pub(super) struct PostgresFactory {
    connector: Arc<Connector>,
    /// Of connections that do not wait for long.
    worker_connector: Arc<Connector>,
}

/// One connection, as long as it lasts, and the next.
struct PostgresStore {
    connector: Arc<Connector>,
    /// None: it was lost. Taken out while it is worked with, so that a panic leaves none in the middle of
    /// something.
    session: Option<Session>,
}

impl PostgresFactory {
    /// Opens the database at `address`, brought up to date if necessary.
    pub(super) fn open(address: &Address) -> Result<PostgresFactory, StoreError> {
        let connector = Connector::new(&address.config(limits::POSTGRES_LOCK));
        let mut session = connector.connect().map_err(Failure::into_store_error)?;
        migrate::migrate(&mut session)?;
        let worker_connector = connector.in_haste(&address.config(limits::POSTGRES_LOCK_ATTEMPT));
        Ok(PostgresFactory { connector: Arc::new(connector), worker_connector: Arc::new(worker_connector) })
    }
}

impl StoreFactory for PostgresFactory {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        PostgresStore::connect(&self.connector)
    }

    fn connect_worker(&self) -> Result<Box<dyn Store>, StoreError> {
        PostgresStore::connect(&self.worker_connector)
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
        let mut retries = Retries::new(self.connector.waits());
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
    fn connect(connector: &Arc<Connector>) -> Result<Box<dyn Store>, StoreError> {
        let session = connector.connect().map_err(Failure::into_store_error)?;
        Ok(Box::new(PostgresStore { connector: Arc::clone(connector), session: Some(session) }))
    }

    /// Runs `writes` in one transaction, if that is possible.
    fn write_part(&mut self, writes: &[Write], retries: &mut Retries) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; writes.len()];
        // A lock that somebody holds costs those who need it their time, and nobody else.
        if writes.len() > 1 {
            self.write_open(writes, Locked::SetAside, &mut outcomes, retries);
            let is_part_done = outcomes.iter().any(Option::is_some);
            if is_part_done && self.connector.waits() == Waits::Short {
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
        let mut retries = Retries::new(self.connector.waits());
        self.retry(&mut retries, read).map_err(Failure::into_store_error)
    }

    /// Does `work` on the connection, on a new one where there is none or it was lost.
    fn retry<T>(
        &mut self,
        retries: &mut Retries,
        work: impl Fn(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        loop {
            let mut session = match self.session.take() {
                Some(session) if !session.is_closed() => session,
                _ => self.connector.connect()?,
            };
            let failure = match work(&mut session) {
                Ok(result) => {
                    self.session = Some(session);
                    return Ok(result);
                }
                Err(failure) => failure,
            };
            if failure.leaves_connection() && session.run("ROLLBACK").is_ok() {
                self.session = Some(session);
            }
            if !retries.again(&failure) {
                return Err(failure);
            }
        }
    }
}

#[cfg(test)]
mod tests;
