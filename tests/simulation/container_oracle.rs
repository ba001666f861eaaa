//! Checks replies to `CREATE` and `DESTROY`, and that in the end there is what clients have, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::container_model::{ContainerRequest, ContainerRequestKind, KnownContainer};
use super::environment::Environment;
use super::fake_hypervisor::{FakeHypervisor, Phase};
use super::fault_config::FaultConfig;
use super::random::Random;
use super::reference_model::ReferenceModel;
use super::reply_context::ReplyContext;
use super::response::{Outcome, Response};
use super::verification::{Verification, ensure};
use vmherd::internals::clock::{Instant, UnixSeconds};
use vmherd::internals::ids::{ContainerId, ServerId};
use vmherd::internals::limits;
use vmherd::internals::model::{Management, NewVm, VmName, VmShape};
use vmherd::internals::reactor::inspect::ConnectionHoldings;
use vmherd::internals::store::{StoreFactory, Write};

impl ReplyContext<'_> {
    /// Whether `response` is a possible reply to `request`. Failures of the worlds' other faults are excused already.
    pub(super) fn check_container(&self, request: ContainerRequest, response: &Response) -> Verification {
        let fails = self.config.guests_failed_percent > 0;
        match (request.kind, &response.outcome) {
            (ContainerRequestKind::Create, Outcome::Success) => self.check_created(&response.data),
            (ContainerRequestKind::Create, Outcome::NoRoom) => {
                let max = self.config.containers_max.unwrap_or(0) as usize;
                ensure(self.model.containers.creations > max, "no room, and there is")
            }
            (ContainerRequestKind::Create, Outcome::Internal) => {
                ensure(fails || self.config.guests_end_percent > 0, "no container without a reason")
            }
            (ContainerRequestKind::Create, Outcome::Busy | Outcome::Unknown) => {
                let is_late = self.now >= self.sent + self.config.create_time_max;
                let has_no_room = fails && response.outcome == Outcome::Busy;
                ensure(is_late || has_no_room, "no container in time, and there was time")
            }
            (ContainerRequestKind::Destroy(at), outcome) => {
                let known = &self.model.containers.known[at];
                let guest = self.hypervisor.guest(known.id).ok_or("no such guest")?;
                // Nothing else can have ended it.
                let is_there = known.releases == 1
                    && known.kept_since.is_some_and(|since| since <= self.sent)
                    && !guest.has_ended;
                let is_late = self.now >= self.sent + limits::DESTROY_DEADLINE;
                match outcome {
                    Outcome::Success => {
                        let is_gone = guest.phase == Phase::Gone || guest.has_ended;
                        ensure(is_gone, "destroyed, and the guest runs")
                    }
                    Outcome::InvalidCredentials => ensure(!is_there, "right credentials are refused"),
                    Outcome::Busy => ensure(fails || is_late || !is_there, "busy without need"),
                    Outcome::Unknown => ensure(is_late, "unknown, and there was time"),
                    Outcome::Internal => ensure(fails, "not destroyed without a reason"),
                    _ => Err("another reply than to DESTROY".to_owned()),
                }
            }
            (ContainerRequestKind::NoToken(_), _) => {
                ensure(response.message() == "Bad request (Malformed request)", "credentials without a token")
            }
            (ContainerRequestKind::Create, _) => Err("another reply than to CREATE".to_owned()),
            (_, outcome) => ensure(*outcome == Outcome::InvalidCredentials, "wrong credentials are accepted"),
        }
    }

    fn check_created(&self, data: &Value) -> Verification {
        let text = |name: &str| data[name].as_str().ok_or_else(|| format!("no {name}"));
        let (id, token) = credentials(data)?;
        let known = &self.model.containers.known;
        ensure(known.iter().all(|known| known.id != id), "a container is given twice")?;
        let guest = self.hypervisor.guest(id).ok_or("a container that was not created")?;
        let runs = guest.phase == Phase::Running || guest.has_ended;
        ensure(runs || self.is_given_up, "a container that does not run")?;
        ensure(data.as_object().is_some_and(|data| data.len() == 6), "not the six fields of a container")?;
        ensure(token.len() == limits::CONTAINER_TOKEN_CHARS, "a token of another length")?;
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        ensure(hash == guest.token_sha256, "the token of another container")?;
        ensure(text("container_iso_sha256")? == "ab".repeat(32), "another image")?;
        ensure(text("container_username")? == guest.user_name, "the user of another container")?;
        ensure(text("container_password")? == guest.password, "the password of another container")?;
        ensure(data["container_listen_port"] == guest.listen_port, "the port of another container")
    }

    /// How many containers `STAT` may show as available: not those that clients certainly have.
    pub(super) fn check_available(&self, available: &Value) -> Verification {
        let Some(max) = self.config.containers_max else {
            return ensure(available == "nolimit", "a limit of containers that is none");
        };
        let is_there = |known: &&KnownContainer| {
            let is_kept = known.kept_since.is_some_and(|since| since <= self.sent);
            known.releases == 0
                && is_kept
                && self.hypervisor.guest(known.id).is_some_and(|guest| !guest.has_ended)
        };
        let there = self.model.containers.known.iter().filter(is_there).count();
        let available = available.as_u64().ok_or("an available number that is none")? as usize;
        ensure(available + there <= max as usize, "more containers are available than there may be")
    }
}

/// The credentials of a container in the reply to `CREATE`.
pub(super) fn credentials(data: &Value) -> Result<(ContainerId, &str), String> {
    let id = data["container_uuid"].as_str().and_then(ContainerId::parse).ok_or("no UUID")?;
    Ok((id, data["client_token"].as_str().ok_or("no token")?))
}

