//! Clients that send no whole request, or one that ends their connection.

use std::time::Duration;

use super::client_codec::frame;
use super::codec;
use super::connection::ReadPace;
use super::fault_config::FaultConfig;
use super::framing::Framing;
use super::random::Random;
use super::request::{InvalidRequest, Request};
use super::response::ClosingError;
use super::steps::{Step, ask};
use super::verb_requests::VerbForm;
use vmherd::internals::limits;

/// Sends a request that never becomes whole: too large, or cut short.
pub(super) fn incomplete_request(framing: Framing, config: &FaultConfig, random: &mut Random) -> Vec<Step> {
    let mut plan = vec![ask(Request::Ping), Step::AwaitResponses];
    let (is_short, much) = (random.chance(40), config.anonymous_bytes_max + random.mostly_few(1, 200_000));
    match (framing, is_short) {
        (Framing::RawJson | Framing::Text, _) => {}
        #[cfg(feature = "sealed")]
        (Framing::Sealed, _) => {}
        (Framing::Http, true) => {
            plan.push(Step::Expect(Request::Closing(ClosingError::CutShort)));
            let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\n{\"command\": ";
            plan.push(Step::Send(head[..random.between(6, head.len())].to_vec()));
            plan.push(Step::Finish);
            return plan;
        }
        (Framing::Http, false) => {
            plan.push(Step::Expect(Request::Closing(ClosingError::TooLarge)));
            let (length, chunked) =
                (format!("Content-Length: {much}"), "Transfer-Encoding: chunked".to_owned());
            let is_chunked = random.chance(50);
            let length = if is_chunked { chunked } else { length };
            let size = if is_chunked { format!("{much:x}\r\n") } else { String::new() };
            let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n{size}");
            plan.push(Step::Send([head.as_bytes(), &vec![b'{'; much]].concat()));
            plan.extend([Step::AwaitResponses, Step::Pause(random.micros(0, 3_000_000)), Step::Finish]);
            return plan;
        }
        (Framing::WebSocket, _) => {
            let mut bytes = Vec::new();
            if is_short {
                frame(true, codec::TEXT, b"{\"command\": \"ping\"}", random, &mut bytes);
                bytes.truncate(random.between(1, bytes.len() - 1));
                plan.extend([Step::Send(bytes), Step::Finish]);
            } else {
                frame(random.chance(50), codec::TEXT, &vec![b'{'; much], random, &mut bytes);
                plan.extend([
                    Step::SendInvalidFrames { bytes, code: 1009 },
                    Step::Pause(random.micros(0, 3_000_000)),
                ]);
            }
            plan.push(Step::Finish);
            return plan;
        }
    }
    let begin = b"{\"command\": \"ping\", \"data\": {\"a\": \"".to_vec();
    plan.push(Step::Send(begin));
    if random.chance(40) {
        plan.push(Step::Expect(Request::Closing(ClosingError::CutShort)));
        plan.push(Step::Send(vec![b'}'; random.between(0, config.anonymous_bytes_max / 2)]));
        plan.push(Step::Finish);
    } else {
        let much = config.anonymous_bytes_max + random.mostly_few(1, 200_000);
        plan.push(Step::Expect(Request::Closing(ClosingError::TooLarge)));
        plan.push(Step::Send(vec![b'}'; much]));
        plan.push(Step::AwaitResponses);
        plan.push(if random.chance(50) { Step::Finish } else { Step::Pause(Duration::from_secs(5)) });
        plan.push(Step::Finish);
    }
    plan
}

/// Sends single bytes, and never a whole request.
pub(super) fn slow_sender(framing: Framing, random: &mut Random) -> Vec<Step> {
    let mut plan = vec![Step::SetReadPace(ReadPace::Eager)];
    if random.chance(50) {
        plan.extend([ask(Request::Ping), Step::AwaitResponses]);
    }
    if framing != Framing::RawJson {
        let begin: &[u8] = match framing {
            Framing::Http => b"POST / HTTP/1.1\r\nHost: localhost\r\nX: ",
            _ => &[0x81, 0x80 | 126, 1, 0, 0, 0, 0, 0],
        };
        return vec![
            ask(Request::Ping),
            Step::AwaitResponses,
            Step::Deadline(limits::REQUEST_TIMEOUT),
            Step::Expect(Request::Closing(ClosingError::TimedOut)),
            Step::Send(begin.to_vec()),
            Step::Drip { byte: b'x', every: random.micros(50_000, 1_500_000) },
            Step::Finish,
        ];
    }
    let is_stray = plan.len() > 1 && random.chance(40);
    plan.push(Step::Deadline(limits::REQUEST_TIMEOUT));
    plan.extend(is_stray.then_some(Step::Expect(Request::Invalid(InvalidRequest::StrayBytes))));
    plan.push(Step::Expect(Request::Closing(ClosingError::TimedOut)));
    plan.push(Step::Send(if is_stray { b"stray".to_vec() } else { b"{\"command\": ".to_vec() }));
    plan.push(Step::Drip { byte: b'x', every: random.micros(50_000, 1_500_000) });
    plan.push(Step::Finish);
    plan
}

/// Sends another protocol.
pub(super) fn wrong_protocol(random: &mut Random) -> Vec<Step> {
    let openings: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
        b"\r\n\r\n\0\r\nQUIT\ngarbage",
    ];
    vec![
        Step::Expect(Request::Closing(ClosingError::WrongProtocol)),
        Step::Send(random.pick(&openings).to_vec()),
        Step::AwaitResponses,
        Step::Pause(random.micros(0, 4_000_000)),
        Step::Finish,
    ]
}

