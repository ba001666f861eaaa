//! The containers of clients: how many there are, and who may destroy them.
//!
//! Of both credentials only the SHA-256 is kept. A container counts from the moment in which its creation is submitted
//! until its hypervisor has destroyed it or failed to create it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ctutils::CtEq;
use sha2::{Digest, Sha256};

use super::token;
use crate::embed::{ClientKey, ContainerChange, ContainerOrder, ContainerReport, HypervisorHandle};
use crate::ids::ContainerId;
use crate::limits;
use crate::model::{ContainerCredentials, Failure, TokenHash};
use crate::work::Work;

/// All containers.
#[derive(Default)]
pub struct Containers {
    hypervisor: Option<Arc<HypervisorHandle>>,
    /// The maximum number, if there is one.
    max: Option<u32>,
    by_id: BTreeMap<IdHash, Entry>,
}

/// The SHA-256 of a container's id. It can't be chosen, so the time of a look-up tells nothing about other ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct IdHash([u8; 32]);

struct Entry {
    token: TokenHash,
    /// The client that asked for the container.
    client: ClientKey,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Being created.
    Creating,
    Running,
    /// Being destroyed, because its client asked for it.
    Destroying,
    /// Being destroyed, or to be destroyed again, because its client did not get it.
    Undoing,
}

impl Containers {
    /// No container yet.
    pub fn new(hypervisor: Option<Arc<HypervisorHandle>>, max: Option<u32>) -> Containers {
        Containers { hypervisor, max, by_id: BTreeMap::new() }
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
        let entry = Entry { token, client: client.clone(), state: State::Creating };
        self.by_id.insert(IdHash::of(order.id), entry);
        Ok(Work::Container(hypervisor.create(order, client)))
    }

    /// Returns the work that destroys the container with these credentials, for `client`.
    pub fn destroy(
        &mut self,
        credentials: &ContainerCredentials,
        client: ClientKey,
    ) -> Result<Work, Failure> {
        let Some(hypervisor) = &self.hypervisor else { return Err(Failure::InvalidCredentials) };
        let token = token::hash(&credentials.token);
        let found = find(&mut self.by_id, credentials.id, &token, is_equal);
        let entry = found.ok_or(Failure::InvalidCredentials)?;
        match entry.state {
            State::Running => {
                entry.state = State::Destroying;
                Ok(Work::Container(hypervisor.destroy(credentials.id, client)))
            }
            State::Creating | State::Destroying | State::Undoing => Err(Failure::Busy),
        }
    }

    /// Returns the work that destroys a container whose client did not get it, unless that is being done.
    pub fn undo(&mut self, id: ContainerId) -> Option<Work> {
        let entry = self.by_id.get_mut(&IdHash::of(id))?;
        if !matches!(entry.state, State::Running | State::Undoing) {
            return None;
        }
        entry.state = State::Undoing;
        Some(Work::Container(self.hypervisor.as_ref()?.destroy(id, entry.client.clone())))
    }

    /// Whether the container is to be destroyed because its client did not get it.
    pub fn is_undone(&self, id: ContainerId) -> bool {
        self.by_id.get(&IdHash::of(id)).is_some_and(|entry| entry.state == State::Undoing)
    }

    /// Notes what has happened to a container.
    pub fn apply(&mut self, report: &ContainerReport) {
        match &report.change {
            ContainerChange::ShellOpened => {}
            ContainerChange::Created(Ok(_)) => {
                if let Some(entry) = self.by_id.get_mut(&IdHash::of(report.id)) {
                    entry.state = State::Running;
                }
            }
            ContainerChange::Destroyed(Err(_)) => self.end_destroying(report.id),
            ContainerChange::Created(Err(_)) | ContainerChange::Destroyed(Ok(())) => {
                self.by_id.remove(&IdHash::of(report.id));
            }
        }
    }

