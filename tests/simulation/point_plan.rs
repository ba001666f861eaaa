//! The plans of clients that put and get points, in JSON and in metrics text.

use std::time::Duration;

use super::connection::ReadPace;
use super::fault_config::FaultConfig;
use super::framing::Framing;
use super::metric_requests::MetricRequest;
use super::random::Random;
use super::reference_model::ReferenceModel;
use super::request::{InvalidRequest, Request};
use super::response::ClosingError;
use super::steps::{Step, ask, ending, read_pace, repeats, sends_nothing};
use vmherd::internals::limits;

/// Makes the plan of a client of metrics text.
pub(super) fn text_client(number: usize, config: &FaultConfig, random: &mut Random) -> Vec<Step> {
    // A reply of several pages through a tiny window takes too long.
    let has_room = config.window_bytes >= 4096;
    let mut plan = match random.between(0, 21) {
        0..=5 => mixed_lines(random),
        6..=9 => runs(random),
        10 | 11 if has_room => pages(random),
        10..=12 => cut_short(number, random),
        13 | 14 => last_line(number, random),
        15 => cross_protocol_post(random),
        16 => slow_sender(random),
        17 if random.chance(50) => sends_nothing(random),
        17 => goes_idle(random),
        18 | 19 => never_reads(random),
        20 => bad_lines(random),
        _ => disconnects(random),
    };
    // The first line must select the framing.
    let first = plan.iter_mut().find(|step| matches!(step, Step::Ask { .. } | Step::Metric { .. }));
    if let Some(first) = first {
        *first = metric_request(MetricRequest::Any);
    }
    plan
}

/// Puts and gets points.
pub(super) fn puts_and_gets(framing: Framing, random: &mut Random, model: &ReferenceModel) -> Vec<Step> {
    let step = |has_id| Step::Metric { metric_request: MetricRequest::Any, has_id };
    repeats(step, 10, framing, random, model)
}

/// Gets all points, several times at once, and puts more meanwhile.
pub(super) fn requests_pages(framing: Framing, random: &mut Random, model: &ReferenceModel) -> Vec<Step> {
    let vm = random.between(0, model.vms.len().min(2) - 1);
    let mut plan =
        vec![ask(Request::Authenticate { vm, is_right: true }), Step::AwaitResponses, read_pace(random)];
    for _ in 0..random.between(1, 4) {
        plan.push(Step::Metric { metric_request: MetricRequest::GetAll, has_id: random.chance(80) });
        plan.extend((0..random.mostly_few(0, 10)).map(|_| match random.chance(60) {
            true => Step::Metric { metric_request: MetricRequest::Put, has_id: random.chance(50) },
            false => Step::Ask { request: Request::Ping, has_id: random.chance(50) },
        }));
    }
    plan.extend(ending(framing, random));
    plan
}

fn metric_request(metric_request: MetricRequest) -> Step {
    Step::Metric { metric_request, has_id: false }
}

fn bad() -> Step {
    ask(Request::Invalid(InvalidRequest::TextLine))
}

fn some(random: &mut Random) -> Step {
    if random.chance(10) { bad() } else { metric_request(MetricRequest::Any) }
}

fn closing_error(error: ClosingError) -> Step {
    Step::Expect(Request::Closing(error))
}

/// Random lines, and pauses.
fn mixed_lines(random: &mut Random) -> Vec<Step> {
    let (mut plan, pausing) = (vec![read_pace(random)], random.pick(&[0, 10, 50]));
    for _ in 0..random.mostly_few(1, 80) {
        plan.push(some(random));
        if random.chance(pausing) {
            plan.push(random.pick_step());
        }
    }
    plan.extend(ending(Framing::Text, random));
    plan
}

/// Many puts together, and rarely other lines between them.
fn runs(random: &mut Random) -> Vec<Step> {
    let (mut plan, others) = (vec![read_pace(random)], random.pick(&[0, 1, 5]));
    let again = random.pick(&[0, 10, 60]);
    for _ in 0..random.between(1, 4) {
        for _ in 0..random.mostly_few(1, 500) {
            let put = if random.chance(again) { MetricRequest::PutAgain } else { MetricRequest::Put };
            plan.push(if random.chance(others) { some(random) } else { metric_request(put) });
        }
        plan.push(random.pick_step());
        plan.push(metric_request(random.pick(&[MetricRequest::Get, MetricRequest::GetAll])));
    }
    plan.extend(ending(Framing::Text, random));
    plan
}

/// Puts enough points for several pages, and gets all of them.
fn pages(random: &mut Random) -> Vec<Step> {
    let mut plan = vec![read_pace(random)];
    let count = limits::POINTS_PER_PAGE_MAX + random.between(1, 500);
    plan.extend((0..count).map(|_| metric_request(MetricRequest::Put)));
    for _ in 0..random.between(1, 3) {
        plan.push(metric_request(random.pick(&[
            MetricRequest::GetAll,
            MetricRequest::GetAll,
            MetricRequest::Get,
        ])));
        plan.extend((0..random.between(0, 5)).map(|_| some(random)));
    }
    plan.extend(ending(Framing::Text, random));
    plan
}

