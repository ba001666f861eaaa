//! What a client knows of its login after a barrier.

use super::container_model::ContainerRequest;
use super::environment::Environment;
use super::reply_context::Auth;
use super::request::Request;
use super::response::Outcome;
use super::verb_requests::CustomRequest;

/// The login of the connection after a barrier.
pub(super) fn auth_after(request: &Request, before: Auth, outcome: &Outcome, env: &Environment) -> Auth {
    let vm_of = |token: &usize| env.knowledge.model.tokens[*token].vm;
    match (request, outcome) {
        (Request::Authenticate { vm, .. }, Outcome::Success) => Auth::As(*vm),
        // Refused before it was begun, or begun and failed.
        (Request::Authenticate { .. }, Outcome::Busy)
            if before != Auth::Anonymous && env.config.limits_requests() =>
        {
            Auth::Unsure
        }
        (Request::Authenticate { .. }, _) => Auth::Anonymous,
        (Request::Register { .. } | Request::Invalid(_), _) => before,
        (Request::Logout { .. }, Outcome::Success) => Auth::Anonymous,
        (_, Outcome::InvalidToken | Outcome::TokenOfAnotherVm) => before,
        (
            Request::List { token, .. }
            | Request::Update { token, .. }
            | Request::Logout { token }
            | Request::Put { token, .. }
            | Request::Get { token, .. }
            | Request::Stat { token, .. }
            | Request::Custom(CustomRequest { token, .. })
            | Request::Container(ContainerRequest { token, .. }),
            outcome,
        ) => match (token.as_ref().map(vm_of), outcome) {
            (None, Outcome::AuthenticationRequired) if before != Auth::Anonymous => Auth::Unsure,
            (None, _) => before,
            (Some(vm), Outcome::Success) => Auth::As(vm),
            (Some(vm), _) if before == Auth::As(vm) => before,
            (Some(_), _) => Auth::Unsure,
        },
        _ => before,
    }
}