    /// Notes that the work to create or destroy a container never ran.
    pub fn never_ran(&mut self, id: ContainerId) {
        self.end_destroying(id);
        let entry = self.by_id.get(&IdHash::of(id));
        if entry.is_some_and(|entry| entry.state == State::Creating) {
            self.by_id.remove(&IdHash::of(id));
        }
    }

    /// The container still exists, and its client may try again.
    fn end_destroying(&mut self, id: ContainerId) {
        if let Some(entry) = self.by_id.get_mut(&IdHash::of(id))
            && entry.state == State::Destroying
        {
            entry.state = State::Running;
        }
    }
}

impl IdHash {
    fn of(id: ContainerId) -> IdHash {
        IdHash(Sha256::digest(id.0).into())
    }
}

/// The container `id`, if `token` is its token. Does the same, and calls `is_equal` once, whether or not it exists.
fn find<'a>(
    by_id: &'a mut BTreeMap<IdHash, Entry>,
    id: ContainerId,
    token: &TokenHash,
    is_equal: impl FnOnce(&TokenHash, &TokenHash) -> bool,
) -> Option<&'a mut Entry> {
    let entry = by_id.get_mut(&IdHash::of(id));
    let stored = entry.as_ref().map_or(NO_TOKEN, |entry| entry.token);
    let is_equal = is_equal(&stored, token);
    entry.filter(|_| is_equal)
}

/// Compares in a time that does not depend on the hashes.
fn is_equal(one: &TokenHash, other: &TokenHash) -> bool {
    one.0.ct_eq(&other.0).into()
}

