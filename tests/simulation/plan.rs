//! The kinds of clients, and their plans.

use std::collections::VecDeque;
use std::time::Duration;

use super::action_requests::ActionRequest;
use super::bad_requests::{
    closing_error, cross_protocol_post, incomplete_request, slow_sender, wrong_protocol,
};
use super::connection::ReadPace;
use super::fault_config::FaultConfig;
use super::framing::Framing;
use super::metric_requests::MetricRequest;
use super::point_plan;
use super::random::Random;
use super::reference_model::ReferenceModel;
use super::request::{InvalidRequest, LISTS, Request};
use super::response::ClosingError;
use super::steps::{Step, ask, ending, read_pace, repeats, sends_nothing};
use super::verb_requests::VerbForm;
use vmherd::internals::limits;

/// Makes the plan of client `number`.
pub(super) fn plan(
    number: usize,
    framing: Framing,
    config: &FaultConfig,
    random: &mut Random,
    model: &mut ReferenceModel,
) -> VecDeque<Step> {
    if config.is_greedy(number) {
        return greedy(random).into();
    }
    #[cfg(feature = "sealed")]
    if framing == Framing::Sealed {
        return seals(random).into();
    }
    if config.has_greedy_client {
        return modest(framing, random, model).into();
    }
    if framing == Framing::Text {
        return point_plan::text_client(number, config, random).into();
    }
    let creates_percent = if config.many_containers { 80 } else { 20 };
    if config.containers_max.is_some() && random.chance(creates_percent) {
        return creates(framing, random, model).into();
    }
    if config.many_convert && random.chance(60) {
        return converts(framing, config, random).into();
    }
    if config.many_vms && random.chance(40) {
        return requests_pages(framing, random, model).into();
    }
    if config.many_points && random.chance(40) {
        return point_plan::requests_pages(framing, random, model).into();
    }
    if config.clients_hoard && random.chance(50) {
        return sends_a_large_part(framing, random).into();
    }
    match random.between(0, 46) {
        0..=7 => mixed_requests(number, framing, random, model),
        8..=10 => floods(framing, random),
        11 | 12 => incomplete_request(framing, config, random),
        13 | 14 => slow_sender(framing, random),
        15 if framing == Framing::RawJson => wrong_protocol(random),
        16 if framing == Framing::RawJson => sends_nothing(random),
        17 => goes_idle(framing, random),
        18..=20 => never_reads(number, random, model),
        21 if framing == Framing::RawJson => cross_protocol_post(random),
        15 | 16 | 21 => closing_error(framing, config, random),
        22 | 23 => disconnects_during_login(random, model),
        24..=28 => manages_vms(framing, random, model),
        29..=32 => converts(framing, config, random),
        33..=36 => point_plan::puts_and_gets(framing, random, model),
        37..=42 => calls_handlers(framing, random, model),
        _ => stays_anonymous(framing, random),
    }
    .into()
}

/// Sends more requests than it may have under way, all of which need a worker.
fn greedy(random: &mut Random) -> Vec<Step> {
    let request = |random: &mut Random| match random.chance(10) {
        true => Step::Convert,
        false => Step::Metric { metric_request: MetricRequest::Put, has_id: true },
    };
    let mut plan: Vec<Step> = (0..random.between(300, 1200)).map(|_| request(random)).collect();
    plan.extend([Step::AwaitResponses, Step::Finish]);
    plan
}

/// Sends one request to the sealed listener, or fails to.
#[cfg(feature = "sealed")]
fn seals(random: &mut Random) -> Vec<Step> {
    let mut plan = vec![read_pace(random), Step::Seal, Step::AwaitResponses];
    if random.chance(50) {
        plan.extend([Step::Pause(random.micros(0, 1_000_000)), random.pick_end()]);
    }
    plan
}

/// Sends one small request after the other, and waits for each reply.
fn modest(framing: Framing, random: &mut Random, model: &mut ReferenceModel) -> Vec<Step> {
    let mut plan = Vec::new();
    for _ in 0..random.between(10, 40) {
        let has_id = random.chance(50);
        plan.push(match (framing, random.between(0, 9)) {
            (Framing::Text, _) => Step::Metric { metric_request: MetricRequest::Put, has_id },
            (_, 0) => Step::Convert,
            (_, 1) => Step::Action { has_id },
            _ => {
                let add = ActionRequest::Add { ram: model.new_ram() };
                Step::Ask { request: Request::Action(add), has_id }
            }
        });
        plan.push(Step::AwaitResponses);
    }
    plan.push(Step::Finish);
    plan
}

