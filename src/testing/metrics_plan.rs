//! What clients are going to do that have to do with metrics, and in metrics text.

use std::time::Duration;

use super::herd::Herd;
use super::measure::Measure;
use super::plan::{Act, ask, ending, reading, silent};
use super::random::Random;
use super::request::{Bad, LastWords, What};
use super::speech::Framing;
use super::weather::Weather;
use super::wire::Reading;
use crate::limits;

/// Makes the plan of a client of metrics text.
pub(super) fn of_text(number: usize, weather: &Weather, random: &mut Random) -> Vec<Act> {
    // An answer of several pages in tiny pieces takes all day.
    let has_room = weather.window_bytes >= 4096;
    let mut plan = match random.between(0, 21) {
        0..=5 => text_measurer(random),
        6..=9 => runs(random),
        10 | 11 if has_room => pages(random),
        10..=12 => cut_short(number, random),
        13 | 14 => last_line(number, random),
        15 => http_line(random),
        16 => dripper(random),
        17 if random.chance(50) => silent(random),
        17 => idler(random),
        18 | 19 => never_reads(random),
        20 => bad_lines(random),
        _ => gone(random),
    };
    // What comes first has to choose the framing.
    let first = plan.iter_mut().find(|act| matches!(act, Act::Ask { .. } | Act::Measure { .. }));
    if let Some(first) = first {
        *first = measure(Measure::Any);
    }
    plan
}

/// Puts points and asks for them.
pub(super) fn measurer(framing: Framing, random: &mut Random, herd: &Herd) -> Vec<Act> {
    let mut plan = vec![reading(random)];
    if random.chance(40) {
        let vm = random.between(0, herd.vms.len() - 1);
        plan.push(ask(What::Authenticate { vm, is_right: true }));
    }
    let named = random.pick(&[0, 30, 90]);
    for _ in 0..random.between(5, 60) {
        plan.push(Act::Measure { measure: Measure::Any, is_named: random.chance(named) });
        if random.chance(10) {
            plan.push(random.pick_act());
        }
    }
    plan.extend(ending(framing, random));
    plan
}

/// Asks for all points there are, several times at once, and puts more meanwhile.
pub(super) fn pager(framing: Framing, random: &mut Random, herd: &Herd) -> Vec<Act> {
    let vm = random.between(0, herd.vms.len().min(2) - 1);
    let mut plan = vec![ask(What::Authenticate { vm, is_right: true }), Act::Await, reading(random)];
    for _ in 0..random.between(1, 4) {
        plan.push(Act::Measure { measure: Measure::GetAll, is_named: random.chance(80) });
        plan.extend((0..random.mostly_few(0, 10)).map(|_| match random.chance(60) {
            true => Act::Measure { measure: Measure::Put, is_named: random.chance(50) },
            false => Act::Ask { what: What::Ping, is_named: random.chance(50) },
        }));
    }
    plan.extend(ending(framing, random));
    plan
}

fn measure(measure: Measure) -> Act {
    Act::Measure { measure, is_named: false }
}

fn bad() -> Act {
    ask(What::Bad(Bad::Line))
}

fn some(random: &mut Random) -> Act {
    if random.chance(10) { bad() } else { measure(Measure::Any) }
}

fn last_words(words: LastWords) -> Act {
    Act::Expect(What::LastWords(words))
}

/// This and that, and pauses.
fn text_measurer(random: &mut Random) -> Vec<Act> {
    let (mut plan, pausing) = (vec![reading(random)], random.pick(&[0, 10, 50]));
    for _ in 0..random.mostly_few(1, 80) {
        plan.push(some(random));
        if random.chance(pausing) {
            plan.push(random.pick_act());
        }
    }
    plan.extend(ending(Framing::Text, random));
    plan
}

/// Many points together, and now and then something else between them.
fn runs(random: &mut Random) -> Vec<Act> {
    let (mut plan, others) = (vec![reading(random)], random.pick(&[0, 1, 5]));
    let again = random.pick(&[0, 10, 60]);
    for _ in 0..random.between(1, 4) {
        for _ in 0..random.mostly_few(1, 500) {
            let put = if random.chance(again) { Measure::PutAgain } else { Measure::Put };
            plan.push(if random.chance(others) { some(random) } else { measure(put) });
        }
        plan.push(random.pick_act());
        plan.push(measure(random.pick(&[Measure::Get, Measure::GetAll])));
    }
    plan.extend(ending(Framing::Text, random));
    plan
}

/// Points enough for several pages, and all of them asked for.
fn pages(random: &mut Random) -> Vec<Act> {
    let mut plan = vec![reading(random)];
    let count = limits::POINTS_PER_PAGE_MAX + random.between(1, 500);
    plan.extend((0..count).map(|_| measure(Measure::Put)));
    for _ in 0..random.between(1, 3) {
        plan.push(measure(random.pick(&[Measure::GetAll, Measure::GetAll, Measure::Get])));
        plan.extend((0..random.between(0, 5)).map(|_| some(random)));
    }
    plan.extend(ending(Framing::Text, random));
    plan
}