/// Sends a line that the end of input cuts short.
fn cut_short(number: usize, random: &mut Random) -> Vec<Step> {
    let mut plan: Vec<Step> = (0..random.between(0, 20)).map(|_| some(random)).collect();
    let line = format!("put k{number}.0 123456789 77777777");
    let cut = if random.chance(50) { line.len() } else { random.between(1, line.len()) };
    plan.push(closing_error(ClosingError::CutShort));
    plan.push(Step::Send(line.as_bytes()[..cut].to_vec()));
    plan.push(Step::Finish);
    plan
}

/// Sends a line that is too long, or no text. Nothing after it has an effect.
fn last_line(number: usize, random: &mut Random) -> Vec<Step> {
    let mut plan: Vec<Step> = (0..random.between(0, 20)).map(|_| some(random)).collect();
    let (error, line) = if random.chance(50) {
        let count = limits::TEXT_LINE_BYTES_MAX + random.mostly_few(1, 100_000);
        (ClosingError::TooLarge, b"put ".iter().copied().chain(vec![b'x'; count]).collect())
    } else {
        let bad: [&[u8]; 6] =
            [b"\x01\n", b"put k\0 1 2\n", b"\xff\n", b"get \xc3\x28\n", b"x\x7f", b"a\x1b[0m\n"];
        let line = random.pick(&bad).to_vec();
        // A control character at the start would select another protocol.
        (ClosingError::BadText, [&b"g"[..], line.as_slice()].concat())
    };
    plan.push(closing_error(error));
    plan.push(Step::Send(line));
    plan.push(Step::Send(format!("\nput k{number}.0 123456789 77777777\nget *\n").into_bytes()));
    plan.extend([Step::AwaitResponses, Step::Pause(random.micros(0, 3_000_000)), Step::Finish]);
    plan
}

/// A browser that another site makes send a request.
fn cross_protocol_post(random: &mut Random) -> Vec<Step> {
    let mut plan: Vec<Step> = (0..random.between(1, 20)).map(|_| some(random)).collect();
    let line =
        random.pick(&[&b"POST / HTTP/1.1\r\n\r\nput browser 1 2\n"[..], b"  GET http://x/ HTTP/1.1\r\n"]);
    plan.extend([Step::SendHttp(line.to_vec()), Step::Pause(Duration::from_secs(4)), Step::Finish]);
    plan
}

/// Sends single bytes of a line, and never its end.
fn slow_sender(random: &mut Random) -> Vec<Step> {
    let mut plan: Vec<Step> = (0..random.between(0, 10)).map(|_| some(random)).collect();
    plan.extend([
        Step::AwaitResponses,
        Step::Deadline(limits::REQUEST_TIMEOUT),
        closing_error(ClosingError::TimedOut),
        Step::Send(b"put ".to_vec()),
        Step::Drip { byte: b'x', every: random.micros(50_000, 1_500_000) },
        Step::Finish,
    ]);
    plan
}

/// Sends some lines, and then nothing.
fn goes_idle(random: &mut Random) -> Vec<Step> {
    let mut plan: Vec<Step> = (0..random.between(1, 5)).map(|_| some(random)).collect();
    // The server's timeout starts with its last reply: a short one arrives soon.
    plan.extend([Step::AwaitResponses, metric_request(MetricRequest::GetNothing), Step::AwaitResponses]);
    plan.push(Step::Deadline(limits::IDLE_TIMEOUT_ANONYMOUS));
    plan
}

/// Sends many requests and reads nothing.
fn never_reads(random: &mut Random) -> Vec<Step> {
    let mut plan: Vec<Step> =
        (0..random.between(0, 200)).map(|_| metric_request(MetricRequest::Put)).collect();
    plan.push(Step::SetReadPace(ReadPace::Never));
    plan.extend((0..random.between(20, 300)).map(|_| some(random)));
    plan.push(Step::Pause(random.pick(&[Duration::from_secs(5), Duration::from_secs(30)])));
    plan.extend([Step::SetReadPace(ReadPace::Eager), Step::Finish]);
    plan
}

/// Sends more invalid lines than one tick may process.
fn bad_lines(random: &mut Random) -> Vec<Step> {
    let count = random.between(limits::STEPS_PER_TICK_MAX, 10 * limits::STEPS_PER_TICK_MAX);
    let mut plan = vec![read_pace(random)];
    plan.extend(
        (0..count).map(|_| if random.chance(1) { metric_request(MetricRequest::Any) } else { bad() }),
    );
    plan.extend(ending(Framing::Text, random));
    plan
}

/// Disconnects while points are being stored.
fn disconnects(random: &mut Random) -> Vec<Step> {
    let mut plan: Vec<Step> =
        (0..random.between(1, 300)).map(|_| metric_request(MetricRequest::Put)).collect();
    plan.push(Step::Pause(random.micros(0, 100_000)));
    plan.push(random.pick_end());
    plan
}
