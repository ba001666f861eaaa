//! A `ping` without an id or a token is a step of its own in each framing.

use super::long::{TRANSPORTS, Transport};
use super::*;

/// The steps for `sent`.
fn steps(transport: &Transport, sent: &[u8]) -> Vec<String> {
    let (mut bench, mut steps) = (Bench::of(transport), Vec::new());
    bench.input.push(sent);
    loop {
        match bench.next() {
            Step::NeedInput => return steps,
            Step::Ping => {
                steps.push("ping".to_owned());
                bench.session.pong(&PONG, &mut bench.output, &bench.date);
            }
            Step::Call(head, request) => {
                steps.push(format!("call {:?}", request.name));
                bench.session.answer(head, &PONG, &mut bench.output, &bench.date);
            }
            step => panic!("{step:?}"),
        }
    }
}

#[test]
fn a_plain_ping_is_a_step_of_its_own_in_each_framing() {
    for transport in TRANSPORTS {
        let sent: Vec<u8> = [
            "{\"command\": \"ping\", \"data\": {}}",
            " \n{\"command\":\"ping\"}\n",
            "{\"command\": \"ping\", \"request_id\": 1}",
            "{\"command\": \"ping\", \"data\": {\"token\": \"x\"}}",
            PING,
        ]
        .into_iter()
        .flat_map(|text| (transport.send)(text))
        .collect();
        let seen = steps(transport, &sent);
        assert_eq!(seen, ["ping", "ping", "call Ping", "call Ping", "call Ping"], "{}", transport.name);
    }
}

/// Otherwise nothing would check them.
#[cfg(feature = "http")]
#[test]
fn a_ping_with_credentials_is_read_like_any_other_request() {
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18\r\n";
    let body = "{\"command\":\"ping\"}";
    let sent = format!("{head}Authorization: Bearer x\r\n\r\n{body}{head}\r\n{body}");
    assert_eq!(steps(&TRANSPORTS[0], sent.as_bytes()), ["call Ping", "ping"]);
}
