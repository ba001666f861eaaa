//! Random requests of a fake client.

use super::action_requests::ActionRequest;
use super::environment::{Environment, Knowledge};
use super::expectations::Expectations;
use super::metric_requests::{MetricContext, MetricRequest};
use super::random::Random;
use super::request::{InvalidRequest, LISTS, Request};
use super::verb_requests::{Custom, CustomRequest, VerbForm};
use vmherd::internals::limits;

/// Any request that makes sense now.
pub(super) fn choose(
    by: MetricContext,
    marks: &mut u64,
    expectations: &Expectations,
    env: &mut Environment,
) -> Option<Request> {
    *marks += 1;
    let mark = *marks;
    let Environment { random, config, knowledge: Knowledge { model, points, .. }, .. } = env;
    let own: Vec<usize> =
        (0..model.vms.len()).filter(|vm| model.vms[*vm].owner == Some(by.requester.client)).collect();
    let token =
        (!model.tokens.is_empty() && random.chance(15)).then(|| random.between(0, model.tokens.len() - 1));
    Some(match random.between(0, 45) {
        0..=3 => Request::Ping,
        4 | 5 => Request::Register { vm: *own.first()? },
        6..=8 if expectations.barrier_count < ISSUED_MAX => {
            let any = random.between(0, model.vms.len() - 1);
            let vm = if random.chance(60) { own.first().copied().unwrap_or(any) } else { any };
            Request::Authenticate { vm, is_right: random.chance(80) }
        }
        9..=11 => Request::List { list: random.pick(&LISTS), token },
        // The model follows updates only where it knows their VM.
        12..=14 if token.is_some() || expectations.is_login_certain() => {
            Request::Update { ram: model.new_ram(), token }
        }
        15 => Request::Logout { token },
        16 => Request::Invalid(InvalidRequest::UnknownField(mark)),
        17 => Request::Invalid(random.pick(&[
            InvalidRequest::UnknownList,
            InvalidRequest::EmptyUpdate,
            InvalidRequest::UnknownDisk,
        ])),
        18 => Request::Invalid(random.pick(&[
            InvalidRequest::NotJson,
            InvalidRequest::Array,
            InvalidRequest::BadId,
        ])),
        19 => Request::Invalid(random.pick(&[
            InvalidRequest::UnknownCommand,
            InvalidRequest::ShortPassword,
            InvalidRequest::OperatorCommand,
            InvalidRequest::UnknownVerb,
            InvalidRequest::BareVerb,
        ])),
        20..=23 => Request::Action(ActionRequest::choose(random, model)),
        24..=26 => Request::Convert { mark },
        27 if random.chance(50) => Request::FrontPage,
        27 => Request::Health,
        28..=32 => {
            let request = MetricRequest::Any.choose(by, marks, points, random);
            token.into_iter().fold(request, Request::with_token)
        }
        33..=35 => Request::Stat { form: random.pick(&VerbForm::ALL), token },
        36..=43 => Request::Custom(custom(mark, token, random)),
        44.. if config.containers_max.is_some() => {
            let request = Request::Container(model.containers.choose(random));
            token.into_iter().fold(request, Request::with_token)
        }
        _ => Request::Ping,
    })
}

/// A request for an added verb or command.
pub(super) fn custom(mark: u64, token: Option<usize>, random: &mut Random) -> CustomRequest {
    CustomRequest {
        custom: random.pick(&Custom::ALL),
        form: random.pick(&[VerbForm::Message, VerbForm::Post]),
        mark,
        filler: random.mostly_few(0, 1500),
        token,
    }
}

/// Barriers after which a client no longer logs in, so that no token is evicted by newer ones.
const ISSUED_MAX: usize = limits::TOKENS_PER_CONNECTION_MAX;
