//! Checks the replies to requests for added verbs and commands: each is that of its own handler, or the right failure.

use super::handler_calls::{Call, CallResult};
use super::network::SLACK;
use super::reply_context::{Auth, ReplyContext};
use super::response::{Outcome, Response};
use super::verb_requests::{Custom, CustomRequest};
use super::verification::{Verification, ensure};
use vmherd::internals::model::CustomKind;

impl ReplyContext<'_> {
    /// Whether `response` is a possible reply to `request`, `login` being that of the request. Failures of the worlds'
    /// other faults are excused already.
    pub(super) fn check_custom(
        &self,
        request: CustomRequest,
        login: Auth,
        response: &Response,
    ) -> Verification {
        let call = self.handlers.call_of(request.mark);
        let is_past_deadline = self.now >= self.sent + self.config.handler_deadline;
        match (&response.outcome, &call) {
            (Outcome::Busy, None) => ensure(is_past_deadline, "busy before the deadline"),
            (Outcome::Busy, Some(_)) => Err("busy, and the handler was called".to_owned()),
            // It runs, and the handler is called later.
            (Outcome::Unknown, None) => ensure(is_past_deadline, "unknown before the deadline"),
            (Outcome::Unknown, Some(call)) => {
                ensure(self.now >= call.deadline, "unknown before the deadline")?;
                let is_in_time = matches!(call.result, Some((at, ..)) if at < call.deadline);
                ensure(!is_in_time, "unknown, and the handler was in time")
            }
            (_, None) => Err("a handler that was not called has answered".to_owned()),
            (_, Some(call)) => {
                self.check_call(request, login, call)?;
                check_result(request.custom, call, response)
            }
        }
    }

    /// Whether the handler was called for this request.
    fn check_call(&self, request: CustomRequest, login: Auth, call: &Call) -> Verification {
        ensure(call.custom == request.custom, "another handler was called")?;
        ensure(call.port == self.port, "a handler was shown another client")?;
        let Some((at, ..)) = call.result else { return Err("answered without a result".to_owned()) };
        ensure(at <= call.deadline + SLACK, "a late answer is delivered")?;
        match (login, &call.vm) {
            (Auth::Anonymous, vm) => {
                ensure(vm.is_none(), "a handler was shown a VM that is not authenticated")
            }
            (Auth::As(vm), shown) => {
                let vm = &self.model.vms[vm];
                let is_right = shown.as_ref().is_some_and(|shown| *shown == vm.name);
                ensure(is_right || vm.is_changed_by_operator, "a handler was shown another VM")
            }
            (Auth::Unsure, _) => Ok(()),
        }
    }
}

/// Whether the reply is the result of the call.
fn check_result(custom: Custom, call: &Call, response: &Response) -> Verification {
    let Some((_, _, CallResult::Answer { is_success, message, data })) = &call.result else {
        return ensure(response.outcome == Outcome::Internal, "an answer of a handler that failed");
    };
    ensure((response.outcome == Outcome::Success) == *is_success, "a success for a failure")?;
    let default = (custom.kind() == CustomKind::Verb).then(|| "OK".to_owned());
    ensure(response.message == message.clone().or(default), "another message than the handler's")?;
    ensure(response.data == *data, "other data than the handler's")
}
