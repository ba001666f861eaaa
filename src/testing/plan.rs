//! What kinds of clients there are, and what each is going to do.

use std::collections::VecDeque;
use std::time::Duration;

use super::herd::Herd;
use super::measure::Measure;
use super::metrics_plan;
use super::random::Random;
use super::request::{Bad, LISTS, LastWords, What};
use super::speech::{self, Framing};
use super::weather::Weather;
use super::wire::Reading;
use crate::limits;

/// One step of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// Sends a request and is owed its reply.
    Ask {
        what: What,
        is_named: bool,
    },
    /// The same with whatever request makes sense then.
    Choose {
        is_named: bool,
    },
    /// Does something about VMs other than itself.
    Manage {
        is_named: bool,
    },
    /// Puts or asks for points.
    Measure {
        measure: Measure,
        is_named: bool,
    },
    /// Asks for a conversion.
    Convert,
    /// Asks for something, and for the end of the connection.
    AskLast {
        what: What,
    },
    /// Sends a close frame.
    Leave {
        code: Option<u16>,
    },
    /// Sends frames that break a rule, for which the server has to close with this code.
    Break {
        bytes: Vec<u8>,
        code: u16,
    },
    /// Changes the memory of the VM that is logged in, if that is certain.
    Update {
        is_named: bool,
    },
    /// Sends bytes that nothing is owed for.
    Send(Vec<u8>),
    /// As `Send`; the server has to end the connection for it.
    SendHttp(Vec<u8>),
    /// Is owed a reply without asking more.
    Expect(What),
    /// From now on the server has to end the connection within this time, and not before.
    Doom(Duration),
    Pause(Duration),
    /// Waits until nothing is owed.
    Await,
    Read(Reading),
    /// Sends this byte again and again.
    Drip {
        byte: u8,
        every: Duration,
    },
    /// Ends its own direction.
    Finish,
    /// Ends everything at once.
    Reset,
}

/// Makes the plan of client `number`.
pub(super) fn plan(
    number: usize,
    framing: Framing,
    weather: &Weather,
    random: &mut Random,
    herd: &mut Herd,
) -> VecDeque<Act> {
    if framing == Framing::Text {
        return metrics_plan::of_text(number, weather, random).into();
    }
    if weather.many_convert && random.chance(60) {
        return converter(framing, weather, random).into();
    }
    if weather.big_herd && random.chance(40) {
        return pager(framing, random, herd).into();
    }
    if weather.many_points && random.chance(40) {
        return metrics_plan::pager(framing, random, herd).into();
    }
    if weather.hoards && random.chance(50) {
        return hoarder(framing, random).into();
    }
    match random.between(0, 40) {
        0..=7 => talker(number, framing, random, herd),
        8..=10 => flood(framing, random),
        11 | 12 => broken_off(framing, weather, random),
        13 | 14 => dripper(framing, random),
        15 if framing == Framing::RawJson => foreign(random),
        16 if framing == Framing::RawJson => silent(random),
        17 => idler(framing, random),
        18..=20 => never_reads(number, random, herd),
        21 if framing == Framing::RawJson => http_line(random),
        15 | 16 | 21 => last_words(framing, weather, random),
        22 | 23 => gone_while_logging_in(random, herd),
        24..=28 => manager(framing, random, herd),
        29..=32 => converter(framing, weather, random),
        33..=36 => metrics_plan::measurer(framing, random, herd),
        _ => prober(framing, random),
    }
    .into()
}

pub(super) fn ask(what: What) -> Act {
    Act::Ask { what, is_named: false }
}

/// Registers, logs in, and asks this and that.
fn talker(number: usize, framing: Framing, random: &mut Random, herd: &mut Herd) -> Vec<Act> {
    let vm = herd.add(format!("vm-{number}"), Some(number));
    let mut plan = vec![reading(random)];
    let (named, pausing) = (random.pick(&[0, 30, 90]), random.pick(&[0, 10, 50]));
    if random.chance(80) {
        plan.push(ask(What::Register { vm }));
    }
    if random.chance(80) {
        plan.push(ask(What::Authenticate { vm, is_right: true }));
    }
    for _ in 0..random.mostly_few(1, 40) {
        plan.push(Act::Choose { is_named: random.chance(named) });
        if random.chance(pausing) {
            plan.push(random.pick_act());
        }
        if random.chance(3) && plan.len() > 3 {
            plan.push(ask(What::Bad(Bad::Stray)));
        }
    }
    plan.extend(ending(framing, random));
    plan
}