impl ContainerRequest {
    /// Notes what the request may do from now on.
    pub(super) fn on_sent(self, env: &mut Environment) {
        let containers = &mut env.knowledge.model.containers;
        match self.kind {
            ContainerRequestKind::Create => containers.creations += 1,
            ContainerRequestKind::Destroy(at) => {
                containers.known[at].releases += 1;
                env.workers.hypervisor.release(containers.known[at].id);
            }
            _ => {}
        }
    }

    /// Notes what the reply has reported to `client`.
    pub(super) fn on_response(self, client: usize, response: &Response, env: &mut Environment) {
        if response.outcome != Outcome::Success {
            return;
        }
        match self.kind {
            ContainerRequestKind::Create => {
                let Ok((id, token)) = credentials(&response.data) else { return };
                env.log(|| format!("client {client} has the container {id}"));
                let known = KnownContainer::new(id, token, Some(client));
                env.knowledge.model.containers.known.push(known);
            }
            ContainerRequestKind::Destroy(at) => {
                env.knowledge.model.containers.known[at].is_destroyed = true;
            }
            _ => {}
        }
    }
}

/// Adds containers from before a restart, and what else that may have left.
pub(super) fn add_survivors(
    store: &Arc<dyn StoreFactory>,
    hypervisor: &FakeHypervisor,
    config: &FaultConfig,
    model: &mut ReferenceModel,
    random: &mut Random,
) {
    let Some(max) = config.containers_max.filter(|_| random.chance(30)) else { return };
    let mut store = store.connect().expect("memory is always there");
    for number in 0..random.between(1, 6) {
        let id = ContainerId::parse(&format!("{number:08}-1111-4111-8111-111111111111")).expect("a UUID");
        let (has_guest, has_row) = random.pick(&[(true, true), (true, false), (false, true)]);
        if has_guest && hypervisor.guests().len() < max as usize {
            let token = "t".repeat(limits::CONTAINER_TOKEN_CHARS);
            hypervisor.add_survivor(id, Sha256::digest(token.as_bytes()).into());
            model.containers.creations += 1;
            if has_row {
                let kept_since = Some(Instant::ORIGIN);
                let known = KnownContainer { kept_since, ..KnownContainer::new(id, &token, None) };
                model.containers.known.push(known);
                hypervisor.keep(id);
            }
        }
        if has_row {
            let vm = NewVm {
                name: VmName::from_store(&id.to_string()),
                shape: VmShape { ram_mib: 128, cpus: 1 },
                disk_sizes_gib: vec![1],
                password_hash: None,
                management: Some(Management { server: server(), token: None }),
            };
            let write = Write::Register { vm, vms_max: u64::MAX, now: UnixSeconds(0) };
            assert!(store.write(&[&write]).iter().all(Result::is_ok), "an id is used twice");
        }
    }
}

/// Notes which containers the server must keep from now on: their answers have left it whole, and the clients' systems
/// have acknowledged all. Until then the server may take an answer that has arrived for lost with what follows it.
pub(super) fn note_kept(env: &mut Environment, held: &[ConnectionHoldings]) {
    let Environment { now, network, workers, knowledge, .. } = env;
    for known in knowledge.model.containers.known.iter_mut().filter(|known| known.kept_since.is_none()) {
        let Some(connection) = network.connections.iter().find(|of| Some(of.client) == known.client) else {
            continue;
        };
        let held = held.iter().find(|held| Some(held.id) == connection.id);
        let has_left = match held {
            Some(held) => held.output == 0,
            None => {
                let is_cut = connection.evicted_for.is_some() || connection.is_given_up;
                connection.stalled_since.is_none() && !is_cut
            }
        };
        if has_left && connection.has_acknowledged_all() {
            known.kept_since = Some(*now);
            if known.releases == 0 {
                workers.hypervisor.keep(known.id);
            }
        }
    }
}

/// Nothing happens any more: there are the guests and rows of the containers that clients have, and no others.
pub(super) fn check_quiet(env: &Environment) -> Verification {
    if env.config.containers_max.is_none() {
        return Ok(());
    }
    let mut store = env.store.connect().map_err(|error| error.to_string())?;
    let rows = store.registry().managed_vms(server(), usize::MAX).map_err(|error| error.to_string())?;
    let mut rows: BTreeSet<String> = rows.iter().map(|name| name.as_str().to_owned()).collect();
    for (id, guest) in env.workers.hypervisor.guests() {
        let known = env.knowledge.model.containers.known.iter().find(|known| known.id == id);
        let has_row = rows.remove(&id.to_string());
        // A destruction or creation that is never answered is left.
        if guest.phase != Phase::Running || guest.is_leaving {
            let must_be_there = known
                .is_some_and(|known| known.kept_since.is_some() && known.releases == 0 && !guest.has_ended);
            ensure(!must_be_there, &format!("the container {id} is gone, and its client has it"))?;
            ensure(!has_row, &format!("the container {id} is gone, and has a row"))?;
            continue;
        }
        ensure(!guest.has_ended, &format!("the container {id} has ended, and is left"))?;
        ensure(has_row, &format!("the container {id} has no row"))?;
        let is_destroyed = known.is_none_or(|known| known.is_destroyed);
        ensure(!is_destroyed, &format!("the container {id} is left, and no client has it"))?;
    }
    ensure(rows.is_empty(), &format!("rows without containers are left: {rows:?}"))
}

/// The server, in the rows of its containers.
pub(super) fn server() -> ServerId {
    ServerId::parse("0123456789abcdef0123456789abcdef").expect("an id")
}
