//! The containers of clients: how many there are, who may destroy them, and what is left to do when one ends.
//!
//! A container has a guest, which its hypervisor runs, and a row in the registry. A client gets it when it has both. Its
//! row goes first, then its guest. An end that no client waits for is up to the server, which tries until both are gone:
//! the dispatcher asks for each step, and reports its outcome.
//!
//! Of both credentials only the SHA-256 is kept. A container counts from the moment in which its creation is submitted
//! until it has neither guest nor row.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::container_entry::{End, Entry, Guest, IdHash, Row, find, is_equal, remove_row};
use super::token;
use crate::embed::{
    ClientKey, ContainerChange, ContainerOrder, ContainerReport, HypervisorHandle, RunningContainer,
};
use crate::ids::{ContainerId, ServerId};
use crate::limits;
use crate::model::{ContainerCredentials, Failure, TokenHash, VmName};
use crate::store::StoreError;
use crate::work::{Work, WorkError};

/// All containers.
#[derive(Default)]
pub struct Containers {
    hypervisor: Option<Arc<HypervisorHandle>>,
    /// Which server this is, in the rows of the containers.
    server: Option<ServerId>,
    /// The maximum number, if there is one.
    max: Option<u32>,
    by_id: BTreeMap<IdHash, Entry>,
    /// Those whose next step is due: [`Containers::next_step`].
    due: Vec<ContainerId>,
    /// Those whose next step is due after a pause, because the last one has failed.
    paused: Vec<ContainerId>,
}

/// A step in the life of a container: the work of one job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The hypervisor creates the guest.
    Create,
    /// The row is added.
    AddRow,
    /// The row is removed.
    RemoveRow,
    /// The hypervisor destroys the guest.
    Destroy,
}

/// What a step has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is done.
    Done,
    /// Nothing.
    NotDone,
    /// It may be done.
    Unknown,
}

/// What becomes of the report that a container has ended by itself.
#[derive(PartialEq, Debug)]
pub enum EndNews {
    /// It has, and the client that created it may be known.
    Ended(Option<ClientKey>),
    /// The result of its creation is still to come, and precedes its end.
    TooEarly,
    /// It is known, or there is no such container any more.
    Old,
}

impl Outcome {
    /// Of work that has failed with `error`.
    pub fn of(error: &WorkError) -> Outcome {
        match error {
            WorkError::Store(StoreError::OutcomeUnknown(_)) | WorkError::Internal => Outcome::Unknown,
            WorkError::Store(_) | WorkError::NoRoom | WorkError::Handler(_) => Outcome::NotDone,
        }
    }
}

impl Containers {
    /// Those that `running` names, which have survived a restart.
    pub fn new(
        hypervisor: Option<Arc<HypervisorHandle>>,
        server: Option<ServerId>,
        max: Option<u32>,
        running: &[RunningContainer],
    ) -> Containers {
        let survivor = |container: &RunningContainer| {
            let token = TokenHash(container.token_sha256);
            Entry { guest: Guest::Running, row: Row::Expected, ..Entry::new(container.id, token, None) }
        };
        let by_id = running.iter().map(|container| (IdHash::of(container.id), survivor(container))).collect();
        Containers { hypervisor, server, max, by_id, due: Vec::new(), paused: Vec::new() }
    }

    /// The id that the rows of this server have, if it has any.
    pub fn server(&self) -> Option<ServerId> {
        self.server
    }

    /// Whether orders have an enrollment token.
    pub fn wants_enrollment(&self) -> bool {
        self.hypervisor.as_ref().is_some_and(|hypervisor| hypervisor.wants_enrollment())
    }

    /// The number of containers that may still be created; `None`: there is no maximum.
    pub fn available(&self) -> Option<u32> {
        self.max.map(|max| max.saturating_sub(self.by_id.len() as u32))
    }

    /// Whether one more may be created.
    pub fn check_room(&self) -> Result<(), Failure> {
        let max = self.max.unwrap_or(limits::CONTAINERS_MAX);
        match self.hypervisor {
            None => Err(Failure::NoHypervisor),
            Some(_) if self.by_id.len() >= max as usize => Err(Failure::ContainerLimitReached),
            Some(_) => Ok(()),
        }
    }

    /// Reserves a container for `client`; returns the work that creates it.
    pub fn create(
        &mut self,
        order: ContainerOrder,
        token: TokenHash,
        client: ClientKey,
    ) -> Result<Work, Failure> {
        self.check_room()?;
        let Some(hypervisor) = &self.hypervisor else { return Err(Failure::NoHypervisor) };
        self.by_id.insert(IdHash::of(order.id), Entry::new(order.id, token, Some(client.clone())));
        Ok(Work::Container(hypervisor.create(order, client)))
    }