/// Adds VMs, connects them, and changes those of others.
fn manager(framing: Framing, random: &mut Random, herd: &Herd) -> Vec<Act> {
    let mut plan = vec![reading(random)];
    if random.chance(40) {
        let vm = random.between(0, herd.vms.len() - 1);
        plan.push(ask(What::Authenticate { vm, is_right: true }));
    }
    let named = random.pick(&[0, 30, 90]);
    for _ in 0..random.between(5, 60) {
        plan.push(Act::Manage { is_named: random.chance(named) });
        if random.chance(20) {
            plan.push(random.pick_act());
        }
    }
    plan.extend(ending(framing, random));
    plan
}

/// Lists of several pages, and a lot that is done meanwhile.
fn pager(framing: Framing, random: &mut Random, herd: &Herd) -> Vec<Act> {
    let vm = random.between(0, herd.vms.len().min(2) - 1);
    let mut plan = vec![ask(What::Authenticate { vm, is_right: true }), Act::Await, reading(random)];
    for _ in 0..random.between(1, 3) {
        let list = random.pick(&["all_vms", "all_disks"]);
        plan.push(Act::Ask { what: What::List { list, token: None }, is_named: random.chance(80) });
        plan.extend((0..random.between(0, 10)).map(|_| match random.chance(80) {
            true => Act::Update { is_named: true },
            false => Act::Ask { what: What::Ping, is_named: random.chance(50) },
        }));
        if random.chance(20) {
            plan.push(Act::Ask { what: What::Logout { token: None }, is_named: true });
            break;
        }
    }
    plan.extend(ending(framing, random));
    plan
}

/// Sends more at once than one turn may do.
fn flood(framing: Framing, random: &mut Random) -> Vec<Act> {
    let named = random.pick(&[0, 0, 50, 100]);
    let count = random.between(limits::STEPS_PER_TURN_MAX, 5 * limits::STEPS_PER_TURN_MAX);
    let ping = |random: &mut Random| Act::Ask { what: What::Ping, is_named: random.chance(named) };
    let mut plan = vec![Act::Pause(random.micros(0, 100_000)), reading(random)];
    plan.extend((0..count).map(|_| ping(random)));
    plan.extend(ending(framing, random));
    plan
}