/// Stands in for the token of a container that does not exist. No known text has this hash.
const NO_TOKEN: TokenHash = TokenHash([0; 32]);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::embed::{ClientFactory, Hypervisor, Responder, TestHypervisor};
    use crate::ids::ConnId;
    use crate::model::{Container, HypervisorError, Peer, Principal, Secret, VmShape};

    fn client() -> ClientKey {
        let conn = ConnId { index: 1, generation: 1 };
        ClientFactory::default().key(conn, Peer::Tcp(Ipv4Addr::LOCALHOST.into(), 1), Principal::Anonymous)
    }

    fn order(id: ContainerId) -> ContainerOrder {
        let (user_name, password) = ("user_00000".into(), Secret::new("password"));
        ContainerOrder { id, user_name, password, token_sha256: [0; 32] }
    }

    fn report(id: ContainerId, change: ContainerChange) -> ContainerReport {
        ContainerReport { id, client: client(), change }
    }

    fn created() -> ContainerChange {
        let listen_port = 1.try_into().expect("not zero");
        let shape = VmShape { ram_mib: 128, cpus: 1 };
        ContainerChange::Created(Ok(Container {
            listen_port,
            iso_sha256: [0; 32],
            shape,
            disk_sizes_gib: Vec::new(),
        }))
    }

    fn credentials(id: ContainerId, token: &str) -> ContainerCredentials {
        ContainerCredentials { id, token: Secret::new(token) }
    }

    const FIRST: ContainerId = ContainerId([1; 16]);
    const SECOND: ContainerId = ContainerId([2; 16]);

    /// Containers with `FIRST`, which runs and has the token `right`.
    fn containers(max: Option<u32>) -> Containers {
        let hypervisor = Arc::new(HypervisorHandle::new(Box::new(TestHypervisor::default())));
        let mut containers = Containers::new(Some(hypervisor), max);
        containers.create(order(FIRST), token::hash(&Secret::new("right")), client()).expect("there is room");
        containers.apply(&report(FIRST, created()));
        containers
    }

    #[test]
    fn a_wrong_id_and_a_wrong_token_take_the_same_path() {
        let mut containers = containers(None);
        for (id, token, is_found) in [
            (FIRST, "right", true),
            (FIRST, "wrong", false),
            (SECOND, "right", false),
            (SECOND, "wrong", false),
        ] {
            let mut compared = Vec::new();
            let found = find(&mut containers.by_id, id, &token::hash(&Secret::new(token)), |one, other| {
                compared.push((*one, *other));
                is_equal(one, other)
            });
            assert_eq!(found.is_some(), is_found, "{id} {token}");
            let stored = if id == FIRST { token::hash(&Secret::new("right")) } else { NO_TOKEN };
            assert_eq!(
                compared,
                [(stored, token::hash(&Secret::new(token)))],
                "one comparison: {id} {token}"
            );
        }
        // Even a hash equal to the stand-in finds nothing.
        assert!(find(&mut containers.by_id, SECOND, &NO_TOKEN, is_equal).is_none());
    }

    #[test]
    fn a_container_counts_from_its_reservation_to_its_end() {
        let mut containers = containers(Some(2));
        let token = token::hash(&Secret::new("token"));
        assert_eq!(containers.available(), Some(1));
        containers.create(order(SECOND), token, client()).expect("there is room");
        assert_eq!(containers.available(), Some(0));
        let third = containers.create(order(ContainerId([3; 16])), token, client());
        assert_eq!(third.err(), Some(Failure::ContainerLimitReached));
        containers.apply(&report(SECOND, ContainerChange::Created(Err("no memory".into()))));
        assert_eq!(containers.available(), Some(1));
        containers.create(order(SECOND), token, client()).expect("there is room");
        containers.never_ran(SECOND);
        assert_eq!(containers.available(), Some(1), "its creation never ran");
        containers.destroy(&credentials(FIRST, "right"), client()).expect("it exists");
        assert_eq!(containers.destroy(&credentials(FIRST, "right"), client()).err(), Some(Failure::Busy));
        containers.never_ran(FIRST);
        assert_eq!(containers.available(), Some(1), "its destruction never ran");
        containers.destroy(&credentials(FIRST, "right"), client()).expect("it can be tried again");
        containers.apply(&report(FIRST, ContainerChange::Destroyed(Err("it hangs".into()))));
        containers.destroy(&credentials(FIRST, "right"), client()).expect("it can be tried again");
        containers.apply(&report(FIRST, ContainerChange::Destroyed(Ok(()))));
        assert_eq!(containers.available(), Some(2));
    }

    #[test]
    fn a_container_that_is_undone_stays_so_until_it_is_destroyed() {
        let mut containers = containers(Some(1));
        assert!(containers.undo(SECOND).is_none());
        assert!(containers.undo(FIRST).is_some() && containers.is_undone(FIRST));
        containers.never_ran(FIRST);
        containers.apply(&report(FIRST, ContainerChange::Destroyed(Err("it hangs".into()))));
        assert!(containers.is_undone(FIRST));
        assert!(containers.undo(FIRST).is_some(), "it is tried again");
        containers.apply(&report(FIRST, ContainerChange::Destroyed(Ok(()))));
        assert_eq!(containers.available(), Some(1));
    }

    #[test]
    fn a_call_that_was_made_before_a_stop_does_not_begin() {
        struct Untouched;
        impl Hypervisor for Untouched {
            fn create(&self, _: ContainerOrder, _: Responder<Result<Container, HypervisorError>>) {
                panic!("it is stopped");
            }
            fn destroy(&self, _: ContainerId, _: Responder<Result<(), HypervisorError>>) {
                panic!("it is stopped");
            }
            fn stop(&self, _: Duration) {}
        }
        let hypervisor = Arc::new(HypervisorHandle::new(Box::new(Untouched)));
        let call = hypervisor.create(order(FIRST), client());
        hypervisor.stop(Duration::from_secs(1));
        let (sender, reports) = std::sync::mpsc::channel();
        assert_eq!(call.run(move |report| sender.send(report.change).expect("the test listens")), None);
        let change = reports.recv().expect("a report");
        assert_eq!(change.error(), Some("the hypervisor: the server stops"));
    }
}
