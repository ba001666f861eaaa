//! What is known when a reply is checked: the request, the models, the clocks and the login of the connection.

use super::fake_handlers::FakeHandlers;
use super::fake_hypervisor::FakeHypervisor;
use super::fault_config::FaultConfig;
use super::network::CLOSED_LISTENER;
use super::point_model::PointModel;
use super::ram_history::SentBy;
use super::reference_model::ReferenceModel;
use super::response::Outcome;
use super::verification::{Verification, ensure};
use super::wall_clock::WallClock;
use vmherd::internals::clock::Instant;

/// The VM that a connection is authenticated as, as its client knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Auth {
    Anonymous,
    As(usize),
    /// Unknown since a failure.
    Unsure,
}

/// What the head of an HTTP request has.
#[derive(Clone, Copy, Default)]
pub(super) struct RequestHead {
    pub(super) has_bearer_token: bool,
    /// Its path is that of a verb.
    pub(super) names_verb: bool,
}

/// What is known when a reply is checked.
pub(super) struct ReplyContext<'a> {
    pub(super) config: &'a FaultConfig,
    pub(super) model: &'a ReferenceModel,
    pub(super) point_model: &'a PointModel,
    pub(super) handlers: &'a FakeHandlers,
    pub(super) hypervisor: &'a FakeHypervisor,
    pub(super) wall_clock: &'a WallClock,
    /// When the server was started.
    pub(super) started: Instant,
    pub(super) now: Instant,
    pub(super) is_stopped: bool,
    /// The client that gets it.
    pub(super) client: usize,
    /// The request's place among those of the client.
    pub(super) by: SentBy,
    pub(super) port: u16,
    pub(super) listener: usize,
    /// The server has closed the connection because nothing was acknowledged.
    pub(super) is_given_up: bool,
    /// The client of each port.
    pub(super) client_of_port: &'a dyn Fn(u64) -> Option<usize>,
    /// The login with which the request was begun.
    pub(super) auth: Auth,
    pub(super) sent: Instant,
    /// The logical time of `sent`: see `PointModel`.
    pub(super) logical_time: u64,
    /// It is answered before the next request is begun.
    pub(super) is_in_turn: bool,
    /// Each request runs as the owner of its own token; the connection stays anonymous.
    pub(super) is_stateless: bool,
    /// The status of the reply, where the framing has one.
    pub(super) status: Option<u16>,
    pub(super) head: RequestHead,
}

impl ReplyContext<'_> {
    /// The result if the login decides it.
    pub(super) fn check_login(&self, login: Auth, outcome: &Outcome) -> Option<Verification> {
        let is_refused = *outcome == Outcome::AuthenticationRequired;
        match login {
            Auth::Anonymous => Some(ensure(is_refused, "an anonymous client is not refused")),
            Auth::As(vm) if is_refused => {
                Some(ensure(self.model.vms[vm].is_changed_by_operator, "a login is lost"))
            }
            Auth::Unsure if is_refused => Some(Ok(())),
            _ => None,
        }
    }

    /// Whether points and verbs are only for authenticated clients.
    pub(super) fn requires_login(&self) -> bool {
        self.listener == CLOSED_LISTENER
    }
}
