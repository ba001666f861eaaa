//! What a client of the sealed listener and the server exchange: see [`SealedClient`].

use std::collections::VecDeque;

use super::environment::Environment;
use super::exchange::Exchange;
use super::reply_context::RequestHead;
use super::request::{InvalidRequest, Request};
use super::sealed_client::SealedClient;
use super::steps::Step;
use super::verb_requests::VerbForm;
use super::verification::Verification;

impl Exchange {
    /// Begins, to send a random request; or what an earlier client has sent.
    pub(super) fn seal(&mut self, env: &mut Environment) {
        let mut sealed = SealedClient::new(env.random.fork());
        let recordings = &env.knowledge.recordings;
        if !recordings.is_empty() && env.random.chance(15) {
            sealed.begin_replay(recordings[env.random.between(0, recordings.len() - 1)].clone());
        } else {
            let request = self.choose_sealed(env);
            let id = env.random.chance(20).then_some("17").filter(|_| !request.has_no_id());
            let text = request.text(id, true, &env.knowledge.model);
            sealed.begin(text, env.config.accepts_first_generation);
            self.sealed_request = Some(request);
        }
        self.codec.sealed = Some(Box::new(sealed));
    }

    /// A verb, or a request that is none.
    fn choose_sealed(&mut self, env: &mut Environment) -> Request {
        let most = match &env.config {
            // A handler may take its time.
            config if config.has_greedy_client => 3,
            config if config.containers_max.is_some() => 14,
            _ => 9,
        };
        match env.random.between(0, most) {
            10.. => {
                let container = env.knowledge.model.containers.choose(&mut env.random);
                Request::Container(container.without_http())
            }
            0..=3 => Request::Stat { form: VerbForm::Message, token: None },
            4..=7 => self.new_custom_verb(env),
            _ => Request::Invalid(env.random.pick(&[
                InvalidRequest::UnknownVerb,
                InvalidRequest::BareVerb,
                InvalidRequest::NoVerb,
            ])),
        }
    }

    /// Puts what the client does next before the rest of its plan.
    pub(super) fn plan_sealed(&mut self, plan: &mut VecDeque<Step>) {
        let Some(sealed) = &mut self.codec.sealed else { return };
        let (steps, ends_plan) = sealed.take_steps();
        if ends_plan {
            plan.clear();
        }
        steps.into_iter().rev().for_each(|step| plan.push_front(step));
    }

    /// Records what has been sent, and what has come, before the messages that came are checked.
    pub(super) fn note_sealed(&mut self, env: &mut Environment) {
        let Some(sealed) = &mut self.codec.sealed else { return };
        if let Some(is_answered) = sealed.take_sent_request()
            && let Some(request) = self.sealed_request.take()
        {
            self.expectations.on_sent(&request, env);
            if is_answered {
                self.expectations.expect(request, None, RequestHead::default(), env);
            }
        }
    }

    /// An answer was right: others may send again what this client has sent.
    pub(super) fn record_sealed(&self, env: &mut Environment) {
        let sealed = self.codec.sealed.as_ref();
        env.knowledge.recordings.extend(sealed.and_then(|sealed| sealed.recording()));
    }

    /// The server has refused a step.
    pub(super) fn check_refusal(&self, has_broken_rule: bool, env: &Environment) -> Verification {
        let may_be_busy = env.config.is_busy_possible();
        let sealed = self.codec.sealed.as_ref().ok_or("no client is sealed")?;
        sealed.check_refusal(has_broken_rule, may_be_busy, env.now)
    }
}
