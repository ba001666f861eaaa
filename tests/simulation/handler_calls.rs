//! The calls of simulated handlers: what each is to do, and what came of it.

use serde_json::{Value, json};

use super::fault_config::FaultConfig;
use super::random::Random;
use super::verb_requests::Custom;
use vmherd::internals::clock::Instant;
use vmherd::internals::limits;
use vmherd::internals::model::Response;

/// A call of a handler.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) custom: Custom,
    /// The port of the client that the handler was shown.
    pub(super) port: u16,
    /// The VM that the client was shown as.
    pub(super) vm: Option<String>,
    /// The deadline of its job.
    pub(super) deadline: Instant,
    /// The first result, when it was given, and the number of that act among those of all handlers.
    pub(super) result: Option<(Instant, usize, CallResult)>,
}

/// The result of a call.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum CallResult {
    /// An answer: whether it is a success, its message and its data.
    Answer { is_success: bool, message: Option<String>, data: Value },
    /// None, for a reason that the client does not get.
    Failure,
}

/// When a handler does something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    AtOnce,
    /// On another thread.
    At(Instant),
    Never,
}

/// The plan of one call.
pub(super) struct Script {
    pub(super) response: Response,
    pub(super) result: CallResult,
    /// Whether the responder answers, or is dropped.
    pub(super) answers: bool,
    pub(super) answers_at: When,
    /// Whether the client is closed.
    pub(super) closes: bool,
    pub(super) closes_at: When,
    /// Whether that comes before the answer, if both are at once.
    pub(super) closes_first: bool,
    pub(super) panics: bool,
    /// Whether a panic comes before all that is done at once.
    pub(super) panics_first: bool,
}

impl Script {
    /// Plans what a handler does that begins now; its answer has `data` and more.
    pub(super) fn new(mut data: Value, random: &mut Random, config: &FaultConfig, now: Instant) -> Script {
        let bytes = match random.between(0, 199) {
            0 => limits::HANDLER_RESPONSE_BYTES_MAX,
            1 => random.between(100_000, limits::HANDLER_RESPONSE_BYTES_MAX - 1_000),
            2..=5 => random.between(1_000, 100_000),
            _ => random.between(0, 60),
        };
        data["filler"] = json!("y".repeat(bytes));
        let is_success = random.chance(85);
        let message =
            (!is_success || random.chance(20)).then(|| format!("message {} of a handler", data["number"]));
        let response = match (&message, is_success) {
            (None, _) => Response::success(data.clone()),
            (Some(message), true) => Response::success(data.clone()).with_message(message.clone()),
            (Some(message), false) => Response::failure(message.clone()),
        };
        let is_too_large = is_success && bytes >= limits::HANDLER_RESPONSE_BYTES_MAX;
        let data = if is_success { data } else { json!({}) };
        let result = match is_too_large {
            true => CallResult::Failure,
            false => CallResult::Answer { is_success, message, data },
        };
        let mut later = |percent: usize| {
            let longest = random.pick(&[10_000, 1_000_000, 2 * config.handler_deadline.as_micros() as usize]);
            match random.chance(percent) {
                true => When::At(now + random.micros(0, longest)),
                false => When::AtOnce,
            }
        };
        let answers_at = later(config.handlers_later_percent);
        let closes_at = later(50);
        Script {
            response,
            result,
            answers: !random.chance(config.handlers_failed_percent),
            answers_at: if random.chance(config.handlers_failed_percent / 3) {
                When::Never
            } else {
                answers_at
            },
            closes: random.chance(config.handlers_close_percent),
            closes_at,
            closes_first: random.chance(50),
            panics: random.chance(config.handlers_failed_percent / 2),
            panics_first: random.chance(50),
        }
    }
}