/// A request that never becomes whole: too large, cut short, or given up.
fn broken_off(framing: Framing, weather: &Weather, random: &mut Random) -> Vec<Act> {
    let mut plan = vec![ask(What::Ping), Act::Await];
    let (is_short, much) = (random.chance(40), weather.anonymous_bytes_max + random.mostly_few(1, 200_000));
    match (framing, is_short) {
        (Framing::RawJson | Framing::Text, _) => {}
        (Framing::Http, true) => {
            plan.push(Act::Expect(What::LastWords(LastWords::CutShort)));
            let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\n{\"command\": ";
            plan.push(Act::Send(head[..random.between(6, head.len())].to_vec()));
            plan.push(Act::Finish);
            return plan;
        }
        (Framing::Http, false) => {
            plan.push(Act::Expect(What::LastWords(LastWords::TooLarge)));
            let (length, chunked) =
                (format!("Content-Length: {much}"), "Transfer-Encoding: chunked".to_owned());
            let is_chunked = random.chance(50);
            let length = if is_chunked { chunked } else { length };
            let size = if is_chunked { format!("{much:x}\r\n") } else { String::new() };
            let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n{size}");
            plan.push(Act::Send([head.as_bytes(), &vec![b'{'; much]].concat()));
            plan.extend([Act::Await, Act::Pause(random.micros(0, 3_000_000)), Act::Finish]);
            return plan;
        }
        (Framing::WebSocket, _) => {
            let mut bytes = Vec::new();
            if is_short {
                speech::frame(true, speech::TEXT, b"{\"command\": \"ping\"}", random, &mut bytes);
                bytes.truncate(random.between(1, bytes.len() - 1));
                plan.extend([Act::Send(bytes), Act::Finish]);
            } else {
                speech::frame(random.chance(50), speech::TEXT, &vec![b'{'; much], random, &mut bytes);
                plan.extend([Act::Break { bytes, code: 1009 }, Act::Pause(random.micros(0, 3_000_000))]);
            }
            plan.push(Act::Finish);
            return plan;
        }
    }
    let begin = b"{\"command\": \"ping\", \"data\": {\"a\": \"".to_vec();
    plan.push(Act::Send(begin));
    if random.chance(40) {
        plan.push(Act::Expect(What::LastWords(LastWords::CutShort)));
        plan.push(Act::Send(vec![b'}'; random.between(0, weather.anonymous_bytes_max / 2)]));
        plan.push(Act::Finish);
    } else {
        let much = weather.anonymous_bytes_max + random.mostly_few(1, 200_000);
        plan.push(Act::Expect(What::LastWords(LastWords::TooLarge)));
        plan.push(Act::Send(vec![b'}'; much]));
        plan.push(Act::Await);
        plan.push(if random.chance(50) { Act::Finish } else { Act::Pause(Duration::from_secs(5)) });
        plan.push(Act::Finish);
    }
    plan
}

/// A byte now and then, and never a whole request.
fn dripper(framing: Framing, random: &mut Random) -> Vec<Act> {
    let mut plan = vec![Act::Read(Reading::Eager)];
    if random.chance(50) {
        plan.extend([ask(What::Ping), Act::Await]);
    }
    if framing != Framing::RawJson {
        let begin: &[u8] = match framing {
            Framing::Http => b"POST / HTTP/1.1\r\nHost: localhost\r\nX: ",
            _ => &[0x81, 0x80 | 126, 1, 0, 0, 0, 0, 0],
        };
        return vec![
            ask(What::Ping),
            Act::Await,
            Act::Doom(limits::REQUEST_TIMEOUT),
            Act::Expect(What::LastWords(LastWords::TimedOut)),
            Act::Send(begin.to_vec()),
            Act::Drip { byte: b'x', every: random.micros(50_000, 1_500_000) },
            Act::Finish,
        ];
    }
    let is_stray = plan.len() > 1 && random.chance(40);
    plan.push(Act::Doom(limits::REQUEST_TIMEOUT));
    plan.extend(is_stray.then_some(Act::Expect(What::Bad(Bad::Stray))));
    plan.push(Act::Expect(What::LastWords(LastWords::TimedOut)));
    plan.push(Act::Send(if is_stray { b"stray".to_vec() } else { b"{\"command\": ".to_vec() }));
    plan.push(Act::Drip { byte: b'x', every: random.micros(50_000, 1_500_000) });
    plan.push(Act::Finish);
    plan
}

/// A great part of a request, and no more of it.
fn hoarder(framing: Framing, random: &mut Random) -> Vec<Act> {
    let part = vec![b'x'; random.between(300_000, 900_000)];
    let mut bytes = match framing {
        Framing::Http => b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n".to_vec(),
        Framing::WebSocket => b"\x81\xff\0\0\0\0\0\x0f\0\0\0\0\0\0".to_vec(),
        _ => b"{\"command\": \"".to_vec(),
    };
    bytes.extend(part);
    vec![
        Act::Read(Reading::Eager),
        Act::Await,
        Act::Doom(limits::REQUEST_TIMEOUT),
        Act::Expect(What::LastWords(LastWords::TimedOut)),
        Act::Send(bytes),
        Act::Await,
        Act::Finish,
    ]
}

/// Speaks something else.
fn foreign(random: &mut Random) -> Vec<Act> {
    let words: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
        b"\r\n\r\n\0\r\nQUIT\ngarbage",
    ];
    vec![
        Act::Expect(What::LastWords(LastWords::WrongProtocol)),
        Act::Send(random.pick(&words).to_vec()),
        Act::Await,
        Act::Pause(random.micros(0, 4_000_000)),
        Act::Finish,
    ]
}