/// A line that the end of input cuts.
fn cut_short(number: usize, random: &mut Random) -> Vec<Act> {
    let mut plan: Vec<Act> = (0..random.between(0, 20)).map(|_| some(random)).collect();
    let line = format!("put k{number}.0 123456789 77777777");
    let cut = if random.chance(50) { line.len() } else { random.between(1, line.len()) };
    plan.push(last_words(LastWords::CutShort));
    plan.push(Act::Send(line.as_bytes()[..cut].to_vec()));
    plan.push(Act::Finish);
    plan
}

/// A line that is too long, or no text. Nothing behind it has an effect.
fn last_line(number: usize, random: &mut Random) -> Vec<Act> {
    let mut plan: Vec<Act> = (0..random.between(0, 20)).map(|_| some(random)).collect();
    let (words, line) = if random.chance(50) {
        let count = limits::TEXT_LINE_BYTES_MAX + random.mostly_few(1, 100_000);
        (LastWords::TooLarge, b"put ".iter().copied().chain(vec![b'x'; count]).collect())
    } else {
        let bad: [&[u8]; 6] =
            [b"\x01\n", b"put k\0 1 2\n", b"\xff\n", b"get \xc3\x28\n", b"x\x7f", b"a\x1b[0m\n"];
        let line = random.pick(&bad).to_vec();
        // What no text begins with is of another protocol, perhaps.
        (LastWords::BadText, [&b"g"[..], line.as_slice()].concat())
    };
    plan.push(last_words(words));
    plan.push(Act::Send(line));
    plan.push(Act::Send(format!("\nput k{number}.0 123456789 77777777\nget *\n").into_bytes()));
    plan.extend([Act::Await, Act::Pause(random.micros(0, 3_000_000)), Act::Finish]);
    plan
}

/// A browser that is made to talk to us.
fn http_line(random: &mut Random) -> Vec<Act> {
    let mut plan: Vec<Act> = (0..random.between(1, 20)).map(|_| some(random)).collect();
    let line =
        random.pick(&[&b"POST / HTTP/1.1\r\n\r\nput browser 1 2\n"[..], b"  GET http://x/ HTTP/1.1\r\n"]);
    plan.extend([Act::SendHttp(line.to_vec()), Act::Pause(Duration::from_secs(4)), Act::Finish]);
    plan
}

/// A byte of a line now and then, and never its end.
fn dripper(random: &mut Random) -> Vec<Act> {
    let mut plan: Vec<Act> = (0..random.between(0, 10)).map(|_| some(random)).collect();
    plan.extend([
        Act::Await,
        Act::Doom(limits::REQUEST_TIMEOUT),
        last_words(LastWords::TimedOut),
        Act::Send(b"put ".to_vec()),
        Act::Drip { byte: b'x', every: random.micros(50_000, 1_500_000) },
        Act::Finish,
    ]);
    plan
}

/// Some lines, and then no more.
fn idler(random: &mut Random) -> Vec<Act> {
    let mut plan: Vec<Act> = (0..random.between(1, 5)).map(|_| some(random)).collect();
    // The server's clock runs from its last answer: a short one is soon here.
    plan.extend([Act::Await, measure(Measure::GetNothing), Act::Await]);
    plan.push(Act::Doom(limits::IDLE_TIMEOUT_ANONYMOUS));
    plan
}

/// Asks for a lot and takes nothing.
fn never_reads(random: &mut Random) -> Vec<Act> {
    let mut plan: Vec<Act> = (0..random.between(0, 200)).map(|_| measure(Measure::Put)).collect();
    plan.push(Act::Read(Reading::Never));
    plan.extend((0..random.between(20, 300)).map(|_| some(random)));
    plan.push(Act::Pause(random.pick(&[Duration::from_secs(5), Duration::from_secs(30)])));
    plan.extend([Act::Read(Reading::Eager), Act::Finish]);
    plan
}

/// More lines that mean nothing than one turn may deal with.
fn bad_lines(random: &mut Random) -> Vec<Act> {
    let count = random.between(limits::STEPS_PER_TURN_MAX, 10 * limits::STEPS_PER_TURN_MAX);
    let mut plan = vec![reading(random)];
    plan.extend((0..count).map(|_| if random.chance(1) { measure(Measure::Any) } else { bad() }));
    plan.extend(ending(Framing::Text, random));
    plan
}

/// Vanishes while points are being kept.
fn gone(random: &mut Random) -> Vec<Act> {
    let mut plan: Vec<Act> = (0..random.between(1, 300)).map(|_| measure(Measure::Put)).collect();
    plan.push(Act::Pause(random.micros(0, 100_000)));
    plan.push(random.pick_end());
    plan
}
