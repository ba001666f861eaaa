//! The steps of a client's plan, and groups of them that several plans have.

use std::time::Duration;

use super::connection::ReadPace;
use super::framing::Framing;
use super::metric_requests::MetricRequest;
use super::random::Random;
use super::reference_model::ReferenceModel;
use super::request::Request;
use vmherd::internals::limits;

/// One step of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Sends a request, whose reply is due from then on.
    Ask {
        request: Request,
        has_id: bool,
    },
    /// Sends a random request that makes sense then.
    AskAnything {
        has_id: bool,
    },
    /// Sends a random request of the dialect `action`.
    Action {
        has_id: bool,
    },
    /// Puts or gets points.
    Metric {
        metric_request: MetricRequest,
        has_id: bool,
    },
    /// Requests a conversion.
    Convert,
    /// Sends a request for an added verb or command.
    Custom {
        has_id: bool,
    },
    /// Sends a random request for `CREATE` or `DESTROY`.
    Container {
        has_id: bool,
    },
    /// Sends a request, and over HTTP the request to close the connection.
    AskAndClose {
        request: Request,
    },
    /// Begins the exchange of keys, for a random request.
    #[cfg(feature = "sealed")]
    Seal,
    /// Sends a close frame.
    SendClose {
        code: Option<u16>,
    },
    /// Sends frames that break a rule, for which the server has to close with this code.
    SendInvalidFrames {
        bytes: Vec<u8>,
        code: u16,
    },
    /// Changes the memory of the VM that is logged in, if that is certain.
    Update {
        has_id: bool,
    },
    /// Sends bytes that get no reply.
    Send(Vec<u8>),
    /// As `Send`; the server has to end the connection.
    SendHttp(Vec<u8>),
    /// A reply is due without a request.
    Expect(Request),
    /// From now on the server has to end the connection within this time, and not before.
    Deadline(Duration),
    Pause(Duration),
    /// Waits until no reply is due.
    AwaitResponses,
    SetReadPace(ReadPace),
    /// Sends this byte repeatedly.
    Drip {
        byte: u8,
        every: Duration,
    },
    /// Ends its own direction.
    Finish,
    /// Resets the connection.
    Reset,
}

/// Sends a request without an id.
pub(super) fn ask(request: Request) -> Step {
    Step::Ask { request, has_id: false }
}

/// Sends nothing, or white space only.
pub(super) fn sends_nothing(random: &mut Random) -> Vec<Step> {
    let mut plan = vec![Step::Deadline(limits::FIRST_REQUEST_TIMEOUT)];
    if random.chance(50) {
        plan.push(Step::Send(b" \n\t ".to_vec()));
        plan.push(Step::Pause(random.micros(0, 200_000_000)));
        plan.push(Step::Send(b"\r\n".to_vec()));
    }
    if random.chance(30) {
        plan.push(Step::Finish);
    }
    plan
}

/// Repeats `step`, with an id or without, and waits after `waiting_percent` of the steps. It may log in before.
pub(super) fn repeats(
    step: impl Fn(bool) -> Step,
    waiting_percent: usize,
    framing: Framing,
    random: &mut Random,
    model: &ReferenceModel,
) -> Vec<Step> {
    let mut plan = vec![read_pace(random)];
    if random.chance(40) {
        let vm = random.between(0, model.vms.len() - 1);
        plan.push(ask(Request::Authenticate { vm, is_right: true }));
    }
    let with_id_percent = random.pick(&[0, 30, 90]);
    for _ in 0..random.between(5, 60) {
        plan.push(step(random.chance(with_id_percent)));
        if random.chance(waiting_percent) {
            plan.push(random.pick_step());
        }
    }
    plan.extend(ending(framing, random));
    plan
}

/// Draws a read pace.
pub(super) fn read_pace(random: &mut Random) -> Step {
    Step::SetReadPace(match random.chance(70) {
        true => ReadPace::Eager,
        false => ReadPace::Slow { bytes: random.between(50, 4000), every: random.micros(100, 20_000) },
    })
}

/// Draws the end of a plan.
pub(super) fn ending(framing: Framing, random: &mut Random) -> Vec<Step> {
    match framing {
        Framing::WebSocket if random.chance(60) => {
            let code = random.pick(&[None, Some(1000), Some(4000)]);
            let mut plan = if random.chance(60) { vec![Step::AwaitResponses] } else { Vec::new() };
            plan.push(Step::SendClose { code });
            return plan;
        }
        Framing::Http if random.chance(40) => return vec![Step::AskAndClose { request: Request::Ping }],
        _ => {}
    }
    match random.between(0, 9) {
        0..=3 => vec![Step::AwaitResponses, Step::Finish],
        4..=7 => vec![Step::Finish],
        8 => vec![Step::AwaitResponses, Step::Pause(random.micros(0, 1_000_000)), Step::Reset],
        _ => vec![Step::Pause(random.micros(0, 1_000_000)), Step::Reset],
    }
}

impl Random {
    pub(super) fn pick_end(&mut self) -> Step {
        if self.chance(70) { Step::Reset } else { Step::Finish }
    }

    pub(super) fn pick_step(&mut self) -> Step {
        if self.chance(50) { Step::AwaitResponses } else { Step::Pause(self.micros(0, 5_000_000)) }
    }
}