/// Registers, logs in, and sends random requests.
fn mixed_requests(
    number: usize,
    framing: Framing,
    random: &mut Random,
    model: &mut ReferenceModel,
) -> Vec<Step> {
    let vm = model.add(format!("vm-{number}"), Some(number));
    let mut plan = vec![read_pace(random)];
    let (with_id_percent, pausing) = (random.pick(&[0, 30, 90]), random.pick(&[0, 10, 50]));
    if random.chance(80) {
        plan.push(ask(Request::Register { vm }));
    }
    if random.chance(80) {
        plan.push(ask(Request::Authenticate { vm, is_right: true }));
    }
    for _ in 0..random.mostly_few(1, 40) {
        plan.push(Step::AskAnything { has_id: random.chance(with_id_percent) });
        if random.chance(pausing) {
            plan.push(random.pick_step());
        }
        if random.chance(3) && plan.len() > 3 {
            plan.push(ask(Request::Invalid(InvalidRequest::StrayBytes)));
        }
    }
    plan.extend(ending(framing, random));
    plan
}

/// Adds VMs, connects them, and changes those of other clients.
fn manages_vms(framing: Framing, random: &mut Random, model: &ReferenceModel) -> Vec<Step> {
    repeats(|has_id| Step::Action { has_id }, 20, framing, random, model)
}

/// Has handlers answer, and leaves early or stays.
fn calls_handlers(framing: Framing, random: &mut Random, model: &ReferenceModel) -> Vec<Step> {
    let mut plan = repeats(|has_id| Step::Custom { has_id }, 10, framing, random, model);
    if random.chance(20) {
        plan.truncate(random.between(1, plan.len()));
        plan.extend([Step::Pause(random.micros(0, 300_000)), random.pick_end()]);
    }
    plan
}

/// Creates and destroys containers, sometimes without reading the answers at once, and leaves early or stays.
fn creates(framing: Framing, random: &mut Random, model: &ReferenceModel) -> Vec<Step> {
    if random.chance(40) {
        return creates_and_leaves(random);
    }
    let mut plan = repeats(|has_id| Step::Container { has_id }, 30, framing, random, model);
    if random.chance(30) {
        let end = [
            Step::SetReadPace(ReadPace::Never),
            Step::Container { has_id: random.chance(50) },
            Step::Pause(random.micros(0, 15_000_000)),
            Step::SetReadPace(ReadPace::Eager),
        ];
        // Before the last steps, which may be three.
        let at = random.between(1, plan.len() - 3);
        plan.splice(at..at, end);
    }
    if random.chance(40) {
        plan.truncate(random.between(1, plan.len()));
        plan.extend([Step::Pause(random.micros(0, 1_000_000)), random.pick_end()]);
    }
    plan
}

/// Creates containers, and leaves when the answers may be under way.
fn creates_and_leaves(random: &mut Random) -> Vec<Step> {
    let mut plan = Vec::new();
    if random.chance(50) {
        plan.push(Step::SetReadPace(ReadPace::Never));
    }
    plan.extend((0..random.between(1, 4)).map(|_| Step::Container { has_id: random.chance(50) }));
    let longest = random.pick(&[1_000, 20_000, 300_000, 1_000_000]);
    plan.extend([Step::Pause(random.micros(0, longest)), random.pick_end()]);
    // A client that has only finished reads in the end.
    plan.extend([Step::Pause(random.micros(0, 15_000_000)), Step::SetReadPace(ReadPace::Eager)]);
    plan
}

/// Requests lists of several pages, and changes VMs meanwhile.
fn requests_pages(framing: Framing, random: &mut Random, model: &ReferenceModel) -> Vec<Step> {
    let vm = random.between(0, model.vms.len().min(2) - 1);
    let mut plan =
        vec![ask(Request::Authenticate { vm, is_right: true }), Step::AwaitResponses, read_pace(random)];
    for _ in 0..random.between(1, 3) {
        let list = random.pick(&["all_vms", "all_disks"]);
        plan.push(Step::Ask { request: Request::List { list, token: None }, has_id: random.chance(80) });
        plan.extend((0..random.between(0, 10)).map(|_| match random.chance(80) {
            true => Step::Update { has_id: true },
            false => Step::Ask { request: Request::Ping, has_id: random.chance(50) },
        }));
        if random.chance(20) {
            plan.push(Step::Ask { request: Request::Logout { token: None }, has_id: true });
            break;
        }
    }
    plan.extend(ending(framing, random));
    plan
}

/// Sends more at once than one tick may begin.
fn floods(framing: Framing, random: &mut Random) -> Vec<Step> {
    let with_id_percent = random.pick(&[0, 0, 50, 100]);
    let count = random.between(limits::STEPS_PER_TICK_MAX, 5 * limits::STEPS_PER_TICK_MAX);
    let inline = |random: &mut Random| {
        let stat = Request::Stat { form: VerbForm::Message, token: None };
        let request = if random.chance(20) { stat } else { Request::Ping };
        Step::Ask { request, has_id: random.chance(with_id_percent) }
    };
    let mut plan = vec![Step::Pause(random.micros(0, 100_000)), read_pace(random)];
    plan.extend((0..count).map(|_| inline(random)));
    plan.extend(ending(framing, random));
    plan
}