/// Nothing, or nothing that counts.
pub(super) fn silent(random: &mut Random) -> Vec<Act> {
    let mut plan = vec![Act::Doom(limits::FIRST_REQUEST_TIMEOUT)];
    if random.chance(50) {
        plan.push(Act::Send(b" \n\t ".to_vec()));
        plan.push(Act::Pause(random.micros(0, 200_000_000)));
        plan.push(Act::Send(b"\r\n".to_vec()));
    }
    if random.chance(30) {
        plan.push(Act::Finish);
    }
    plan
}

/// One request, and then no more.
fn idler(framing: Framing, random: &mut Random) -> Vec<Act> {
    vec![
        Act::Pause(random.micros(0, 1_000_000)),
        ask(What::Ping),
        Act::Await,
        Act::Doom(match framing {
            Framing::Http => limits::IDLE_TIMEOUT_HTTP,
            _ => limits::IDLE_TIMEOUT_ANONYMOUS,
        }),
    ]
}

/// Asks for a lot and takes nothing.
fn never_reads(number: usize, random: &mut Random, herd: &mut Herd) -> Vec<Act> {
    let vm = herd.add(format!("vm-{number}"), Some(number));
    let mut plan = Vec::new();
    let lists = random.chance(60);
    if lists {
        plan.extend([ask(What::Register { vm }), ask(What::Authenticate { vm, is_right: true }), Act::Await]);
    }
    plan.push(Act::Read(Reading::Never));
    for _ in 0..random.between(20, 2000) {
        let what = match lists && random.chance(10) {
            true => What::List { list: random.pick(&LISTS), token: None },
            false => What::Ping,
        };
        plan.push(Act::Ask { what, is_named: random.chance(20) });
    }
    if random.chance(30) {
        // It wakes up after all.
        plan.extend([Act::Pause(random.micros(0, 8_000_000)), Act::Read(Reading::Eager), Act::Await]);
    } else {
        plan.push(Act::Pause(Duration::from_secs(30)));
        plan.push(Act::Read(Reading::Eager));
    }
    plan.push(Act::Finish);
    plan
}

/// A browser that is made to talk to us.
fn http_line(random: &mut Random) -> Vec<Act> {
    let mut plan: Vec<Act> = (0..random.between(1, 3)).map(|_| ask(What::Ping)).collect();
    plan.push(Act::Expect(What::Bad(Bad::Stray)));
    plan.push(Act::SendHttp(b"POST / HTTP/1.1\r\n\r\n{\"command\": \"ping\"}".to_vec()));
    plan.push(Act::Pause(Duration::from_secs(4)));
    plan.push(Act::Finish);
    plan
}

/// Vanishes while its password is being checked, so that somebody else gets its place.
fn gone_while_logging_in(random: &mut Random, herd: &Herd) -> Vec<Act> {
    let vm = random.between(0, herd.vms.len() - 1);
    let mut plan = vec![Act::Pause(random.micros(0, 3_000_000))];
    plan.extend((0..random.between(0, 3)).map(|_| ask(What::Ping)));
    plan.push(ask(What::Authenticate { vm, is_right: true }));
    plan.push(Act::Pause(random.micros(0, 300_000)));
    plan.push(if random.chance(70) { Act::Reset } else { Act::Finish });
    plan
}

/// Anonymous, and to stay so.
fn prober(framing: Framing, random: &mut Random) -> Vec<Act> {
    let mut plan = vec![Act::Pause(random.micros(0, 5_000_000))];
    for _ in 0..random.between(1, 8) {
        let what = match random.chance(70) {
            true => What::List { list: random.pick(&LISTS), token: None },
            false => What::Ping,
        };
        plan.push(Act::Ask { what, is_named: random.chance(30) });
        plan.push(Act::Pause(random.micros(0, 1_000_000)));
    }
    plan.extend(ending(framing, random));
    plan
}