    /// Notes that the row of a container is being added; returns the server that it names.
    pub fn begin_row(&mut self, id: ContainerId) -> Option<ServerId> {
        let server = self.server?;
        self.get(id)?.row = Row::Adding;
        Some(server)
    }

    /// Notes that the row of a container was added. Fails if the container has ended meanwhile.
    pub fn row_added(&mut self, id: ContainerId) -> Result<(), Failure> {
        let entry = self.get(id).ok_or(Failure::Internal)?;
        entry.row = Row::Present;
        match entry.has_ended {
            false => Ok(()),
            true => {
                self.undo(id);
                Err(Failure::Internal)
            }
        }
    }

    /// Begins to end the container with these credentials; returns the first work, or `None` if it has ended by itself.
    pub fn destroy(&mut self, credentials: &ContainerCredentials) -> Result<Option<Work>, Failure> {
        let (token, server) = (token::hash(&credentials.token), self.server);
        let found = find(&mut self.by_id, credentials.id, &token, is_equal);
        found.ok_or(Failure::InvalidCredentials)?.begin_end(server)
    }

    /// As [`Containers::destroy`], for the operator; `None` if there is no such container.
    pub fn stop(&mut self, id: ContainerId) -> Option<Result<Option<Work>, Failure>> {
        let server = self.server;
        self.get(id).map(|entry| entry.begin_end(server))
    }

    /// Notes that the row of a container was removed for a client; returns the work that destroys its guest.
    pub fn row_removed(&mut self, id: ContainerId, client: ClientKey) -> Option<Work> {
        let hypervisor = Arc::clone(self.hypervisor.as_ref()?);
        let entry = self.get(id)?;
        (entry.row, entry.guest) = (Row::None, Guest::Destroying);
        Some(Work::Container(hypervisor.destroy(id, Some(client))))
    }

    /// Has the server end a container whose client does not get it.
    pub fn undo(&mut self, id: ContainerId) {
        if self.get(id).is_some_and(|entry| entry.end == End::None) {
            log::info!("a client did not get the container {id}: destroying it");
            self.end(id);
        }
    }

    /// Notes that a container has ended by itself.
    pub fn ended(&mut self, id: ContainerId) -> EndNews {
        match self.get(id) {
            Some(entry) if entry.guest == Guest::Creating => EndNews::TooEarly,
            Some(entry) if !entry.has_ended => {
                entry.has_ended = true;
                let client = entry.client.clone();
                // A request that adds its row, or destroys it, finds it out.
                if entry.row != Row::Adding && entry.end == End::None {
                    self.end(id);
                }
                EndNews::Ended(client)
            }
            _ => EndNews::Old,
        }
    }

    /// Whether a container has ended by itself.
    pub fn has_ended(&self, id: ContainerId) -> bool {
        self.by_id.get(&IdHash::of(id)).is_some_and(|entry| entry.has_ended)
    }

    /// Takes the containers that were reported to have ended by themselves, with the reasons.
    pub fn take_ends(&self) -> BTreeMap<ContainerId, String> {
        self.hypervisor.as_ref().map_or_else(BTreeMap::new, |hypervisor| hypervisor.take_ends())
    }

    /// Takes such a report again later.
    pub fn keep_end(&self, id: ContainerId, reason: String) {
        if let Some(hypervisor) = &self.hypervisor {
            hypervisor.keep_end(id, reason);
        }
    }

    /// Notes what the hypervisor reports.
    pub fn apply(&mut self, report: &ContainerReport) {
        let id = report.id;
        match &report.change {
            ContainerChange::ShellOpened => {}
            ContainerChange::Created(Ok(_)) => {
                if let Some(entry) = self.get(id) {
                    entry.guest = Guest::Running;
                }
            }
            ContainerChange::Created(Err(_)) => drop(self.by_id.remove(&IdHash::of(id))),
            ContainerChange::Destroyed(Err(_)) => self.settle(id, Step::Destroy, Outcome::NotDone),
            ContainerChange::Destroyed(Ok(())) => self.settle(id, Step::Destroy, Outcome::Done),
        }
    }