/// Sends a large part of a request, and no more.
fn sends_a_large_part(framing: Framing, random: &mut Random) -> Vec<Step> {
    let part = vec![b'x'; random.between(300_000, 900_000)];
    let mut bytes = match framing {
        Framing::Http => b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n".to_vec(),
        Framing::WebSocket => b"\x81\xff\0\0\0\0\0\x0f\0\0\0\0\0\0".to_vec(),
        _ => b"{\"command\": \"".to_vec(),
    };
    bytes.extend(part);
    vec![
        Step::SetReadPace(ReadPace::Eager),
        Step::AwaitResponses,
        Step::Deadline(limits::REQUEST_TIMEOUT),
        Step::Expect(Request::Closing(ClosingError::TimedOut)),
        Step::Send(bytes),
        Step::AwaitResponses,
        Step::Finish,
    ]
}

/// Sends one request, and then nothing.
fn goes_idle(framing: Framing, random: &mut Random) -> Vec<Step> {
    vec![
        Step::Pause(random.micros(0, 1_000_000)),
        ask(Request::Ping),
        Step::AwaitResponses,
        Step::Deadline(match framing {
            Framing::Http => limits::IDLE_TIMEOUT_HTTP,
            _ => limits::IDLE_TIMEOUT_ANONYMOUS,
        }),
    ]
}

/// Sends many requests and reads nothing.
fn never_reads(number: usize, random: &mut Random, model: &mut ReferenceModel) -> Vec<Step> {
    let vm = model.add(format!("vm-{number}"), Some(number));
    let mut plan = Vec::new();
    let lists = random.chance(60);
    if lists {
        plan.extend([
            ask(Request::Register { vm }),
            ask(Request::Authenticate { vm, is_right: true }),
            Step::AwaitResponses,
        ]);
    }
    plan.push(Step::SetReadPace(ReadPace::Never));
    for _ in 0..random.between(20, 2000) {
        let request = match lists && random.chance(10) {
            true => Request::List { list: random.pick(&LISTS), token: None },
            false => Request::Ping,
        };
        plan.push(Step::Ask { request, has_id: random.chance(20) });
    }
    if random.chance(30) {
        // It reads after all.
        plan.extend([
            Step::Pause(random.micros(0, 8_000_000)),
            Step::SetReadPace(ReadPace::Eager),
            Step::AwaitResponses,
        ]);
    } else {
        plan.push(Step::Pause(Duration::from_secs(30)));
        plan.push(Step::SetReadPace(ReadPace::Eager));
    }
    plan.push(Step::Finish);
    plan
}

/// Disconnects while its password is checked, so that another connection gets its slot.
fn disconnects_during_login(random: &mut Random, model: &ReferenceModel) -> Vec<Step> {
    let vm = random.between(0, model.vms.len() - 1);
    let mut plan = vec![Step::Pause(random.micros(0, 3_000_000))];
    plan.extend((0..random.between(0, 3)).map(|_| ask(Request::Ping)));
    plan.push(ask(Request::Authenticate { vm, is_right: true }));
    plan.push(Step::Pause(random.micros(0, 300_000)));
    plan.push(if random.chance(70) { Step::Reset } else { Step::Finish });
    plan
}

/// Stays anonymous.
fn stays_anonymous(framing: Framing, random: &mut Random) -> Vec<Step> {
    let mut plan = vec![Step::Pause(random.micros(0, 5_000_000))];
    for _ in 0..random.between(1, 8) {
        let request = match random.chance(70) {
            true => Request::List { list: random.pick(&LISTS), token: None },
            false if random.chance(50) => Request::Ping,
            false => Request::Stat { form: random.pick(&VerbForm::ALL), token: None },
        };
        plan.push(Step::Ask { request, has_id: random.chance(30) });
        plan.push(Step::Pause(random.micros(0, 1_000_000)));
    }
    plan.extend(ending(framing, random));
    plan
}

/// Requests many conversions, and disconnects or stays.
fn converts(framing: Framing, config: &FaultConfig, random: &mut Random) -> Vec<Step> {
    let most = match framing {
        Framing::Http => 4,
        _ if config.many_convert => 3 * limits::REQUESTS_DROPPED_AT_ONCE_MAX,
        _ => 60,
    };
    let (others, mut plan) = (random.pick(&[0, 0, 10]), vec![read_pace(random)]);
    let disconnects = framing != Framing::Http && random.chance(if config.many_convert { 60 } else { 20 });
    for _ in 0..random.between(1, most) {
        plan.push(Step::Convert);
        if random.chance(others) {
            plan.push(Step::AskAnything { has_id: true });
        }
    }
    if disconnects {
        // With a job under way, and before most conversions are due.
        plan.extend((0..3).map(|_| Step::Action { has_id: true }));
        plan.push(Step::Pause(random.micros(0, 200_000)));
        plan.push(random.pick_end());
        return plan;
    }
    if random.chance(30) {
        plan.push(Step::Action { has_id: true });
    }
    if random.chance(50) {
        plan.push(Step::Pause(random.micros(0, 6_000_000)));
    }
    plan.extend(ending(framing, random));
    plan
}