/// A browser that another site makes send a request.
pub(super) fn cross_protocol_post(random: &mut Random) -> Vec<Step> {
    let mut plan: Vec<Step> = (0..random.between(1, 3)).map(|_| ask(Request::Ping)).collect();
    plan.push(Step::Expect(Request::Invalid(InvalidRequest::StrayBytes)));
    plan.push(Step::SendHttp(b"POST / HTTP/1.1\r\n\r\n{\"command\": \"ping\"}".to_vec()));
    plan.push(Step::Pause(Duration::from_secs(4)));
    plan.push(Step::Finish);
    plan
}

/// Ends the connection with a request that says so, or with a frame that breaks a rule.
pub(super) fn closing_error(framing: Framing, config: &FaultConfig, random: &mut Random) -> Vec<Step> {
    let mut plan = vec![Step::Pause(random.micros(0, 1_000_000))];
    plan.extend((0..random.between(0, 5)).map(|_| Step::AskAnything { has_id: random.chance(50) }));
    if framing == Framing::Http {
        let stat = Request::Stat { form: random.pick(&VerbForm::ALL), token: None };
        let request = vec![Request::Ping, Request::Health, stat].swap_remove(random.between(0, 2));
        plan.push(Step::AskAndClose { request });
        return plan;
    }
    plan.extend((0..random.between(0, 3)).map(|_| Step::Convert));
    let mut bytes = Vec::new();
    let much = vec![b'x'; config.anonymous_bytes_max + 1];
    let code = match random.between(0, 4) {
        0 => {
            frame(true, codec::BINARY, b"{}", random, &mut bytes);
            1003
        }
        1 => {
            frame(true, codec::TEXT, b"\xff", random, &mut bytes);
            1007
        }
        2 => {
            bytes.extend(b"\x81\x02{}");
            1002
        }
        3 => {
            frame(false, codec::PING, b"x", random, &mut bytes);
            1002
        }
        _ => {
            frame(false, codec::TEXT, &much, random, &mut bytes);
            1009
        }
    };
    if code == 1009 {
        // The limit is higher for authenticated clients.
        plan.retain(|step| !matches!(step, Step::AskAnything { .. }));
    }
    plan.extend([
        Step::SendInvalidFrames { bytes, code },
        Step::Pause(random.micros(0, 3_000_000)),
        Step::Finish,
    ]);
    plan
}