    /// Notes the outcome of a step whose request fails, or that belongs to no request.
    pub fn settle(&mut self, id: ContainerId, step: Step, outcome: Outcome) {
        let Some(entry) = self.get(id) else { return };
        match (step, outcome) {
            (Step::Create, _) => drop(self.by_id.remove(&IdHash::of(id))),
            (Step::AddRow, outcome) => {
                entry.row = if outcome == Outcome::NotDone { Row::None } else { Row::Present };
                match entry.end {
                    End::None => self.undo(id),
                    End::Client | End::Server => self.end(id),
                }
            }
            (Step::RemoveRow, Outcome::Done) => {
                entry.row = Row::None;
                self.end(id);
            }
            // The client gets an error and may try again.
            (Step::RemoveRow, Outcome::NotDone) if entry.end == End::Client && !entry.has_ended => {
                (entry.row, entry.end) = (entry.row_before, End::None);
                // An earlier request has removed it: if no client tries again, the server does.
                if entry.row == Row::None {
                    self.paused.push(id);
                }
            }
            (Step::RemoveRow, outcome) => {
                entry.row = Row::Present;
                let is_new = entry.end == End::Client;
                entry.end = End::Server;
                if is_new && outcome == Outcome::Unknown { self.due.push(id) } else { self.paused.push(id) }
            }
            (Step::Destroy, Outcome::Done) => {
                entry.guest = Guest::Gone;
                self.end(id);
            }
            (Step::Destroy, _) => {
                entry.guest = Guest::Running;
                // Its client may try again; if it does not, the server does.
                if entry.end == End::Client {
                    entry.end = End::None;
                }
                self.paused.push(id);
            }
        }
    }

    /// Notes that a request has ended while its step runs: the client has left, or its time is over.
    pub fn abandon(&mut self, id: ContainerId, step: Step) {
        let Some(entry) = self.get(id) else { return };
        match step {
            // Its result is still to come.
            Step::Create | Step::Destroy => {}
            // The guest need not wait for the result.
            Step::AddRow => self.undo(id),
            // It may be removed twice.
            Step::RemoveRow => {
                entry.row = Row::Present;
                self.end(id);
            }
        }
    }

    /// Whether [`Containers::take_due`] has anything.
    pub fn has_due(&self) -> bool {
        !(self.due.is_empty() && self.paused.is_empty())
    }

    /// Takes the containers whose next step is due, and those whose next step is due after a pause.
    pub fn take_due(&mut self) -> (Vec<ContainerId>, Vec<ContainerId>) {
        (std::mem::take(&mut self.due), std::mem::take(&mut self.paused))
    }

    /// The next step to the end of a container that the server ends, and its work. `None`: there is nothing to do now.
    pub fn next_step(&mut self, id: ContainerId) -> Option<(Step, Work)> {
        let (server, hypervisor) = (self.server, self.hypervisor.clone());
        let entry = self.get(id)?;
        // Its row is removed, but the hypervisor has failed.
        if (entry.end, entry.guest, entry.row) == (End::None, Guest::Running, Row::None) {
            entry.end = End::Server;
        }
        match (entry.end, entry.guest, entry.row) {
            (End::None | End::Client, ..) | (.., Row::Removing) => None,
            (End::Server, _, Row::Present | Row::Expected) => {
                entry.row = Row::Removing;
                Some((Step::RemoveRow, remove_row(server?, id)))
            }
            (End::Server, Guest::Running, Row::None | Row::Adding) => {
                entry.guest = Guest::Destroying;
                Some((Step::Destroy, Work::Container(hypervisor?.destroy(id, entry.client.clone()))))
            }
            (End::Server, Guest::Gone, Row::None) => {
                self.by_id.remove(&IdHash::of(id));
                None
            }
            (End::Server, ..) => None,
        }
    }

    /// Compares with the rows of this server in the store, which are all if `is_all`. Returns those without a container.
    /// A container from before a restart that has no row is ended: its client has never got it.
    pub fn reconcile(&mut self, names: Vec<VmName>, is_all: bool) -> Vec<VmName> {
        let known: HashSet<&str> = names.iter().map(VmName::as_str).collect();
        let mut rowless = Vec::new();
        for entry in self.by_id.values_mut().filter(|entry| entry.row == Row::Expected) {
            match known.contains(entry.id.to_string().as_str()) {
                true => entry.row = Row::Present,
                false if is_all => {
                    entry.row = Row::None;
                    rowless.push(entry.id);
                }
                false => {}
            }
        }
        for id in rowless {
            log::warn!("the container {id} is not in the registry: destroying it");
            self.end(id);
        }
        let has_container = |name: &VmName| {
            ContainerId::parse(name.as_str()).is_some_and(|id| self.by_id.contains_key(&IdHash::of(id)))
        };
        names.into_iter().filter(|name| !has_container(name)).collect()
    }

    /// Has the server end a container, or go on with that; forgets it if it has neither guest nor row.
    fn end(&mut self, id: ContainerId) {
        let Some(entry) = self.get(id) else { return };
        if (entry.guest, entry.row) == (Guest::Gone, Row::None) {
            self.by_id.remove(&IdHash::of(id));
            return;
        }
        entry.end = End::Server;
        self.due.push(id);
    }

    fn get(&mut self, id: ContainerId) -> Option<&mut Entry> {
        self.by_id.get_mut(&IdHash::of(id))
    }
}

#[cfg(test)]
#[path = "containers_tests.rs"]
mod tests;