/// Asks for what is answered later, a lot of it, and goes or stays.
fn converter(framing: Framing, weather: &Weather, random: &mut Random) -> Vec<Act> {
    let most = match framing {
        Framing::Http => 4,
        _ if weather.many_convert => 3 * limits::OPEN_FORGOTTEN_AT_ONCE_MAX,
        _ => 60,
    };
    let (others, mut plan) = (random.pick(&[0, 0, 10]), vec![reading(random)]);
    let goes = framing != Framing::Http && random.chance(if weather.many_convert { 60 } else { 20 });
    for _ in 0..random.between(1, most) {
        plan.push(Act::Convert);
        if random.chance(others) {
            plan.push(Act::Choose { is_named: true });
        }
    }
    if goes {
        // With a job under way, and before most of it is due.
        plan.extend((0..3).map(|_| Act::Manage { is_named: true }));
        plan.push(Act::Pause(random.micros(0, 200_000)));
        plan.push(random.pick_end());
        return plan;
    }
    if random.chance(30) {
        plan.push(Act::Manage { is_named: true });
    }
    if random.chance(50) {
        plan.push(Act::Pause(random.micros(0, 6_000_000)));
    }
    plan.extend(ending(framing, random));
    plan
}

/// Ends a conversation with a word for that, or with one that breaks a rule.
fn last_words(framing: Framing, weather: &Weather, random: &mut Random) -> Vec<Act> {
    let mut plan = vec![Act::Pause(random.micros(0, 1_000_000))];
    plan.extend((0..random.between(0, 5)).map(|_| Act::Choose { is_named: random.chance(50) }));
    if framing == Framing::Http {
        let what = if random.chance(50) { What::Ping } else { What::Health };
        plan.push(Act::AskLast { what });
        return plan;
    }
    plan.extend((0..random.between(0, 3)).map(|_| Act::Convert));
    let mut bytes = Vec::new();
    let much = vec![b'x'; weather.anonymous_bytes_max + 1];
    let code = match random.between(0, 4) {
        0 => {
            speech::frame(true, speech::BINARY, b"{}", random, &mut bytes);
            1003
        }
        1 => {
            speech::frame(true, speech::TEXT, b"\xff", random, &mut bytes);
            1007
        }
        2 => {
            bytes.extend(b"\x81\x02{}");
            1002
        }
        3 => {
            speech::frame(false, 9, b"x", random, &mut bytes);
            1002
        }
        _ => {
            speech::frame(false, speech::TEXT, &much, random, &mut bytes);
            1009
        }
    };
    if code == 1009 {
        // Whoever is known may say as much.
        plan.retain(|act| !matches!(act, Act::Choose { .. }));
    }
    plan.extend([Act::Break { bytes, code }, Act::Pause(random.micros(0, 3_000_000)), Act::Finish]);
    plan
}

pub(super) fn reading(random: &mut Random) -> Act {
    Act::Read(match random.chance(70) {
        true => Reading::Eager,
        false => Reading::Slow { bytes: random.between(50, 4000), every: random.micros(100, 20_000) },
    })
}

pub(super) fn ending(framing: Framing, random: &mut Random) -> Vec<Act> {
    match framing {
        Framing::WebSocket if random.chance(60) => {
            let code = random.pick(&[None, Some(1000), Some(4000)]);
            let mut plan = if random.chance(60) { vec![Act::Await] } else { Vec::new() };
            plan.push(Act::Leave { code });
            return plan;
        }
        Framing::Http if random.chance(40) => return vec![Act::AskLast { what: What::Ping }],
        _ => {}
    }
    match random.between(0, 9) {
        0..=3 => vec![Act::Await, Act::Finish],
        4..=7 => vec![Act::Finish],
        8 => vec![Act::Await, Act::Pause(random.micros(0, 1_000_000)), Act::Reset],
        _ => vec![Act::Pause(random.micros(0, 1_000_000)), Act::Reset],
    }
}

impl Random {
    pub(super) fn pick_end(&mut self) -> Act {
        if self.chance(70) { Act::Reset } else { Act::Finish }
    }

    pub(super) fn pick_act(&mut self) -> Act {
        if self.chance(50) { Act::Await } else { Act::Pause(self.micros(0, 5_000_000)) }
    }
}
